//! The command line against a control socket of the test's own: help, tables, JSON, requests, errors.

mod fake;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener, process::CommandExt as _},
    process::{Command, Stdio},
};

use control::{
    command::call,
    frame,
    pb::{
        self, process_stats_response as stats,
        queue_list_response::{QueueItem, queue_item},
        queue_update_request::{Task, r#move::Destination},
    },
};
use fake::{FakeDaemon, failure, halonctl};
use insta::assert_snapshot;

fn item(queue: u64) -> QueueItem {
    let address = |localpart: &str, domain: &str| {
        Some(queue_item::MailAddress { localpart: localpart.to_owned(), domain: domain.to_owned() })
    };
    QueueItem {
        id: Some(pb::QueueItemId {
            transaction: "b186d406-0c36-11ea-8dda-005056914940".to_owned(),
            queue,
        }),
        state: Some(queue_item::State::Queue(pb::Queue::Defer.into())),
        ts: 1_577_840_523.5,
        sender: if queue == 1 { address("news", "example.org") } else { address("", "") },
        recipient: address("user", "example.com"),
        transportid: "mx".to_owned(),
        metadata: [("campaign".to_owned(), "spring".to_owned())].into(),
        retrycount: 3 * queue,
        retrydelay: 1234.56,
        retryreason: "451 4.7.1 later\r\n\u{1b}[2J".to_owned(),
        size: 20_480,
        subject: "Grüße, 世界".to_owned(),
        localips: vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()],
        ..QueueItem::default()
    }
}

fn list(total: u64) -> pb::QueueListResponse {
    let working = queue_item::WorkingState {
        working: pb::Working::Sending.into(),
        updatefreezing: false,
        duration: 7.2,
    };
    let sending = QueueItem { state: Some(queue_item::State::Working(working)), ..item(2) };
    pb::QueueListResponse { items: vec![item(1), sending], paging: Some(pb::PagingTotal { total }) }
}

fn process_stats() -> pb::ProcessStatsResponse {
    let scripts = stats::server::Scripts {
        eod: Some(stats::Script { finished: 12, errors: 1, ..stats::Script::default() }),
        ..stats::server::Scripts::default()
    };
    pb::ProcessStatsResponse {
        process: Some(stats::Process {
            pid: 145,
            runtime: 60,
            version: Some(stats::process::Version { major: 5, minor: 6, patch: 1 }),
            elapsed: 60.5,
        }),
        servers: vec![stats::Server {
            serverid: "inbound".to_owned(),
            connections: Some(stats::server::Connections { concurrent: 2, maxconcurrent: 100 }),
            scripts: Some(scripts),
        }],
        queue: Some(queue_stats()),
        ..pb::ProcessStatsResponse::default()
    }
}

fn queue_stats() -> stats::Queue {
    use stats::queue::{self, freeze, policy, queues};
    let priority = |size| queues::active::Priority { size };
    stats::Queue {
        queue: Some(queue::Queues {
            defer: Some(queues::Defer { size: 7 }),
            active: Some(queues::Active { size: 3, priorities: vec![priority(1), priority(2)] }),
        }),
        freeze: Some(queue::Freeze {
            hold: Some(freeze::Hold { size: 4 }),
            update: Some(freeze::Update { size: 5, pending: 6 }),
        }),
        policy: Some(queue::Policy {
            rate: Some(policy::Rate { buckets: 8, suspends: 9 }),
            ..queue::Policy::default()
        }),
        pickup: Some(queue::Pickup { skips: 10, misses: 11, count: 12, pending: 13 }),
        connections: Some(queue::Connections {
            concurrent: 50,
            maxconcurrent: 200,
            ..queue::Connections::default()
        }),
        delivery: Some(queue::Delivery { delivered: 14, delayed: 15, failed: 16 }),
        ..stats::Queue::default()
    }
}

// Help.

#[test]
fn the_whole_help() {
    let mut text = String::new();
    collect_help(&mut Vec::new(), &mut text);
    let output = Command::new(env!("CARGO_BIN_EXE_halontop")).arg("--help").output().unwrap();
    text.push_str(&format!("$ halontop --help\n{}", String::from_utf8(output.stdout).unwrap()));
    assert_snapshot!(text);
}

