//! The methods of `MIMEPart`.

use std::sync::Arc;

use bytes::Bytes;
use hsl::host::{CallContext, ClassBuilder, Thrown};
use hsl::value::Value;
use mail_message::edit::EditError;
use mail_message::header::{Field, decode_value, unfold};
use mail_message::mime::Part;
use mail_message::transfer_encoding::TransferEncoding;
use mail_message::{PartId, Tree};
use uuid::Uuid;

use super::Access;
use super::handle::{PartRef, SharedMessage};
use super::options::{index, part_text, thrown, write_options};
use crate::args::{self, Options};
use crate::regex::{pattern_of_object, thrown as regex_thrown};
use crate::regex_engine::Pattern;

/// Adds the methods to a class.
pub(super) fn methods(class: &mut ClassBuilder, access: impl Access) {
    content(class, access.clone());
    headers(class, access.clone());
    header_changes(class, access.clone());
    content_changes(class, access.clone());
    parts(class, access);
}

fn content(class: &mut ClassBuilder, access: impl Access) {
    let get = access.clone();
    class.method("getID() -> string", "the place of the part, such as 1.2", move |ctx, _| {
        let part = get(ctx)?;
        let mut message = part.message.lock();
        if part.part == PartId::TOP {
            return Ok::<_, Thrown>(Value::from("1"));
        }
        Ok(Value::from(tree(ctx, &mut message)?.path(part.part)))
    });
    let get = access.clone();
    class.method("getSize() -> number", "the octets of the part", move |ctx, _| {
        let part = get(ctx)?;
        let mut message = part.message.lock();
        if part.part == PartId::TOP {
            return Ok::<_, Thrown>(message.message().len() as f64);
        }
        let tree = tree(ctx, &mut message)?;
        Ok(tree.part(part.part).map_or(0, |part| part.range.len()) as f64)
    });
    let get = access.clone();
    class.method("getFileName() -> string or none", "the file name, decoded", move |ctx, _| {
        let part = get(ctx)?;
        let message = part.message.lock();
        Ok::<_, Thrown>(message.message().file_name(part.part))
    });
    let get = access.clone();
    class.method("getType() -> string or none", "the media type, lower case", move |ctx, _| {
        let part = get(ctx)?;
        let message = part.message.lock();
        Ok::<_, Thrown>(message.message().content_type(part.part).map(|kind| kind.media_type))
    });
    let get = access.clone();
    class.method(
        "getTypeParameter(string name) -> string or none",
        "a parameter of the media type, decoded",
        move |ctx, args| {
            let part = get(ctx)?;
            let message = part.message.lock();
            let kind = message.message().content_type(part.part);
            let name = args::bytes(args, 0).to_ascii_lowercase();
            Ok::<_, Thrown>(kind.and_then(|kind| kind.parameters.text(&name)))
        },
    );
    let get = access.clone();
    class.method(
        "getBody([array options]) -> string or none",
        "the body without its transfer encoding; option decode",
        move |ctx, args| {
            let decode = Options::new(args, 0).boolean("decode", true)?;
            let part = get(ctx)?;
            let mut message = part.message.lock();
            let message = message.complete(ctx)?;
            let body = match decode {
                true => message.body(part.part),
                false => message.raw_body(part.part),
            };
            let body = body.unwrap_or_default();
            ctx.charge_memory(body.len())?;
            Ok::<_, Thrown>(Value::string(&body))
        },
    );
    for (name, doc, is_preamble) in [
        ("getPreamble() -> string or none", "what stands before the first part", true),
        ("getEpilogue() -> string or none", "what stands behind the last part", false),
    ] {
        let get = access.clone();
        class.method(name, doc, move |ctx, _| {
            let part = get(ctx)?;
            let mut message = part.message.lock();
            let message = message.complete(ctx)?;
            let text = message.text().clone();
            let multipart = message.part(part.part).and_then(|part| part.multipart.as_ref());
            let range = multipart.map(|multipart| match is_preamble {
                true => multipart.preamble.clone(),
                false => multipart.epilogue.clone(),
            });
            Ok::<_, Thrown>(range.and_then(|range| text.get(range).map(Value::from)))
        });
    }
    class.method(
        "getErrors() -> array",
        "what is wrong with the part: bad_header, unclosed_boundary, too_many_parts, too_many_headers",
        move |ctx, _| {
            let part = access(ctx)?;
            let mut message = part.message.lock();
            let tree = tree(ctx, &mut message)?;
            let defects = tree.part(part.part).map(|part| part.defects.clone());
            let names = defects.unwrap_or_default().into_iter().map(|d| Value::from(d.name()));
            Ok::<_, Thrown>(Value::list(names))
        },
    );
}

