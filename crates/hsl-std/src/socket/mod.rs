//! Socket chapter: the classes `Socket` and `TLSSocket`.
//!
//! A script that waits for a socket is parked and holds no thread. [`plain`] is a socket of the
//! system, [`tls`] the encrypted stream over one; here is what scripts see of the first.

mod plain;
mod tls;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::value::{Resource, Str, Value};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketType};

use crate::args::{self, Options};
use crate::ffi;
use crate::services::Services;

use plain::{Peer, Places, RecvMode, SocketState};

/// Registers the classes.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let timer = Arc::clone(&services.timer);
    let places = Places::new();
    registry.class("Socket", "a socket of the network or the system", |class| {
        class
            .constructor(
                "Socket(string family, string type) -> Socket",
                "a socket of family AF_INET, AF_INET6 or AF_UNIX and type SOCK_STREAM or SOCK_DGRAM",
                {
                    let (timer, places) = (Arc::clone(&timer), Arc::clone(&places));
                    move |ctx, args| {
                        let family = family(args::bytes(args, 0))?;
                        let kind = match args::bytes(args, 1) {
                            b"SOCK_STREAM" => SocketType::STREAM,
                            b"SOCK_DGRAM" => SocketType::DGRAM,
                            _ => {
                                return Err(Thrown::new(
                                    "Socket() knows the types SOCK_STREAM and SOCK_DGRAM",
                                ));
                            }
                        };
                        let place = places.take()?;
                        let state = SocketState::open(family, kind, Arc::clone(&timer), place);
                        ctx.new_object(state.map_err(|error| unopened(error.into()))?)
                    }
                },
            )
            .static_function(
                "AF(string address) -> string or none",
                "AF_INET or AF_INET6, whichever the address is",
                |_, args| {
                    let text = str::from_utf8(args::bytes(args, 0)).ok()?;
                    text.parse::<std::net::IpAddr>()
                        .ok()
                        .map(|ip| if ip.is_ipv4() { "AF_INET" } else { "AF_INET6" })
                },
            )
            .static_function(
                "Resource(SocketResource socketresource) -> Socket or none",
                "the socket of a resource",
                {
                    let (timer, places) = (Arc::clone(&timer), Arc::clone(&places));
                    move |ctx, args| {
                        let fd = args.first().and_then(Value::as_resource);
                        let Some(fd) = fd.and_then(Resource::get::<SocketHandle>) else {
                            return Err(Thrown::new("Socket::Resource() needs a SocketResource"));
                        };
                        let place = places.take()?;
                        let adopt = |fd| SocketState::adopt(fd, Arc::clone(&timer), place);
                        match fd.0.try_clone().map(adopt) {
                            Ok(Ok(state)) => ctx.new_object(state),
                            _ => Ok(Value::None),
                        }
                    }
                },
            )
            .method(
                "bind(string address [, number port [, array options]]) -> Socket or none",
                "gives the socket an address of its own; option nonlocal",
                |ctx, args| {
                    let is_nonlocal = Options::new(args, 2).boolean("nonlocal", false)?;
                    let state = ctx.state_of_this::<SocketState>()?;
                    let peer = Peer::new(args::bytes(args, 0), args::number_opt(args, 1));
                    let result = peer.and_then(|peer| state.bind(&peer, is_nonlocal));
                    Ok::<_, Thrown>(this_if(ctx, &state, result))
                },
            )
            .method(
                "connect(string address [, number port]) -> Socket or none",
                "connects to an address; a Unix socket has no port",
                |ctx, args| {
                    let peer = Peer::new(args::bytes(args, 0), args::number_opt(args, 1));
                    let this = this(ctx);
                    wait(ctx, move |state| async move {
                        state.connect(&peer?).await?;
                        Ok(this)
                    })
                },
            )
            .method(
                "recv(number length [, array or string flags]) -> string or none",
                "at most length octets; empty at the end; flags MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT",
                |ctx, args| {
                    let length = length(ctx, args)?;
                    let mode = RecvMode::of(args.get(1).unwrap_or(&Value::None))?;
                    wait(ctx, move |state| async move {
                        Ok(Value::from(state.recv(length, mode).await?))
                    })
                },
            )
            .method("send(string data) -> number or none", "how many octets were taken", |ctx, args| {
                let data: Str = args::text(args, 0);
                wait(ctx, move |state| async move {
                    Ok(Value::from(state.send_all(data.as_bytes()).await?))
                })
            })
            .method(
                "settimeout(number timeout) -> Socket",
                "the longest wait of each call in seconds; 0 for no end",
                |ctx, args| {
                    let state = ctx.state_of_this::<SocketState>()?;
                    state.set_timeout(args::number(args, 0))?;
                    Ok::<_, Thrown>(this(ctx))
                },
            )
            .method(
                "shutdown(string how) -> Socket or none",
                "ends one direction or both: SHUT_RD, SHUT_WR, SHUT_RDWR",
                |ctx, args| {
                    let how = match args::bytes(args, 0) {
                        b"SHUT_RD" => Shutdown::Read,
                        b"SHUT_WR" => Shutdown::Write,
                        b"SHUT_RDWR" => Shutdown::Both,
                        _ => {
                            return Err(Thrown::new(
                                "shutdown() knows SHUT_RD, SHUT_WR and SHUT_RDWR",
                            ));
                        }
                    };
                    let state = ctx.state_of_this::<SocketState>()?;
                    let result = state.shutdown(how);
                    Ok::<_, Thrown>(this_if(ctx, &state, result))
                },
            )
            .method(
                "toFFIValue() -> FFIValue or none",
                "the number of the descriptor, good until the socket is closed",
                |ctx, _| {
                    ffi::check_allowed_by(ctx)?;
                    let state = ctx.state_of_this::<SocketState>()?;
                    Ok::<_, Thrown>(state.descriptor().map(ffi::descriptor_value))
                },
            )
            .method("close() -> Socket or none", "closes the socket", |ctx, _| {
                let state = ctx.state_of_this::<SocketState>()?;
                let result = state.close();
                Ok::<_, Thrown>(this_if(ctx, &state, result))
            })
            .method("errno() -> number", "the C errno of the last failure, or 0", |ctx, _| {
                Ok::<_, Thrown>(ctx.state_of_this::<SocketState>()?.errno())
            });
    });
    tls::register(registry, services);
}

