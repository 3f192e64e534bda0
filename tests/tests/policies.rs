//! What holds deliveries back: pickup policies, suspensions, delivery settings, and how operators and
//! scripts change them while mail flows.

use std::time::Duration;

use control::client::ClientError;
use control::command::call;
use control::pb;
use control::pb::suspend_response::item::Source;
use system_tests::{Setup, TestDaemon, ask};
use testkit::dns_zone::{Zone, ZoneServer};
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink};

const MESSAGE: &str = "Subject: hello\r\n\r\nText\r\n";

async fn send(daemon: &TestDaemon, to: &str) {
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("a@client.example", &[to], MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
}

async fn suspends(daemon: &TestDaemon) -> Vec<pb::suspend_response::Item> {
    ask(daemon, |client| {
        client.call(call::SUSPEND_LIST, &pb::SuspendRequest::default()).unwrap().items
    })
    .await
}

/// Waits until a list of suspensions shows one of that source.
async fn wait_for_source(daemon: &TestDaemon, source: Source) -> pb::suspend_response::Item {
    for _ in 0..600 {
        let found = suspends(daemon).await;
        if let Some(item) = found.into_iter().find(|item| item.source == i32::from(source)) {
            return item;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no suspension of source {source:?} within the time");
}

/// How many rows wait in ACTIVE.
async fn active(daemon: &TestDaemon) -> u64 {
    let stats = ask(daemon, |client| client.call(call::PROCESS_STATS, &()).unwrap()).await;
    stats.queue.unwrap().queue.unwrap().active.unwrap().size
}

async fn wait_for_active(daemon: &TestDaemon, count: u64) {
    for _ in 0..600 {
        if active(daemon).await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} rows are active, not {count}", active(daemon).await);
}

/// `a.example` and `b.example`, each with an exchanger of its own at the same address.
async fn two_hosts() -> ZoneServer {
    Zone::new()
        .mx("a.example", 10, "mx.a.example")
        .mx("b.example", 10, "mx.b.example")
        .address("mx.a.example", "127.0.0.1")
        .address("mx.b.example", "127.0.0.1")
        .serve()
        .await
}

fn by_mx(names: &ZoneServer, sink: &SmtpSink) -> Setup {
    Setup { name_server: Some(names.address), port: Some(sink.address.port()), ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrency_limit_of_one_host_holds_while_other_mail_flows() {
    let sink =
        SmtpSink::start_with(SinkBehaviour::default().hold("RCPT TO:<USER@A.EXAMPLE>")).await;
    let names = two_hosts().await;
    let mut daemon = TestDaemon::start(Setup {
        policy: "policies:\n  - fields: [remotemx]\n    conditions:\n      - if:\n          \
                 remotemx: mx.a.example\n        then:\n          concurrency: 1\n          tag: one\n"
            .into(),
        ..by_mx(&names, &sink)
    })
    .await;
    for to in ["user@a.example", "user@a.example", "user@b.example", "user@b.example"] {
        send(&daemon, to).await;
    }
    let through = sink.wait_for(2).await;
    assert!(through.iter().all(|message| message.to == ["<user@b.example>"]), "{through:?}");
    let limit = wait_for_source(&daemon, Source::Concurrency).await;
    assert_eq!(limit.remotemx, "mx.a.example");
    let asked = sink.commands().iter().filter(|line| line.contains("@a.example")).count();
    assert_eq!(asked, 1, "the second one waits");
    assert_eq!(active(&daemon).await, 1);
    sink.behave(SinkBehaviour::default());
    assert_eq!(sink.wait_for(4).await.len(), 4);
    assert!(suspends(&daemon).await.is_empty());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_rate_holds_until_it_is_refilled() {
    let sink = SmtpSink::start().await;
    let mut daemon = TestDaemon::start(Setup {
        next_hop: Some(sink.address),
        policy: "policies:\n  - fields: [transportid]\n    default:\n      rate: 1/3600\n".into(),
        ..Setup::default()
    })
    .await;
    send(&daemon, "one@example.org").await;
    assert_eq!(sink.wait_for(1).await.len(), 1);
    send(&daemon, "two@example.org").await;
    let limit = wait_for_source(&daemon, Source::Rate).await;
    assert_eq!(limit.transportid, "out");
    assert!(limit.ttl > 3000.0, "{}", limit.ttl);
    assert_eq!(sink.messages().len(), 1);
    let request = pb::PolicyRateRefillRequest { transportid: "out".into(), ..Default::default() };
    let refilled = ask(&daemon, move |client| client.call(call::RATE_REFILL, &request)).await;
    assert_eq!(refilled.unwrap().affected, 1);
    assert_eq!(sink.wait_for(2).await[1].to, ["<two@example.org>"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_source_address_gives_way_to_the_other_one() {
    let sink = SmtpSink::start().await;
    let mut daemon = TestDaemon::start(
        Setup {
            next_hop: Some(sink.address),
            running:
                "addresses:\n  - id: a\n    address: 127.0.0.2\n  - id: b\n    address: 127.0.0.3\n\
                  lists:\n  localip:\n    bad: [127.0.0.2]\n"
                    .into(),
            suspend: "suspends:\n  - localip: '@bad'\n    tag: listed\n".into(),
            ..Setup::default()
        }
        .hook("predelivery", r#"Try(["sourceip" => ["a", "b"]]);"#),
    )
    .await;
    for _ in 0..4 {
        send(&daemon, "user@example.org").await;
    }
    for message in sink.wait_for(4).await {
        assert_eq!(message.peer.ip().to_string(), "127.0.0.3");
    }
    let listed = suspends(&daemon).await;
    assert_eq!((listed[0].localip.as_str(), listed[0].tag.as_str()), ("@bad", "listed"));
    assert_eq!(listed[0].source, i32::from(Source::Static));
    // The running configuration's lists change with it: now the other one is bad.
    daemon.rewrite(|setup| setup.running = setup.running.replace("[127.0.0.2]", "[127.0.0.3]"));
    ask(&daemon, |client| client.call(call::CONFIG_RELOAD, &()).unwrap()).await;
    send(&daemon, "user@example.org").await;
    assert_eq!(sink.wait_for(5).await[4].peer.ip().to_string(), "127.0.0.2");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspending_everything_holds_all_mail_until_it_is_deleted() {
    let sink = SmtpSink::start().await;
    let mut daemon =
        TestDaemon::start(Setup { next_hop: Some(sink.address), ..Setup::default() }).await;
    let request = pb::SuspendAddRequest { id: "all".into(), tag: "w".into(), ..Default::default() };
    let id = ask(&daemon, move |client| client.call(call::SUSPEND_ADD, &request).unwrap().id).await;
    assert_eq!(id, "all");
    send(&daemon, "user@example.org").await;
    wait_for_active(&daemon, 1).await;
    let request =
        pb::SuspendUpdateRequest { id: "all".into(), ttl: 3600.0, tag: "maintenance".into() };
    let affected =
        ask(&daemon, move |client| client.call(call::SUSPEND_UPDATE, &request).unwrap().affected);
    assert_eq!(affected.await, 1);
    let listed = suspends(&daemon).await;
    assert_eq!((listed[0].tag.as_str(), listed[0].id.as_str()), ("maintenance", "all"));
    assert!((3590.0..=3600.0).contains(&listed[0].ttl), "{}", listed[0].ttl);
    assert!(sink.messages().is_empty());
    for expected in [1, 0] {
        let request = pb::SuspendDeleteRequest { id: "all".into() };
        let affected = ask(&daemon, move |client| {
            client.call(call::SUSPEND_DELETE, &request).unwrap().affected
        });
        assert_eq!(affected.await, expected);
    }
    assert_eq!(sink.wait_for(1).await.len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_reload_leaves_the_old_rules_in_force() {
    let mut daemon = TestDaemon::start(Setup {
        policy: "policies:\n  - fields: [jobid]\n    default:\n      concurrency: 3\n".into(),
        suspend: "suspends:\n  - jobid: held\n".into(),
        ..Setup::default()
    })
    .await;
    daemon.rewrite(|setup| {
        setup.policy = "policies:\n  - fields: [nonsense]\n".into();
        setup.suspend = "suspends:\n  - localip: no-address\n".into();
        setup.delivery = "delivery:\n  default:\n    pooling:\n      enabled: perhaps\n".into();
    });
    let errors = ask(&daemon, |client| {
        [call::POLICY_RELOAD, call::SUSPEND_RELOAD, call::DELIVERY_RELOAD].map(|command| {
            match client.call(command, &()) {
                Err(ClientError::Failed(text)) => text,
                other => panic!("{other:?}"),
            }
        })
    })
    .await;
    assert!(errors[0].contains("smtpd-policy.yaml:3:"), "{}", errors[0]);
    assert!(errors[0].contains("policies[0].fields"), "{}", errors[0]);
    assert!(errors[1].contains("smtpd-suspend.yaml:3:"), "{}", errors[1]);
    assert!(errors[2].contains("delivery.default.pooling.enabled"), "{}", errors[2]);
    let request = pb::PolicyMatchRequest { jobid: "j".into(), ..Default::default() };
    let matched = ask(&daemon, move |client| client.call(call::POLICY_MATCH, &request)).await;
    assert_eq!(matched.unwrap().policies[0].concurrency, 3);
    assert_eq!(suspends(&daemon).await[0].jobid, "held");
    daemon.rewrite(|setup| {
        setup.policy =
            "policies:\n  - fields: [jobid]\n    default:\n      concurrency: 4\n".into();
        setup.suspend = String::new();
        setup.delivery = String::new();
    });
    ask(&daemon, |client| {
        for command in [call::POLICY_RELOAD, call::SUSPEND_RELOAD, call::DELIVERY_RELOAD] {
            client.call(command, &()).unwrap();
        }
    })
    .await;
    let request = pb::PolicyMatchRequest { jobid: "j".into(), ..Default::default() };
    let matched = ask(&daemon, move |client| client.call(call::POLICY_MATCH, &request)).await;
    assert_eq!(matched.unwrap().policies[0].concurrency, 4);
    assert!(suspends(&daemon).await.is_empty());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_rules_refuse_the_start_and_a_check() {
    for (setup, named) in [
        (
            Setup { policy: "policies:\n  - fields: [a]\n".into(), ..Setup::default() },
            "smtpd-policy.yaml:3:",
        ),
        (
            Setup {
                suspend: "suspends:\n  - tag: 12\n    nothing: 1\n".into(),
                ..Setup::default()
            },
            "suspends[0].nothing",
        ),
        (Setup { delivery: "delivery: 1\n".into(), ..Setup::default() }, "smtpd-delivery.yaml:2:"),
    ] {
        match TestDaemon::try_start(setup).await {
            Ok(_) => panic!("{named} was accepted"),
            Err(error) => {
                assert!(error.to_string().contains(named), "{error}");
                assert!(error.is_configuration());
            }
        }
    }
    let mut daemon = TestDaemon::start(Setup::default()).await;
    daemon.rewrite(|setup| setup.policy = "policies: 1\n".into());
    let error = mta_daemon::check(&daemon.options()).await.unwrap_err();
    assert!(error.to_string().contains("smtpd-policy.yaml"), "{error}");
    std::fs::remove_file(daemon.dir().join("smtpd-policy.yaml")).unwrap();
    let error = mta_daemon::check(&daemon.options()).await.unwrap_err();
    assert!(error.to_string().contains("smtpd-policy.yaml"), "a named file must be there: {error}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dynamic_conditions_are_added_listed_changed_and_deleted() {
    let mut daemon = TestDaemon::start(Setup {
        policy: "policies:\n  - fields:\n      - remotemx:\n          big: ['*.big.example', '@more']\n    \
                 default:\n      concurrency: 5\n      rate: 10/60\n"
            .into(),
        running: "lists:\n  remotemx:\n    more: [mx.other.example]\n".into(),
        ..Setup::default()
    })
    .await;
    let fields = pb::Fields { remotemx: true, ..Default::default() };
    let add = pb::PolicyConditionAddRequest {
        fields: Some(fields),
        r#if: Some(pb::PolicyIf {
            remotemx: Some(pb::StringValue { value: "#big".into() }),
            ..Default::default()
        }),
        then: Some(pb::PolicyThen {
            concurrency: 2,
            rate: Some(pb::PolicyRate { count: 100, interval: 3600.0 }),
            tag: "slow".into(),
            properties: [("why".to_owned(), "complaints".to_owned())].into(),
            ..Default::default()
        }),
        ttl: 600.0,
        id: "mine".into(),
    };
    let items = ask(&daemon, move |client| {
        assert_eq!(client.call(call::CONDITION_ADD, &add).unwrap().id, "mine");
        // Another counter is not configured.
        let fields = pb::Fields { jobid: true, ..Default::default() };
        let other = pb::PolicyConditionAddRequest { fields: Some(fields), ..Default::default() };
        assert!(matches!(client.call(call::CONDITION_ADD, &other), Err(ClientError::Failed(_))));
        client.call(call::CONDITION_LIST, &()).unwrap().items
    })
    .await;
    assert_eq!(items.len(), 1);
    let then = items[0].then.clone().unwrap();
    assert_eq!((then.concurrency, then.tag.as_str()), (2, "slow"));
    assert_eq!(then.properties["why"], "complaints");
    assert!((590.0..=600.0).contains(&items[0].ttl), "{}", items[0].ttl);
    let matched = |remotemx: &str| {
        let request = pb::PolicyMatchRequest { remotemx: remotemx.into(), ..Default::default() };
        ask(&daemon, move |client| client.call(call::POLICY_MATCH, &request).unwrap().policies)
    };
    let big = matched("mx.other.example").await.remove(0);
    assert_eq!((big.grouping.as_str(), big.concurrency), ("#big", 2));
    assert_eq!(big.dynamic[0].id, "mine");
    assert_eq!(big.tags, ["slow"]);
    assert_eq!(matched("mx.small.example").await[0].concurrency, 5);
    ask(&daemon, |client| {
        let update = pb::PolicyConditionUpdateRequest {
            id: "mine".into(),
            then: Some(pb::PolicyThen { concurrency: 1, ..Default::default() }),
            ttl: 0.0,
        };
        assert_eq!(client.call(call::CONDITION_UPDATE, &update).unwrap().affected, 1);
    })
    .await;
    let big = matched("mx1.big.example").await.remove(0);
    assert_eq!(
        (big.concurrency, big.rate.unwrap().count),
        (1, 10),
        "the rate is the policy's again"
    );
    let (groupings, items) = ask(&daemon, move |client| {
        let all = pb::PolicyGroupingListRequest::default();
        let request = pb::PolicyGroupingRequest {
            fields: Some(fields),
            value: Some(pb::policy_grouping_request::Value::Remotemx("#big".into())),
        };
        let list = client.call(call::GROUPING_LIST, &all).unwrap().groupings;
        (list, client.call(call::GROUPING, &request).unwrap().items)
    })
    .await;
    use pb::policy_grouping_list_response::grouping::Value;
    assert_eq!(groupings[0].value, Some(Value::Remotemx("#big".into())));
    assert_eq!(items, ["*.big.example", "@more"]);
    ask(&daemon, |client| {
        let delete = pb::PolicyConditionDeleteRequest { id: "mine".into() };
        assert_eq!(client.call(call::CONDITION_DELETE, &delete).unwrap().affected, 1);
        assert_eq!(client.call(call::CONDITION_DELETE, &delete).unwrap().affected, 0);
        assert!(client.call(call::CONDITION_LIST, &()).unwrap().items.is_empty());
        assert_eq!(client.call(call::VERSION, &()).unwrap().major.to_string(), MAJOR);
    })
    .await;
    daemon.stop().await;
}

const MAJOR: &str = env!("CARGO_PKG_VERSION_MAJOR");

/// Rows by grouping and host: the values, how many are active, how many there are.
async fn groups(daemon: &TestDaemon) -> Vec<(String, u64, u64)> {
    use pb::queue_group_by_request::{Counts, GroupBy, counts, group_by};
    let request = pb::QueueGroupByRequest {
        groupbys: vec![
            GroupBy { field: Some(group_by::Field::Grouping(true)) },
            GroupBy { field: Some(group_by::Field::Remotemx(true)) },
        ],
        counts: vec![Counts {
            field: Some(counts::Field::Queue(pb::Queue::Active.into())),
            ..Default::default()
        }],
        ..Default::default()
    };
    ask(daemon, move |client| {
        let answer = client.call(call::QUEUE_GROUPBY, &request).unwrap();
        let row = |item: pb::queue_group_by_response::Item| {
            (item.groupbys.join(" "), item.counts[0], item.total)
        };
        answer.items.into_iter().map(row).collect()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_counted_and_groupings_follow_the_configuration() {
    let sink = SmtpSink::start().await;
    let names = two_hosts().await;
    let mut daemon = TestDaemon::start(Setup {
        suspend: "suspends:\n  - {}\n".into(),
        running: "queues:\n  grouping:\n    groupings:\n      - id: first\n        remotemx: ['*.a.example']\n"
            .into(),
        ..by_mx(&names, &sink)
    })
    .await;
    for to in ["one@a.example", "two@a.example", "three@b.example"] {
        send(&daemon, to).await;
    }
    wait_for_active(&daemon, 3).await;
    let expected = [("&first mx.a.example".to_owned(), 2, 2), (" mx.b.example".to_owned(), 1, 1)];
    assert_eq!(groups(&daemon).await, expected);
    daemon.rewrite(|setup| {
        setup.running = setup.running.replace("first", "second").replace("*.a.", "*.b.");
    });
    ask(&daemon, |client| client.call(call::CONFIG_RELOAD, &()).unwrap()).await;
    let expected = [(" mx.a.example".to_owned(), 2, 2), ("&second mx.b.example".to_owned(), 1, 1)];
    assert_eq!(groups(&daemon).await, expected);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_settings_know_the_host_the_address_and_the_grouping() {
    let names = two_hosts().await;
    let sink =
        SmtpSink::start_with(SinkBehaviour::default().reply("RCPT TO:<BUSY@", "451 4.2.0 Busy"))
            .await;
    let mut daemon = TestDaemon::start(Setup {
        retries: vec![3600],
        running: "queues:\n  grouping:\n    groupings:\n      - id: a\n        remotemx: [mx.a.example]\n".into(),
        delivery: "delivery:\n  conditions:\n    - if:\n        grouping: '&a'\n      then:\n        pooling:\n          \
                   enabled: true\n          timeout: 60\n        retry:\n          count: 1\n          intervals:\n            \
                   - interval: 1\n    - if:\n        remotemx: mx.b.example\n        remoteip: 127.0.0.0/8\n      then:\n        \
                   retry:\n          count: 0\n"
            .into(),
        ..by_mx(&names, &sink)
    })
    .await;
    send(&daemon, "user@a.example").await;
    sink.wait_for(1).await;
    send(&daemon, "user@a.example").await;
    let two = sink.wait_for(2).await;
    assert_eq!(two[0].connection, two[1].connection, "the connection was kept for this grouping");
    send(&daemon, "user@b.example").await;
    sink.wait_for(3).await;
    send(&daemon, "user@b.example").await;
    let four = sink.wait_for(4).await;
    assert_ne!(four[2].connection, four[3].connection);
    // One retry after a second, instead of the transport's hour.
    send(&daemon, "busy@a.example").await;
    // No retry at all: without DSN settings the message ends.
    send(&daemon, "busy@b.example").await;
    let tries = |to: &str| {
        let line = format!("RCPT TO:<{to}>");
        sink.commands().iter().filter(|command| command.starts_with(&line)).count()
    };
    for _ in 0..600 {
        if tries("busy@a.example") == 2 && active_and_deferred(&daemon).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((tries("busy@a.example"), tries("busy@b.example")), (2, 1));
    assert_eq!(active_and_deferred(&daemon).await, 0);
    daemon.stop().await;
}

async fn active_and_deferred(daemon: &TestDaemon) -> u64 {
    ask(daemon, |client| {
        let list = client.call(call::QUEUE_LIST, &pb::QueueListRequest::default()).unwrap();
        list.paging.unwrap().total
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_suspend_limit_and_see_the_policy_that_applied() {
    let refuse = SinkBehaviour::default().reply("RCPT TO:<BUSY@", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(refuse).await;
    let setup = Setup {
        next_hop: Some(sink.address),
        retries: vec![3600],
        policy: "policies:\n  - fields: [transportid]\n    default:\n      concurrency: 7\n      tag: usual\n      \
                 properties:\n        backoff: 3\n"
            .into(),
        ..Setup::default()
    }
    .hook(
        "postdelivery",
        r#"if (isset($arguments["attempt"]["result"]) and $arguments["attempt"]["result"]["code"] == 451) {
               $policy = $arguments["policy"];
               $first = $policy["policies"][0];
               $one = queue_policy(["transportid"], ["transportid" => $message["transportid"]],
                   ["concurrency" => 1, "rate" => [5, 60], "tag" => "backoff"], 60, ["id" => "script"]);
               $two = queue_policy(["transportid"], ["transportid" => $message["transportid"]],
                   ["concurrency" => 2], 60, ["update" => false]);
               $none = queue_policy(["jobid"], [], ["concurrency" => 2], 60);
               $gone = queue_policy_delete("no such");
               $held = queue_suspend(["recipientdomain" => "*.example.net"], 60, ["tag" => "script"]);
               SetMetaData([
                   "tags" => json_encode($policy["tags"]), "fields" => json_encode($first["fields"]),
                   "grouping" => $first["grouping"]["transportid"],
                   "backoff" => json_encode($first["properties"]["backoff"]),
                   "one" => json_encode($one), "two" => json_encode($two),
                   "none" => json_encode($none), "gone" => json_encode($gone),
                   "held" => is_array($held) ? "yes" : "no"]);
           }
           Default();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "busy@example.org").await;
    let mut metadata = std::collections::BTreeMap::new();
    for _ in 0..600 {
        let list = ask(&daemon, |client| {
            client.call(call::QUEUE_LIST, &pb::QueueListRequest::default()).unwrap().items
        })
        .await;
        if let Some(item) = list.first().filter(|item| !item.metadata.is_empty()) {
            metadata.extend(item.metadata.clone());
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (key, value) in [
        ("tags", r#"["usual"]"#),
        ("fields", r#"["transportid"]"#),
        ("grouping", "out"),
        ("backoff", "3"),
        ("one", r#"{"id":"script"}"#),
        ("two", "null"),
        ("none", "null"),
        ("gone", "false"),
        ("held", "yes"),
    ] {
        assert_eq!(metadata.get(key).map(String::as_str), Some(value), "{key}: {metadata:?}");
    }
    let request = pb::PolicyMatchRequest { transportid: "out".into(), ..Default::default() };
    let matched = ask(&daemon, move |client| client.call(call::POLICY_MATCH, &request)).await;
    let policy = matched.unwrap().policies.remove(0);
    assert_eq!((policy.concurrency, policy.tags.len()), (1, 2), "{policy:?}");
    let listed = suspends(&daemon).await;
    assert_eq!(listed[0].recipientdomain, "*.example.net");
    assert_eq!(listed[0].tag, "script");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_of_a_script_stops_spaces_and_tells_its_properties() {
    let sink = SmtpSink::start().await;
    let setup = Setup {
        next_hop: Some(sink.address),
        policy: "policies:\n  - fields: [transportid]\n  - fields: []\n    default:\n      concurrency: 7\n"
            .into(),
        ..Setup::default()
    }
    .hook(
        "predelivery",
        r#"$who = $message["recipientaddress"]["localpart"];
           $properties = ["text" => "x", "number" => 2, "flag" => true];
           if ($who == "stop")
               queue_policy(["transportid"], ["transportid" => "out"], ["stop" => true, "properties" => $properties],
                   600, ["id" => "mine"]);
           if ($who == "space") {
               queue_policy_delete("mine");
               queue_policy(["transportid"], ["transportid" => "out"], ["connectinterval" => 3600], 600);
           }"#,
    )
    // What was said about each goes to the sink in a message of its own.
    .hook(
        "postdelivery",
        &format!(
            r#"$said = array_map(function ($one) {{
                   return [$one["fields"], $one["dynamic"], $one["properties"], $one["stop"]];
               }}, $arguments["policy"]["policies"]);
               MIME()->addHeader("X-Said", json_encode($said))->send("", ["seen@example.net"],
                   ["host" => "127.0.0.1", "port" => {}]);"#,
            sink.address.port()
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let mut said = Vec::new();
    for to in ["usual@example.org", "stop@example.org"] {
        send(&daemon, to).await;
        let messages = sink.wait_for(said.len() * 2 + 2).await;
        let content = messages.last().unwrap().content.replace("\r\n\t", " ").replace("\r\n ", " ");
        said.extend(
            content.lines().find_map(|line| line.strip_prefix("X-Said: ").map(str::to_owned)),
        );
    }
    assert_eq!(
        said,
        [
            r#"[[["transportid"],[],[],false],[[],[],[],false]]"#,
            r#"[[["transportid"],[{"id":"mine"}],{"text":"x","number":2,"flag":true},true]]"#,
        ]
    );
    // The first after that goes at once, and the next one after an hour.
    send(&daemon, "space@example.org").await;
    assert_eq!(sink.wait_for(6).await[4].to, ["<space@example.org>"]);
    send(&daemon, "next@example.org").await;
    let limit = wait_for_source(&daemon, Source::Rate).await;
    assert_eq!(limit.transportid, "out");
    assert!((3000.0..=3600.0).contains(&limit.ttl), "{}", limit.ttl);
    assert_eq!(sink.messages().len(), 6);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_equal_suspension_of_a_script_is_renewed_or_kept() {
    let setup = Setup::default().hook(
        "mailfrom",
        r#"$fields = ["jobid" => "j"];
           $first = queue_suspend($fields, 60, ["id" => "mine", "tag" => "one"]);
           $kept = queue_suspend($fields, 600, ["update" => false]);
           $list = [$first, $kept];
           if ($arguments["sender"] == "renew@example.org") $list[] = queue_suspend($fields, 600, ["tag" => "two"]);
           Accept(["reason" => json_encode($list)]);"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.command("MAIL FROM:<keep@example.org>").await;
    assert!(reply.ends_with(r#"[{"id":"mine"},null]"#), "{reply}");
    let listed = suspends(&daemon).await;
    assert_eq!((listed.len(), listed[0].jobid.as_str(), listed[0].id.as_str()), (1, "j", "mine"));
    assert!(listed[0].tag == "one" && listed[0].ttl <= 60.0, "{listed:?}");
    client.command("RSET").await;
    let reply = client.command("MAIL FROM:<renew@example.org>").await;
    assert!(reply.ends_with(r#"[{"id":"mine"},null,{"id":"mine"}]"#), "{reply}");
    let listed = suspends(&daemon).await;
    assert_eq!(listed.len(), 1);
    assert!((590.0..=600.0).contains(&listed[0].ttl), "{listed:?}");
    assert_eq!(listed[0].tag, "one", "only the time is new");
    drop(client);
    daemon.stop().await;
}
