//! The administration in this process, before a control socket that answers what a test says.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request as HttpRequest, StatusCode, header},
};
use control::{
    Message,
    command::{Call, Program, call},
    frame::{self, Request, RequestDecoder},
    pb::{
        self, PagingTotal, QueueListRequest, QueueListResponse, QueueUpdateResponse,
        process_stats_response as stats,
        queue_list_response::{QueueItem, queue_item},
    },
};
use mta_admin::{routes, server::Peer, settings, state::App};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};
use tower::ServiceExt as _;

/// The letters and bodies that came.
type Requests = Arc<Mutex<Vec<(char, Vec<u8>)>>>;

/// What the daemon says to a request: octets, as they are.
type Answer = Arc<dyn Fn(&Request) -> Vec<u8> + Send + Sync>;

/// The password of the user "eve", as `mta-admin user add` would hash it, but cheaper.
pub(crate) const PASSWORD: &str = "correct horse";
/// The key of the door.
pub(crate) const SECRET: &str = "0123456789abcdef";

/// A control socket in a temporary directory.
pub(crate) struct FakeDaemon {
    directory: tempfile::TempDir,
    requests: Requests,
    task: JoinHandle<()>,
}

impl FakeDaemon {
    /// Answers lists, updates and statistics as a daemon with these messages would.
    pub(crate) fn holding(items: Vec<QueueItem>) -> Self {
        Self::with(move |request| answer(request, &items))
    }

    /// Answers every request with an error.
    pub(crate) fn failing(text: &'static str) -> Self {
        Self::with(move |_| {
            let mut out = Vec::new();
            frame::encode_error(text, &mut out);
            out
        })
    }

    /// Answers every request with octets; no octets leave the client waiting.
    pub(crate) fn with(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("smtpd.ctl")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (recorded, answer): (_, Answer) = (Arc::clone(&requests), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&recorded)));
            }
        });
        Self { directory, requests, task }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("smtpd.ctl")
    }

    /// The request that was made last.
    pub(crate) fn request<Q: Message + Default, R>(&self, call: Call<Q, R>) -> Q {
        let requests = self.requests.lock().unwrap();
        let (letter, body) = requests.last().expect("a request was made");
        assert_eq!(*letter, call.letter_char());
        Q::decode(body.as_slice()).unwrap()
    }

    /// The letters of all requests.
    pub(crate) fn letters(&self) -> String {
        self.requests.lock().unwrap().iter().map(|(letter, _)| *letter).collect()
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: UnixStream, answer: Answer, requests: Requests) {
    let mut decoder = RequestDecoder::new(Program::Smtpd);
    let mut buffer = vec![0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        let mut input = &buffer[..count];
        while let Some(request) = decoder.decode(&mut input).unwrap() {
            let letter = request.command.letter_char();
            requests.lock().unwrap().push((letter, request.body.clone()));
            if stream.write_all(&answer(&request)).await.is_err() {
                return;
            }
        }
    }
}

fn answer(request: &Request, items: &[QueueItem]) -> Vec<u8> {
    let mut out = Vec::new();
    let letter = request.command.letter;
    if letter == call::QUEUE_LIST.letter {
        let asked = QueueListRequest::decode(request.body.as_slice()).unwrap();
        let condition = asked.conditions.unwrap_or_default();
        let chosen: Vec<_> = items.iter().filter(|item| matches(item, &condition)).collect();
        let paging = asked.paging.unwrap_or_default();
        let (offset, limit) = (paging.offset.min(1 << 30) as usize, paging.limit as usize);
        let response = QueueListResponse {
            items: chosen.iter().skip(offset).take(limit).map(|item| (*item).clone()).collect(),
            paging: Some(PagingTotal { total: chosen.len() as u64 }),
        };
        frame::encode_success(&response, &mut out);
    } else if letter == call::QUEUE_UPDATE.letter {
        let asked = pb::QueueUpdateRequest::decode(request.body.as_slice()).unwrap();
        let condition = asked.conditions.unwrap_or_default();
        let affected = items.iter().filter(|item| matches(item, &condition)).count() as u64;
        frame::encode_success(&QueueUpdateResponse { affected, working: 0 }, &mut out);
    } else if letter == call::PROCESS_STATS.letter {
        frame::encode_success(&statistics(), &mut out);
    } else {
        frame::encode_error("not in this test", &mut out);
    }
    out
}