/// The resource that scripts turn into a `Socket`. The descriptor is duplicated for each.
pub fn socket_resource(fd: OwnedFd) -> Value {
    Value::Resource(Resource::new("SocketResource", SocketHandle(fd)))
}

struct SocketHandle(OwnedFd);

fn family(name: &[u8]) -> Result<AddressFamily, Thrown> {
    match name {
        b"AF_INET" => Ok(AddressFamily::INET),
        b"AF_INET6" => Ok(AddressFamily::INET6),
        b"AF_UNIX" => Ok(AddressFamily::UNIX),
        _ => Err(Thrown::new("Socket() knows the families AF_INET, AF_INET6 and AF_UNIX")),
    }
}

fn unopened(error: std::io::Error) -> Thrown {
    Thrown::new(format!("a socket cannot be opened: {error}"))
}

/// The object whose method is called.
fn this(ctx: &CallContext<'_>) -> Value {
    ctx.this().cloned().map_or(Value::None, Value::Object)
}

/// The object, or none with the error kept for `errno`.
fn this_if(ctx: &CallContext<'_>, state: &SocketState, result: Result<(), Errno>) -> Value {
    match result {
        Ok(()) => this(ctx),
        Err(error) => {
            state.set_errno(error);
            Value::None
        }
    }
}

/// Parks the script until `work` is done. An error is kept for `errno`, and the value is none.
fn wait<F, W>(ctx: &CallContext<'_>, work: F) -> Result<NativeStep, Thrown>
where
    F: FnOnce(Arc<SocketState>) -> W,
    W: Future<Output = Result<Value, Errno>> + Send + 'static,
{
    let state = ctx.state_of_this::<SocketState>()?;
    let work = work(Arc::clone(&state));
    Ok(NativeStep::SuspendThen {
        future: Box::pin(async move {
            Ok(work.await.unwrap_or_else(|error| {
                state.set_errno(error);
                Value::None
            }))
        }),
        then: Box::new(|ctx: &mut CallContext<'_>, value: Value| charged(ctx, value)),
    })
}

/// Accounts for what was received.
fn charged(ctx: &mut CallContext<'_>, value: Value) -> NativeStep {
    match ctx.charge_memory(value.as_bytes().map_or(0, <[u8]>::len)) {
        Ok(()) => NativeStep::Return(value),
        Err(thrown) => NativeStep::Throw(thrown),
    }
}

/// How much a script wants to receive, within what it may use.
fn length(ctx: &mut CallContext<'_>, args: &[Value]) -> Result<usize, Thrown> {
    let length = args::number(args, 0);
    if length.is_nan() || length < 1.0 {
        return Err(Thrown::new("recv() needs a length of at least 1"));
    }
    let length = length as usize;
    if length > ctx.limits().memory {
        ctx.charge_memory(length)?;
    }
    Ok(length)
}