fn headers(class: &mut ClassBuilder, access: impl Access) {
    let get = access.clone();
    class.method(
        "getHeader(string name [, array options]) -> string or none",
        "the topmost field of the name; options index, field, decode",
        move |ctx, args| {
            let options = Options::new(args, 1);
            let at = index(options)?.unwrap_or(0);
            let reading = Reading::of(options)?;
            let part = get(ctx)?;
            let message = part.message.lock();
            let charset = charset(&message, part.part);
            let view = message.message().view(part.part);
            let field = view.and_then(|view| view.field(args::bytes(args, 0), at));
            Ok::<_, Thrown>(field.map(|field| reading.text(field, charset.as_deref())))
        },
    );
    let get = access.clone();
    class.method(
        "getHeaders(string name [, array options]) -> array",
        "all fields of the name, from the top; options field, decode",
        move |ctx, args| {
            let reading = Reading::of(Options::new(args, 1))?;
            let name = args::bytes(args, 0);
            let part = get(ctx)?;
            let message = part.message.lock();
            let charset = charset(&message, part.part);
            let view = message.message().view(part.part);
            let fields = view.into_iter().flat_map(|view| view.fields());
            let fields = fields.filter(|field| field.name.eq_ignore_ascii_case(name));
            let texts = fields.map(|field| reading.text(field, charset.as_deref()));
            Ok::<_, Thrown>(Value::list(texts))
        },
    );
    class.method(
        "getHeaderNames() -> array",
        "the names of all fields from the top, lower case",
        move |ctx, _| {
            let part = access(ctx)?;
            let message = part.message.lock();
            let view = message.message().view(part.part);
            let fields = view.into_iter().flat_map(|view| view.fields());
            Ok::<_, Thrown>(Value::list(
                fields.map(|field| Value::from(field.name.to_ascii_lowercase())),
            ))
        },
    );
}

/// How the text of a field is wanted.
#[derive(Clone, Copy)]
enum Reading {
    /// The whole field as it came: name, folds and line end. Scripts put fields together into headers
    /// with nothing between them.
    Field,
    /// The value as text.
    Decoded,
    /// The value, unfolded only.
    Raw,
}

impl Reading {
    fn of(options: Options<'_>) -> Result<Self, Thrown> {
        if options.boolean("field", false)? {
            return Ok(Self::Field);
        }
        Ok(if options.boolean("decode", true)? { Self::Decoded } else { Self::Raw })
    }

    fn text(self, field: Field<'_>, charset: Option<&[u8]>) -> Value {
        match self {
            Self::Field => Value::from(field.line),
            Self::Decoded => Value::from(decode_value(field.value, charset)),
            Self::Raw => Value::string(unfold(field.value)),
        }
    }
}

fn charset(message: &SharedMessage, part: PartId) -> Option<Vec<u8>> {
    message.message().content_type(part)?.charset().map(<[u8]>::to_vec)
}

fn header_changes(class: &mut ClassBuilder, access: impl Access) {
    let get = access.clone();
    class.method(
        "setHeader(string name, string value [, array options]) -> number",
        "replaces a field, or adds it below; options index, encode, encoding",
        move |ctx, args| {
            let options = Options::new(args, 2);
            let (at, writing) = (index(options)?, write_options(options)?);
            let (name, value) = (args::bytes(args, 0), args::bytes(args, 1));
            ctx.charge_memory(value.len().saturating_mul(2))?;
            let part = get(ctx)?;
            let mut message = part.message.lock();
            let message = message.message_mut();
            message.set_header(part.part, name, value, at, writing).map_err(thrown)
        },
    );
    let get = access.clone();
    class.method(
        "addHeader(string name, string value [, array options]) -> none",
        "adds a field at the top; options encode, encoding",
        move |ctx, args| {
            let writing = write_options(Options::new(args, 2))?;
            let (name, value) = (args::bytes(args, 0), args::bytes(args, 1));
            ctx.charge_memory(value.len().saturating_mul(2))?;
            let part = get(ctx)?;
            let mut message = part.message.lock();
            message.message_mut().add_header(part.part, name, value, writing).map_err(thrown)
        },
    );
    let get = access.clone();
    class.method(
        "delHeader(string name [, array options]) -> number",
        "deletes all fields of the name, or one; option index",
        move |ctx, args| {
            let at = index(Options::new(args, 1))?;
            let part = get(ctx)?;
            let mut message = part.message.lock();
            let message = message.message_mut();
            message.delete_header(part.part, args::bytes(args, 0), at).map_err(thrown)
        },
    );
    let get = access.clone();
    class.method(
        "renameHeader(string name, string newname) -> number",
        "renames all fields of the name; their values stay as they are",
        move |ctx, args| {
            let (name, new) = (args::bytes(args, 0), args::bytes(args, 1));
            let part = get(ctx)?;
            let mut message = part.message.lock();
            message.message_mut().rename_header(part.part, name, new).map_err(thrown)
        },
    );
    class.method(
        "setDateLater() -> number",
        "has the Date field set when the message is written",
        move |ctx, _| {
            let part = access(ctx)?;
            part.message.lock().message_mut().set_date_later(part.part);
            Ok::<_, Thrown>(1.0)
        },
    );
}

