//! What scripts say about TLS and source addresses, against a server that notes what it sees.

use std::collections::HashMap;
use std::sync::Arc;

use hsl::{Array, Value};
use mail_client::attempt::{Attempt, Ending, ErrorKind};
use mail_client::connections::Registry;
use mail_client::count::{Counter, Level};
use mail_client::options;
use mail_client::plan::Settings;
use mail_client::script_client::{Ground, attempt};
use mail_client::smtp::OutboundEntry;
use mail_client::world::{ClientTlsCache, World};
use mta_types::Address;
use smtp::client::{Envelope, Recipient};
use testkit::certs::{self, TestCertificate};
use testkit::dns_zone::{Zone, ZoneServer};
use testkit::smtp_sink::{SinkBehaviour, SmtpSink, SunkMessage};
use tls_policy::{Identity, Report, RootStore};

/// A server with a certificate for `mx.example.org`, which is also called `other.example.org`, and a
/// client for which the root of that certificate is one of the system's.
struct Scene {
    sink: SmtpSink,
    world: World,
    connections: Registry<OutboundEntry>,
    count: Arc<Counter>,
    ours: TestCertificate,
    _names: ZoneServer,
}

impl Ground for Scene {
    fn world(&self) -> &World {
        &self.world
    }

    fn connections(&self) -> &Registry<OutboundEntry> {
        &self.connections
    }

    fn level(&self) -> Level {
        self.count.enter()
    }

    fn seed(&self) -> u64 {
        0
    }
}

impl Scene {
    async fn new() -> Self {
        let (certificate, ours) =
            (certs::certificate(&["mx.example.org"]), certs::certificate(&["client.example"]));
        let mut roots = RootStore::new();
        assert_eq!(roots.add_pem(certificate.root_pem.as_bytes()), 1);
        let sink = SmtpSink::start_with(SinkBehaviour {
            certificate: Some(certificate),
            client_root: Some(ours.clone()),
            ..SinkBehaviour::default()
        })
        .await;
        let zone = Zone::new()
            .address("mx.example.org", "127.0.0.1")
            .address("other.example.org", "127.0.0.1");
        let names = zone.serve().await;
        let running = config::load_running("version: \"5.6\"\n", "test").unwrap().config;
        let resolver = dns::Config { servers: vec![names.address], ..dns::Config::default() };
        let identity = Identity::from_pem(ours.cert_pem.as_bytes(), ours.key_pem.as_bytes());
        let world = World {
            running,
            resolver: dns::Resolver::new(resolver).unwrap(),
            identities: HashMap::from([(Arc::from("ours"), identity.unwrap())]),
            hostname: "client.example".to_owned(),
            client_tls: ClientTlsCache::with_system_roots(roots),
        };
        Self {
            sink,
            world,
            connections: Registry::default(),
            count: Arc::default(),
            ours,
            _names: names,
        }
    }

    /// One message to the server, as a script's options say.
    async fn send(&self, given: &[(&str, Value)]) -> Attempt {
        let mut all = vec![
            ("host", Value::from("mx.example.org")),
            ("port", Value::from(f64::from(self.sink.address.port()))),
            ("tls", Value::from("require")),
        ];
        for (key, value) in given {
            all.retain(|(known, _)| known != key);
            all.push((*key, value.clone()));
        }
        let mut settings = Settings::of_script();
        options::apply(&mut settings, &self.world.running, &array(all)).unwrap();
        let recipient = Address::parse("to@example.org").unwrap();
        let envelope = Envelope {
            recipients: vec![Recipient { address: recipient, ..Recipient::default() }],
            ..Envelope::default()
        };
        attempt(self, &settings, envelope, Arc::new(b"Subject: x\r\n\r\n".to_vec())).await
    }

    /// As [`Self::send`]; what the server took.
    async fn taken(&self, given: &[(&str, Value)]) -> SunkMessage {
        let done = self.send(given).await;
        assert!(done.is_delivered(), "{given:?}: {}", done.reason());
        self.sink.messages().pop().unwrap()
    }

    /// As [`Self::send`]; the server took nothing.
    async fn refused(&self, given: &[(&str, Value)]) -> Attempt {
        let before = self.sink.messages().len();
        let done = self.send(given).await;
        assert!(!done.is_delivered(), "{given:?} is delivered");
        assert_eq!(self.sink.messages().len(), before);
        done
    }
}

fn array<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Array {
    match Value::map(pairs) {
        Value::Array(array) => array,
        _ => unreachable!("a map is an array"),
    }
}

