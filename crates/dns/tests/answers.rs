//! The resolver against a scripted name server on loopback.

use std::net::IpAddr;
use std::time::Duration;

use dns::mx::{Exchanger, Route};
use dns::{Config, LookupErrorKind, RecordKind, RecordValue, Resolver, Security};
use testkit::dns_zone::{Zone, ZoneServer};

async fn resolver(zone: Zone) -> (Resolver, ZoneServer) {
    let server = zone.serve().await;
    let config = Config {
        servers: vec![server.address],
        timeout: Duration::from_millis(300),
        attempts: 1,
        ..Config::default()
    };
    (Resolver::new(config).unwrap(), server)
}

#[tokio::test]
async fn routes_follow_preference() {
    let zone =
        Zone::new().mx("example.org", 20, "b.example.org").mx("example.org", 10, "a.example.org");
    let (resolver, _server) = resolver(zone).await;
    let route = resolver.route("example.org", 1).await.unwrap();
    let hosts = vec![
        Exchanger { preference: 10, host: "a.example.org".into() },
        Exchanger { preference: 20, host: "b.example.org".into() },
    ];
    assert_eq!(route.value, Route::Hosts(hosts));
    assert_eq!(route.security, Security::Insecure);
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_host_and_a_null_mx_is_none() {
    let zone = Zone::new().address("plain.example", "127.0.0.9").mx("null.example", 0, ".");
    let (resolver, _server) = resolver(zone).await;
    let plain = resolver.route("plain.example", 1).await.unwrap().value;
    assert_eq!(
        plain,
        Route::Hosts(vec![Exchanger { preference: 0, host: "plain.example".into() }])
    );
    assert_eq!(resolver.route("null.example", 1).await.unwrap().value, Route::NullMx);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let zone =
        Zone::new().address("a.example", "127.0.0.1").failing("f.example").silent("s.example");
    let (resolver, _server) = resolver(zone).await;
    let kind = async |name: &str, kind| resolver.query(name, kind).await.unwrap_err().kind;
    assert_eq!(kind("none.example", RecordKind::A).await, LookupErrorKind::NxDomain);
    assert_eq!(kind("a.example", RecordKind::Txt).await, LookupErrorKind::NoData);
    assert_eq!(kind("f.example", RecordKind::A).await, LookupErrorKind::ServFail);
    assert_eq!(kind("s.example", RecordKind::A).await, LookupErrorKind::TimedOut);
    assert_eq!(kind("", RecordKind::A).await, LookupErrorKind::BadName);
    assert!(resolver.query("s.example", RecordKind::A).await.unwrap_err().is_transient());
    assert!(!resolver.query("none.example", RecordKind::A).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn both_families_are_found_and_answers_are_cached() {
    let zone = Zone::new().address("h.example", "127.0.0.1").address("h.example", "::1");
    let (resolver, server) = resolver(zone).await;
    for _ in 0..3 {
        let found = resolver.addresses("h.example", true, true).await.unwrap().value;
        assert_eq!((found.v4.len(), found.v6.len()), (1, 1));
    }
    assert_eq!(server.questions().len(), 2, "{:?}", server.questions());
    let only_v4 = resolver.addresses("h.example", true, false).await.unwrap().value;
    assert!(only_v4.v6.is_empty());
}

#[tokio::test]
async fn reverse_names_must_lead_back() {
    let zone = Zone::new()
        .ptr("1.2.0.192.in-addr.arpa", "good.example")
        .address("good.example", "192.0.2.1")
        .ptr("2.2.0.192.in-addr.arpa", "liar.example")
        .address("liar.example", "192.0.2.77");
    let (resolver, _server) = resolver(zone).await;
    let good = resolver.confirm_name("192.0.2.1".parse().unwrap()).await;
    assert_eq!(good.name.as_deref(), Some("good.example"));
    assert_eq!(good.forward.unwrap().unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    let liar = resolver.confirm_name("192.0.2.2".parse().unwrap()).await;
    assert_eq!(liar.name, None);
    assert_eq!(liar.reverse.unwrap(), ["liar.example"]);
    assert_eq!(liar.forward.unwrap().unwrap(), ["192.0.2.77".parse::<IpAddr>().unwrap()]);
    let nobody = resolver.confirm_name("192.0.2.3".parse().unwrap()).await;
    assert_eq!(nobody.reverse.unwrap_err().kind, LookupErrorKind::NxDomain);
    assert!(nobody.forward.is_none());
}

#[tokio::test]
async fn a_txt_record_of_several_strings_is_one_value_and_validation_shows() {
    let (resolver, _server) =
        resolver(Zone::new().txt("t.example", &["v=spf1 ", "-all"]).validated()).await;
    let authentic = resolver.authentic().unwrap();
    let answer = authentic.query("t.example", RecordKind::Txt).await.unwrap();
    assert_eq!(answer.value[0].value, RecordValue::Txt(b"v=spf1 -all".to_vec()));
    assert_eq!(answer.security, Security::Secure);
}

#[tokio::test]
async fn servers_say_what_they_validated_to_those_who_ask() {
    let zone = Zone::new()
        .mx("example.org", 10, "mx.example.org")
        .address("mx.example.org", "127.0.0.9")
        .tlsa("_25._tcp.mx.example.org", 3, 1, 1, &[7; 32])
        .validated();
    let (resolver, server) = resolver(zone).await;
    let usual = resolver.route("example.org", 1).await.unwrap();
    assert_eq!(usual.security, Security::Insecure, "nobody asked");
    let authentic = resolver.authentic().unwrap();
    assert_eq!(authentic.route("example.org", 1).await.unwrap().security, Security::Secure);
    let found = authentic.addresses("mx.example.org", true, false).await.unwrap();
    assert_eq!(found.security, Security::Secure);
    let tlsa = authentic.query("_25._tcp.mx.example.org", RecordKind::Tlsa).await.unwrap();
    assert_eq!(tlsa.security, Security::Secure);
    let expected = RecordValue::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    assert_eq!(tlsa.value[0].value, expected);
    // From the cache it is as authentic as before.
    let asked = server.questions().len();
    assert_eq!(authentic.route("example.org", 1).await.unwrap().security, Security::Secure);
    assert_eq!(server.questions().len(), asked);
    let error = authentic.query("_26._tcp.mx.example.org", RecordKind::Tlsa).await.unwrap_err();
    assert_eq!(error.kind, LookupErrorKind::NxDomain);
}

#[tokio::test]
async fn a_server_that_validates_nothing_stays_insecure() {
    let (resolver, _server) = resolver(Zone::new().mx("example.org", 10, "mx.example.org")).await;
    let authentic = resolver.authentic().unwrap();
    assert_eq!(authentic.route("example.org", 1).await.unwrap().security, Security::Insecure);
}

#[tokio::test]
async fn servers_that_a_script_names_are_asked_for_authenticity_too() {
    let (resolver, configured) = resolver(Zone::new()).await;
    let named = Zone::new().txt("t.example", &["x"]).validated().serve().await;
    let other = Zone::new().txt("t.example", &["x"]).serve().await;
    let authentic = resolver.authentic().unwrap();
    let security = async |resolver: &Resolver, server: &ZoneServer| {
        let answer = resolver.query_servers(&[server.address], "t.example", RecordKind::Txt).await;
        answer.unwrap().security
    };
    // Both kinds of questions keep their own answers.
    for _ in 0..2 {
        assert_eq!(security(&resolver, &named).await, Security::Insecure, "nobody asked");
        assert_eq!(security(&authentic, &named).await, Security::Secure);
        assert_eq!(security(&authentic, &other).await, Security::Insecure);
    }
    assert_eq!(named.questions().len(), 2);
    assert!(configured.questions().is_empty());
    resolver.clear_cache();
    assert_eq!(security(&authentic, &named).await, Security::Secure);
    assert_eq!(named.questions().len(), 3);
}
