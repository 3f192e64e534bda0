//! Sends requests, follows redirects, and keeps connections for the next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use super::body::{Activity, RequestBody};
use super::connect::Connector;
use super::request::{Payload, Request};
use super::target::{self, PoolKey, Target};
use crate::services::Services;

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) content: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("no answer in time")]
    Timeout,
    #[error("connection lost: {0}")]
    Protocol(#[from] hyper::Error),
    #[error("the answer is longer than max_file_size")]
    TooLarge,
    #[error("the answer is longer than the script may use")]
    Memory,
    #[error("too many redirects")]
    Redirects,
    #[error("a payload made by a function cannot be sent twice")]
    Again,
    #[error("interrupted")]
    Interrupted,
}

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    connector: Connector,
    proxies: Matcher,
    idle: Mutex<HashMap<PoolKey, Vec<Idle>>>,
}

struct Idle {
    since: Instant,
    sender: SendRequest<RequestBody>,
}

impl Client {
    pub(super) fn new(services: &Services) -> Self {
        Self(Arc::new(Inner {
            connector: Connector::new(services),
            proxies: Matcher::from_env(),
            idle: Mutex::default(),
        }))
    }

    /// Sends `request` and takes an answer of at most `memory` octets.
    ///
    /// # Errors
    ///
    /// [`HttpError`]; an answer of any status is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; whether the server has acted is not known then.
    pub(super) async fn run(
        &self,
        mut request: Request,
        memory: usize,
    ) -> Result<Answer, HttpError> {
        let mut hops = 0;
        loop {
            let answer = self.hop(&mut request, memory).await?;
            let redirects = request.settings.redirects;
            let Some(next) = redirects.ne(&0).then(|| location(&answer, &request.url)).flatten()
            else {
                return Ok(answer);
            };
            let most = if redirects < 0 { MAX_REDIRECTS } else { redirects.min(MAX_REDIRECTS) };
            if hops >= most {
                return Err(HttpError::Redirects);
            }
            hops += 1;
            follow(&mut request, answer.status, next)?;
        }
    }

    /// Sends a request once, over a kept connection if there is one.
    async fn hop(&self, request: &mut Request, memory: usize) -> Result<Answer, HttpError> {
        let target = Target::new(&request.url, &request.settings, &self.0.proxies)?;
        let key = target.pool_key(&request.settings);
        let (body, activity) = match std::mem::replace(&mut request.payload, Payload::None) {
            Payload::Pieces(pieces) => {
                let activity = pieces.activity().clone();
                (RequestBody::Pieces(pieces), activity)
            }
            payload => {
                let body = whole(&payload);
                request.payload = payload;
                (body, Activity::new())
            }
        };
        let mut message = message(request, &target, body);
        let (mut sender, response) = loop {
            let kept = self.take(&key).await;
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect(&target, request).await?,
            };
            activity.touch();
            let sent = quiet(request.settings.timeout, &activity, sender.try_send_request(message));
            match sent.await? {
                Ok(response) => break (sender, response),
                Err(mut error) => match error.take_message() {
                    // A kept connection that the server closed meanwhile: nothing was sent.
                    Some(again) if is_kept => message = again,
                    // It closed while the request was on its way. What may be done twice is
                    // (RFC 9110 §9.2.2).
                    _ if is_kept && request.method.is_idempotent() && !request.settings.is_once => {
                        message = self::message(request, &target, whole(&request.payload));
                    }
                    _ => return Err(error.into_error().into()),
                },
            }
        };
        activity.touch();
        let (head, body) = response.into_parts();
        let timeout = request.settings.timeout;
        let content =
            collect(body, timeout, &activity, request.settings.max_file_size, memory).await?;
        if !sender.is_closed() && quick(sender.ready()).await {
            self.keep(key, sender);
        }
        let headers = head.headers.iter();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            content,
        })
    }

    async fn connect(
        &self,
        target: &Target,
        request: &Request,
    ) -> Result<SendRequest<RequestBody>, HttpError> {
        let stream = self.0.connector.connect(target, &request.settings).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the server closes, or the last user of the sender does. Errors come back with
        // the answer that they spoil.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// Takes a kept connection that is still open.
    async fn take(&self, key: &PoolKey) -> Option<SendRequest<RequestBody>> {
        loop {
            let mut idle = self.0.idle.lock().get_mut(key)?.pop()?;
            if idle.since.elapsed() < IDLE_LIFETIME
                && !idle.sender.is_closed()
                && quick(idle.sender.ready()).await
            {
                return Some(idle.sender);
            }
        }
    }

    fn keep(&self, key: PoolKey, sender: SendRequest<RequestBody>) {
        let mut pool = self.0.idle.lock();
        pool.retain(|_, list| {
            list.retain(|idle| idle.since.elapsed() < IDLE_LIFETIME && !idle.sender.is_closed());
            !list.is_empty()
        });
        let total: usize = pool.values().map(Vec::len).sum();
        let list = pool.entry(key).or_default();
        if total < MAX_IDLE && list.len() < MAX_IDLE_PER_PEER {
            list.push(Idle { since: Instant::now(), sender });
        }
    }
}

