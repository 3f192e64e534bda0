//! The five loaders: defaults, references, positions, several faults at once.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use config::delivery::SmtpState;
use config::policy::Property;
use config::running::{
    Destination, GroupingDefault, MailProtocol, PoolingPolicy, RetryInterval, ScriptLimits,
};
use config::startup::{ControlSocket, Corrupt, ServerKind, UnixSocket, UuidVersion};
use config::value::{Field, Matcher, TlsMode};
use config::{Diagnostic, Loaded, Policy, Running, Severity, Size, Source, Startup};

fn startup(text: &str) -> Loaded<Startup> {
    config::load_startup(format!("version: \"5.6\"\n{text}"), "smtpd.yaml")
        .unwrap_or_else(|faults| panic!("{text}\n{}", lines(&faults)))
}

fn running(text: &str) -> Loaded<Running> {
    config::load_running(format!("version: \"5.6\"\n{text}"), "smtpd-app.yaml")
        .unwrap_or_else(|faults| panic!("{text}\n{}", lines(&faults)))
}

fn policy(text: &str) -> Loaded<Policy> {
    config::load_policy(format!("version: \"5.6\"\n{text}"), "smtpd-policy.yaml")
        .unwrap_or_else(|faults| panic!("{text}\n{}", lines(&faults)))
}

fn startup_faults(text: &str) -> String {
    let loaded = config::load_startup(format!("version: \"5.6\"\n{text}"), "smtpd.yaml");
    lines(&loaded.expect_err("a fault"))
}

fn running_faults(text: &str) -> String {
    let loaded = config::load_running(format!("version: \"5.6\"\n{text}"), "smtpd-app.yaml");
    lines(&loaded.expect_err("a fault"))
}

fn lines(faults: &[Diagnostic]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}

fn unimplemented<T>(loaded: &Loaded<T>) -> Vec<String> {
    loaded.unimplemented.iter().map(ToString::to_string).collect()
}

#[test]
fn an_almost_empty_startup_file_has_the_documented_defaults() {
    let loaded = startup("");
    let config = &loaded.config;
    assert_eq!((config.version.major, config.version.minor), (5, 6));
    assert_eq!(config.spool.path.to_str(), Some("/var/spool/halon/queue"));
    assert_eq!(config.spool.corrupt, Corrupt::Rename);
    assert!(config.spool.fsync);
    assert_eq!(config.spool.segment_size, Size(64 << 20));
    let environment = &config.environment;
    assert_eq!(environment.appconf.to_str(), Some("/etc/halon/smtpd-app.yaml"));
    assert_eq!(environment.policyconf.to_str(), Some("/etc/halon/smtpd-policy.yaml"));
    assert_eq!(environment.suspendconf.to_str(), Some("/etc/halon/smtpd-suspend.yaml"));
    assert_eq!(environment.deliveryconf.to_str(), Some("/etc/halon/smtpd-delivery.yaml"));
    assert_eq!(environment.rated_socket.to_str(), Some("/var/run/halon/rated.sock"));
    assert_eq!(environment.uuid_version, UuidVersion::Time);
    assert_eq!(environment.syslog_mask, 255);
    let ControlSocket::Unix(UnixSocket { path, chmod, .. }) = &environment.controlsocket else {
        panic!("{:?}", environment.controlsocket)
    };
    assert_eq!((path.to_str(), chmod.bits()), (Some("/var/run/halon/smtpd.ctl"), 0o660));
    assert_eq!(environment.privdrop, None);
    assert_eq!(unimplemented(&loaded), [""; 0]);
}

