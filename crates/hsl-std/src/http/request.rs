//! What a call of `http` asks for: URL, headers, payload, and how to get there.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use hsl::host::{CallContext, Thrown};
use hsl::value::{Array, Value};
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use tls_policy::Identity;
use url::Url;

use super::body::Pieces;
use super::tls_boolean;
use crate::args::{self, Options};
use crate::encoding::base::url_encode;
use crate::keys::Keys;
use crate::output::{self, Output, Stop};
use crate::services::Names;

/// One request, ready to be sent and, unless its payload is made by a function, to be repeated.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) method: Method,
    /// The script's own headers; `None` takes a header away that is sent otherwise.
    pub(super) headers: Vec<(HeaderName, Option<HeaderValue>)>,
    pub(super) payload: Payload,
    pub(super) settings: Settings,
}

impl Request {
    /// The same request, to be sent again. One whose payload a function makes has none any more.
    pub(super) fn again(&self) -> Self {
        let payload = match &self.payload {
            Payload::Octets(octets, kind) => Payload::Octets(octets.clone(), *kind),
            Payload::None | Payload::Pieces(_) => Payload::None,
        };
        Self {
            url: self.url.clone(),
            method: self.method.clone(),
            headers: self.headers.clone(),
            payload,
            settings: self.settings.clone(),
        }
    }
}

/// The body to send.
pub(super) enum Payload {
    None,
    /// Octets and their content type, if it is not the script's business.
    Octets(Bytes, Option<&'static str>),
    /// Made by the script; sent once.
    Pieces(Pieces),
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Octets(..) => "Octets",
            Self::Pieces(_) => "Pieces",
        })
    }
}

/// How to get there, and how long it may take.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) connect_timeout: Duration,
    /// Silence that ends the request; none is endless.
    pub(super) timeout: Option<Duration>,
    /// Octets of an answer.
    pub(super) max_file_size: Option<u64>,
    pub(super) source: Option<IpAddr>,
    /// Redirects to follow; -1 for as many as there are.
    pub(super) redirects: i64,
    pub(super) tls: TlsSettings,
    pub(super) proxy: Proxy,
    pub(super) unix_socket: Option<String>,
    /// Whether the payload can be sent only once.
    pub(super) is_once: bool,
}

/// What the certificate must be, and what we show.
#[derive(Clone, Debug)]
pub(super) struct TlsSettings {
    pub(super) verify_peer: bool,
    pub(super) verify_host: bool,
    pub(super) default_ca: bool,
    pub(super) identity: Option<(String, Identity)>,
}

/// Whether to go through a proxy.
#[derive(Clone, Debug)]
pub(super) enum Proxy {
    /// As the environment says.
    System,
    /// No.
    None,
    /// Through this one; `http://` only.
    At(Url),
}

/// What the script wants back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) extended_result: bool,
    pub(super) response_headers: bool,
    pub(super) background: Option<Job>,
}

/// How a request runs in the background.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// The queue, modulo the queues there are.
    pub(super) hash: u64,
    pub(super) retry_count: u64,
    pub(super) retry_delay: Duration,
}

/// Reads the arguments of a call; a post by function is left for the caller. `None` when there is nothing
/// that could be asked: the URL is none, or none of HTTP.
///
/// # Errors
///
/// For an option or a header that is none, and values that cannot be sent.
pub(super) fn read(
    ctx: &mut CallContext<'_>,
    args: &[Value],
    names: &dyn Names,
    keys: &dyn Keys,
) -> Result<Option<(Request, Wanted)>, Thrown> {
    let options = Options::new(args, 1);
    let most = ctx.limits().memory;
    let values = args.get(2).and_then(Value::as_array);
    let url = made(ctx, with_values(args::bytes(args, 0), values, most))?;
    let post = args.get(3).unwrap_or(&Value::None);
    let payload = match post {
        Value::String(body) => {
            ctx.charge_memory(body.len())?;
            Payload::Octets(Bytes::copy_from_slice(body), Some(FORM))
        }
        Value::Array(fields) => {
            let body = made(ctx, form(fields, most))?.unwrap_or_default();
            Payload::Octets(body.into(), Some(FORM))
        }
        _ => Payload::None,
    };
    let method = match options.bytes("method")? {
        None if post.is_none() => Method::GET,
        None => Method::POST,
        Some(name) => Method::from_bytes(name)
            .map_err(|_| Thrown::new("option \"method\" is no HTTP method"))?,
    };
    let (headers, settings) = (headers(options)?, settings(options, names, keys)?);
    let background = match options.boolean("background", false)? {
        false => None,
        true => Some(Job {
            hash: count(options, "background_hash")?,
            retry_count: count(options, "background_retry_count")?,
            retry_delay: seconds(options, "background_retry_delay")?.unwrap_or_default(),
        }),
    };
    let wanted = Wanted {
        extended_result: options.boolean("extended_result", false)?,
        response_headers: options.boolean("response_headers", false)?,
        background,
    };
    // Mistakes in options are the script's; a URL is often somebody else's.
    let url = url.and_then(|url| Url::parse(&with_scheme(str::from_utf8(&url).ok()?)).ok());
    let url =
        url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    Ok(url.map(|url| (Request { url, method, headers, payload, settings }, wanted)))
}

