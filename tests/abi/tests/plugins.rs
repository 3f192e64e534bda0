//! Plugins in C, C++ and Go, compiled as users do it, in a program that exports the header.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where libraries and scripts are written, one folder per test process.
static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn checked(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Compiles a plugin of this folder; `scripts/check-plugins` says with what.
fn c_plugin(name: &str) -> PathBuf {
    let library = DIR.path().join(format!("{name}.so"));
    checked(
        Command::new(std::env::var_os("PLUGIN_CC").unwrap_or("gcc".into()))
            .args(std::env::var("PLUGIN_CFLAGS").unwrap_or_default().split_whitespace())
            .args([
                "-std=gnu11",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-fPIC",
                "-shared",
                "-pthread",
                "-I",
            ])
            .arg(root().join("include"))
            .arg("-o")
            .arg(&library)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/{name}.c"))),
    );
    library
}

/// Builds an example with its own Makefile.
fn example(folder: &str, library: &str) -> PathBuf {
    let copy = DIR.path().join(folder);
    std::fs::create_dir_all(&copy).unwrap();
    let sources = root().join("packaging/examples/plugins").join(folder);
    for entry in std::fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let include = root().join("include").canonicalize().unwrap();
    checked(
        Command::new("make")
            .arg("-C")
            .arg(&copy)
            .arg(format!("INCLUDE={}", include.display()))
            .arg(library)
            .env("GOFLAGS", "-mod=mod -buildvcs=false"),
    );
    copy.join(library)
}

/// Runs a script with plugins and returns what the program wrote.
fn run(options: &[String], script: &str) -> Output {
    let file = tempfile::Builder::new().suffix(".hsl").tempfile_in(DIR.path()).unwrap();
    std::fs::write(file.path(), script).unwrap();
    Command::new(env!("CARGO_BIN_EXE_abi-host")).args(options).arg(file.path()).output().unwrap()
}

fn lines(options: &[String], script: &str) -> Vec<String> {
    let output = run(options, script);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines().map(str::to_owned).collect()
}

fn with(id: &str, library: &Path) -> Vec<String> {
    vec!["--plugin".to_owned(), format!("{id}={}", library.display())]
}

/// The lines of a script with the plugin of all traps.
fn traps(script: &str) -> Vec<String> {
    let mut lines = lines(&with("traps", &c_plugin("traps")), script);
    assert_eq!(lines.split_off(lines.len() - 2), ["early_cleanup", "cleanup"]);
    lines
}

fn number(lines: &[String], name: &str) -> u64 {
    let line = lines.iter().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn entry_points_are_called_in_their_order_and_queue_calls_work_meanwhile() {
    let lines = traps(
        "echo init_calls();
         foreach (queue_log() as $line) { echo $line; }",
    );
    assert_eq!(lines[0], "early_init init ready ");
    assert_eq!(lines[1], "list_add LocalIp warm");
    assert_eq!(lines[3], "list_reload None None");
    assert!(
        lines[4].contains("id: Some(\"given\")") && lines[4].contains("kind: Warmup"),
        "{lines:?}"
    );
    assert!(lines[4].contains("TokenBucket") && lines[4].contains("(\"a\", \"b\")"), "{lines:?}");
}

#[test]
fn null_is_tolerated_everywhere() {
    assert_eq!(traps("echo nulls();"), ["true"]);
}

#[test]
fn configuration_is_text_as_written_and_reload_hands_over_the_running_block() {
    let startup = DIR.path().join("startup.yaml");
    let running = DIR.path().join("running.yaml");
    std::fs::write(&startup, "mode: 0640\nflag: true\nlist:\n- a\n- b: 1\ncount: 7\n").unwrap();
    std::fs::write(&running, "level: low\n").unwrap();
    let library = c_plugin("traps");
    let plugin = format!("traps={},{},{}", library.display(), startup.display(), running.display());
    let lines = lines(
        &["--plugin".to_owned(), plugin],
        "echo configuration(); plugin_reload(\"level: high\\n\"); echo configuration();",
    );
    assert!(lines[0].starts_with("0640|true||0|flag|{"), "{lines:?}");
    assert!(lines[0].contains("\"count\":7") && lines[0].ends_with("|low"), "{lines:?}");
    assert!(lines[1].ends_with("|high"), "{lines:?}");
}

#[test]
fn strings_keep_their_octets_and_late_keys_their_pairs() {
    let lines = traps(
        "$s = strings(); foreach ($s as $k => $v) { echo $k . \":\" . (\"\" . $v); }
         echo $s[2] === \"a\\x00b\";",
    );
    assert_eq!(lines, ["0:", "1:", "2:a\0b", "3:abc", "true"]);
}

#[test]
fn arguments_arrays_and_json_arrive_as_they_are() {
    let lines = traps(
        "echo describe([\"list\" => [1, 2, 3]], none);
         echo json_round([\"a\" => [1, \"é\", true, none], \"b\" => []]) === [\"a\" => [1, \"é\", true, none], \"b\" => []];
         echo json_error();
         echo exported_answer();",
    );
    assert_eq!(lines, ["2 4 3 1", "true", "syntax error at octet 3", "42"]);
}

#[test]
fn exceptions_are_raised_after_the_return_also_of_a_suspended_call() {
    let lines = traps(
        "try { throws(); } catch ($e) { echo $e->message(); }
         try { throws_later(); } catch ($e) { echo $e->message(); }",
    );
    assert_eq!(lines, ["on purpose", "later"]);
}

#[test]
fn both_orders_of_suspend_and_schedule_wake_the_script_with_its_value() {
    let lines = traps(
        "$n = 0;
         foreach ([1,2,3,4,5,6,7,8,9,10] as $i) {
             if (scheduled_first(\"a\") === \"a\") $n += 1;
             if (scheduled_later(\"b\") === \"b\") $n += 1;
         }
         echo $n;",
    );
    assert_eq!(lines, ["20"]);
}

/// Each call of the storm gets its own text back, whatever threads do to the others.
const STORM: &str = include_str!("../plugins/storm.hsl");

#[test]
fn early_late_double_and_belated_schedules_wake_the_right_script_and_no_other() {
    let mut options = with("storm", &c_plugin("storm"));
    options.extend(["--copies".to_owned(), "40".to_owned()]);
    let lines = lines(&options, STORM);
    let right = lines.iter().filter(|line| *line == "right 225").count();
    assert_eq!(right, 40, "{lines:#?}");
    assert_eq!(lines[lines.len() - 3..], ["given back 0", "freed 40", "freed under lock 0"]);
}

/// A plugin may wake scripts with a lock held that the callback takes which frees its objects.
#[test]
fn what_a_script_left_behind_is_freed_outside_of_the_call_that_gives_it_back() {
    let mut options = with("storm", &c_plugin("storm"));
    options.extend(["--copies", "20", "--limit", "200"].map(str::to_owned));
    let lines = lines(&options, include_str!("../plugins/kept.hsl"));
    assert_eq!(lines[lines.len() - 3..], ["given back 20", "freed 20", "freed under lock 0"]);
    assert!(!lines.contains(&"woken".to_owned()), "{lines:#?}");
}

#[test]
fn contexts_of_deliveries_and_injections_past_their_end_find_nothing_however_often_records_are_used()
 {
    let mut options = with("late", &c_plugin("late"));
    options.extend(["--copies", "8"].map(str::to_owned));
    let lines = lines(&options, include_str!("../plugins/late.hsl"));
    let right = lines.iter().filter(|line| *line == "right 605").count();
    assert_eq!(right, 8, "{lines:#?}");
    assert_eq!((number(&lines, "taken"), number(&lines, "called")), (0, 1600), "{lines:#?}");
    assert!(number(&lines, "misuses") > 100_000, "{lines:#?}");
}

/// The plugin is done on a thread of its own, with the lock held that the callback takes which frees
/// what it returns.
#[test]
fn a_delivery_that_nobody_waits_for_is_whole_until_its_plugin_is_done() {
    let mut options = with("late", &c_plugin("late"));
    options.extend(["--copies", "20", "--limit", "200"].map(str::to_owned));
    let lines = lines(&options, include_str!("../plugins/left.hsl"));
    let end = ["taken 0", "called 0", "given back 20", "freed 20", "freed under lock 0"];
    assert_eq!(lines[lines.len() - 5..], end);
    assert!(!lines.contains(&"woken".to_owned()), "{lines:#?}");
}

#[test]
fn a_delivery_that_is_never_done_holds_nobody_up_at_the_end() {
    let mut options = with("late", &c_plugin("late"));
    options.extend(["--limit", "50"].map(str::to_owned));
    let lines =
        lines(&options, "deliver(\"late\", \"text\", [\"mode\" => \"never\"]); echo \"woken\";");
    assert_eq!(lines[..2], ["left behind 1", "misuses 0"]);
}

#[test]
fn files_certificates_and_keys_cross_as_c_knows_them() {
    let lines = traps(
        "echo file_size(TestFile(\"abcdefghij\"));
         echo file_size(\"text\") === none;
         echo subject(certificate(test_certificate(), test_key()));",
    );
    assert_eq!(lines, ["10", "true", "plugin test"]);
}

#[test]
fn objects_are_freed_once_and_children_outlive_their_parents() {
    let lines = traps(
        "function f() { $t = Thing(); return $t->child(); }
         $c = f();
         echo freed_objects();
         echo $c->name();
         echo $c->exported_answer();
         $c = none;
         echo freed_objects();",
    );
    assert_eq!(lines, ["1", "thing", "42", "2"]);
}

#[test]
fn classes_are_imported_from_the_module_of_the_plugin() {
    let lines = traps(
        "import { Thing } from \"extras://traps\";
         echo Thing::answer(); echo Thing()->name();",
    );
    assert_eq!(lines, ["42", "thing"]);
}

#[test]
fn commands_keep_their_octets_in_both_forms() {
    let mut options = with("traps", &c_plugin("traps"));
    options.extend(with("clash", &c_plugin("clash")));
    let lines = lines(
        &options,
        "echo plugin_command(\"traps\", \"word\");
         echo plugin_command(\"traps\") === \"\";
         try { plugin_command(\"traps\", \"fail\"); } catch ($e) { echo $e->message(); }
         echo plugin_command(\"clash\", \"reopen\", \"it\");
         try { plugin_command(\"nobody\"); } catch ($e) { echo $e->message(); }",
    );
    assert_eq!(
        lines[..5],
        [
            "word",
            "true",
            "the command failed: no such thing",
            "reopen it",
            "there is no plugin nobody"
        ]
    );
}

#[test]
fn plugins_with_equal_global_names_do_not_see_each_other() {
    let mut options = with("traps", &c_plugin("traps"));
    options.extend(with("clash", &c_plugin("clash")));
    let lines = lines(&options, "echo traps_global(); echo clash_global();");
    assert_eq!(lines[..2], ["1", "2.5"]);
}

#[test]
fn deliveries_answer_with_a_code_of_two_octets_and_a_return_value() {
    let lines = traps(
        "$r = deliver(\"traps\", \"first line\");
         echo $r[0]; echo $r[1]; echo $r[2];
         echo deliver(\"traps\", \"x\", [\"mode\" => \"wide\"])[0];
         echo deliver(\"traps\", \"x\", [\"mode\" => \"nothing\"])[1];
         echo queue_log()[5];",
    );
    assert_eq!(
        lines,
        ["250", "first line", "returned", "451", "the plugin gave no result", "trace 7 trying"]
    );
}

#[test]
fn queue_callbacks_refuse_with_a_value_and_shrink_addresses() {
    let lines = traps(
        "$p = pickup(); echo $p[0]; echo $p[1];
         $i = insert([\"192.0.2.1\", \"192.0.2.2\"]); echo $i[0] === none; echo $i[1][0];
         $i = insert([\"192.0.2.1\"]); echo $i[0]; echo count_of($i[1]); echo $i[2][\"error\"];
         function count_of($list) { $n = 0; foreach ($list as $x) $n += 1; return $n; }",
    );
    assert_eq!(lines, ["traps", "t-1 3 7 0", "true", "192.0.2.2", "traps", "0", "NO_IPS"]);
}

#[test]
fn injections_call_back_once_with_a_short() {
    let lines = traps("echo inject(\"plugin\"); echo inject(\"full\");");
    assert_eq!(lines, ["250 77 12 octets for 1 with \"data\"", "refused"]);
}

#[test]
fn a_plugin_for_another_version_is_refused_with_both_numbers() {
    let output = run(&with("old", &c_plugin("old")), "");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("56000") && text.contains("56001") && text.contains("old"), "{text}");
}

#[test]
fn a_plugin_that_lacks_a_function_it_never_calls_is_loaded() {
    assert_eq!(lines(&with("missing", &c_plugin("missing")), "echo 1;"), ["1"]);
}

#[test]
fn each_form_of_suspends_policies_and_lists_arrives_with_its_arguments_in_their_places() {
    let log = lines(
        &with("rules", &c_plugin("rules")),
        "echo rules(); foreach (queue_log() as $line) { echo $line; }",
    );
    assert_eq!(log[0], "true", "{log:#?}");
    let wanted: [&[&str]; 12] = [
        &[
            "suspend_add ",
            "\"t\"",
            "192.0.2.1",
            "192.0.2.2",
            "\"mx\"",
            "\"d\"",
            "\"j\"",
            "\"tag\"",
            "1.5s",
        ],
        &["suspend_add ", "grouping: Some(\"&g\")", "\"tag2\"", "ttl: None"],
        &["suspend_add ", "\"s5\"", "tenantid: Some(\"tenant\")", "(\"key\", \"value\")", "3s"],
        &["suspend_delete s5"],
        &[
            "policy_add ",
            "JobId",
            "\"j1\"",
            "concurrency: 1",
            "tokens: 2",
            "interval: 3s",
            "\"p1\"",
            "4s",
        ],
        &[
            "policy_add ",
            "Grouping",
            "\"&g3\"",
            "concurrency: 5",
            "tokens: 6",
            "interval: 7s",
            "\"p3\"",
            "stop: Some(true)",
            "8s",
        ],
        &[
            "policy_add ",
            "TenantId",
            "\"t4\"",
            "concurrency: 9",
            "tokens: 10",
            "interval: 11s",
            "\"p4\"",
            "stop: Some(false)",
            "12s",
        ],
        &["policy_update u1 ", "concurrency: 1", "tokens: 2", "interval: 3s", "\"v1\"", "4s"],
        &[
            "policy_update u2 ",
            "concurrency: 5",
            "tokens: 6",
            "interval: 7s",
            "\"v2\"",
            "\"value\"",
            "8s",
        ],
        &[
            "policy_update u3 ",
            "concurrency: 9",
            "connect_interval: Some(12s)",
            "cluster: Some(true)",
            "13s",
        ],
        &[
            "policy_update u4 ",
            "FixedWindow",
            "connect_interval: Some(17s)",
            "stop: Some(true)",
            "cluster: Some(false)",
            "18s",
        ],
        &["policy_delete u4"],
    ];
    for (line, parts) in log[1..].iter().zip(wanted) {
        for part in parts {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    assert_eq!(log[13..15], ["list_item_delete JobId jobs j1", "policy_divide 3"]);
}

#[test]
fn json_is_ascii_unless_the_flag_says_otherwise_and_static_functions_may_be_global() {
    let lines = lines(
        &with("rules", &c_plugin("rules")),
        "foreach (json_forms([\"å\"]) as $form) { echo $form; } echo Rules::answer();",
    );
    assert_eq!(lines, ["[\"\\u00e5\"]", "[\"å\"]", "ans"]);
}

/// Some public plugins rely on the mail server's process to hold a library, and are not linked with it.
#[test]
fn a_plugin_is_lent_a_library_that_it_was_not_linked_with() {
    let folder = DIR.path().join("lent");
    std::fs::create_dir_all(&folder).unwrap();
    let source = folder.join("lent.c");
    std::fs::write(&source, "double lent_answer(void) { return 42; }\n").unwrap();
    checked(
        Command::new("gcc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(folder.join("libjsoncpp.so.25"))
            .arg(&source),
    );
    let script = DIR.path().join("lent.hsl");
    std::fs::write(&script, "echo borrowed_answer();").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_abi-host"))
        .args(with("borrower", &c_plugin("borrower")))
        .arg(script)
        .env("LD_LIBRARY_PATH", &folder)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n", "{output:?}");
}

#[test]
fn the_examples_in_c_and_cpp_do_what_their_readme_says() {
    let mut options = with("upper", &example("upper-c", "upper.so"));
    options.extend(with("counter", &example("counter-cpp", "counter.so")));
    let lines = lines(
        &options,
        "import { upper } from \"extras://upper\";
         import { Counter } from \"extras://counter\";
         echo upper(\"abc-é\");
         $c = Counter();
         echo $c->add(2)->add(3)->value();
         try { upper(1); } catch ($e) { echo $e->message(); }",
    );
    assert_eq!(lines, ["ABC-é", "5", "upper() expects a string"]);
}

#[test]
fn two_hundred_scripts_sleep_in_go_at_once_without_a_thread_of_ours() {
    let library = example("sleep-go", "sleep.so");
    let mut options = with("sleep", &library);
    assert_eq!(
        lines(
            &options,
            "import { sleep } from \"extras://sleep\";
             echo sleep(0.01); echo sleep_until_woken(0.01);
             try { sleep(\"x\"); } catch ($e) { echo $e->message(); }",
        ),
        ["0.01", "0.01", "sleep() expects a number of seconds"]
    );

    options.extend(["--copies".to_owned(), "200".to_owned()]);
    let asleep = lines(&options, "sleep(1);");
    // The Go runtime has a handful of threads; ours are the main thread and two workers.
    assert!(number(&asleep, "threads") < 40, "{asleep:?}");
    let elapsed = number(&asleep, "milliseconds");
    assert!((1000..5000).contains(&elapsed), "{asleep:?}");

    // The blocking form holds a thread each, and still lets all of them wait at once.
    let blocked = lines(&options, "sleep_until_woken(1);");
    assert!(number(&blocked, "threads") >= 200, "{blocked:?}");
    assert!(number(&blocked, "milliseconds") < 5000, "{blocked:?}");
}

#[test]
fn the_program_exports_what_the_header_declares_and_nothing_else() {
    let table =
        checked(Command::new("readelf").args(["-W", "--dyn-syms", env!("CARGO_BIN_EXE_abi-host")]));
    let exported: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, _, _, _, _, _, section, name, ..] = columns.as_slice() else { return None };
            (*section != "UND" && *section != "Ndx").then_some(*name)
        })
        .collect();
    let functions = plugin_abi::signatures::functions();
    let declared: BTreeSet<&str> = functions.iter().map(|function| function.name).collect();
    assert_eq!(exported, declared);
}
