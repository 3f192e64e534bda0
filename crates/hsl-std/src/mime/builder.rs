//! The class `MIME`: composes messages and parts.

use std::sync::Arc;

use bytes::Bytes;
use hsl::host::{CallContext, ClassBuilder, Thrown};
use hsl::value::Value;
use mail_message::Builder;
use parking_lot::Mutex;
use uuid::Uuid;

use super::dkim::{self, Signer};
use super::options::{charge, offset_minutes, part_text, write_options};
use crate::args::{self, Options};
use crate::file_http::file_object;
use crate::services::Services;

/// The state of `MIME` objects.
pub(super) struct BuilderState {
    builder: Mutex<Builder>,
    /// Signatures to make when the message is written, in the order asked for.
    signers: Mutex<Vec<Signer>>,
}

/// What a `MIME` object composes so far.
pub fn builder_of_object(value: &Value) -> Option<ComposedMessage> {
    Some(ComposedMessage(value.as_object()?.state::<BuilderState>()?))
}

/// A message under construction, shared with its object.
pub struct ComposedMessage(Arc<BuilderState>);

impl ComposedMessage {
    /// Locks the builder, for the time of one function.
    pub fn lock(&self) -> parking_lot::MutexGuard<'_, Builder> {
        self.0.builder.lock()
    }
}

/// Adds the members of the class.
pub(super) fn class(class: &mut ClassBuilder, services: &Services) {
    class
        .measure_with(|state: &BuilderState, measure| {
            let signers = state.signers.lock().len();
            measure.octets(state.builder.lock().size() + signers * SIGNER_OCTETS);
        })
        .constructor("MIME() -> MIME", "an empty message", |ctx, _| {
            let builder = Builder::new(Uuid::new_v4().to_string());
            let builder = Mutex::new(builder);
            ctx.new_object(BuilderState { builder, signers: Mutex::default() })
        })
        .method(
            "addHeader(string name, string value [, array options]) -> MIME",
            "adds a field; options encode, encoding",
            |ctx, args| {
                let options = write_options(Options::new(args, 2))?;
                let (name, value) = (args::bytes(args, 0), args::bytes(args, 1));
                change(ctx, value.len(), |builder| {
                    let added = builder.add_header(name, value, options);
                    added.map_err(|error| Thrown::new(error.to_string()))
                })
            },
        )
        .method("appendPart(MIME part) -> MIME", "adds a part", |ctx, args| {
            let part = args::take(args, 0);
            let depth = builder_of_object(&part).map_or(0, |part| part.lock().depth());
            let part = part_text(ctx, &part)?;
            change(ctx, part.len(), |builder| match builder.append_part(part, depth) {
                true => Ok(()),
                false => Err(Thrown::new(format!(
                    "appendPart() nests parts deeper than {} levels",
                    Builder::MAX_DEPTH
                ))),
            })
        })
        .method("setBody(string body) -> MIME", "sets the body, or preamble", |ctx, args| {
            let body = args::bytes(args, 0);
            change(ctx, body.len(), |builder| {
                builder.set_body(body.to_vec());
                Ok(())
            })
        })
        .method("setType(string type) -> MIME", "sets the media type", |ctx, args| {
            let media_type = media_type(args::bytes(args, 0))?;
            change(ctx, media_type.len(), |builder| {
                builder.set_type(media_type);
                Ok(())
            })
        })
        .method("setBoundary(string boundary) -> MIME", "sets the boundary", |ctx, args| {
            let boundary = args::bytes(args, 0);
            change(ctx, boundary.len(), |builder| match builder.set_boundary(boundary) {
                true => Ok(()),
                false => Err(Thrown::new("setBoundary() needs 1 to 70 characters of RFC 2046")),
            })
        })
        .method("setFileName(string filename) -> MIME", "makes an attachment", |ctx, args| {
            let name = args::bytes(args, 0);
            change(ctx, name.len(), |builder| {
                builder.set_file_name(name.to_vec());
                Ok(())
            })
        })
        .method("setDisposition(string type) -> MIME", "sets the disposition", |ctx, args| {
            let disposition = text(args::bytes(args, 0), "setDisposition")?;
            change(ctx, disposition.len(), |builder| {
                builder.set_disposition(disposition);
                Ok(())
            })
        });
    let zone = services.time_zone.clone();
    class
        .method("setDate([number timestamp]) -> MIME", "adds the Date field", move |ctx, args| {
            let seconds = args::number_opt(args, 0);
            let seconds = seconds.unwrap_or_else(|| ctx.clock().unix_time().as_secs_f64());
            let seconds = seconds.floor() as i64;
            let offset = offset_minutes(seconds, &zone);
            change(ctx, 0, |builder| {
                builder.set_date(seconds, offset);
                Ok(())
            })
        })
        .method("toString() -> string", "the message", |ctx, _| written(ctx))
        .method("toFile() -> File", "the message as a file", |ctx, _| {
            let text = written(ctx)?;
            file_object(ctx, Arc::new(text))
        });
    dkim::builder_method(class, services, |ctx, signer| {
        ctx.charge_memory(SIGNER_OCTETS)?;
        ctx.state_of_this::<BuilderState>()?.signers.lock().push(signer);
        Ok(())
    });
    super::queue::method(class, services, |ctx| Ok(Arc::new(written(ctx)?)));
    super::queue::send_method(class, services, |ctx| Ok(Arc::new(written(ctx)?)));
}

fn written(ctx: &mut CallContext<'_>) -> Result<Vec<u8>, Thrown> {
    let state = ctx.state_of_this::<BuilderState>()?;
    let builder = state.builder.lock();
    charge(ctx, builder.size().saturating_mul(2))?;
    let mut message = Bytes::from(builder.to_message());
    for signer in state.signers.lock().iter() {
        charge(ctx, message.len())?;
        let field = signer.field(&message)?;
        message = [&field[..], &message[..]].concat().into();
    }
    Ok(message.into())
}

/// About what a signature to be made occupies.
const SIGNER_OCTETS: usize = 2048;

/// Changes the message under construction by `octets` or more and returns its object.
fn change(
    ctx: &mut CallContext<'_>,
    octets: usize,
    change: impl FnOnce(&mut Builder) -> Result<(), Thrown>,
) -> Result<Option<Value>, Thrown> {
    let state = ctx.state_of_this::<BuilderState>()?;
    let mut builder = state.builder.lock();
    args::charge_growth(ctx, octets, builder.size().saturating_add(octets))?;
    change(&mut builder)?;
    Ok(ctx.this().map(|this| Value::Object(this.clone())))
}

fn media_type(octets: &[u8]) -> Result<String, Thrown> {
    let text = text(octets, "setType")?;
    if text.contains('/') { Ok(text) } else { Err(Thrown::new("setType() needs a media type")) }
}

fn text(octets: &[u8], name: &str) -> Result<String, Thrown> {
    match str::from_utf8(octets) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => {
            Ok(text.to_owned())
        }
        _ => Err(Thrown::new(format!("{name}() needs printable ASCII"))),
    }
}