/// Why a URL or a form is not made.
enum Refused {
    Thrown(Thrown),
    Stop(Stop),
}

impl From<Thrown> for Refused {
    fn from(thrown: Thrown) -> Self {
        Self::Thrown(thrown)
    }
}

impl From<Stop> for Refused {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

fn made(
    ctx: &mut CallContext<'_>,
    result: Result<Vec<u8>, Refused>,
) -> Result<Option<Vec<u8>>, Thrown> {
    let result = match result {
        Ok(octets) => Ok(octets),
        Err(Refused::Thrown(thrown)) => return Err(thrown),
        Err(Refused::Stop(stop)) => Err(stop),
    };
    output::finish(ctx, result)
}

fn settings(options: Options<'_>, names: &dyn Names, keys: &dyn Keys) -> Result<Settings, Thrown> {
    let source = match (options.bytes("sourceip")?, options.bytes("sourceipid")?) {
        (Some(ip), _) => {
            let ip = str::from_utf8(ip).ok().and_then(|ip| ip.parse().ok());
            Some(ip.ok_or_else(|| Thrown::new("option \"sourceip\" must be an IP address"))?)
        }
        (None, Some(id)) => {
            let id = String::from_utf8_lossy(id);
            let unknown = || Thrown::new(format!("option \"sourceipid\": no address \"{id}\""));
            Some(names.source_address(&id).ok_or_else(unknown)?)
        }
        (None, None) => None,
    };
    let max_file_size = options.number("max_file_size")?;
    Ok(Settings {
        connect_timeout: seconds(options, "connect_timeout")?.unwrap_or(CONNECT_TIMEOUT),
        timeout: seconds(options, "timeout")?.filter(|timeout| !timeout.is_zero()),
        max_file_size: max_file_size.map(|octets| octets.max(0.0) as u64),
        source,
        redirects: options.number("redirects")?.unwrap_or(0.0) as i64,
        tls: tls(options, keys)?,
        proxy: proxy(options)?,
        unix_socket: options
            .bytes("unix_socket_path")?
            .map(|path| String::from_utf8_lossy(path).into_owned()),
        is_once: false,
    })
}

fn tls(options: Options<'_>, keys: &dyn Keys) -> Result<TlsSettings, Thrown> {
    let verify_peer = tls_boolean(options, "tls_verify_peer", true)?;
    let verify_host = tls_boolean(options, "tls_verify_host", false)?;
    if verify_host && !verify_peer {
        // A name that nobody vouches for proves nothing.
        return Err(Thrown::new("option \"tls_verify_host\" needs \"tls_verify_peer\""));
    }
    let client_cert = match options.bytes("tls_client_cert")? {
        None => options.bytes("ssl_client_cert")?,
        given => given,
    };
    let identity = match client_cert {
        None => None,
        Some(name) => {
            let name = String::from_utf8_lossy(name);
            let id = name.strip_prefix("pki:").unwrap_or(&name);
            let entry = keys.find(id);
            let pem = entry.as_ref().and_then(|entry| entry.pem());
            let identity = pem.and_then(|(chain, key)| Identity::from_pem(chain, key).ok());
            let identity = identity.ok_or_else(|| {
                Thrown::new(format!(
                    "option \"tls_client_cert\": pki:{id} has no certificate with a private key"
                ))
            })?;
            Some((id.to_owned(), identity))
        }
    };
    let default_ca = tls_boolean(options, "tls_default_ca", false)?;
    Ok(TlsSettings { verify_peer, verify_host, default_ca, identity })
}

fn proxy(options: Options<'_>) -> Result<Proxy, Thrown> {
    let Some(text) = options.bytes("proxy")? else { return Ok(Proxy::System) };
    if text.is_empty() {
        return Ok(Proxy::None);
    }
    match Url::parse(&with_scheme(&String::from_utf8_lossy(text))) {
        Ok(url) if url.scheme() == "http" && url.host_str().is_some() => Ok(Proxy::At(url)),
        _ => Err(Thrown::new("option \"proxy\" must be an http:// URL or host:port")),
    }
}

/// Compat: what names no scheme is meant to be http, as scripts write `host:port/path`.
fn with_scheme(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let is_scheme =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => Cow::Borrowed(text),
        _ => Cow::Owned(format!("http://{text}")),
    }
}

/// Reads the option `headers`: `"Name: value"`; `"Name:"` takes away one that is sent otherwise, and
/// `"Name;"` sends one without value.
fn headers(options: Options<'_>) -> Result<Vec<(HeaderName, Option<HeaderValue>)>, Thrown> {
    let mut list = Vec::new();
    for item in options.array("headers")?.into_iter().flat_map(Array::values) {
        let text = item.as_bytes().unwrap_or_default();
        let (name, value) = match memchr::memchr2(b':', b';', text) {
            Some(at) => {
                let value = text.get(at + 1..).unwrap_or_default().trim_ascii();
                let is_removed = value.is_empty() && text.get(at) == Some(&b':');
                (text.get(..at).unwrap_or_default(), (!is_removed).then_some(value))
            }
            None => (text, None),
        };
        let shown = name.escape_ascii();
        let name = HeaderName::from_bytes(name).map_err(|_| {
            Thrown::new(format!("option \"headers\": \"{shown}\" is no \"Name: value\""))
        })?;
        // Not shown: values are often secrets.
        let value = value.map(HeaderValue::from_bytes).transpose().map_err(|_| {
            Thrown::new(format!(
                "option \"headers\": the value of \"{shown}\" has a line break or another control character"
            ))
        })?;
        list.push((name, value));
    }
    Ok(list)
}