/// The body of a payload that is known.
fn whole(payload: &Payload) -> RequestBody {
    RequestBody::Whole(match payload {
        Payload::Octets(octets, _) => Some(octets.clone()),
        Payload::None | Payload::Pieces(_) => None,
    })
}

/// Puts head and body together.
fn message(request: &Request, target: &Target, body: RequestBody) -> hyper::Request<RequestBody> {
    let mut message = hyper::Request::new(body);
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = target.uri.clone();
    let headers = message.headers_mut();
    let mut set = |name: HeaderName, value: &[u8]| {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    };
    set(header::HOST, target.authority.as_bytes());
    set(header::USER_AGENT, USER_AGENT.as_bytes());
    set(header::ACCEPT, b"*/*");
    if let Payload::Octets(_, Some(kind)) = &request.payload {
        set(header::CONTENT_TYPE, kind.as_bytes());
    }
    if let Some(value) = target::basic(&request.url) {
        set(header::AUTHORIZATION, &value);
    }
    if let Some(value) = target.proxy_authorization() {
        set(header::PROXY_AUTHORIZATION, value);
    }
    // Those of the script take the place of ours; its own may repeat.
    for (name, _) in &request.headers {
        headers.remove(name);
    }
    for (name, value) in &request.headers {
        if let Some(value) = value {
            headers.append(name, value.clone());
        }
    }
    message
}

/// Where an answer redirects to; `None` when it does not, or not to a web address.
fn location(answer: &Answer, from: &Url) -> Option<Url> {
    if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let (_, value) = answer.headers.iter().find(|(name, _)| name == "location")?;
    let url = from.join(str::from_utf8(value).ok()?).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.host_str().is_some()).then_some(url)
}

/// Makes the request that follows a redirect (RFC 9110 §15.4).
fn follow(request: &mut Request, status: u16, next: Url) -> Result<(), HttpError> {
    let is_get = status == StatusCode::SEE_OTHER.as_u16() && request.method != Method::HEAD
        || matches!(status, 301 | 302) && request.method == Method::POST;
    if is_get {
        request.method = Method::GET;
        request.payload = Payload::None;
        let describes_body =
            |name: &HeaderName| *name == header::CONTENT_TYPE || *name == header::CONTENT_LENGTH;
        request.headers.retain(|(name, _)| !describes_body(name));
    } else if request.settings.is_once {
        return Err(HttpError::Again);
    }
    if next.origin() != request.url.origin() {
        // Secrets are for the server that they were meant for.
        let is_secret = |name: &HeaderName| {
            [header::AUTHORIZATION, header::COOKIE, header::HOST].contains(name)
        };
        request.headers.retain(|(name, _)| !is_secret(name));
    }
    request.url = next;
    Ok(())
}

/// Reads an answer's body.
async fn collect(
    mut body: Incoming,
    timeout: Option<Duration>,
    activity: &Activity,
    max_file_size: Option<u64>,
    memory: usize,
) -> Result<Vec<u8>, HttpError> {
    let check = |octets: u64| {
        if max_file_size.is_some_and(|most| octets > most) {
            Err(HttpError::TooLarge)
        } else if octets > memory as u64 {
            Err(HttpError::Memory)
        } else {
            Ok(())
        }
    };
    check(hyper::body::Body::size_hint(&body).lower())?;
    let mut content = Vec::new();
    while let Some(frame) = quiet(timeout, activity, body.frame()).await? {
        activity.touch();
        if let Ok(data) = frame?.into_data() {
            let data: Bytes = data;
            check(content.len() as u64 + data.len() as u64)?;
            content.extend_from_slice(&data);
        }
    }
    Ok(content)
}

/// Waits for `future` until nothing has happened for `timeout`.
async fn quiet<T>(
    timeout: Option<Duration>,
    activity: &Activity,
    future: impl Future<Output = T>,
) -> Result<T, HttpError> {
    let Some(timeout) = timeout else { return Ok(future.await) };
    let mut future = std::pin::pin!(future);
    loop {
        let deadline = activity.last() + timeout;
        match tokio::time::timeout_at(deadline, future.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_) if activity.last() + timeout > deadline => {}
            Err(_) => return Err(HttpError::Timeout),
        }
    }
}

/// Whether a connection gets ready at once: its task has only to notice that the answer is over.
async fn quick<E>(ready: impl Future<Output = Result<(), E>>) -> bool {
    matches!(tokio::time::timeout(READY_TIME, ready).await, Ok(Ok(())))
}

/// Loops of redirects end here, also where the script wants "unlimited".
const MAX_REDIRECTS: i64 = 50;
const MAX_IDLE: usize = 256;
const MAX_IDLE_PER_PEER: usize = 8;
const IDLE_LIFETIME: Duration = Duration::from_secs(30);
const READY_TIME: Duration = Duration::from_millis(50);
const USER_AGENT: &str = concat!("mta/", env!("CARGO_PKG_VERSION"));