/// Ids and queues are all that tests choose by.
fn matches(item: &QueueItem, condition: &pb::Condition) -> bool {
    let id = item.id.clone().unwrap_or_default();
    let by_id = condition.ids.is_empty()
        || condition.ids.iter().any(|c| c.transaction == id.transaction && c.queue == id.queue);
    let by_queue = condition.queues.is_empty()
        || condition.queues.iter().any(|c| item.state == Some(queue_item::State::Queue(c.queue)));
    by_id && by_queue
}

/// Messages in all states, as many as asked for.
pub(crate) fn messages(count: u64) -> Vec<QueueItem> {
    use queue_item::State;
    let states = [
        State::Queue(pb::Queue::Defer.into()),
        State::Queue(pb::Queue::Active.into()),
        State::Freeze(pb::Freeze::Hold.into()),
        State::Working(queue_item::WorkingState {
            working: pb::Working::Sending.into(),
            updatefreezing: false,
            duration: 2.5,
        }),
    ];
    let subjects = [
        "Your invoice 2021-0417 is ready",
        "Re: minutes of the last meeting, and what everybody should bring to the next one",
        "",
        "Grüße aus Köln – 東京から",
    ];
    let domains = ["example.com", "mail.example.org", "a-rather-long-domain-name.example.net"];
    (1..=count)
        .map(|number| {
            let pick = number as usize;
            let state = states[pick % states.len()];
            let is_deferred = pick.is_multiple_of(states.len());
            QueueItem {
                id: Some(pb::QueueItemId {
                    transaction: format!("b186d406-0c36-11ea-8dda-{number:012x}"),
                    queue: 1,
                }),
                state: Some(state),
                hqfpath: format!("/var/spool/halon/queue/b1/{number}.hqf"),
                ts: 1_616_300_000.0 + 61.0 * number as f64,
                jobid: if pick.is_multiple_of(3) { "newsletter-7".into() } else { String::new() },
                metadata: [("customer".to_owned(), number.to_string())].into(),
                serverid: "inbound".into(),
                transportid: if pick.is_multiple_of(5) { "bulk".into() } else { "mx".into() },
                sender: Some(address("billing", "shop.example.com")),
                recipient: Some(address(&format!("user{number}"), domains[pick % 3])),
                retrycount: if is_deferred { number % 12 } else { 0 },
                retrydelay: if is_deferred { 900.0 } else { 0.0 },
                retryreason: if is_deferred {
                    "451 4.7.1 Greylisted, please try again in 300 seconds".into()
                } else {
                    String::new()
                },
                size: 1234 * number,
                senderip: "192.0.2.17".into(),
                senderhelo: "app1.shop.example.com".into(),
                subject: subjects[pick % subjects.len()].into(),
                localips: vec!["198.51.100.1".into(), "198.51.100.2".into()],
                remotemx: "mx1.example.com".into(),
                priority: 0,
                ..QueueItem::default()
            }
        })
        .collect()
}

pub(crate) fn address(localpart: &str, domain: &str) -> queue_item::MailAddress {
    queue_item::MailAddress { localpart: localpart.into(), domain: domain.into() }
}