/// Replaces `$1`, `$2` … by the values of `get`, encoded; a number without value stays.
fn with_values(url: &[u8], get: Option<&Array>, most: usize) -> Result<Vec<u8>, Refused> {
    let values: Vec<&Value> = get.into_iter().flat_map(Array::values).collect();
    let mut out = Output::new(most);
    let mut rest = url;
    while let Some(at) = memchr::memchr(b'$', rest) {
        let (before, mark) = rest.split_at(at);
        out.extend(before)?;
        let digits = mark.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = mark.split_at(1 + digits);
        let number = number.get(1..).and_then(|digits| str::from_utf8(digits).ok());
        let number = number.and_then(|digits| digits.parse::<usize>().ok());
        match number.and_then(|number| values.get(number.checked_sub(1)?)) {
            Some(value) => out.extend(&url_encode(&scalar(value)?))?,
            None => out.extend(mark.get(..1 + digits).unwrap_or_default())?,
        }
        rest = after;
    }
    out.extend(rest)?;
    Ok(out.into_octets())
}

/// Form fields as `application/x-www-form-urlencoded`; a list gives its field several times.
fn form(fields: &Array, most: usize) -> Result<Vec<u8>, Refused> {
    let mut out = Output::new(most);
    for (name, value) in fields {
        let name = scalar(&name.to_value())?;
        match value {
            Value::Array(values) => {
                for value in values.values() {
                    field(&mut out, &name, value)?;
                }
            }
            value => field(&mut out, &name, value)?,
        }
    }
    Ok(out.into_octets())
}

fn field(out: &mut Output, name: &[u8], value: &Value) -> Result<(), Refused> {
    if !out.is_empty() {
        out.push(b'&')?;
    }
    out.extend(&url_encode(name))?;
    out.push(b'=')?;
    out.extend(&url_encode(&scalar(value)?))?;
    Ok(())
}

fn scalar(value: &Value) -> Result<Vec<u8>, Thrown> {
    match value {
        Value::String(text) => Ok(text.to_vec()),
        Value::Number(_) | Value::Bool(_) => Ok(hsl::ops::to_text(value).to_vec()),
        Value::None => Ok(Vec::new()),
        other => {
            let given = other.type_of().name();
            Err(Thrown::new(format!("http() cannot send a value of type {given}")))
        }
    }
}

fn seconds(options: Options<'_>, name: &str) -> Result<Option<Duration>, Thrown> {
    let Some(number) = options.number(name)? else { return Ok(None) };
    let duration = Duration::try_from_secs_f64(number).ok().filter(|time| *time < FOREVER);
    let wrong = || Thrown::new(format!("option \"{name}\" must be a number of seconds"));
    duration.map(Some).ok_or_else(wrong)
}

fn count(options: Options<'_>, name: &str) -> Result<u64, Thrown> {
    match options.number(name)? {
        None => Ok(0),
        Some(number) if number >= 0.0 => Ok(number as u64),
        Some(_) => Err(Thrown::new(format!("option \"{name}\" must not be negative"))),
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer waits than a year are mistakes, and clocks cannot add them.
const FOREVER: Duration = Duration::from_secs(366 * 24 * 3600);
const FORM: &str = "application/x-www-form-urlencoded";

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str, values: &[&str]) -> String {
        let values: Array = match Value::list(values.iter().map(|value| Value::from(*value))) {
            Value::Array(array) => array,
            _ => Array::new(),
        };
        let made = with_values(text.as_bytes(), Some(&values), 1000);
        String::from_utf8(made.unwrap_or_default()).unwrap()
    }

    #[test]
    fn get_values_are_encoded_in_their_places() {
        assert_eq!(url("http://h/?a=$1&b=$2", &["x y", "&"]), "http://h/?a=x%20y&b=%26");
        assert_eq!(url("http://h/$3/$0/$", &["a"]), "http://h/$3/$0/$");
        let ten: Vec<String> = (1..=10).map(|n| format!("v{n}")).collect();
        let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
        assert_eq!(url("$10$1", &ten), "v10v1");
    }

    #[test]
    fn forms_repeat_the_fields_of_lists() {
        let fields = Value::map([
            ("a b", Value::from("1&2")),
            ("list", Value::list([Value::from(1), Value::Bool(true)])),
        ]);
        let body = form(fields.as_array().unwrap(), 1000).unwrap_or_default();
        assert_eq!(String::from_utf8(body).unwrap(), "a%20b=1%262&list=1&list=true");
    }
}
