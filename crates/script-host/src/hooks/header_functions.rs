//! `GetHeader` and its kin: functions of older scripts for the header of the message.

use bytes::Bytes;
use hsl::Value;
use hsl::host::{CallContext, Registry, Thrown};
use hsl_std::mime::MessageHandle;
use mail_message::PartId;
use mail_message::edit::EditError;
use mail_message::header::{Field, HeaderSection, WriteOptions, decode_value, unfold};
use mail_message::mime::{ContentType, Part};

/// Registers the functions; `message` finds the message of the execution.
pub(super) fn register<F>(registry: &mut Registry, message: F)
where
    F: Fn(&mut CallContext<'_>) -> Result<MessageHandle, Thrown> + Clone + Send + Sync + 'static,
{
    let find = message.clone();
    registry.function(
        "GetHeader(string name, boolean decode = true) -> string or none",
        "The value of the topmost field of the name.",
        move |context: &mut CallContext<'_>, args| {
            let mut texts = texts(&find(context)?, args.first(), is_wanted(args.get(1)));
            Ok::<_, Thrown>(texts.next().unwrap_or_default())
        },
    );
    let find = message.clone();
    registry.function(
        "GetHeaders(string or boolean name, boolean decode = true) -> array",
        "The values of all fields of the name; with true, all fields with their names.",
        move |context: &mut CallContext<'_>, args| {
            let texts = texts(&find(context)?, args.first(), is_wanted(args.get(1)));
            Ok::<_, Thrown>(Value::list(texts))
        },
    );
    let find = message.clone();
    registry.function(
        "GetDSNHeader(string name, boolean skip_decode = false) -> string or none",
        "The value of the topmost field of the name in the message that a notification returns.",
        move |context: &mut CallContext<'_>, args| {
            let message = find(context)?;
            let Some(header) = returned_header(context, &message)? else {
                return Ok::<_, Thrown>(Value::None);
            };
            let name = octets(args.first());
            let section = HeaderSection::parse(&header);
            let Some(field) = section.first(&header, &name) else { return Ok(Value::None) };
            let is_raw = args.get(1).is_some_and(Value::is_truthy);
            let charset = ContentType::of(&section, &header);
            let charset = charset.as_ref().and_then(|kind| kind.charset());
            Ok(match is_raw {
                true => Value::string(unfold(field.value)),
                false => Value::string(decode_value(field.value, charset)),
            })
        },
    );
    let find = message.clone();
    registry.function(
        "AddHeader(string name, string value, boolean refold = true) -> none",
        "Adds a field at the top.",
        move |context: &mut CallContext<'_>, args| {
            let message = find(context)?;
            let (name, value) = (octets(args.first()), octets(args.get(1)));
            let options = writing(args.get(2));
            message
                .lock()
                .message_mut()
                .add_header(PartId::TOP, &name, &value, options)
                .map_err(|error| thrown(&error))?;
            Ok::<_, Thrown>(Value::None)
        },
    );
    type Change = fn(&[u8], &[u8]) -> Vec<u8>;
    let changes: [(&str, &str, Change); 3] = [
        (
            "SetHeader(string name, string value, boolean refold = true) -> number",
            "Replaces all fields of the name, or adds one.",
            |_, given| given.to_vec(),
        ),
        (
            "PrependHeader(string name, string value, boolean refold = true) -> number",
            "Puts text before the values of all fields of the name, or adds one.",
            |value, given| [given, value].concat(),
        ),
        (
            "AppendHeader(string name, string value, boolean refold = true) -> number",
            "Puts text behind the values of all fields of the name, or adds one.",
            |value, given| [value, given].concat(),
        ),
    ];
    for (signature, doc, change) in changes {
        let find = message.clone();
        registry.function(signature, doc, move |context: &mut CallContext<'_>, args| {
            let message = find(context)?;
            let (name, given) = (octets(args.first()), octets(args.get(1)));
            let options = writing(args.get(2));
            let before: Vec<Value> = texts(&message, args.first(), options.encode).collect();
            let mut message = message.lock();
            let message = message.message_mut();
            let mut count = 0;
            for (index, value) in before.iter().enumerate() {
                let value = change(value.as_bytes().unwrap_or_default(), &given);
                count += message
                    .set_header(PartId::TOP, &name, &value, Some(index), options)
                    .map_err(|error| thrown(&error))?;
            }
            if before.is_empty() {
                count = message
                    .set_header(PartId::TOP, &name, &given, None, options)
                    .map_err(|error| thrown(&error))?;
            }
            Ok::<_, Thrown>(Value::from(count))
        });
    }
    registry.function(
        "DelHeader(string name) -> number",
        "Deletes all fields of the name.",
        move |context: &mut CallContext<'_>, args| {
            let message = message(context)?;
            let count = message
                .lock()
                .message_mut()
                .delete_header(PartId::TOP, &octets(args.first()), None)
                .map_err(|error| thrown(&error))?;
            Ok::<_, Thrown>(Value::from(count))
        },
    );
}

/// The message that came back with a notification, or its header section (RFC 6522 §3, RFC 6533 §4).
fn returned_header(
    context: &mut CallContext<'_>,
    message: &MessageHandle,
) -> Result<Option<Bytes>, Thrown> {
    let mut message = message.lock();
    let message = message.complete(context)?;
    let Some(tree) = message.tree().cloned() else { return Ok(None) };
    let is_returned = |part: &&Part| {
        let kind = part.content_type.as_ref().map(|kind| kind.media_type.as_str());
        matches!(
            kind,
            Some(
                "message/rfc822"
                    | "text/rfc822-headers"
                    | "message/global"
                    | "message/global-headers"
            )
        )
    };
    let part = tree.parts().iter().find(is_returned).map(|part| part.id);
    Ok(part.and_then(|id| message.body(id)))
}

/// The texts of the fields of a name as they came; `true` stands for all fields, names included.
fn texts(
    message: &MessageHandle,
    name: Option<&Value>,
    decode: bool,
) -> impl Iterator<Item = Value> + use<> {
    let message = message.lock();
    let message = message.message();
    let kind = message.content_type(PartId::TOP);
    let charset = kind.as_ref().and_then(|kind| kind.charset());
    let value = |field: &Field<'_>| match decode {
        true => decode_value(field.value, charset).to_vec(),
        false => unfold(field.value).to_vec(),
    };
    let mut out = Vec::new();
    for field in message.view(PartId::TOP).into_iter().flat_map(|view| view.fields()) {
        match name {
            Some(Value::Bool(true)) => {
                let whole = [field.name, b": ", &value(&field)].concat();
                out.push(Value::string(&whole));
            }
            Some(name) if field.name.eq_ignore_ascii_case(&octets(Some(name))) => {
                out.push(Value::string(value(&field)));
            }
            _ => {}
        }
    }
    out.into_iter()
}

fn octets(value: Option<&Value>) -> Vec<u8> {
    value.and_then(Value::as_bytes).unwrap_or_default().to_vec()
}

/// A boolean argument that is true unless given.
fn is_wanted(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_none() || value.is_truthy())
}

fn writing(refold: Option<&Value>) -> WriteOptions {
    WriteOptions { encode: is_wanted(refold), ..WriteOptions::default() }
}

fn thrown(error: &EditError) -> Thrown {
    Thrown::new(error.to_string())
}
