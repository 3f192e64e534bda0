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
        let given = verdict::array_option(options, "dsn")?.cloned().unwrap_or_default();
        let set = context.state::<SetDsn>().and_then(|set| set.0.as_deref());
        let set = set.map(|set| set.given.clone()).unwrap_or_default();
        let dsn = laid_over(set, given);
        if dsn.is_empty() {
            return Ok(Self::default());
        }
        let text = |key: &str| verdict::text_option(&dsn, key);
        let recipient =
            verdict::option(&dsn, "recipient").map(values::parse_recipient).transpose()?;
        let metadata = verdict::array_option(&dsn, "metadata")?.map(values::metadata);
        let headers = verdict::array_option(&dsn, "headers")?.map(Array::values);
        let headers = headers.into_iter().flatten().map(header).collect::<Result<_, _>>()?;
        let readable_mimepart = match verdict::option(&dsn, "readable_mimepart") {
            None => None,
            Some(Value::String(part)) => Some(part.as_bytes().to_vec()),
            Some(_) => return Err(Thrown::new("option readable_mimepart expects a string")),
        };
        let dkim = match verdict::array_option(&dsn, "dkim")? {
            Some(dkim) => {
                let arguments = ["selector", "domain", "key"]
                    .map(|key| dkim.get_text(key).cloned().unwrap_or_default());
                let [selector, domain, key] = arguments;
                let arguments = [selector, domain, key, Value::Array(dkim.clone())];
                let signer = DkimSigner::new(context, &arguments, keys)?;
                Some(signer.ok_or_else(|| Thrown::new("dsn: dkim has no usable private key"))?)
            }
            None => None,
        };
        let from = match dsn.get_text("from") {
            Some(parts @ Value::Array(_)) => Some(values::parse_recipient(parts)?.to_string()),
            _ => text("from")?,
        };
        Ok(Self {
            transportid: text("transportid")?.map(Into::into),
            recipient,
            metadata: metadata.unwrap_or_default(),
            jobid: text("jobid")?.map(Into::into),
            style: Style {
                from,
                from_name: text("from_name")?,
                subject_prepend: text("subject_prepend")?,
                headers,
                readable_mimepart,
                without_original: verdict::option(&dsn, "original_headers")
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