fn content_changes(class: &mut ClassBuilder, access: impl Access) {
    let get = access.clone();
    class.method(
        "setBody(string data [, array options]) -> MIMEPart or none",
        "replaces the body, encoded as it needs, and all parts of a multipart; option encoding",
        move |ctx, args| {
            let encoding = match Options::new(args, 1).bytes("encoding")? {
                None => None,
                Some(name) => Some(TransferEncoding::parse(name).ok_or_else(|| {
                    Thrown::new("option \"encoding\" must be a transfer encoding")
                })?),
            };
            let data = args::bytes(args, 0);
            ctx.charge_memory(data.len().saturating_mul(2))?;
            let part = get(ctx)?;
            let mut message = part.message.lock();
            message.message_mut().set_body(part.part, data, encoding).map_err(thrown)?;
            Ok::<_, Thrown>(this_if(ctx, true))
        },
    );
    for (signature, doc, is_preamble) in [
        ("setPreamble(string text) -> MIMEPart or none", "replaces what precedes the parts", true),
        ("setEpilogue(string text) -> MIMEPart or none", "replaces what follows the parts", false),
    ] {
        let get = access.clone();
        class.method(signature, doc, move |ctx, args| {
            let data = args::bytes(args, 0);
            ctx.charge_memory(data.len())?;
            let part = get(ctx)?;
            let mut message = part.message.lock();
            let message = message.complete(ctx)?;
            let is_done = match is_preamble {
                true => message.set_preamble(part.part, data),
                false => message.set_epilogue(part.part, data),
            };
            Ok::<_, Thrown>(this_if(ctx, is_done))
        });
    }
    for (signature, doc, is_first) in [
        (
            "prependPart(MIME part [, array options]) -> MIMEPart or none",
            "adds a part before the others; option type",
            true,
        ),
        (
            "appendPart(MIME part [, array options]) -> MIMEPart or none",
            "adds a part behind the others; option type",
            false,
        ),
    ] {
        let get = access.clone();
        class.method(signature, doc, move |ctx, args| {
            let media_type = multipart_type(Options::new(args, 1))?;
            let new = Bytes::from(part_text(ctx, &args::take(args, 0))?);
            let boundary = Uuid::new_v4().to_string();
            let part = get(ctx)?;
            let mut message = part.message.lock();
            let message = message.complete(ctx)?;
            let is_done = match is_first {
                true => message.prepend_part(part.part, new, &media_type, &boundary),
                false => message.append_part(part.part, new, &media_type, &boundary),
            };
            Ok::<_, Thrown>(this_if(ctx, refused_is_false(is_done)?))
        });
    }
    let get = access.clone();
    class.method(
        "replacePart(MIME part) -> none",
        "puts another part in the place of this one",
        move |ctx, args| {
            let new = Bytes::from(part_text(ctx, &args::take(args, 0))?);
            let part = get(ctx)?;
            let mut message = part.message.lock();
            message.complete(ctx)?.replace_part(part.part, new).map_err(thrown)
        },
    );
    class.method("remove() -> none", "takes the part out of the message", move |ctx, _| {
        let part = access(ctx)?;
        let mut message = part.message.lock();
        message.complete(ctx)?.remove_part(part.part).map_err(thrown)
    });
}

