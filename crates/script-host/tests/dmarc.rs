//! `ScanDMARC` in end-of-data scripts, against a DNS of our own.

use std::collections::HashMap;
use std::sync::Arc;

use hsl::host::Registry;
use hsl::{Setup, Vm};
use hsl_std::mime::SharedMessage;
use hsl_std::services::{
    BoxFuture, DnsAnswer, DnsQuery, DnsRecord, RecordData, RecordType, Resolver,
};
use hsl_std::{Arrival, DEFAULT_FUEL, Outcome, Services, SystemClock, drive};
use script_host::hooks::values::text;
use script_host::hooks::{HookKind, HookSets};

/// Texts by name; a name with `None` cannot be asked.
struct Texts(HashMap<String, Option<String>>);

impl Resolver for Texts {
    fn query(&self, query: DnsQuery) -> BoxFuture<DnsAnswer> {
        let result = match self.0.get(&query.host) {
            Some(Some(text)) if query.record == RecordType::Txt => {
                Ok(vec![DnsRecord { ttl: 1, data: RecordData::Txt(text.clone().into_bytes()) }])
            }
            Some(None) => Err("SERVFAIL".to_owned()),
            _ => Err("NXDOMAIN".to_owned()),
        };
        Box::pin(std::future::ready(DnsAnswer { result, dnssec: false }))
    }
}

