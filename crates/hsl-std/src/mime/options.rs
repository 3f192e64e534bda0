//! Options and values that the classes of the chapter share.

use hsl::host::{CallContext, Thrown};
use hsl::value::Value;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mail_message::date;
use mail_message::edit::EditError;
use mail_message::header::{HeaderEncoding, WriteOptions};

use super::builder::builder_of_object;
use super::handle::{PartRef, unreadable};
use crate::args::Options;

/// `encode` and `encoding` of the methods that write a field.
pub(super) fn write_options(options: Options<'_>) -> Result<WriteOptions, Thrown> {
    let encoding = match options.bytes("encoding")? {
        None | Some(b"quoted-printable") => HeaderEncoding::QuotedPrintable,
        Some(b"base64") => HeaderEncoding::Base64,
        Some(_) => {
            let message = "option \"encoding\" must be base64 or quoted-printable";
            return Err(Thrown::new(message));
        }
    };
    Ok(WriteOptions { encode: options.boolean("encode", true)?, encoding })
}

/// The option `index`, if it is given. `Err(None)` stands for an index that no field has.
pub(super) fn index(options: Options<'_>) -> Result<Option<usize>, Thrown> {
    Ok(match options.number("index")? {
        None => None,
        Some(index) if index >= 0.0 => Some(index as usize),
        Some(_) => Some(usize::MAX),
    })
}

/// The text of a part that is an argument: of a `MIME`, a `MailMessage` with its changes, or a
/// `MIMEPart` as it came.
pub(super) fn part_text(ctx: &mut CallContext<'_>, value: &Value) -> Result<Vec<u8>, Thrown> {
    if let Some(builder) = builder_of_object(value) {
        let builder = builder.lock();
        charge(ctx, builder.size())?;
        return Ok(builder.to_part());
    }
    let part = value.as_object().and_then(|object| object.state::<PartRef>());
    let Some(part) = part else {
        return Err(Thrown::new("a part must be a MIME, MIMEPart or MailMessage"));
    };
    let date = date_of_now(ctx, &TimeZone::UTC);
    let mut message = part.message.lock();
    if part.part == mail_message::PartId::TOP {
        let len = message.message().output(&date).len();
        charge(ctx, usize::try_from(len).unwrap_or(usize::MAX))?;
        return Ok(message.to_octets(&date).map_err(unreadable)?.into());
    }
    let view = message.complete(ctx)?.view(part.part);
    let text = view.map(|view| view.text).unwrap_or_default();
    charge(ctx, text.len())?;
    Ok(text.to_vec())
}

/// Accounts for a text that is about to be written: parts within parts are written again at each level.
pub(super) fn charge(ctx: &mut CallContext<'_>, octets: usize) -> Result<(), Thrown> {
    ctx.charge_fuel((octets / OCTETS_PER_STEP) as u64);
    ctx.charge_memory(octets)
}

/// Octets that are copied in the time of a step of the machine.
const OCTETS_PER_STEP: usize = 256;

/// The value of a `Date` field for the present time of the execution.
pub fn date_of_now(ctx: &CallContext<'_>, zone: &TimeZone) -> String {
    date_of(ctx.clock().unix_time().as_secs_f64(), zone)
}

/// The value of a `Date` field.
pub(super) fn date_of(seconds: f64, zone: &TimeZone) -> String {
    let seconds = seconds as i64;
    date::format(seconds, offset_minutes(seconds, zone))
}

/// What the zone adds to UTC.
pub(super) fn offset_minutes(seconds: i64, zone: &TimeZone) -> i32 {
    let timestamp = Timestamp::from_second(seconds).unwrap_or_default();
    zone.to_offset(timestamp).seconds() / 60
}

/// A change that cannot be made, as scripts see it.
pub(super) fn thrown(error: EditError) -> Thrown {
    Thrown::new(error.to_string())
}
