//! `http` and `url_parse` of the File and HTTP chapter.
//!
//! A call is read into a [`request::Request`] and its [`request::Settings`]; [`client::Client`] keeps
//! connections open between calls and follows redirects, [`connect`] makes new ones (TCP, Unix
//! sockets, through proxies, with TLS). A post by function goes through [`pull`]: the script is asked
//! for a piece whenever the connection has room. [`background`] takes requests whose answer nobody
//! waits for.
//!
//! The script is parked while it waits; no thread is held. One answer is bounded by the option
//! `max_file_size` and by the memory that the script may use.

mod background;
mod body;
mod client;
pub(crate) mod connect;
mod pull;
mod request;
mod target;
mod url_parts;

use std::sync::Arc;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::value::{Array, Key, Value};

use self::background::Background;
pub(crate) use self::client::HttpError;
use self::client::{Answer, Client};
use self::request::{Request, Wanted};
use crate::args::{self, Options};
use crate::services::Services;

/// Registers both functions.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let client = Client::new(services);
    let background = Arc::new(Background::new(client.clone(), Arc::clone(&services.log)));
    let (names, keys) = (Arc::clone(&services.names), Arc::clone(&services.keys));
    registry
        .function(
            "http(string url [, array options [, array get [, array or string or function post]]]) \
             -> string, array, boolean or none",
            "the body of a 2xx answer, or none; the manual lists the options",
            move |ctx, args| {
                let Some((request, wanted)) = request::read(ctx, args, &*names, &*keys)? else {
                    return Ok(Value::None.into());
                };
                let call = Call {
                    client: client.clone(),
                    background: Arc::clone(&background),
                    wanted,
                    memory: ctx.limits().memory,
                };
                let post = args::take(args, 3);
                if matches!(post, Value::Function(_)) {
                    return Ok(pull::start(call, request, post));
                }
                Ok::<_, Thrown>(call.run(request))
            },
        )
        .pure_function(
            "url_parse(string url [, array options]) -> array or none",
            "the parts of a URL: schema, username, password, hostname, port, path, query, fragment",
            |_, args| url_parts::parse(args::bytes(args, 0)),
        );
}

/// One call of `http`, apart from the request itself.
struct Call {
    client: Client,
    background: Arc<Background>,
    wanted: Wanted,
    /// Octets that the script may use.
    memory: usize,
}

impl Call {
    /// Sends a request whose payload is known, now or in the background.
    fn run(self, request: Request) -> NativeStep {
        if let Some(job) = &self.wanted.background {
            return match self.background.add(request, *job) {
                true => Value::Bool(true).into(),
                false => Value::None.into(),
            };
        }
        // The answer travels beside the future, which gives values only.
        let slot = Arc::new(parking_lot::Mutex::new(None));
        let filled = Arc::clone(&slot);
        let (client, memory) = (self.client.clone(), self.memory);
        NativeStep::SuspendThen {
            future: Box::pin(async move {
                let result = client.run(request, memory).await;
                *filled.lock() = Some(result);
                Ok(Value::None)
            }),
            then: Box::new(move |ctx: &mut CallContext<'_>, _: Value| {
                let result = slot.lock().take();
                NativeStep::from(self.finish(ctx, result.unwrap_or(Err(HttpError::Interrupted))))
            }),
        }
    }

    /// What the script gets.
    fn finish(
        &self,
        ctx: &mut CallContext<'_>,
        result: Result<Answer, HttpError>,
    ) -> Result<Value, Thrown> {
        let answer = match result {
            Ok(answer) => answer,
            Err(HttpError::Memory) => {
                // The same error as for any other value that is too large.
                ctx.charge_memory(self.memory.saturating_add(1))?;
                return Ok(Value::None);
            }
            Err(_) => return Ok(Value::None),
        };
        ctx.charge_memory(answer.content.len())?;
        let Wanted { extended_result, response_headers, .. } = self.wanted;
        if !extended_result && !response_headers {
            let is_success = (200..300).contains(&answer.status);
            return Ok(if is_success { answer.content.into() } else { Value::None });
        }
        let mut fields = vec![
            ("status", Value::from(u32::from(answer.status))),
            ("content", Value::from(answer.content)),
        ];
        if response_headers {
            fields.push(("headers", Value::list(answer.headers.into_iter().map(header))));
        }
        Ok(Value::map(fields.into_iter().map(|(name, value)| (Key::from(name), value))))
    }
}

/// Compat: scripts read a header both by position and by name.
fn header((name, value): (String, Vec<u8>)) -> Value {
    let (name, value) = (Value::from(name), Value::from(value));
    let mut item = Array::new();
    item.push(name.clone());
    item.push(value.clone());
    item.insert(Key::from("name"), name);
    item.insert(Key::from("value"), value);
    item.into()
}

/// Reads an option that also has an old name with `ssl_` in front.
fn tls_boolean(options: Options<'_>, name: &str, default: bool) -> Result<bool, Thrown> {
    let old = options.boolean(&name.replacen("tls_", "ssl_", 1), default)?;
    options.boolean(name, old)
}