/// Help of a command, then of its subcommands in their order.
fn collect_help(path: &mut Vec<String>, text: &mut String) {
    let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
    args.push("--help");
    let output = halonctl(&args);
    assert_eq!(output.status.code(), Some(0), "{path:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    text.push_str(&format!("$ halonctl {}\n{help}\n", args.join(" ")));
    let is_leaf = !help.contains("\nCommands:\n");
    assert!(!is_leaf || help.contains("Example"), "{path:?} shows no example");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        path.push(line.split_whitespace().next().unwrap().to_owned());
        collect_help(path, text);
        path.pop();
    }
}

#[test]
fn the_version_needs_neither_configuration_nor_daemon() {
    let output = halonctl(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"halonctl "));
}

#[test]
fn assets_hold_a_page_for_every_command_and_three_completions() {
    let directory = tempfile::tempdir().unwrap();
    let output = halonctl(&["assets", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let page = fs::read_to_string(directory.path().join("man1/halonctl-queue-list.1")).unwrap();
    assert!(page.contains("recipientdomain") && page.contains("Examples:"), "{page}");
    assert!(directory.path().join("man1/halonctl.1").exists());
    assert!(directory.path().join("man1/halontop.1").exists());
    assert!(
        !directory.path().join("man1/halonctl-assets.1").exists(),
        "hidden commands stay hidden"
    );
    let mut names: Vec<_> = fs::read_dir(directory.path().join("completions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "_halonctl",
        "_halontop",
        "halonctl.bash",
        "halonctl.fish",
        "halontop.bash",
        "halontop.fish",
    ];
    assert_eq!(names, expected);
}

// Reload.

#[test]
fn both_reloads_send_the_same_command_and_print_nothing() {
    let daemon = FakeDaemon::answering(());
    for args in [&["reload"][..], &["config", "reload"], &["config", "reload", "-P", "smtpd"]] {
        assert_eq!(daemon.prints(args), "");
        daemon.request(call::CONFIG_RELOAD);
    }
    assert_eq!(daemon.prints(&["reload", "--json", "--json-request"]), "{}\n{}\n");
}

#[test]
fn a_failed_reload_prints_the_text_of_the_daemon() {
    let daemon = FakeDaemon::failing("smtpd-app.yaml:7:3: unknown key \"sevrers\"");
    assert_snapshot!(failure(&daemon.halonctl(&["reload"]), daemon.directory()), @r#"
    exit code 1
    error: smtpd-app.yaml:7:3: unknown key "sevrers"
    "#);
}

// Queue list.

#[test]
fn a_list_is_a_table_with_numbers_to_the_right() {
    let daemon = FakeDaemon::answering(list(2));
    assert_snapshot!(daemon.prints(&["queue", "list"]));
    let request = daemon.request(call::QUEUE_LIST);
    assert_eq!(request.paging, Some(pb::Paging { offset: 0, limit: 100 }));
}

#[test]
fn fields_choose_columns_and_strangers_cannot_reach_the_terminal() {
    let daemon = FakeDaemon::answering(list(2));
    let args = [
        "queue",
        "list",
        "-F",
        "id,size",
        "-F",
        "subject",
        "-F",
        "retryreason",
        "-F",
        "metadata:campaign",
    ];
    let table = daemon.prints(&args);
    assert!(!table.contains('\u{1b}'), "{table}");
    assert_snapshot!(table);
}

#[test]
fn views_choose_messages_columns_and_order() {
    let daemon = FakeDaemon::answering(list(2));
    let views: Vec<String> = ["defer", "active", "connections"]
        .map(|view| daemon.prints(&["queue", "list", "--view", view]))
        .into();
    assert_snapshot!(views.join("\n"));
    let request = daemon.request(call::QUEUE_LIST);
    assert_eq!(request.conditions.unwrap().workings[0].working(), pb::Working::Sending);
    assert_eq!(request.sortings.len(), 1);
}

#[test]
fn a_list_as_json_is_the_array_of_items() {
    let daemon = FakeDaemon::answering(list(2));
    assert_snapshot!(daemon.prints(&["queue", "list", "--json"]));
    assert_eq!(
        daemon.request(call::QUEUE_LIST).paging.unwrap().limit,
        0,
        "programs get everything"
    );
}

#[test]
fn a_list_that_was_cut_says_so_on_stderr() {
    let daemon = FakeDaemon::answering(list(12_345));
    let output = daemon.halonctl(&["queue", "list"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "2 of 12345 messages shown; use --limit and --offset for others\n"
    );
}

#[test]
fn conditions_make_the_request_that_is_shown() {
    let daemon = FakeDaemon::answering(list(2));
    let printed = daemon.prints(&[
        "queue",
        "list",
        "--json-request",
        "--json",
        "--state",
        "DEFER",
        "--state",
        "HOLD",
        "--recipientdomain",
        "example.com",
        "--age",
        ">3600",
        "--retrycount",
        "1..3",
        "--id",
        "b186:1",
        "--jobid",
        "/^news/",
        "--metadata",
        "campaign=spring",
        "--sort",
        "size:desc",
        "--sort",
        "recipientdomain",
        "--limit",
        "5",
        "--offset",
        "10",
    ]);
    let request = printed.split("\n[\n").next().unwrap();
    assert_snapshot!(request);
}

#[test]
fn a_closed_pipe_is_success() {
    let daemon = FakeDaemon::answering(pb::QueueListResponse {
        items: (0..2000).map(item).collect(),
        paging: None,
    });
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_halonctl"))
        .args(["queue", "list", "--socket", daemon.socket().to_str().unwrap()])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

// Queue update and its kin.

#[test]
fn an_update_reports_what_it_touched() {
    let daemon = FakeDaemon::answering(pb::QueueUpdateResponse { affected: 3, working: 1 });
    let output = daemon.halonctl(&["queue", "update", "--jobid", "news", "--bounce"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3 message(s) affected\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "1 message(s) are busy\n");
    let request = daemon.request(call::QUEUE_UPDATE);
    assert_eq!(request.task, Some(Task::Actiontype(pb::ActionType::Bounce.into())));
}

#[test]
fn each_action_makes_its_task() {
    let daemon = FakeDaemon::answering(pb::QueueUpdateResponse::default());
    let task = |args: &[&str]| {
        let mut all = vec!["queue", "update", "--id", "a:1"];
        all.extend(args);
        daemon.prints(&all);
        daemon.request(call::QUEUE_UPDATE).task.unwrap()
    };
    let moved = |task: Task| {
        let Task::Move(moved) = task else { panic!("{task:?}") };
        moved
    };
    assert_eq!(task(&["--delete"]), Task::Actiontype(pb::ActionType::Delete.into()));
    let hold = Some(Destination::Freeze(pb::Freeze::Hold.into()));
    assert_eq!(moved(task(&["--hold"])).destination, hold);
    let active = Some(Destination::Queue(pb::Queue::Active.into()));
    assert_eq!(moved(task(&["--active"])).destination, active);
    assert_eq!(moved(task(&["--retry"])).destination, active);
    let deferred = moved(task(&["--defer", "--delay", "60", "--jitter", "5"]));
    assert_eq!(deferred.destination, Some(Destination::Queue(pb::Queue::Defer.into())));
    assert_eq!(deferred.retryts.unwrap().value, Some(pb::time_value::Value::Relative(60.0)));
    assert_eq!(deferred.retrytsjitter, 5.0);
    let Task::Action(action) = task(&["--bounce", "--status", "5.7.1"]) else { panic!() };
    assert_eq!(action.dsn.unwrap().status.unwrap().subject, 7);
    daemon.prints(&["queue", "freeze", "--id", "a:1"]);
    let request = daemon.request(call::QUEUE_UPDATE);
    assert!(request.freeze);
    let update = Some(Destination::Freeze(pb::Freeze::Update.into()));
    assert_eq!(moved(request.task.unwrap()).destination, update);
}

#[test]
fn changes_are_told_from_conditions() {
    let daemon = FakeDaemon::answering(pb::QueueUpdateResponse::default());
    daemon.prints(&[
        "queue",
        "update",
        "--transportid",
        "old",
        "--set-transportid",
        "new",
        "--set-sender",
        "",
        "--set-metadata",
        "a=b",
        "--set-priority",
        "1",
        "--limit",
        "7",
    ]);
    let request = daemon.request(call::QUEUE_UPDATE);
    assert_eq!(request.conditions.unwrap().transportids[0].value, "old");
    assert_eq!(request.transportid.unwrap().value, "new");
    assert_eq!(request.sender.unwrap().localpart.unwrap().value, "");
    assert_eq!(request.metadata["a"], "b");
    assert_eq!(request.priority.unwrap().value, 1);
    assert_eq!(request.paging.unwrap().limit, 7);
    assert_eq!(request.task, None);
}

#[test]
fn nothing_is_changed_without_a_condition_or_all() {
    let daemon = FakeDaemon::answering(pb::QueueUpdateResponse::default());
    let refused = [
        &["queue", "update", "--delete"][..],
        &["queue", "update", "--id", "a:1"],
        &["queue", "update", "--delete", "--all", "--id", "a:1"],
        &["queue", "freeze"],
        &["queue", "unload"],
        &["queue", "suspend", "add", "--ttl", "5"],
        &["hsl", "rate", "clear"],
        &["queue", "update", "--delete", "--bounce", "--id", "a:1"],
        &["queue", "update", "--delay", "5", "--delete", "--id", "a:1"],
    ];
    let errors: Vec<String> = refused
        .iter()
        .map(|args| {
            format!("$ {}\n{}", args.join(" "), failure(&daemon.halonctl(args), daemon.directory()))
        })
        .collect();
    assert_eq!(daemon.request_count(), 0);
    assert_snapshot!(errors.join("\n"));
    daemon.prints(&["queue", "update", "--delete", "--all"]);
    assert_eq!(daemon.request(call::QUEUE_UPDATE).conditions, Some(pb::Condition::default()));
}

#[test]
fn groups_have_a_column_for_each_field_and_count() {
    let item = |domain: &str, counts: [u64; 2], total| pb::queue_group_by_response::Item {
        groupbys: vec![domain.to_owned()],
        counts: counts.to_vec(),
        total,
    };
    let daemon = FakeDaemon::answering(pb::QueueGroupByResponse {
        items: vec![item("example.com", [3, 12], 15), item("example.org", [0, 1], 1)],
        paging: None,
    });
    let args = [
        "queue",
        "groupby",
        "recipientdomain",
        "--count",
        "state:DEFER",
        "--count",
        "age:>3600",
        "--sort",
        "2:asc",
        "--json-request",
    ];
    assert_snapshot!(daemon.prints(&args));
}

#[test]
fn unloaded_files_are_lines() {
    let daemon = FakeDaemon::answering(pb::QueueUnloadResponse {
        hqfpaths: vec!["/storage/a.hqf".to_owned(), "/storage/b.hqf".to_owned()],
        partial: 0,
        working: 0,
    });
    let printed = daemon.prints(&["queue", "unload", "--transportid", "old", "--freeze"]);
    assert_eq!(printed, "/storage/a.hqf\n/storage/b.hqf\n");
    assert!(daemon.request(call::QUEUE_UNLOAD).freeze);
}

#[test]
fn a_loaded_file_is_sent_whole() {
    let daemon =
        FakeDaemon::answering(pb::QueueImportResponse { transactionid: "b186".to_owned() });
    let file = daemon.directory().join("a.hqf");
    fs::write(&file, b"octets \x00\xff").unwrap();
    let args = ["queue", "load", "--reset-ts", file.to_str().unwrap()];
    assert_eq!(daemon.prints(&args), "b186\n");
    let request = daemon.request(call::QUEUE_IMPORT);
    let format = request.data.unwrap().format.unwrap();
    assert_eq!(format, pb::queue_import_request::data::Format::Hqf(b"octets \x00\xff".to_vec()));
    let reset = request.reset.unwrap();
    assert_eq!((reset.ts, reset.retrycount), (Some(pb::BoolValue { value: true }), None));
}

#[test]
fn reloads_of_the_queue_have_their_own_letters() {
    let daemon = FakeDaemon::answering(());
    daemon.prints(&["queue", "policy", "reload"]);
    daemon.request(call::POLICY_RELOAD);
    daemon.prints(&["queue", "suspend", "reload"]);
    daemon.request(call::SUSPEND_RELOAD);
    daemon.prints(&["queue", "delivery", "reload"]);
    daemon.request(call::DELIVERY_RELOAD);
}

#[test]
fn suspensions_are_added_listed_and_deleted() {
    use pb::suspend_response::{Item, item::Source};
    let daemon = FakeDaemon::answering(pb::SuspendAddResponse { id: "7".to_owned() });
    let args = ["queue", "suspend", "add", "--remotemx", "mx.example.com", "--ttl", "600"];
    assert_eq!(daemon.prints(&args), "7\n");
    let request = daemon.request(call::SUSPEND_ADD);
    assert_eq!((request.remotemx.as_str(), request.ttl), ("mx.example.com", 600.0));

    let item = Item {
        source: Source::Dynamic.into(),
        id: "7".to_owned(),
        remotemx: "mx.example.com".to_owned(),
        ttl: 599.9,
        ..Item::default()
    };
    let daemon = FakeDaemon::answering(pb::SuspendResponse { items: vec![item] });
    assert_snapshot!(daemon.prints(&["queue", "suspend", "list"]));
    // Without --pickup those of the policies stay out.
    let all = pb::suspend_request::Condition::default();
    let filter = pb::suspend_request::Filter::Condition(all);
    assert_eq!(daemon.request(call::SUSPEND_LIST).filter, Some(filter));

    let daemon = FakeDaemon::answering(pb::SuspendDeleteResponse { affected: 1 });
    assert_eq!(daemon.prints(&["queue", "suspend", "delete", "7"]), "1 suspension(s) deleted\n");
    let daemon = FakeDaemon::answering(pb::SuspendDeleteResponse { affected: 0 });
    let output = daemon.halonctl(&["queue", "suspend", "delete", "8"]);
    assert_eq!(output.status.code(), Some(1), "nothing was deleted");
}

#[test]
fn policy_conditions_are_added_and_listed() {
    let daemon = FakeDaemon::answering(pb::PolicyConditionAddResponse { id: "4".to_owned() });
    let args = [
        "queue",
        "policy",
        "add",
        "--fields",
        "remotemx,localip",
        "--remotemx",
        "mx.example.com",
        "--rate",
        "10/60",
        "--concurrency",
        "2",
        "--ttl",
        "600",
        "--tag",
        "slow",
    ];
    assert_eq!(daemon.prints(&args), "4\n");
    let sent = daemon.request(call::CONDITION_ADD);
    let item = pb::policy_condition_response::Item {
        id: "4".to_owned(),
        fields: sent.fields,
        r#if: sent.r#if,
        then: sent.then,
        ttl: sent.ttl,
    };
    let daemon = FakeDaemon::answering(pb::PolicyConditionResponse { items: vec![item] });
    assert_snapshot!(daemon.prints(&["queue", "policy", "list"]));
}

#[test]
fn a_quota_is_a_row() {
    let daemon = FakeDaemon::answering(pb::QueueQuotaResponse { count: 5, bytes: 102_400 });
    assert_snapshot!(daemon.prints(&["queue", "quota", "customer"]));
}

// Live stages, scripts, resolver.

#[test]
fn the_live_stage_is_one_line() {
    let daemon = FakeDaemon::answering(pb::ConfigGreenStatusResponse {
        id: "t1".to_owned(),
        time: 30,
        count: 2,
        conditions: Some(pb::ConfigGreenConditions { time: 3600, ..Default::default() }),
        ..Default::default()
    });
    let line = daemon.prints(&["config", "livestage", "status"]);
    assert_eq!(line, "t1: 2 connection(s), 30/3600 runtime\n");
    let daemon = FakeDaemon::answering(());
    assert_eq!(daemon.prints(&["config", "livestage", "status"]), "no live stage\n");
}

#[test]
fn a_stage_is_started_with_the_text_of_its_file() {
    let daemon = FakeDaemon::answering(());
    let file = daemon.directory().join("app.yaml");
    fs::write(&file, "version: \"5.6\"\n").unwrap();
    let file = file.to_str().unwrap();
    daemon.prints(&[
        "config",
        "livestage",
        "start",
        "--id",
        "t1",
        "--file",
        file,
        "--probability",
        "0.5",
        "--remoteip",
        "192.0.2.0/24",
    ]);
    let request = daemon.request(call::STAGE_START);
    assert_eq!((request.id.as_str(), request.config.as_str()), ("t1", "version: \"5.6\"\n"));
    let conditions = request.conditions.unwrap();
    assert_eq!((conditions.probability, conditions.remoteips.len()), (0.5, 1));
}

#[test]
fn cache_buckets_have_the_columns_of_the_reference() {
    let item = pb::hsl_cache_response::Item {
        function: "dns_query".to_owned(),
        maxsize: 1000,
        size: 12,
        hits: 3,
        misses: 1,
        ..Default::default()
    };
    let daemon = FakeDaemon::answering(pb::HslCacheResponse { items: vec![item] });
    assert_snapshot!(daemon.prints(&["hsl", "cache", "list"]));
    let daemon = FakeDaemon::answering(pb::HslCacheClearResponse { affected: 1 });
    assert_eq!(daemon.prints(&["hsl", "cache", "clear", "--function", "f"]), "1 buckets cleared\n");
}

#[test]
fn shared_values_are_json() {
    let daemon = FakeDaemon::answering(pb::HslMemoryResponse { value: "{\"a\":5}".to_owned() });
    assert_eq!(daemon.prints(&["hsl", "memory", "fetch", "limits"]), "{\"a\":5}\n");
    let output = daemon.halonctl(&["hsl", "memory", "store", "limits", "text"]);
    assert_eq!(output.status.code(), Some(2), "a text without quotes is no JSON");
    let daemon = FakeDaemon::answering(pb::HslMemoryResponse::default());
    assert_eq!(daemon.halonctl(&["hsl", "memory", "fetch", "none"]).status.code(), Some(1));
    let daemon = FakeDaemon::answering(pb::HslMemoryStoreResponse::default());
    assert_eq!(daemon.prints(&["hsl", "memory", "store", "n", "-5"]), "");
    assert_eq!(daemon.request(call::MEMORY_STORE).value, "-5");
}

#[test]
fn a_resolver_query_prints_yaml() {
    use pb::resolver_query_response::{Item, Tlsa, tlsa::Rr};
    let rr = Rr { usage: 3, selector: 1, mtype: 1, data: "ab01".to_owned() };
    let item = Item {
        address: "192.0.2.25".to_owned(),
        hostname: "mx.example.com".to_owned(),
        dnssec: true,
        tlsa: Some(Tlsa { dnssec: true, rr: vec![rr] }),
    };
    let daemon = FakeDaemon::answering(pb::ResolverQueryResponse { items: vec![item] });
    assert_snapshot!(daemon.prints(&["resolver", "query", "example.com", "--retry", "2"]));
    assert_eq!(daemon.request(call::RESOLVER_QUERY).retry, 2);
}

// Statistics, plugins, licences.

#[test]
fn statistics_are_dotted_lines() {
    let daemon = FakeDaemon::answering(process_stats());
    assert_snapshot!(daemon.prints(&["process-stats"]));
}

#[test]
fn statistics_are_openmetrics_on_request() {
    let daemon = FakeDaemon::answering(process_stats());
    assert_snapshot!(daemon.prints(&["process-stats", "--openmetrics"]));
}

#[test]
fn halontop_without_a_terminal_prints_every_pane_once() {
    let daemon = FakeDaemon::answering(process_stats());
    let output = Command::new(env!("CARGO_BIN_EXE_halontop"))
        .args(["--socket", daemon.socket().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (header, panes) = text.split_once('\n').unwrap();
    assert!(header.starts_with("smtpd 5.6.1  pid 145  up 0d 00:01:00  "), "{header}");
    assert_snapshot!(panes);
    assert_eq!(daemon.request_count(), 1);
}

#[test]
fn a_plugin_gets_its_arguments_and_its_answer_is_printed_as_it_is() {
    let daemon =
        FakeDaemon::answering(pb::PluginCommandResponse { response: b"day \xff 3".to_vec() });
    let output = daemon.halonctl(&["plugin", "command", "warmup", "set", "--day", "3"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"day \xff 3\n");
    let request = daemon.request(call::PLUGIN_COMMAND);
    assert_eq!(request.id, "warmup");
    assert_eq!(request.arguments, [&b"set"[..], b"--day", b"3"]);
}

#[test]
fn a_licence_is_fetched_without_a_daemon() {
    assert_eq!(halonctl(&["license", "fetch", "--username", "a"]).status.code(), Some(0));
}

// Where the socket is.

#[test]
fn the_configuration_file_names_the_socket() {
    let daemon = FakeDaemon::answering(());
    let file = daemon.directory().join("halonctl.yaml");
    let socket = daemon.socket();
    fs::write(
        &file,
        format!(
            "version: \"5.8\"\nenvironment:\n  controlsockets:\n    smtpd:\n      path: {}\n",
            socket.display()
        ),
    )
    .unwrap();
    let output = halonctl(&["reload", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    daemon.request(call::CONFIG_RELOAD);
}

#[test]
fn the_socket_may_be_tcp() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let mut octets = [0; 3];
        stream.read_exact(&mut octets).unwrap();
        let mut out = Vec::new();
        frame::encode_success(&(), &mut out);
        stream.write_all(&out).unwrap();
        octets
    });
    let output = halonctl(&["reload", "--address", &format!("127.0.0.1:{port}")]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.join().unwrap(), *b"\x05\x06r");
}

// Errors.

#[test]
fn a_missing_socket_names_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.ctl");
    let output = halonctl(&["reload", "--socket", socket.to_str().unwrap()]);
    assert_snapshot!(failure(&output, directory.path()));
}

#[test]
fn a_socket_that_nobody_listens_on_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("old.ctl");
    drop(UnixListener::bind(&socket).unwrap());
    let output = halonctl(&["reload", "--socket", socket.to_str().unwrap()]);
    assert_snapshot!(failure(&output, directory.path()));
}

#[test]
fn a_socket_of_others_is_no_permission() {
    let daemon = FakeDaemon::answering(());
    let socket = daemon.socket();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(daemon.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(fake::copy_program(daemon.directory()));
    command.args(["reload", "--socket", socket.to_str().unwrap()]);
    // Root may use every socket: run as nobody. Others cannot change users, and need not.
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if is_root {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    assert_snapshot!(failure(&output, daemon.directory()));
}

#[test]
fn what_is_wrong_with_a_script_is_an_error_once() {
    let daemon = FakeDaemon::failing("error: there is no function f\n --> eod/a:1:1");
    let output = daemon.halonctl(&["reload"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error, "error: there is no function f\n --> eod/a:1:1\n");
}

#[test]
fn another_protocol_is_told_from_ours() {
    let daemon = FakeDaemon::with(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    assert_snapshot!(failure(&daemon.halonctl(&["reload"]), daemon.directory()));
}

#[test]
fn a_message_that_is_none_is_told_from_another_protocol() {
    let daemon = FakeDaemon::with(|_| b"+\x01\0\0\0\0\0\0\0\xff".to_vec());
    assert_snapshot!(failure(&daemon.halonctl(&["process-stats"]), daemon.directory()));
}

#[test]
fn a_daemon_of_another_version_says_what_to_do() {
    let daemon = FakeDaemon::with(|_| {
        let mut out = Vec::new();
        let refusal = frame::FrameError::Version(frame::Version::OURS).to_string();
        frame::encode_error(&refusal, &mut out);
        out
    });
    assert_snapshot!(failure(&daemon.halonctl(&["reload"]), daemon.directory()));
}

#[test]
fn a_daemon_that_hangs_up_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("smtpd.ctl");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let output = halonctl(&["reload", "--socket", socket.to_str().unwrap()]);
    server.join().unwrap();
    assert_snapshot!(failure(&output, directory.path()));
}

#[test]
fn a_daemon_that_says_nothing_runs_into_the_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("smtpd.ctl");
    // Connections wait in the backlog, and nobody answers them.
    let _listener = UnixListener::bind(&socket).unwrap();
    let output = halonctl(&["reload", "--timeout", "1", "--socket", socket.to_str().unwrap()]);
    assert_snapshot!(failure(&output, directory.path()));
}

#[test]
fn a_wrong_configuration_file_has_its_own_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.yaml");
    let output = halonctl(&["reload", "-c", missing.to_str().unwrap()]);
    let missing = failure(&output, directory.path());
    let wrong = directory.path().join("wrong.yaml");
    fs::write(&wrong, "environment:\n  controlsockets:\n    smtpd:\n      port: many\n").unwrap();
    let output = halonctl(&["reload", "-c", wrong.to_str().unwrap()]);
    assert_snapshot!(format!("{missing}\n{}", failure(&output, directory.path())));
}

#[test]
fn wrong_flags_are_usage_errors_that_show_what_would_fit() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = [
        &["queue", "list", "--age", "old"][..],
        &["queue", "list", "--state", "SLEEPING"],
        &["queue", "list", "--id", "b186"],
        &["queue", "list", "-F", "colour"],
        &["queue", "list", "--sort", "colour"],
        &["queue", "update", "--id", "a:1", "--bounce", "--status", "1.0.0"],
        &["queue", "groupby", "colour"],
        &["queue", "policy", "add", "--fields", "colour"],
        &["config", "reload", "-P", "sendmail"],
        &["reload", "--address", "nowhere"],
        &["reload", "--address", "a:1", "--socket", "/a"],
        &["frobnicate"],
    ];
    let errors: Vec<String> = wrong
        .iter()
        .map(|args| format!("$ {}\n{}", args.join(" "), failure(&halonctl(args), directory.path())))
        .collect();
    assert_snapshot!(errors.join("\n"));
}