/// A busy daemon.
pub(crate) fn statistics() -> pb::ProcessStatsResponse {
    let script = |finished, errors| stats::Script { finished, errors, ..stats::Script::default() };
    let server = |name: &str, concurrent| stats::Server {
        serverid: name.into(),
        connections: Some(stats::server::Connections { concurrent, maxconcurrent: 10_000 }),
        scripts: Some(stats::server::Scripts {
            connect: Some(script(90_412, 0)),
            rcptto: Some(script(120_007, 0)),
            eod: Some(script(88_123, 3)),
            ..stats::server::Scripts::default()
        }),
    };
    let queue = stats::Queue {
        queue: Some(stats::queue::Queues {
            defer: Some(stats::queue::queues::Defer { size: 1204 }),
            active: Some(stats::queue::queues::Active { size: 87, priorities: Vec::new() }),
        }),
        freeze: Some(stats::queue::Freeze {
            hold: Some(stats::queue::freeze::Hold { size: 12 }),
            update: Some(stats::queue::freeze::Update::default()),
        }),
        pickup: Some(stats::queue::Pickup { count: 99_120, skips: 4, misses: 17, pending: 0 }),
        connections: Some(stats::queue::Connections {
            concurrent: 42,
            pooling: Some(stats::Cache { size: 12, hits: 8812, misses: 911, ..Default::default() }),
            maxconcurrent: 5000,
        }),
        scripts: Some(stats::queue::Scripts {
            predelivery: Some(script(99_120, 0)),
            postdelivery: Some(script(99_078, 1)),
        }),
        delivery: Some(stats::queue::Delivery { delivered: 1_234_567, delayed: 4312, failed: 211 }),
        ..stats::Queue::default()
    };
    pb::ProcessStatsResponse {
        process: Some(stats::Process {
            pid: 145,
            runtime: 273_912,
            version: Some(stats::process::Version { major: 5, minor: 6, patch: 0 }),
            elapsed: 273_912.4,
        }),
        resolver: Some(stats::Resolver {
            cache: Some(stats::Cache {
                size: 811,
                hits: 91_202,
                misses: 8132,
                ..Default::default()
            }),
            ..stats::Resolver::default()
        }),
        servers: vec![server("inbound", 31), server("submission", 4)],
        queue: Some(queue),
        threads: None,
        plugins: None,
        scripting: None,
        metrics: Vec::new(),
    }
}

/// The configuration of a test: one user "eve", the door open.
pub(crate) fn settings(socket: &str) -> settings::Settings {
    // The smallest costs, as tests log in often: 8 KiB, one pass.
    let text = format!(
        "version: \"1.0\"\nlisteners: [{{address: 127.0.0.1, port: 0}}]\n\
         hosts: [{{socket: \"{socket}\"}}]\n\
         users: [{{username: eve, password: \"{}\"}}]\n\
         authentication: {{secret: \"{SECRET}\"}}\n\
         environment: {{controlsockets: {{smtpd: {{path: \"{socket}\"}}}}}}\n",
        cheap_hash()
    );
    settings::parse(&text, "web.yaml").unwrap()
}

fn cheap_hash() -> String {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(PASSWORD.as_bytes()).unwrap().to_string()
}

/// A browser without a window: sends requests, keeps cookies.
pub(crate) struct Browser {
    router: Router,
    cookies: Vec<(String, String)>,
    pub(crate) peer: Peer,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }

    /// The token of the forms on the page.
    pub(crate) fn csrf(&self) -> String {
        let (_, rest) =
            self.text.split_once("name=\"csrf\" value=\"").expect("the page has a form");
        rest.split('"').next().unwrap().to_owned()
    }
}

impl Browser {
    pub(crate) fn of(daemon: &FakeDaemon) -> Self {
        Self::with(&settings(daemon.socket().to_str().unwrap()))
    }

    pub(crate) fn with(settings: &settings::Settings) -> Self {
        let app = App::with_deadline(settings, Duration::from_millis(500));
        let address = SocketAddr::from(([192, 0, 2, 99], 4711));
        let peer = Peer { address, is_tls: false };
        let router = routes::router(app, settings.listeners[0].max_size);
        Self { router, cookies: Vec::new(), peer }
    }

    /// Another browser at the same administration.
    pub(crate) fn another(&self) -> Self {
        Self { router: self.router.clone(), cookies: Vec::new(), peer: self.peer }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(HttpRequest::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a form.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let escape = |text: &str| -> String {
            text.bytes()
                .map(|octet| match octet {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(octet).to_string(),
                    octet => format!("%{octet:02X}"),
                })
                .collect()
        };
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        let request = HttpRequest::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(fields.join("&")))
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn send(&mut self, mut request: HttpRequest<Body>) -> Page {
        if !self.cookies.is_empty() {
            let all: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
            request.headers_mut().insert(header::COOKIE, all.join("; ").parse().unwrap());
        }
        let service = self.router.clone().layer(Extension(self.peer));
        let response = service.oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Page { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(crate) async fn log_in(&mut self) {
        let page = self.try_log_in("eve", PASSWORD).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    }

    pub(crate) async fn try_log_in(&mut self, username: &str, password: &str) -> Page {
        let csrf = self.get("/login").await.csrf();
        let fields = [("csrf", csrf.as_str()), ("username", username), ("password", password)];
        self.post("/login", &fields).await
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(known, _)| known != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
    }
}
