//! Messages as JSON, by the proto3 mapping, as the reference product prints it.
//!
//! Fields keep their protobuf names (`serverid`, `hqfpath`), enums print by name, 64-bit numbers print
//! as texts (`"pid": "145"`), octets as base64. Fields that are empty, zero or false are printed;
//! members of a oneof and single messages only when present. On the way in, either spelling of names,
//! numbers as texts or numbers, and enums by name or number are read; unknown members are refused.

use std::sync::LazyLock;

use prost::{
    Message, Name,
    encoding::{self, DecodeContext, WireType},
};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use crate::command::Command;

/// The compiled schemas, a `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // The build script wrote them from sources that compiled.
    DescriptorPool::decode(DESCRIPTORS).expect("embedded descriptors are valid")
});

/// Why a message could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The octets are no such message.
    #[error("not a valid {message}")]
    Decode {
        /// The message, without its package.
        message: String,
        /// What is wrong with the octets.
        #[source]
        source: prost::DecodeError,
    },
    /// The JSON does not fit the message.
    #[error("not the JSON form of a {message}")]
    Read {
        /// The message, without its package.
        message: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The message has no JSON form, such as a number that is not finite in a map key.
    #[error("a {message} has no JSON form")]
    Write {
        /// The message, without its package.
        message: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The command carries no message in this direction, but one was given.
    #[error("the command \"{command}\" takes no payload")]
    NoMessage {
        /// The name of the command.
        command: &'static str,
    },
}

/// All messages of the protocol.
pub fn descriptors() -> &'static DescriptorPool {
    &POOL
}

/// The descriptor of a message by its name without package.
pub fn message(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(&format!("smtpd.{name}"))
}

/// The message that a command takes.
pub fn request_of(command: &Command) -> Option<MessageDescriptor> {
    command.request.and_then(message)
}

/// The message that a command answers with.
pub fn response_of(command: &Command) -> Option<MessageDescriptor> {
    command.response.and_then(message)
}

/// Maps an encoded message to JSON. Maps are ordered by key, fields as in the schema.
///
/// # Errors
///
/// [`JsonError::Decode`] for octets that are no such message.
pub fn to_json(descriptor: &MessageDescriptor, octets: &[u8]) -> Result<Value, JsonError> {
    let name = || descriptor.name().to_owned();
    let message = DynamicMessage::decode(descriptor.clone(), octets)
        .map_err(|source| JsonError::Decode { message: name(), source })?;
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    let mut value = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|source| JsonError::Write { message: name(), source })?;
    sort_maps(descriptor, &mut value);
    Ok(value)
}

/// Reads the JSON form of a message and encodes it.
///
/// # Errors
///
/// [`JsonError::Read`] for JSON that does not fit; its source names the member.
pub fn from_json(descriptor: &MessageDescriptor, value: &Value) -> Result<Vec<u8>, JsonError> {
    DynamicMessage::deserialize(descriptor.clone(), value)
        .map(|message| message.encode_to_vec())
        .map_err(|source| JsonError::Read { message: descriptor.name().to_owned(), source })
}

/// Maps a message to JSON.
///
/// # Errors
///
/// As [`to_json`]; not for messages of [`crate::pb`] whose numbers are finite.
pub fn print<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    to_json(&descriptor_of::<M>(), &message.encode_to_vec())
}

/// Reads a message from JSON.
///
/// # Errors
///
/// As [`from_json`].
pub fn read<M: Message + Name + Default>(value: &Value) -> Result<M, JsonError> {
    let octets = from_json(&descriptor_of::<M>(), value)?;
    M::decode(octets.as_slice())
        .map_err(|source| JsonError::Decode { message: M::NAME.to_owned(), source })
}