#[test]
fn the_sample_of_the_reference_release_reads_as_meant() {
    let loaded = startup(
        "servers: [{id: default, threads: {event: 2}, listeners: [{port: 25, address: 127.0.0.1}]}]
environment:
  uuid: {version: 4}
  controlsocket: {group: staff, chmod: '0660'}
  privdrop: {user: halon, group: halon}
  umask: \"0027\"
  rlimit: {nofile: 70000}
",
    );
    let server = loaded.config.server("default").expect("the server");
    assert_eq!((server.kind, server.event_threads), (ServerKind::Smtp, 2));
    let [listener] = server.listeners.as_slice() else { panic!("{:?}", server.listeners) };
    assert_eq!(listener.place.socket_addrs(), ["127.0.0.1:25".parse().expect("an address")]);
    let environment = &loaded.config.environment;
    assert_eq!(environment.umask.map(config::Mode::bits), Some(0o27));
    assert_eq!(environment.rlimit_nofile, Some(70_000));
    assert_eq!(environment.uuid_version, UuidVersion::Random);
    assert_eq!(unimplemented(&loaded), [""; 0]);
}

#[test]
fn all_faults_of_a_file_are_reported_with_place_path_and_hint() {
    let faults = startup_faults(
        "servers:
  - id: default
    listener:
      - port: 25
    listeners:
      - port: 70000
        address: localhost
environment:
  controlsocket: {chmod: 0660}
  uuid: {version: 2}
spool: {corrupt: renme, fsync: yes}
",
    );
    let expected = [
        "smtpd.yaml:4:5: error: servers[0].listener: unknown key (did you mean `listeners`?)",
        "smtpd.yaml:7:15: error: servers[0].listeners[0].port: expected a whole number from 0 to 65535, found a whole number 70000",
        "smtpd.yaml:8:18: error: servers[0].listeners[0].address: expected an IP address, found text \"localhost\"",
        "smtpd.yaml:10:26: error: environment.controlsocket.chmod: expected an octal mode in quotes, such as \"0660\", found a whole number 0660 (put it in quotes)",
        "smtpd.yaml:11:19: error: environment.uuid.version: expected 1 or 4, found a whole number 2",
        "smtpd.yaml:12:18: error: spool.corrupt: expected `unlink`, `rename` or `ignore`, found text \"renme\" (did you mean `rename`?)",
        "smtpd.yaml:12:32: error: spool.fsync: expected `true` or `false`, found text \"yes\" (write `true`, without quotes)",
    ];
    assert_eq!(faults.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_rendered_fault_points_at_its_place_and_hides_secrets() {
    let text = "version: \"5.6\"\nspool: {fsync: 1}\nenvironment: {umask: 27}\n";
    let faults = config::load_startup(text, "smtpd.yaml").expect_err("faults");
    let fault = faults.first().expect("a fault");
    assert_eq!(
        fault.render(text),
        "smtpd.yaml:2:16: error: spool.fsync: expected `true` or `false`, found a whole number 1\n 2 | spool: {fsync: 1}\n   |                ^"
    );
    let text = "version: \"5.6\"\ntransportgroups: [{session: {password: 31337}}]\n";
    let faults = config::load_running(text, "smtpd-app.yaml").expect_err("faults");
    let shown: String = faults.iter().map(|fault| fault.render(text)).collect();
    assert!(shown.contains("session.password") && !shown.contains("31337"), "{shown}");
}

#[test]
fn debug_output_shows_no_secrets() {
    let loaded = running(
        "transportgroups: [{transports: [{id: t, session: {username: u, password: hunter2}}]}]
monitor: {apikeys: [hunter3]}
plugins: [{id: p, config: {token: hunter4}}]
pki: {private: [{id: k, privatekey: {data: hunter5}}]}",
    );
    let transport = loaded.config.transports.get("t").expect("the transport");
    let password = transport.session.credentials.as_ref().map(|it| it.password.reveal());
    assert_eq!(password, Some("hunter2"));
    assert!(!format!("{loaded:?}").contains("hunter"), "{loaded:?}");
}

#[test]
fn startup_rules_that_tables_cannot_say_are_checked() {
    for (text, fault) in [
        (
            "servers: [{id: a, listeners: [{port: 25}]}, {id: a, listeners: [{port: 26}]}]",
            "another server `a`",
        ),
        ("servers: [{id: a}]", "`listeners` is missing"),
        ("servers: [{id: a, listeners: [{id: x}]}]", "the key `port` is missing"),
        ("servers: [{id: a, listeners: [{port: 25, chmod: '0600'}]}]", "`chmod` needs `path`"),
        (
            "servers: [{id: a, listeners: [{path: /run/a, port: 25}]}]",
            "`port` cannot stand beside `path`",
        ),
        (
            "servers: [{id: a, listeners: [{path: /run/a}, {path: /run/a}]}]",
            "already listens there",
        ),
        ("servers: [{id: a, listeners: [{port: 25}, {port: 25}]}]", "already listens"),
        (
            "servers: [{id: a, listeners: [{port: 25}]}, {id: b, listeners: [{port: 25}]}]",
            "already listens",
        ),
        (
            "servers: [{id: a, listeners: [{port: 1, id: x}, {port: 2, id: x}]}]",
            "another listener `x`",
        ),
        (
            "servers: [{id: a, type: http, listeners: [{port: 1}, {port: 2}]}]",
            "exactly one listener",
        ),
        ("servers: [{id: a, type: plugin, listeners: [{port: 1}]}]", "no listeners"),
        ("environment: {controlsocket: {path: /x, port: 1}}", "cannot stand beside `port`"),
        ("environment: {controlsocket: {address: '::1'}}", "needs `port`"),
        ("pki: {private: [{id: a}]}", "`certificate`, `privatekey` or both"),
        ("pki: {private: [{id: a, privatekey: {path: /x, data: y}}]}", "either `path` or `data`"),
        ("plugins: [{id: a}, {id: a}]", "another plugin `a`"),
        ("monitor: {port: 1, listener: {port: 2}}", "cannot stand beside `listener`"),
    ] {
        let faults = startup_faults(text);
        assert!(faults.contains(fault), "{text}\n{faults}");
    }
}

#[test]
fn plugins_get_their_settings_as_written() {
    let loaded = startup(
        "plugins: [{id: warmup, config: {mode: 0640, on: TRUE, list: [{b: 1, a: 2}]}}, {id: bare}]",
    );
    let [warmup, bare] = loaded.config.plugins.as_slice() else { panic!() };
    let text = |key| warmup.config.member(key).and_then(|node| node.text());
    assert_eq!((text("mode"), text("on"), text("list")), (Some("0640"), Some("TRUE"), None));
    assert_eq!(
        warmup.config.to_json().to_string(),
        r#"{"mode":640,"on":true,"list":[{"b":1,"a":2}]}"#
    );
    assert_eq!(bare.config.to_json().to_string(), "{}");
}

#[test]
fn transports_inherit_from_their_group_key_by_key() {
    let loaded = running(
        "addresses: [{id: a1, address: 192.0.2.1, hostname: out.example.com}]
transportgroups:
  - id: g
    connection: {port: 2525, sourceip: {addresses: [a1], ipv6: false}}
    session: {tls: {mode: require}, helo: g.example.com}
    retry: {count: 5, intervals: [{interval: 60, notify: true}, {interval: 10m}]}
    dsn: {transport: b}
    transports:
      - id: a
        connection: {server: mx.example.com, sourceip: {random: false}}
        session: {protocol: lmtp, tls: {protocols: 'TLSv1.3'}}
        retry: {count: 2}
      - id: b
        connection: {server: 0.0.0.0, port: 26}
  - transports: [{id: c}]
",
    );
    let config = &loaded.config;
    let a = config.transports.get("a").expect("a");
    assert_eq!(a.group.as_deref(), Some("g"));
    assert_eq!(a.connection.server, Destination::Host("mx.example.com".into()));
    assert_eq!((a.connection.port, a.connection.sourceip_random), (2525, false));
    assert_eq!((a.connection.ipv4, a.connection.ipv6), (true, false));
    assert_eq!(a.connection.sourceip, ["a1".into()]);
    assert_eq!((a.session.tls_mode, a.session.protocol), (TlsMode::Require, MailProtocol::Lmtp));
    assert!(a.session.tls_protocols.tls13 && !a.session.tls_protocols.tls12);
    assert_eq!((a.session.helo.as_deref(), a.retry.count), (Some("g.example.com"), 2));
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(a.retry.after(1), Some(RetryInterval { interval: minutes(1), notify: true }));
    assert_eq!(a.retry.after(2), None);
    assert_eq!(a.dsn_transport.as_ref().map(|id| id.as_str()), Some("b"));
    let b = config.transports.get("b").expect("b");
    assert_eq!(b.connection.server, Destination::Address(IpAddr::from([0, 0, 0, 0])));
    assert_eq!(b.connection.port, 26);
    assert_eq!(b.retry.after(4), Some(RetryInterval { interval: minutes(10), notify: false }));
    let c = config.transports.get("c").expect("c");
    assert_eq!((&c.connection.server, c.connection.port), (&Destination::Mx, 25));
    assert_eq!((c.session.tls_mode, c.dsn_transport.as_ref()), (TlsMode::Disabled, None));
}

#[test]
fn the_default_schedule_is_the_usual_one() {
    let loaded = running("transportgroups: [{transports: [{id: mx}]}]");
    let retry = &loaded.config.transports.get("mx").expect("mx").retry;
    let waits: Vec<_> = (1..=6)
        .filter_map(|n| retry.after(n))
        .map(|it| (it.interval.as_secs(), it.notify))
        .collect();
    let usual =
        [(60, false), (900, false), (3600, true), (7200, false), (10_800, false), (10_800, false)];
    assert_eq!((retry.count, waits.as_slice()), (30, &usual[..]));
    assert_eq!(retry.after(30), None);
}

#[test]
fn a_server_has_the_documented_defaults() {
    let loaded = running("servers: [{id: default}]");
    let config = &loaded.config;
    let server = config.servers.get("default").expect("the server");
    assert_eq!(server.concurrency_total.get(), 1000);
    assert_eq!(server.timeout_idle, Duration::from_secs(300));
    assert_eq!(server.phases.data.maxsize, Some(Size(100 << 20)));
    assert_eq!(server.phases.data.maxhops.get(), 100);
    assert_eq!(server.phases.rcptto.maxrecipients.get(), 1000);
    assert!(server.extensions.chunking && server.extensions.starttls && server.extensions.auth);
    assert_eq!(config.resolver.cache_size, 10_000);
    assert_eq!(config.resolver.concurrency.get(), 100);
    assert_eq!(config.queues.pooling_size, 1000);
    assert_eq!(config.queues.pooling_policy, PoolingPolicy::RemoteMx);
    assert_eq!(config.queues.grouping_default, GroupingDefault::Empty);
    assert_eq!(config.queues.maxmessages, None);
}

#[test]
fn phases_find_their_scripts() {
    let loaded = running(
        "servers:
  - id: s
    extensions: [SIZE, CHUNKING]
    phases:
      rcptto: {hook: {id: all, recipientdomains: {Example.COM: own}}}
      eod: {hook: e}
      data: {chunking: false, maxsize: 0}
scripting:
  hooks:
    rcptto: [{id: all, data: 'Accept();'}, {id: own, data: ''}]
    eod: [{id: e, data: ''}]
  files: [{id: a.txt, data: aGVsbG8=, binary: true}, {id: b.txt, path: /b.txt}, {id: c.txt, data: plain}]
",
    );
    let server = loaded.config.servers.get("s").expect("the server");
    let hook = |domain| server.phases.rcptto.hooks.of(domain).map(|id| id.to_string());
    assert_eq!(hook("example.com").as_deref(), Some("own"));
    assert_eq!(hook("example.net").as_deref(), Some("all"));
    assert_eq!(server.phases.eod.as_deref(), Some("e"));
    assert!(!server.extensions.chunking && server.extensions.size && !server.extensions.starttls);
    assert_eq!(server.phases.data.maxsize, None);
    let files = &loaded.config.scripting.files;
    let source = |id: &str| files.get(id).map(|file| file.source.clone());
    assert_eq!(source("a.txt"), Some(Source::Data(b"hello".as_slice().into())));
    assert_eq!(source("b.txt"), Some(Source::Path("/b.txt".into())));
    assert_eq!(source("c.txt"), Some(Source::Data(b"plain".as_slice().into())));
}

#[test]
fn references_that_lead_nowhere_are_all_reported() {
    let faults = running_faults(
        "servers:
  - id: s
    transport: outbund
    phases:
      helo: {hook: h}
      rcptto: {hook: {id: r, recipientdomains: {example.com: x}}}
transportgroups:
  - id: g
    connection: {sourceip: {addresses: [a2]}}
    dsn: {transport: bounces}
    transports: [{id: outbound}]
addresses: [{id: a1, address: 192.0.2.1}]
scripting: {hooks: {helo: [{id: hh, data: ''}]}}
",
    );
    for line in [
        "smtpd-app.yaml:4:16: error: servers[0].transport: there is no transport `outbund` (did you mean `outbound`?)",
        "smtpd-app.yaml:6:20: error: servers[0].phases.helo.hook: there is no script `h` in scripting.hooks.helo (did you mean `hh`?)",
        "smtpd-app.yaml:7:27: error: servers[0].phases.rcptto.hook.id: there is no script `r` in scripting.hooks.rcptto",
        "smtpd-app.yaml:7:62: error: servers[0].phases.rcptto.hook.recipientdomains.\"example.com\": there is no script `x` in scripting.hooks.rcptto",
        "smtpd-app.yaml:10:40: error: transportgroups[0].transports[0].connection.sourceip.addresses: there is no address `a2` in addresses (did you mean `a1`?)",
        "smtpd-app.yaml:11:22: error: transportgroups[0].transports[0].dsn.transport: there is no transport `bounces`",
    ] {
        assert!(faults.lines().any(|fault| fault == line), "missing: {line}\n{faults}");
    }
    assert_eq!(faults.lines().count(), 6, "{faults}");
}

#[test]
fn running_rules_that_tables_cannot_say_are_checked() {
    let transport = |text: &str| format!("transportgroups: [{{transports: [{{id: t, {text}}}]}}]");
    for (text, fault) in [
        ("servers: [{id: a}, {id: a}]".to_owned(), "another server `a`"),
        (
            "transportgroups: [{transports: [{id: t}]}, {transports: [{id: t}]}]".to_owned(),
            "another transport `t`",
        ),
        (transport("session: {username: u}"), "`username` needs `password`"),
        (transport("session: {tls: {protocols: SSLv3}}"), "not available in this implementation"),
        (transport("connection: {sourceip: {ipv4: false, ipv6: false}}"), "neither IPv4 nor IPv6"),
        (transport("retry: {intervals: []}"), "expected a list of at least 1, found 0"),
        (transport("retry: {intervals: [{interval: 0}]}"), "expected a duration of at least 1 s"),
        ("addresses: [{id: a, address: '::'}]".to_owned(), "no address to send from"),
        ("scripting: {files: [{id: a, data: x, path: y}]}".to_owned(), "either `data` or `path`"),
        ("scripting: {files: [{id: a, data: '*', binary: true}]}".to_owned(), "expected base64"),
        (
            "scripting: {hooks: {eod: [{id: a, data: ''}, {id: a, data: ''}]}}".to_owned(),
            "another eod script `a`",
        ),
        ("lists: {remotemx: {a: ['@b']}}".to_owned(), "cannot refer to others"),
        ("resolver: {servers: [localhost]}".to_owned(), "an address with port"),
        ("servers: [{id: a, hostname: !Env x}]".to_owned(), "the tag `!Env` has no meaning here"),
    ] {
        let faults = running_faults(&text);
        assert!(faults.contains(fault), "{text}\n{faults}");
    }
}

#[test]
fn what_comes_later_is_listed_once_at_its_topmost_key() {
    let loaded = startup(
        "cluster: {address: c, port: 2530}
servers: [{id: a, type: http, threads: {event: 8}, listeners: [{port: 1}]}]
environment: {licensekey: /x, sockets: {rated: {path: /y}}}",
    );
    assert_eq!(unimplemented(&loaded), ["cluster", "servers[0].type", "environment.sockets"]);
}

#[test]
fn policies_read_fields_rollups_conditions_and_limits() {
    let loaded = policy(
        "rate: {algorithm: tokenbucket}
policies:
  - fields: [localip, {remotemx: {google: ['*.google.com', '@gsuite']}}]
    conditions:
      - if: {remotemx: '#google', localip: [192.0.2.0/24, '@pool']}
        then: {concurrency: 10, rate: 50, tag: slow, stop: true, properties: {a: 1, b: x, c: true}}
    default: {concurrency: 0, rate: '1000/60', connectinterval: 1m}
  - {}
",
    );
    let [counter, global] = loaded.config.policies.as_slice() else { panic!() };
    assert_eq!(global.fields, []);
    let [localip, remotemx] = counter.fields.as_slice() else { panic!("{:?}", counter.fields) };
    assert_eq!((localip.field, remotemx.field), (Field::LocalIp, Field::RemoteMx));
    assert_eq!(remotemx.rollups.get("google").map(Vec::len), Some(2));
    let [condition] = counter.conditions.as_slice() else { panic!() };
    let (_, patterns) =
        condition.when.iter().find(|(field, _)| *field == Field::RemoteMx).expect("remotemx");
    assert_eq!(patterns, &[Matcher::Rollup("google".into())]);
    let then = &condition.then;
    assert_eq!((then.concurrency, then.rate.map(|rate| rate.count)), (Some(10), Some(50)));
    assert!(then.stop);
    assert_eq!(then.properties.get("b"), Some(&Property::Text("x".into())));
    let default = counter.default.as_ref().expect("a default");
    assert_eq!(
        (default.concurrency, default.connectinterval),
        (None, Some(Duration::from_secs(60)))
    );
    assert_eq!(default.rate.map(|rate| rate.interval), Some(Duration::from_secs(60)));
    assert_eq!(unimplemented(&loaded), [""; 0]);
}

#[test]
fn policies_may_only_name_their_own_fields_and_rollups() {
    for (text, fault) in [
        (
            "policies: [{fields: [localip], conditions: [{if: {jobid: x}, then: {}}]}]",
            "`jobid` is not among the fields",
        ),
        (
            "policies: [{fields: [{remotemx: {a: [x]}}], conditions: [{if: {remotemx: '#b'}, then: {}}]}]",
            "no roll-up `b`",
        ),
        ("policies: [{fields: [localip, localip]}]", "already there"),
        ("policies: [{fields: [localips]}]", "did you mean `localip`?"),
        ("policies: [{fields: [{}]}]", "exactly one field"),
        ("policies: [{conditions: [{if: {}}]}]", "the key `then` is missing"),
        ("policies: [{default: {rate: 5/0}}]", "a rate such as"),
        (
            "policies: [{fields: [remotemx], conditions: [{if: {remotemx: '/(/'}, then: {}}]}]",
            "a regular expression",
        ),
    ] {
        let text = format!("version: \"5.6\"\n{text}");
        let faults = lines(&config::load_policy(&text, "p").expect_err("a fault"));
        assert!(faults.contains(fault), "{text}\n{faults}");
    }
}

#[test]
fn suspensions_and_delivery_settings_read_as_meant() {
    let text = "version: \"5.6\"\nsuspends: [{remotemx: '*.example.com', localip: '192.0.2.1', tag: t}, {}]";
    let suspend = config::load_suspend(text, "s").expect("suspensions");
    let [first, all] = suspend.config.suspends.as_slice() else { panic!() };
    assert_eq!((first.when.len(), first.tag.as_deref(), all.when.len()), (2, Some("t"), 0));

    let text = "version: \"5.6\"
delivery:
  conditions: [{if: {recipientdomain: example.com}, then: {timeout: {smtp: {AUTH-LOGIN: 30, EOD: 10m}}}}]
  default: {pooling: {enabled: true, timeout: 10, transactions: 5, evictable: false}, tls: {mode: require}}";
    let delivery = config::load_delivery(text, "d").expect("settings").config;
    let [condition] = delivery.conditions.as_slice() else { panic!() };
    assert_eq!(
        condition.then.timeout_smtp.get(&SmtpState::AuthLogin),
        Some(&Duration::from_secs(30))
    );
    assert!(!condition.then.pooling_enabled && condition.then.pooling_evictable);
    assert!(delivery.default.pooling_enabled && !delivery.default.pooling_evictable);
    assert_eq!(delivery.default.tls_mode, Some(TlsMode::Require));
    let dane = "version: \"5.6\"\ndelivery: {default: {tls: {mode: dane}}}";
    assert!(config::load_delivery(dane, "d").is_err());
}

fn report(files: &[(&str, &str)]) -> config::Report {
    config::check("smtpd.yaml", |path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        match files.iter().find(|(file, _)| *file == name) {
            Some((_, text)) => Ok(format!("version: \"5.6\"\n{text}").into_bytes()),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    })
}

#[test]
fn servers_and_certificates_are_checked_across_files() {
    let report = report(&[
        (
            "smtpd.yaml",
            "pki: {private: [{id: c1, privatekey: {path: /k}}]}
servers:
  - {id: a, listeners: [{port: 25, id: plain}, {port: 465, id: tls}]}
  - {id: b, type: http, listeners: [{port: 80}]}
  - {id: defualt, listeners: [{port: 26}]}",
        ),
        (
            "smtpd-app.yaml",
            "pki: {private: [{id: c1, certificate: {data: pem}}, {id: c2, certificate: {data: pem}}]}
servers:
  - {id: a, tls: {certs: {cert: c1}, implicit: [tls, smtps]}}
  - {id: b, tls: {certs: {cert: c2}}}
  - {id: default, tls: {implicit: [x]}}",
        ),
        ("smtpd-suspend.yaml", "suspends: [{localip: '@none', transportid: gone}]"),
    ]);
    let found = lines(&report.diagnostics);
    assert!(!report.is_usable());
    let expected = [
        "smtpd.yaml:6:10: error: servers[2].id: there is no server `defualt` in /etc/halon/smtpd-app.yaml (did you mean `default`?)",
        "/etc/halon/smtpd-app.yaml:4:54: error: servers[0].tls.implicit[1]: this server has no listener `smtps` in smtpd.yaml",
        "/etc/halon/smtpd-app.yaml:5:5: error: servers[1].type: smtpd.yaml gives this server another type",
        "/etc/halon/smtpd-app.yaml:5:33: error: servers[1].tls.certs.cert: the entry `c2` in pki.private has no private key",
        "/etc/halon/smtpd-app.yaml:6:10: warning: servers[2].id: no server `default` listens in smtpd.yaml",
        "/etc/halon/smtpd-suspend.yaml:2:22: warning: suspends[0].localip: there is no list lists.localip.none in /etc/halon/smtpd-app.yaml",
        "/etc/halon/smtpd-suspend.yaml:2:44: warning: suspends[0].transportid: there is no transport `gone` in /etc/halon/smtpd-app.yaml",
    ];
    let mut lines: Vec<_> = found.lines().collect();
    lines.sort_unstable();
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(lines, sorted);
}

#[test]
fn a_missing_running_file_is_an_error_and_a_missing_policy_is_not() {
    let alone = report(&[("smtpd.yaml", "")]);
    assert!(!alone.is_usable());
    assert!(
        lines(&alone.diagnostics)
            .contains("/etc/halon/smtpd-app.yaml: error: the file cannot be read")
    );
    let both = report(&[("smtpd.yaml", ""), ("smtpd-app.yaml", "")]);
    assert!(both.is_usable(), "{:?}", both.diagnostics);
    assert_eq!(both.unimplemented().count(), 0);
}

#[test]
fn a_flood_of_warnings_never_hides_an_error() {
    let groups = "  - {id: g, transports: []}\n".replace("id: g, ", "").repeat(500);
    let faults =
        running_faults(&format!("transportgroups:\n{groups}servers: [{{id: s, transport: t}}]"));
    assert!(faults.contains("there is no transport `t`"), "{faults}");
    assert!(faults.lines().count() <= 101);
}

#[test]
fn groupings_may_use_lists_but_no_rollups() {
    let grouping = |list: &str| {
        format!(
            "lists: {{remotemx: {{google: ['*.google.com']}}}}
queues: {{grouping: {{groupings: [{{id: g, remotemx: ['{list}']}}]}}}}"
        )
    };
    assert_eq!(running(&grouping("@google")).warnings, []);
    let warnings = lines(&running(&grouping("@gogle")).warnings);
    assert!(warnings.contains("there is no list lists.remotemx.gogle"), "{warnings}");
    assert!(running_faults(&grouping("#google")).contains("only in pickup policies"));
}

#[test]
fn an_old_version_is_read_with_a_warning() {
    let loaded = config::load_suspend("version: \"4.9\"\n", "s").expect("a file");
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.severity, Severity::Warning);
}

#[test]
fn a_run_of_a_script_has_limits_whether_they_are_given_or_not() {
    let limits = |text: &str| running(text).config.scripting.limits;
    assert_eq!(limits(""), ScriptLimits::default());
    assert_eq!(limits("scripting: {limits: {}}"), ScriptLimits::default());
    assert_eq!(
        limits("scripting: {limits: {depth: 8, memory: 16MiB, fuel: 1000, time: 2m}}"),
        ScriptLimits {
            depth: 8,
            memory: Size(16 << 20),
            fuel: Some(1000),
            time: Duration::from_secs(120),
        }
    );
    let hooks = "hooks: {eod: {memory: 1GiB, depth: 9}, predelivery: {time: 20, fuel: 7}}";
    let text = format!("scripting: {{limits: {{time: 60, {hooks}}}}}");
    let scripting = running(&text).config.scripting;
    let of_all = ScriptLimits { time: Duration::from_secs(60), ..ScriptLimits::default() };
    assert_eq!(scripting.limits_of("connect"), of_all);
    assert_eq!(
        scripting.limits_of("eod"),
        ScriptLimits { memory: Size(1 << 30), depth: 9, ..of_all }
    );
    assert_eq!(
        scripting.limits_of("predelivery"),
        ScriptLimits { time: Duration::from_secs(20), fuel: Some(7), ..of_all }
    );
    let faults = running_faults("scripting: {limits: {hooks: {eod: {depth: 0}, data: {}}}}");
    assert!(faults.contains("scripting.limits.hooks.eod.depth: "), "{faults}");
    assert!(faults.contains("scripting.limits.hooks.data: "), "{faults}");
    for wrong in ["depth: 0", "depth: 10001", "memory: 1KiB", "time: 0", "fuel: 0", "steps: 5"] {
        let faults = running_faults(&format!("scripting: {{limits: {{{wrong}}}}}"));
        let key = wrong.split(':').next().unwrap();
        assert!(faults.contains(&format!("scripting.limits.{key}: ")), "{wrong}: {faults}");
    }
}
