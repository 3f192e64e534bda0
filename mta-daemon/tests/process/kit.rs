//! The example plugins, built by their own Makefiles, at work in the running program.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;

use crate::object_storage::ObjectStorage;
use crate::plugins::send;
use crate::support::{Program, build_plugin, configured};

/// The entry of a plugin in the startup configuration; `config` is indented by six.
fn plugin(id: &str, library: &Path, config: &str) -> String {
    format!("plugins:\n  - id: {id}\n    path: {}\n{config}", library.display())
}

/// A transport to a sink at a port of the loopback address.
fn transport(port: u16) -> String {
    format!(
        "transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
         server: 127.0.0.1\n          port: {port}\n"
    )
}

#[test]
fn every_example_compiles_without_a_warning() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let include = root.join("include");
    let mut sources = 0;
    for compiler in ["gcc", "clang"] {
        if Command::new(compiler).arg("--version").output().is_err() {
            println!("there is no {compiler}");
            continue;
        }
        for example in std::fs::read_dir(root.join("packaging/examples/plugins")).unwrap() {
            for entry in std::fs::read_dir(example.unwrap().path()).unwrap().flatten() {
                let path = entry.path();
                let standard = match path.extension().and_then(|name| name.to_str()) {
                    Some("c") => "-std=c99",
                    Some("cpp") => "-std=c++17",
                    _ => continue,
                };
                sources += 1;
                let output = Command::new(compiler)
                    .args([standard, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"])
                    .arg(&include)
                    .arg(&path)
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{compiler}: {text}");
            }
        }
    }
    assert!(sources >= 7, "{sources}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_in_rust_answers_at_once_and_later() {
    let build = tempfile::tempdir().unwrap();
    let library = build_plugin("reverse-rust", "reverse.so", build.path());
    let running = format!(
        "    phases:\n      rcptto:\n        hook: turn\n{}\
         scripting:\n  hooks:\n    rcptto:\n      - id: turn\n        data: |\n          \
         import {{ reverse, reverse_later }} from \"extras://reverse\";\n          \
         try {{ reverse(1); }} catch ($e) {{ $error = $e->message(); }}\n          \
         Accept([\"reason\" => reverse(\"abc\") . reverse(\"\") . \" \" . reverse_later(\"later\", 0.1) . \" \" . $error]);\n",
        transport(1)
    );
    let dir = configured(&plugin("reverse", &library, ""), &running);
    let program = Program::start(dir.path());
    let (mut client, _) = SmtpClient::connect(program.address).await;
    client.command("EHLO client.example").await;
    client.command("MAIL FROM:<a@client.example>").await;
    let reply = client.command("RCPT TO:<b@example.org>").await;
    assert!(reply.contains("cba retal reverse() expects a string"), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_written_whole_under_the_name_of_their_message() {
    let build = tempfile::tempdir().unwrap();
    let library = build_plugin("file-deliver-c", "file-deliver.so", build.path());
    let folder = build.path().join("archive");
    std::fs::create_dir(&folder).unwrap();
    let config = format!("    config:\n      folder: {}\n", folder.display());
    let running = format!(
        "{}scripting:\n  hooks:\n    predelivery: |\n      \
         Try([\"plugin\" => [\"id\" => \"file-deliver\"]]);\n    postdelivery: |\n      \
         $attempt = $arguments[\"attempt\"];\n      \
         syslog(\"info\", \"ended \" . json_encode([$attempt[\"result\"][\"code\"], \
         $attempt[\"error\"][\"type\"], $attempt[\"plugin\"][\"return\"][\"path\"]]));\n",
        transport(1).replace("127.0.0.1", "0.0.0.0")
    );
    let dir = configured(&plugin("file-deliver", &library, &config), &running);
    let program = Program::start(dir.path());
    send(&program, "to@example.org").await;
    let line = program.log_until("ended [");
    let path = line.split("ended [250,null,\"").nth(1).and_then(|rest| rest.split('"').next());
    let path = path.unwrap_or_else(|| panic!("{line}")).replace("\\/", "/");
    let name = path.strip_prefix(&format!("{}/", folder.display())).expect("in the folder");
    assert!(name.len() == 36 + "-1.eml".len() && name.ends_with("-1.eml"), "{name}");
    let stored = std::fs::read_to_string(&path).unwrap();
    assert!(stored.starts_with("Received: ") && stored.ends_with("\r\n\r\nText\r\n"), "{stored}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing unfinished is left");

    // The folder is gone: an error, and a temporary one.
    std::fs::remove_dir_all(&folder).unwrap();
    send(&program, "to@example.org").await;
    program.log_until("ended [null,\"plugin\",null]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_storage_takes_what_is_signed_and_refuses_the_rest() {
    let build = tempfile::tempdir().unwrap();
    let library = build_plugin("s3-deliver-c", "s3-deliver.so", build.path());
    let storage = ObjectStorage::start("KEYID", "top/secret+1").await;
    let run = |secret: &str, bucket: &str| {
        let config = format!(
            "    config:\n      endpoint: http://{}\n      bucket: {bucket}\n      region: eu-test-1\n      \
             keyid: KEYID\n      secret: {secret}\n",
            storage.address
        );
        let running = format!(
            "{}scripting:\n  hooks:\n    predelivery: |\n      \
             Try([\"plugin\" => [\"id\" => \"s3-deliver\", \"arguments\" => \
             [\"key\" => \"in box/\" . $message[\"recipientaddress\"][\"localpart\"] . \".eml\"]]]);\n    \
             postdelivery: |\n      $attempt = $arguments[\"attempt\"];\n      \
             syslog(\"info\", \"ended \" . $message[\"recipientaddress\"][\"localpart\"] . json_encode([$attempt[\"result\"][\"code\"], \
             $attempt[\"plugin\"][\"return\"][\"status\"], $arguments[\"action\"]]));\n",
            transport(1).replace("127.0.0.1", "0.0.0.0")
        );
        let dir = configured(&plugin("s3-deliver", &library, &config), &running);
        (Program::start(dir.path()), dir)
    };
    let (program, _dir) = run("top/secret+1", "mail");
    send(&program, "one@example.org").await;
    send(&program, "two@example.org").await;
    program.log_until("ended one[250,200,");
    program.log_until("ended two[250,200,");
    let objects = storage.objects.lock().unwrap().clone();
    let keys: Vec<_> = objects.keys().map(String::as_str).collect();
    assert_eq!(keys, ["/mail/in%20box/one.eml", "/mail/in%20box/two.eml"]);
    let stored = String::from_utf8_lossy(&objects[keys[0]]);
    assert!(stored.starts_with("Received: ") && stored.ends_with("\r\n\r\nText\r\n"), "{stored}");
    drop(program);

    let (program, _dir) = run("another", "mail");
    send(&program, "wrong@example.org").await;
    let line = program.log_until("ended wrong[550,403,");
    assert!(line.contains("\"DELETE\"") || line.contains("\"DSN\""), "final: {line}");
    drop(program);

    let (program, _dir) = run("top/secret+1", "broken");
    send(&program, "later@example.org").await;
    let line = program.log_until("ended later[451,503,");
    assert!(line.contains("\"QUEUE\""), "tried again: {line}");
    assert_eq!(storage.objects.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_for_their_time_and_nobody_asks_meanwhile() {
    let sink = SmtpSink::start().await;
    let build = tempfile::tempdir().unwrap();
    let library = build_plugin("deliver-at-c", "deliver-at.so", build.path());
    let running = format!(
        "    phases:\n      eod:\n        hook: queue\n{}\
         scripting:\n  hooks:\n    eod:\n      - id: queue\n        data: |\n          \
         import {{ deliver_at }} from \"extras://deliver-at\";\n          \
         $at = $arguments[\"mail\"]->getHeader(\"X-Deliver-At\");\n          \
         $options = isset($at) ? [\"jobid\" => deliver_at(number($at))] : [];\n          \
         foreach ($transaction[\"recipients\"] as $r) $arguments[\"mail\"]->queue(\
         $transaction[\"senderaddress\"], $r[\"address\"], $r[\"transportid\"], $options);\n          \
         Accept();\n    predelivery: |\n      \
         syslog(\"info\", \"asked with \" . json_encode($arguments[\"queue\"][\"plugin\"][\"return\"]));\n      \
         Try();\n",
        transport(sink.address.port())
    );
    let dir = configured(&plugin("deliver-at", &library, ""), &running);
    let program = Program::start(dir.path());
    let epoch = std::time::UNIX_EPOCH;
    let at = epoch.elapsed().unwrap().as_secs() + 3;
    let (mut client, _) = SmtpClient::connect(program.address).await;
    client.command("EHLO client.example").await;
    for (to, header) in [("late", format!("X-Deliver-At: {at}\r\n")), ("now", String::new())] {
        let message = format!("{header}Subject: hello\r\n\r\nText\r\n");
        let to = format!("{to}@example.org");
        let reply = client.deliver("a@client.example", &[&to], &message).await;
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let arrived = sink.wait_for(2).await;
    assert!(epoch.elapsed().unwrap().as_secs() >= at, "not before its time");
    assert_eq!(arrived[0].to, ["<now@example.org>"]);
    assert_eq!(arrived[1].to, ["<late@example.org>"]);
    // The script ran for each message, and once more when the late one was given back.
    program.log_until(&format!("asked with {at}"));
    assert_eq!(program.log().matches("asked with ").count(), 3, "{}", program.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_address_sends_what_its_day_allows_and_a_reload_changes_the_plan() {
    let sink = SmtpSink::start().await;
    let build = tempfile::tempdir().unwrap();
    let library = build_plugin("warmup-cpp", "warmup-plan.so", build.path());
    let running = format!(
        "plugins:\n  - id: warmup-plan\n    config:\n      plan: [2, 5]\n      addresses:\n        \
         - address: 127.0.0.2\n          start: {}\n        - address: 127.0.0.3\n          start: 2020-01-01\n\
         addresses:\n  - id: two\n    address: 127.0.0.2\n{}          sourceip:\n            addresses: [two]\n",
        today(),
        transport(sink.address.port())
    );
    let dir = configured(&plugin("warmup-plan", &library, ""), &running);
    let policies = "version: \"5.6\"\npolicies:\n  - fields: [localip]\n";
    std::fs::write(dir.path().join("smtpd-policy.yaml"), policies).unwrap();
    let program = Program::start(dir.path());
    program.log_until("warmup-plan: 127.0.0.2 may send 2 a day");
    for number in 0..4 {
        send(&program, &format!("to{number}@example.org")).await;
    }
    sink.wait_for(2).await;
    assert!(!program.log().contains("127.0.0.3"), "its plan is over");

    // A plan that cannot be read changes nothing.
    let file = dir.path().join("smtpd-app.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let reload = |text: String| {
        std::fs::write(&file, text).unwrap();
        let id = nix::unistd::Pid::from_raw(program.id().cast_signed());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGHUP).unwrap();
    };
    reload(good.replace("[2, 5]", "[none]"));
    program.log_until("warmup-plan: not a number of messages: none");
    assert_eq!(sink.messages().len(), 2);
    // The policy goes with the address, and the others leave at once.
    reload(good.replace("127.0.0.2\n          start", "127.0.0.9\n          start"));
    assert_eq!(sink.wait_for(4).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_day_of_a_plan_has_its_own_limit() {
    let sink = SmtpSink::start().await;
    let build = tempfile::tempdir().unwrap();
    let library = build_plugin("warmup-cpp", "warmup-plan.so", build.path());
    let running = format!(
        "plugins:\n  - id: warmup-plan\n    config:\n      plan: [2, 5]\n      addresses:\n        \
         - address: 127.0.0.2\n          start: {}\n\
         addresses:\n  - id: two\n    address: 127.0.0.2\n{}          sourceip:\n            addresses: [two]\n",
        date("yesterday"),
        transport(sink.address.port())
    );
    let dir = configured(&plugin("warmup-plan", &library, ""), &running);
    let policies = "version: \"5.6\"\npolicies:\n  - fields: [localip]\n";
    std::fs::write(dir.path().join("smtpd-policy.yaml"), policies).unwrap();
    let program = Program::start(dir.path());
    program.log_until("warmup-plan: 127.0.0.2 may send 5 a day");
    for number in 0..6 {
        send(&program, &format!("to{number}@example.org")).await;
    }
    assert_eq!(sink.wait_for(5).await.len(), 5);
}

/// The date of today (UTC) as the plan has it.
fn today() -> String {
    date("today")
}

/// A day (UTC) in the words of the program `date`.
fn date(day: &str) -> String {
    let output =
        Command::new("date").args(["-u", "-d", day, "+%Y-%m-%d"]).output().expect("date runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_folder_are_injected_and_removed() {
    let sink = SmtpSink::start().await;
    let build = tempfile::tempdir().unwrap();
    let library = build_plugin("folder-inject-c", "folder-inject.so", build.path());
    let folder = build.path().join("incoming");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("before.eml"), "To: to@example.org\n\nbefore the start\n").unwrap();
    std::fs::write(folder.join("bad.eml"), "Subject: to nobody\n\nText\n").unwrap();
    std::fs::write(folder.join("unfinished.tmp"), "To: to@example.org\n\nhal").unwrap();
    let config = format!(
        "    config:\n      folder: {}\n      serverid: folder\n      interval: 1\n",
        folder.display()
    );
    let running = format!(
        "  - id: folder\n    type: plugin\n    transport: out\n    phases:\n      eod:\n        hook: queue\n{}\
         scripting:\n  hooks:\n    eod:\n      - id: queue\n        data: |\n          \
         $all = $arguments[\"mail\"]->getHeaders(\"To\");\n          \
         if (length($all) == 0) Reject(\"no recipient in \" . $arguments[\"metadata\"][\"file\"]);\n          \
         foreach ($all as $to) $arguments[\"mail\"]->queue(\"\", trim($to), \"out\");\n          Accept();\n",
        transport(sink.address.port())
    );
    let dir = configured(&plugin("folder-inject", &library, &config), &running);
    let file = dir.path().join("smtpd.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("servers:\n", "servers:\n  - id: folder\n    type: plugin\n", 1);
    std::fs::write(&file, text).unwrap();
    let program = Program::start(dir.path());
    let first = sink.wait_for(1).await.remove(0);
    assert_eq!(first.to, ["<to@example.org>"]);
    assert!(first.content.ends_with("before the start\r\n"), "{}", first.content);
    // What is renamed when it is whole, as one should.
    std::fs::write(folder.join("unfinished.tmp"), "To: to@example.org\n\nwhole\n").unwrap();
    std::fs::rename(folder.join("unfinished.tmp"), folder.join("finished.eml")).unwrap();
    let second = sink.wait_for(2).await.remove(1);
    assert!(second.content.ends_with("whole\r\n"), "{}", second.content);
    let left = || {
        let names = std::fs::read_dir(&folder).unwrap().flatten();
        names.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    // A file goes right after the acceptance, which may be after the delivery.
    let mut patience = 500;
    while left() != ["bad.eml.refused"] {
        patience -= 1;
        assert!(patience > 0, "{:?}", left());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(program);
}

#[test]
fn the_template_makes_packages_that_depend_on_the_server() {
    let build = tempfile::tempdir().unwrap();
    build_plugin("upper-c", "upper.so", build.path());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let template = build.path().join("package-template");
    std::fs::create_dir(&template).unwrap();
    let source = root.join("packaging/examples/plugins/package-template");
    for name in ["make-packages", "plugin.conf"] {
        std::fs::copy(source.join(name), template.join(name)).unwrap();
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(build.path())
            .env("INCLUDE", root.join("include"))
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}{errors}", program.display());
        text
    };
    run(&template.join("make-packages"), &[]);
    let find = |end: &str| {
        let files = std::fs::read_dir(build.path()).unwrap().flatten();
        let mut names = files.map(|entry| entry.file_name().into_string().unwrap());
        names.find(|name| name.ends_with(end)).unwrap_or_else(|| panic!("no {end}"))
    };
    let (deb, rpm) = (find(".deb"), find(".rpm"));
    assert!(deb.starts_with("halon-extras-upper_1.0.0-1_"), "{deb}");
    assert!(rpm.starts_with("halon-extras-upper-1.0.0-1."), "{rpm}");
    let control = run(Path::new("dpkg-deb"), &["-f", &deb, "Depends"]);
    assert_eq!(control.trim(), "halon (>= 1:5.6)");
    let requires = run(Path::new("rpm"), &["-qp", "--nosignature", "--requires", &rpm]);
    assert!(requires.lines().any(|line| line == "halon >= 1:5.6"), "{requires}");
    let in_deb = run(Path::new("dpkg-deb"), &["-c", &deb]);
    let in_rpm = run(Path::new("rpm"), &["-qpl", "--nosignature", &rpm]);
    for file in ["upper.so", "autoload/smtpd/upper.so", "autoload/hsh/upper.so"] {
        let path = format!("/opt/halon/plugins/{file}");
        assert!(in_deb.contains(&format!(".{path}")), "{in_deb}");
        assert!(in_rpm.lines().any(|line| line == path), "{in_rpm}");
    }
    let link = "./opt/halon/plugins/autoload/smtpd/upper.so -> ../../upper.so";
    assert!(in_deb.contains(link), "{in_deb}");
}