/// Encodes the request of `command` from its JSON form, for the HTTP door.
///
/// `payload` is `None` or `null` where the caller gave none: the request is then empty.
///
/// # Errors
///
/// As [`from_json`], and [`JsonError::NoMessage`] for a payload that the command has no use for.
pub fn request_from_json(
    command: &'static Command,
    payload: Option<&Value>,
) -> Result<Vec<u8>, JsonError> {
    let payload = payload.filter(|value| !value.is_null());
    match (request_of(command), payload) {
        (_, None) => Ok(Vec::new()),
        (Some(descriptor), Some(value)) => from_json(&descriptor, value),
        (None, Some(value)) if value.as_object().is_some_and(serde_json::Map::is_empty) => {
            Ok(Vec::new())
        }
        (None, Some(_)) => Err(JsonError::NoMessage { command: command.name }),
    }
}

/// Maps the answer to `command` to JSON; `{}` for commands that answer with nothing.
///
/// # Errors
///
/// As [`to_json`].
pub fn response_to_json(command: &Command, octets: &[u8]) -> Result<Value, JsonError> {
    match response_of(command) {
        Some(descriptor) => to_json(&descriptor, octets),
        None => Ok(Value::Object(serde_json::Map::new())),
    }
}

/// Reads a typed message through its descriptor.
pub(crate) fn to_dynamic<M: Message + Name>(message: &M) -> DynamicMessage {
    DynamicMessage::decode(descriptor_of::<M>(), message.encode_to_vec().as_slice())
        // The same schema wrote the octets.
        .expect("an encoded message can be decoded")
}

/// The rows of an encoded list answer, one at a time: a list of a million messages has no room in
/// memory as JSON.
///
/// `None` where the answer of `command` is no list of messages.
pub fn rows<'a>(command: &Command, octets: &'a [u8]) -> Option<Rows<'a>> {
    let field = response_of(command)?.fields().find(|field| ROWS.contains(&field.name()))?;
    let item = field.is_list().then(|| field.kind().as_message().cloned()).flatten()?;
    Some(Rows { item, number: field.number(), rest: octets })
}

/// The names of the rows in list answers.
const ROWS: &[&str] = &["items", "item", "connections"];

/// Iterates over the rows of a list answer, as JSON.
#[derive(Debug)]
pub struct Rows<'a> {
    item: MessageDescriptor,
    number: u32,
    rest: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Finds the octets of the next row.
    fn next_octets(&mut self) -> Result<Option<&'a [u8]>, prost::DecodeError> {
        while !self.rest.is_empty() {
            let (number, wire_type) = encoding::decode_key(&mut self.rest)?;
            let mut field = self.rest;
            // Fails where the field ends after the octets.
            encoding::skip_field(wire_type, number, &mut self.rest, DecodeContext::default())?;
            if number == self.number && wire_type == WireType::LengthDelimited {
                field = &field[..field.len() - self.rest.len()];
                encoding::decode_varint(&mut field)?;
                return Ok(Some(field));
            }
        }
        Ok(None)
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Value, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_octets() {
            Ok(row) => row.map(|row| to_json(&self.item, row)),
            Err(source) => {
                // Nothing can be told apart after an error.
                self.rest = &[];
                Some(Err(JsonError::Decode { message: self.item.name().to_owned(), source }))
            }
        }
    }
}

fn descriptor_of<M: Name>() -> MessageDescriptor {
    // Types and descriptors come from the same files in one build.
    POOL.get_message_by_name(&M::full_name()).expect("generated types have descriptors")
}

/// Orders the members of every map field: the library keeps them in no order.
fn sort_maps(descriptor: &MessageDescriptor, value: &mut Value) {
    let Value::Object(members) = value else { return };
    for field in descriptor.fields() {
        let Some(member) = members.get_mut(field.name()) else { continue };
        let kind = field.kind();
        let Some(inner) = kind.as_message() else { continue };
        match member {
            Value::Object(map) if field.is_map() => {
                map.sort_keys();
                let entry = inner.map_entry_value_field().kind();
                if let Some(entry) = entry.as_message() {
                    map.values_mut().for_each(|value| sort_maps(entry, value));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| sort_maps(inner, item)),
            single => sort_maps(inner, single),
        }
    }
}