/// The option `type`: the multipart that is made around a part.
fn multipart_type(options: Options<'_>) -> Result<String, Thrown> {
    let Some(name) = options.bytes("type")? else { return Ok("multipart/mixed".to_owned()) };
    let kind = mail_message::mime::ContentType::parse(name).filter(|kind| kind.is_multipart());
    let kind = kind.ok_or_else(|| Thrown::new("option \"type\" must be a multipart type"))?;
    Ok(kind.media_type)
}

/// A part that cannot go into this multipart gives none, other mistakes throw.
fn refused_is_false(result: Result<bool, EditError>) -> Result<bool, Thrown> {
    match result {
        Err(EditError::DelimiterInside) => Ok(false),
        other => other.map_err(thrown),
    }
}

fn this_if(ctx: &CallContext<'_>, is_done: bool) -> Option<Value> {
    ctx.this().filter(|_| is_done).map(|this| Value::Object(this.clone()))
}

fn parts(class: &mut ClassBuilder, access: impl Access) {
    let get = access.clone();
    class.method(
        "findByType(Regex or string type) -> array",
        "all parts below with a matching media type",
        move |ctx, args| {
            find(ctx, &get(ctx)?, args.first(), |_, part| {
                part.content_type.as_ref().map(|kind| kind.media_type.clone().into_bytes())
            })
        },
    );
    let get = access.clone();
    class.method(
        "findByFileName(Regex or string filename) -> array",
        "all parts below with a matching file name",
        move |ctx, args| {
            find(ctx, &get(ctx)?, args.first(), |message, part| {
                message.message().file_name(part.id)
            })
        },
    );
    let get = access.clone();
    class.method(
        "getByID(string id) -> MIMEPart or none",
        "the part with an ID, here or below",
        move |ctx, args| {
            let part = get(ctx)?;
            let tree = tree(ctx, &mut part.message.lock())?;
            let id = str::from_utf8(args::bytes(args, 0)).ok().and_then(|id| tree.find_path(id));
            let is_inside =
                |id: PartId| id == part.part || tree.descendants(part.part).any(|p| p.id == id);
            match id.filter(|id| is_inside(*id)) {
                Some(id) => object(ctx, &part, id),
                None => Ok(Value::None),
            }
        },
    );
    class.method("getParts() -> array", "the parts right below", move |ctx, _| {
        let part = access(ctx)?;
        let tree = tree(ctx, &mut part.message.lock())?;
        let children = tree.part(part.part).map(|part| part.children.clone());
        objects(ctx, &part, children.unwrap_or_default())
    });
}

/// The parts below whose text matches; a string is looked for anywhere, in any case.
fn find(
    ctx: &mut CallContext<'_>,
    part: &PartRef,
    pattern: Option<&Value>,
    text_of: impl Fn(&SharedMessage, &Part) -> Option<Vec<u8>>,
) -> Result<Value, Thrown> {
    let pattern = match pattern {
        Some(Value::String(text)) => {
            Arc::new(Pattern::with_modifiers(text, b"i").map_err(regex_thrown)?)
        }
        other => other
            .and_then(pattern_of_object)
            .ok_or_else(|| Thrown::new("a pattern must be a Regex or a string"))?,
    };
    let tree = tree(ctx, &mut part.message.lock())?;
    let mut found = Vec::new();
    for below in tree.descendants(part.part) {
        let text = text_of(&part.message.lock(), below);
        if let Some(text) = text
            && pattern.is_match(&text).map_err(regex_thrown)?
        {
            found.push(below.id);
        }
    }
    objects(ctx, part, found)
}

/// The parts of a message, read as a whole for it.
fn tree(ctx: &mut CallContext<'_>, message: &mut SharedMessage) -> Result<Arc<Tree>, Thrown> {
    let tree = message.complete(ctx)?.tree();
    tree.cloned().ok_or_else(|| Thrown::new("the message is not in memory"))
}

fn object(ctx: &mut CallContext<'_>, of: &PartRef, part: PartId) -> Result<Value, Thrown> {
    ctx.instance_of("MIMEPart", PartRef { message: of.message.clone(), part })
}

fn objects(ctx: &mut CallContext<'_>, of: &PartRef, parts: Vec<PartId>) -> Result<Value, Thrown> {
    ctx.charge_memory(parts.len().saturating_mul(OBJECT_OCTETS))?;
    let objects: Result<Vec<_>, _> = parts.into_iter().map(|id| object(ctx, of, id)).collect();
    objects.map(Value::list)
}

/// About what an object with its state occupies.
const OBJECT_OCTETS: usize = 160;
