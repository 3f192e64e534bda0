//! Where a request goes: the peer, the way there, and what connections it may share.

use std::fmt::Write as _;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Url};

use super::client::HttpError;
use super::request::{Proxy, Settings};
use crate::encoding::base::base64_encode;

/// One hop of a request, redirects being further ones.
pub(super) struct Target {
    /// Name or address of the server, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether TLS is spoken with the server.
    pub(super) is_tls: bool,
    pub(super) way: Way,
    /// What goes into `Host`.
    pub(super) authority: String,
    /// What goes into the request line.
    pub(super) uri: Uri,
}

/// How the server is reached.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Way {
    /// By its own address.
    Direct,
    /// Through a Unix socket.
    Unix(String),
    /// Through a proxy, with the value of `Proxy-Authorization`.
    Proxy { host: String, port: u16, authorization: Option<Vec<u8>> },
}

/// What makes connections interchangeable.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct PoolKey(String);

impl Target {
    /// Finds out where `url` goes.
    ///
    /// # Errors
    ///
    /// When the environment names a proxy of a kind that is not spoken.
    pub(super) fn new(url: &Url, settings: &Settings, system: &Matcher) -> Result<Self, HttpError> {
        let unusable = || HttpError::Connect("the URL names no host".to_owned());
        let host = match url.host().ok_or_else(unusable)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let is_tls = url.scheme() == "https";
        let port = url.port_or_known_default().unwrap_or(80);
        let mut authority = url.host_str().unwrap_or_default().to_owned();
        if let Some(port) = url.port() {
            // Writing to a string does not fail.
            let _ = write!(authority, ":{port}");
        }
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path.push('?');
            path.push_str(query);
        }
        let way = way(url, settings, system)?;
        let is_proxied = matches!(way, Way::Proxy { .. }) && !is_tls;
        let line = if is_proxied { format!("http://{authority}{path}") } else { path };
        let uri = line.parse().map_err(|_| unusable())?;
        Ok(Self { host, port, is_tls, way, authority, uri })
    }

    /// Whether the request line goes to a proxy.
    pub(super) fn proxy_authorization(&self) -> Option<&[u8]> {
        match &self.way {
            Way::Proxy { authorization, .. } if !self.is_tls => authorization.as_deref(),
            _ => None,
        }
    }

    /// The key of connections that this request may use.
    pub(super) fn pool_key(&self, settings: &Settings) -> PoolKey {
        let way = match &self.way {
            Way::Direct => String::new(),
            Way::Unix(path) => format!("unix {path}"),
            Way::Proxy { host, port, authorization } => {
                let authorization = authorization.as_deref().unwrap_or_default().escape_ascii();
                format!("proxy {host} {port} {authorization}")
            }
        };
        let tls = if self.is_tls { tls_key(settings, &self.host) } else { String::new() };
        // A clear request through a proxy says in itself where it goes.
        let is_shared = matches!(self.way, Way::Proxy { .. }) && !self.is_tls;
        let (host, port) = if is_shared { ("", 0) } else { (self.host.as_str(), self.port) };
        PoolKey(format!("{host}\n{port}\n{way}\n{:?}\n{tls}", settings.source))
    }

    /// Scheme, host and port, for the log: paths and queries may hold secrets.
    pub(super) fn origin(url: &Url) -> String {
        url.origin().ascii_serialization()
    }
}

/// What makes TLS settings alike.
pub(super) fn tls_key(settings: &Settings, host: &str) -> String {
    let tls = &settings.tls;
    let name = if tls.verify_host { host } else { "" };
    let identity = tls.identity.as_ref().map(|(id, _)| id.as_str());
    format!("{} {} {name} {identity:?}", tls.verify_peer, tls.default_ca)
}

fn way(url: &Url, settings: &Settings, system: &Matcher) -> Result<Way, HttpError> {
    if let Some(path) = &settings.unix_socket {
        return Ok(Way::Unix(path.clone()));
    }
    match &settings.proxy {
        Proxy::None => Ok(Way::Direct),
        Proxy::At(proxy) => {
            let authorization = basic(proxy);
            let host = proxy.host_str().unwrap_or_default();
            let host = host.trim_matches(['[', ']']).to_owned();
            Ok(Way::Proxy { host, port: proxy.port().unwrap_or(80), authorization })
        }
        Proxy::System => {
            let uri: Uri = url.as_str().parse().map_err(|_| {
                HttpError::Connect("the URL cannot be compared with the proxy settings".to_owned())
            })?;
            let Some(found) = system.intercept(&uri) else { return Ok(Way::Direct) };
            if found.uri().scheme_str() != Some("http") {
                let scheme = found.uri().scheme_str().unwrap_or_default();
                return Err(HttpError::Connect(format!("proxies of kind {scheme} are not spoken")));
            }
            let authorization = found.basic_auth().map(|value| value.as_bytes().to_vec());
            let host = found.uri().host().unwrap_or_default();
            let host = host.trim_matches(['[', ']']).to_owned();
            Ok(Way::Proxy { host, port: found.uri().port_u16().unwrap_or(80), authorization })
        }
    }
}

/// The user and password of a URL as the value of `Authorization` (RFC 7617).
pub(super) fn basic(url: &Url) -> Option<Vec<u8>> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| crate::encoding::base::url_decode(text.as_bytes());
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or_default()));
    Some([b"Basic ".as_slice(), &base64_encode(&pair)].concat())
}