const TRUE: Value = Value::Bool(true);
const FALSE: Value = Value::Bool(false);

#[tokio::test]
async fn the_server_name_is_sent_as_the_script_says() {
    let scene = Scene::new().await;
    for (sni, seen) in [
        (Value::None, None),
        (FALSE, None),
        (TRUE, Some("mx.example.org")),
        ("named.example.org".into(), Some("named.example.org")),
    ] {
        let message = scene.taken(&[("tls_sni", sni.clone())]).await;
        assert!(message.tls);
        assert_eq!(message.server_name.as_deref(), seen, "{sni:?}");
    }
}

#[tokio::test]
async fn whom_a_certificate_must_name_is_what_the_script_says() {
    let scene = Scene::new().await;
    let ca = ("tls_default_ca", TRUE);
    let verify = ("tls", Value::from("require_verify"));
    let other = ("host", Value::from("other.example.org"));
    let host = ("tls_verify_host", TRUE);
    let not_host = ("tls_verify_host", FALSE);
    let name = |name: &str| ("tls_verify_name", Value::list([Value::from(name)]));
    let good: [Vec<(&str, Value)>; 9] = [
        vec![],
        vec![other.clone()],
        vec![verify.clone(), ca.clone()],
        vec![host.clone(), ca.clone()],
        vec![not_host.clone(), other.clone()],
        vec![name("mx.example.org"), other.clone(), ca.clone()],
        vec![name("mx.example.org"), verify.clone(), other.clone(), ca.clone()],
        // Any one of them will do.
        vec![name("absent.example.org"), host.clone(), ca.clone()],
        vec![not_host, verify.clone(), other.clone(), ca.clone()],
    ];
    for given in good {
        assert!(scene.taken(&given).await.tls, "{given:?}");
    }
    let (untrusted, mismatch) = (Report::CertificateNotTrusted, Report::CertificateHostMismatch);
    let bad: [(Vec<(&str, Value)>, Report); 7] = [
        (vec![verify.clone()], untrusted),
        (vec![verify.clone(), ("tls_default_ca", FALSE)], untrusted),
        (vec![host.clone()], untrusted),
        (vec![name("mx.example.org")], untrusted),
        (vec![host, other.clone(), ca.clone()], mismatch),
        (vec![verify, other, ca.clone()], mismatch),
        (vec![name("absent.example.org"), ca], mismatch),
    ];
    for (given, report) in bad {
        let facts = scene.refused(&given).await.connection.expect("a connection");
        assert_eq!(facts.report, Some(report), "{given:?}");
    }
}

#[tokio::test]
async fn our_certificate_is_shown_when_the_script_names_it() {
    let scene = Scene::new().await;
    assert_eq!(scene.taken(&[]).await.client_certificate, None);
    for name in ["pki:ours", "ours"] {
        let message = scene.taken(&[("tls_client_cert", name.into())]).await;
        assert_eq!(message.client_certificate.as_ref(), Some(&scene.ours.cert_der), "{name}");
    }
    let done = scene.send(&[("tls_client_cert", "pki:absent".into())]).await;
    let Ending::Error(error) = &done.ending else { panic!("{}", done.reason()) };
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("pki:absent"), "{}", error.message);
}

#[tokio::test]
async fn an_address_of_another_machine_is_a_source_when_the_script_wants_it() {
    let scene = Scene::new().await;
    let source = |address: &str| {
        let parts = Value::map([("address", Value::from(address))]);
        [
            ("sourceip", Value::list([parts])),
            ("connect_timeout", Value::from(0.2)),
            ("tls", Value::from("disabled")),
        ]
    };
    let here = scene.taken(&source("127.0.0.9")).await;
    assert_eq!(here.peer.ip().to_string(), "127.0.0.9");
    // RFC 5737: nobody's.
    let [address, wait, tls] = source("192.0.2.7");
    let usual = scene.refused(&[address.clone(), wait.clone(), tls.clone()]).await.reason();
    assert!(usual.contains(NOT_AVAILABLE), "{usual}");
    // Nothing comes back to it, but it is not refused at once.
    let nonlocal = scene.refused(&[address, wait, tls, ("nonlocal_source", TRUE)]).await.reason();
    assert!(!nonlocal.contains(NOT_AVAILABLE), "{nonlocal}");
}

/// EADDRNOTAVAIL.
const NOT_AVAILABLE: &str = "os error 99";
