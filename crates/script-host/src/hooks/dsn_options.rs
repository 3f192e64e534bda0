//! What a script says about a notification: the option `dsn` of `Queue` and `Bounce`.

use std::sync::Arc;

use hsl::host::{CallContext, Thrown};
use hsl::{Array, Value};
use hsl_std::keys::Keys;
use hsl_std::mime::DkimSigner;
use mta_types::{Address, TransportId};

use super::old_functions::laid_over;
use super::{values, verdict};

/// How a notification differs from the usual one.
#[derive(Clone, Default)]
pub struct DsnOptions {
    /// The option as it was given, for what is laid over it later.
    given: Array,
    /// Instead of the transport's `dsn.transport`.
    pub transportid: Option<TransportId>,
    /// Who is told, instead of the sender.
    pub recipient: Option<Address>,
    /// Noted on the notification.
    pub metadata: queue::Metadata,
    /// The job it belongs to.
    pub jobid: Option<mta_types::JobId>,
    /// Its text.
    pub style: Style,
    /// Signs it.
    pub dkim: Option<DkimSigner>,
}

/// The option `dsn` as it is for the rest of the script; lives in the execution.
#[derive(Default)]
pub struct SetDsn(pub Option<Arc<DsnOptions>>);

/// How its text differs.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// Address of the From field.
    pub from: Option<String>,
    /// Display name of the From field.
    pub from_name: Option<String>,
    /// Goes in front of the subject.
    pub subject_prepend: Option<String>,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// A whole MIME part, header and body, in place of the text for people.
    pub readable_mimepart: Option<Vec<u8>>,
    /// Whether the original's header section is left out.
    pub without_original: bool,
}

impl std::fmt::Debug for DsnOptions {
    /// Without the signer, which holds a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DsnOptions")
            .field("transportid", &self.transportid)
            .field("recipient", &self.recipient)
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}

impl DsnOptions {
    /// The option as it was given.
    pub const fn given(&self) -> &Array {
        &self.given
    }

    /// Reads `options["dsn"]`, laid over what the script set before; without both, nothing differs.
    ///
    /// # Errors
    ///
    /// A value of the wrong kind, by name.
    pub fn read(
        context: &mut CallContext<'_>,
        options: &Array,
        keys: &dyn Keys,
    ) -> Result<Self, Thrown> {
        let given = match options.get_text("dsn") {
            None | Some(Value::None) => Array::new(),
            Some(Value::Array(dsn)) => dsn.clone(),
            Some(_) => return Err(Thrown::new("option dsn expects an array")),
        };
        let set = context.state::<SetDsn>().and_then(|set| set.0.as_deref());
        let set = set.map(|set| set.given.clone()).unwrap_or_default();
        let dsn = laid_over(set, given);
        if dsn.is_empty() {
            return Ok(Self::default());
        }
        let recipient = match dsn.get_text("recipient") {
            None | Some(Value::None) => None,
            Some(value) => Some(values::parse_recipient(value)?),
        };
        let metadata = match dsn.get_text("metadata") {
            Some(Value::Array(pairs)) => values::metadata(pairs),
            _ => queue::Metadata::default(),
        };
        let headers = match dsn.get_text("headers") {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Array(list)) => list.values().map(header).collect::<Result<_, _>>()?,
            Some(_) => return Err(Thrown::new("dsn: headers expects an array")),
        };
        let readable_mimepart = match dsn.get_text("readable_mimepart") {
            Some(Value::String(part)) => Some(part.as_bytes().to_vec()),
            _ => None,
        };
        let dkim = match dsn.get_text("dkim") {
            Some(Value::Array(dkim)) => {
                let arguments = ["selector", "domain", "key"]
                    .map(|key| dkim.get_text(key).cloned().unwrap_or_default());
                let [selector, domain, key] = arguments;
                let arguments = [selector, domain, key, Value::Array(dkim.clone())];
                let signer = DkimSigner::new(context, &arguments, keys)?;
                Some(signer.ok_or_else(|| Thrown::new("dsn: dkim has no usable private key"))?)
            }
            _ => None,
        };
        let from = match dsn.get_text("from") {
            Some(parts @ Value::Array(_)) => Some(values::parse_recipient(parts)?.to_string()),
            _ => verdict::text(&dsn, "from"),
        };
        Ok(Self {
            transportid: verdict::text(&dsn, "transportid").map(Into::into),
            recipient,
            metadata,
            jobid: verdict::text(&dsn, "jobid").map(Into::into),
            style: Style {
                from,
                from_name: verdict::text(&dsn, "from_name"),
                subject_prepend: verdict::text(&dsn, "subject_prepend"),
                headers,
                readable_mimepart,
                without_original: dsn
                    .get_text("original_headers")
                    .is_some_and(|value| !value.is_truthy()),
            },
            dkim,
            given: dsn,
        })
    }
}

/// A field of the list `headers`: `Name: value`.
fn header(value: &Value) -> Result<(String, String), Thrown> {
    let text = values::text(value);
    let field = text
        .split_once(':')
        .filter(|(name, _)| !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic()));
    match field {
        Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
        None => Err(Thrown::new(format!("dsn: {text:?} is no header field"))),
    }
}