/// A DNS, the system's clock and a public suffix list.
struct World {
    services: Services,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(zone: &[(&str, Option<&str>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.dat");
        std::fs::write(&list, "org\nuk\nco.uk\n").unwrap();
        let zone = zone.iter().map(|(name, text)| ((*name).to_owned(), text.map(str::to_owned)));
        let services = Services {
            resolver: Arc::new(Texts(zone.collect())),
            public_suffix_list: Some(list),
            ..Services::default()
        };
        Self { services, _folder: folder }
    }

    /// Runs a script that returns a value.
    async fn run(&self, kind: HookKind, script: &str, arrival: Option<Arrival>) -> String {
        let mut registry = Registry::new();
        hsl_std::register(&mut registry, &self.services);
        let sets = HookSets::new(&registry.freeze(), &self.services);
        let files = hsl_std::import::FileLoader::new();
        let hook = sets.compile(kind, None, script, &files).unwrap();
        let setup = Setup {
            clock: Arc::new(SystemClock),
            states: arrival.map(|arrival| Box::new(arrival) as _).into_iter().collect(),
            ..Setup::default()
        };
        let mut vm = Vm::new(&hook.program, setup);
        match drive(&mut vm, DEFAULT_FUEL, None, || {}).await {
            Outcome::Done(value) => text(&value),
            Outcome::Failed(error) => error.to_string(),
            Outcome::Exited(_) => "ended".to_owned(),
        }
    }

    async fn scan(&self, message: &str, domain: &str, options: &str) -> String {
        let message = SharedMessage::from_octets(message.replace('\n', "\r\n").into());
        let arrival = Arrival {
            message: Arc::new(parking_lot::Mutex::new(message)),
            ip: Some("192.0.2.1".parse().unwrap()),
            helo: "mail.example.org".to_owned(),
            domain: domain.to_owned(),
        };
        let script = format!("return ScanDMARC({options});");
        self.run(HookKind::Eod, &script, Some(arrival)).await
    }
}

const SPF: (&str, Option<&str>) = ("example.org", Some("v=spf1 ip4:192.0.2.1 -all"));

#[tokio::test]
async fn spf_aligns_by_organization_or_strictly() {
    let world = World::new(&[
        SPF,
        ("a.example.org", Some("v=spf1 ip4:192.0.2.1 -all")),
        ("_dmarc.example.org", Some("v=DMARC1; p=reject; sp=quarantine")),
        ("_dmarc.strict.org", Some("v=DMARC1; p=reject; aspf=s")),
        ("sub.strict.org", Some("v=spf1 ip4:192.0.2.1 -all")),
        ("other.co.uk", Some("v=spf1 ip4:192.0.2.1 -all")),
        ("_dmarc.bank.co.uk", Some("v=DMARC1; p=reject")),
    ]);
    for (from, sender, wanted) in [
        ("a@example.org", "example.org", r#"["example.org"=>"pass"]"#),
        ("A <a@EXAMPLE.org>", "a.example.org", r#"["example.org"=>"pass"]"#),
        ("a@b.example.org", "a.example.org", r#"["b.example.org"=>"pass"]"#),
        ("a@example.org", "other.co.uk", r#"["example.org"=>"reject"]"#),
        // The policy of the organization has another word for what is below it.
        ("a@b.example.org", "other.co.uk", r#"["b.example.org"=>"quarantine"]"#),
        ("a@strict.org", "sub.strict.org", r#"["strict.org"=>"reject"]"#),
        // Two domains of one public suffix are strangers.
        ("a@bank.co.uk", "other.co.uk", r#"["bank.co.uk"=>"reject"]"#),
        ("a@nobody.org", "example.org", r#"["nobody.org"=>"policy_absent"]"#),
        (
            "a@example.org, b@nobody.org",
            "example.org",
            r#"["example.org"=>"pass","nobody.org"=>"policy_absent"]"#,
        ),
    ] {
        let scanned = world.scan(&format!("From: {from}\n\nx\n"), sender, "").await;
        assert_eq!(scanned, wanted, "{from} {sender}");
    }
    let message = "From: a@example.org\n\nx\n";
    let elsewhere = world.scan(message, "example.org", r#"["ip" => "192.0.2.9"]"#).await;
    assert_eq!(elsewhere, r#"["example.org"=>"reject"]"#);
    let other = world.scan(message, "nobody.org", r#"["domain" => "example.org"]"#).await;
    assert_eq!(other, r#"["example.org"=>"pass"]"#);
    let wrong = world.scan(message, "example.org", r#"["ip" => "x"]"#).await;
    assert!(wrong.starts_with("option \"ip\" must be an IP address"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn messages_without_one_author_field_and_silent_servers() {
    let world = World::new(&[
        SPF,
        ("_dmarc.down.org", None),
        ("_dmarc.unsure.org", Some("v=DMARC1; p=reject")),
        ("unsure.org", None),
        ("spf-down.org", None),
        ("s._domainkey.down.org", None),
        ("s._domainkey.unsure.org", None),
    ]);
    for message in ["Subject: x\n\nx\n", "From: a@b.org\nFrom: a@b.org\n\nx\n", "From: none\n\nx\n"]
    {
        assert_eq!(world.scan(message, "example.org", "").await, "permerror", "{message}");
    }
    let down = world.scan("From: a@down.org\n\nx\n", "example.org", "").await;
    assert_eq!(down, r#"["down.org"=>"temperror"]"#);
    // What cannot be found out counts where it would align: a forger must not be spared for name servers
    // of his own that fail.
    let message = "From: a@unsure.org\n\nx\n";
    let signed = |domain: &str| {
        let digest = "s14J+iztnrytnRYzb7lhFG/jS/vrxWJnnahfijFMnco=";
        let tags = format!("v=1; a=rsa-sha256; d={domain}; s=s; h=from; bh={digest}; b=YQ==");
        format!("DKIM-Signature: {tags}\n{message}")
    };
    for (message, sender, wanted) in [
        (message.to_owned(), "unsure.org", "temperror"),
        (message.to_owned(), "spf-down.org", "reject"),
        (signed("unsure.org"), "example.org", "temperror"),
        (signed("down.org"), "example.org", "reject"),
        (signed("down.org"), "unsure.org", "temperror"),
    ] {
        let unsure = world.scan(&message, sender, "").await;
        assert_eq!(unsure, format!(r#"["unsure.org"=>"{wanted}"]"#), "{message} {sender}");
    }
    let outside = world.run(HookKind::Eod, "return ScanDMARC();", None).await;
    assert!(outside.contains("end of data only"), "{outside}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_signature_of_the_organization_passes_until_the_message_changes() {
    let key = include_str!("../../hsl-std/tests/keys/ed25519.key");
    let sign = format!(
        "return MIME()->addHeader(\"From\", \"a@news.example.org\")->setBody(\"hello\")\
         ->signDKIM(\"s\", \"example.org\", ed25519_privatekey(''{key}''), \
         [\"algorithm\" => \"ed25519-sha256\"])->toString();"
    );
    let plain = World::new(&[]);
    let signed = plain.run(HookKind::Connect, &sign, None).await;
    assert!(signed.contains("DKIM-Signature:"), "{signed}");
    let public = plain
        .run(
            HookKind::Connect,
            &format!(
                "return base64_encode(X509::String(''{}'', [\"pem\" => true])->public_key()[-32:]);",
                include_str!("../../hsl-std/tests/keys/ed25519.crt")
            ),
            None,
        )
        .await;
    let record = format!("v=DKIM1; k=ed25519; p={public}");
    let world = World::new(&[
        ("s._domainkey.example.org", Some(record.as_str())),
        ("_dmarc.example.org", Some("v=DMARC1; p=quarantine")),
    ]);
    let signed = signed.replace("\r\n", "\n");
    let wanted = r#"["news.example.org"=>"pass"]"#;
    assert_eq!(world.scan(&signed, "nobody.org", "").await, wanted);
    let changed = world.scan(&signed.replace("hello", "hullo"), "nobody.org", "").await;
    assert_eq!(changed, r#"["news.example.org"=>"quarantine"]"#);
    let strict = World::new(&[
        ("s._domainkey.example.org", Some(record.as_str())),
        ("_dmarc.example.org", Some("v=DMARC1; p=quarantine; adkim=s")),
    ]);
    let scanned = strict.scan(&signed, "nobody.org", "").await;
    assert_eq!(scanned, r#"["news.example.org"=>"quarantine"]"#);
}
