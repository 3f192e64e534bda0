//! The program as the shell sees it: output, errors, exit codes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hsh(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hsh"));
    command.current_dir(folder).args(["-c", "/dev/null"]);
    command
}

fn script(text: &str) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.hsl"), text).unwrap();
    let output = hsh(folder.path()).arg("t.hsl").output().unwrap();
    (folder, output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn each_echo_is_a_line() {
    let (_folder, output) = script("#!/usr/bin/env hsh\necho 1 + 2;\necho \"å\\x00\";");
    assert_eq!(text(&output.stdout), "3\nå\0\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_uncaught_error_shows_its_place_and_fails() {
    let (_folder, output) = script("echo 1;\nthrow \"broken\";");
    assert_eq!(text(&output.stdout), "1\n");
    let error = text(&output.stderr);
    assert!(error.contains("broken") && error.contains("t.hsl:2"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_syntax_error_fails_without_running() {
    let (folder, output) = script("echo 1;\necho (;");
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("t.hsl:2"));
    assert_eq!(output.status.code(), Some(1));
    let checked = hsh(folder.path()).args(["-s", "t.hsl"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    std::fs::write(folder.path().join("t.hsl"), "echo 1;").unwrap();
    let checked = hsh(folder.path()).args(["-s", "t.hsl"]).output().unwrap();
    assert_eq!((checked.status.code(), text(&checked.stdout)), (Some(0), String::new()));
}

#[test]
fn a_name_that_nobody_knows_is_told_with_what_may_have_been_meant() {
    for (script_text, help) in [
        ("echo lenght(\"x\");", "help: there is a function `length`\n"),
        ("function greet_all() { } gret_all();", "help: there is a function `greet_all`\n"),
        ("return null;", "help: the empty value is `none`\n"),
        ("echo True;", "help: `true`, `false` and `none` are written in small letters\n"),
    ] {
        let (_folder, output) = script(script_text);
        let error = text(&output.stderr);
        assert!(
            error.starts_with("error: there is no function ") && error.ends_with(help),
            "{error}"
        );
    }
    let (_folder, output) = script("sprintf(1);");
    assert!(!text(&output.stderr).contains("help:"), "nothing is near");
}

#[test]
fn a_script_on_standard_input_ends_with_eot() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        hsh(folder.path()).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"echo 7;\n\x04").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "7\n");
}

#[test]
fn imports_come_from_the_root_from_neighbours_and_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir(path.join("root")).unwrap();
    std::fs::write(path.join("root/a.hsl"), "function a() { return \"root\"; }").unwrap();
    std::fs::write(path.join("b.hsl"), "function b() { return \"neighbour\"; }").unwrap();
    std::fs::write(path.join("d.csv"), "n\n5\n").unwrap();
    std::fs::write(
        path.join("app.yaml"),
        "version: \"5.6\"\nscripting:\n  files:\n    - id: lib/c.hsl\n      \
         data: 'function c() { return \"configured\"; }'\n",
    )
    .unwrap();
    std::fs::write(
        path.join("t.hsl"),
        "import { a } from \"file://a.hsl\";\nimport { b } from \"./b.hsl\";\n\
         import { c } from \"lib/c.hsl\";\n\
         import $d from \"./d.csv\" with [\"schema\" => [\"n\" => [\"type\" => \"number\"]]];\n\
         echo a() . \" \" . b() . \" \" . c();\necho $d;\necho File::read(\"file://a.hsl\")[0:8];",
    )
    .unwrap();
    let output = hsh(path).args(["-R", "root", "-A", "app.yaml", "t.hsl"]).output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "root neighbour configured\n[0=>[\"n\"=>5]]\nfunction\n");
}

#[test]
fn ffi_needs_the_option_or_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(
        path.join("t.hsl"),
        "echo FFI::number(FFI::cnumber(FFI::type(\"uint8\"), 257));",
    )
    .unwrap();
    std::fs::write(path.join("smtpd.yaml"), "version: \"5.6\"\nscripting:\n  ffi: true\n").unwrap();
    let refused = hsh(path).arg("t.hsl").output().unwrap();
    assert!(text(&refused.stderr).contains("FFI is not allowed"));
    let allowed = hsh(path).args(["--ffi", "t.hsl"]).output().unwrap();
    assert_eq!(text(&allowed.stdout), "1\n");
    let configured = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(path)
        .args(["-c", "smtpd.yaml", "t.hsl"])
        .output()
        .unwrap();
    assert_eq!((text(&configured.stderr), text(&configured.stdout)), ("".into(), "1\n".into()));
}

#[test]
fn sleeping_waits_on_the_runtime() {
    let (_folder, output) = script("$t = sleep(0.01);\necho $t >= 0.01 and $t < 5;");
    assert_eq!(text(&output.stdout), "true\n");
}

#[test]
fn a_configuration_that_is_named_and_missing_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .args(["-c", "/nonexistent/smtpd.yaml", "-"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("/nonexistent/smtpd.yaml"));
}

#[test]
fn functions_are_listed_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = hsh(folder.path()).arg("--json-functions").output().unwrap();
    let listed = text(&output.stdout);
    assert!(listed.contains("\"name\": \"array_sort\"") && listed.contains("\"name\": \"File\""));
}

#[test]
fn the_version_is_printed() {
    for option in ["-v", "--version"] {
        let output = Command::new(env!("CARGO_BIN_EXE_hsh")).arg(option).output().unwrap();
        assert_eq!(text(&output.stdout), format!("hsh {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn keys_of_the_configuration_are_named_by_their_id() {
    let folder = tempfile::tempdir().unwrap();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/hsl-std/tests/keys/rsa.key");
    std::fs::copy(key, folder.path().join("rsa.key")).unwrap();
    let config = "version: \"5.6\"\npki: {private: [{id: a, privatekey: {path: rsa.key}}, {id: b, privatekey: {path: none.key}}]}";
    std::fs::write(folder.path().join("app.yaml"), config).unwrap();
    let script = "echo length(rsa_sign(\"text\", \"pki:a\", [\"id\" => true]));
                  echo rsa_sign(\"text\", \"pki:b\", [\"id\" => true]) === none;
                  echo rsa_sign(\"text\", \"pki:c\", [\"id\" => true]) === none;";
    std::fs::write(folder.path().join("t.hsl"), script).unwrap();
    let output = hsh(folder.path()).args(["-A", "app.yaml", "t.hsl"]).output().unwrap();
    assert_eq!(text(&output.stdout), "256\ntrue\ntrue\n", "{}", text(&output.stderr));
}

#[test]
fn a_script_and_a_configuration_share_standard_input_in_either_order() {
    let configuration = "version: \"5.6\"\nscripting:\n  files:\n    - id: a.hsl\n      \
                         data: 'function a() { return 8; }'\n";
    let script = "import { a } from \"a.hsl\";\necho a();\n";
    for (first, second) in [(script, configuration), (configuration, script)] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = hsh(folder.path())
            .args(["-A", "-", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The stream stays open, as debuggers leave it.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{first}\x04{second}\x04").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        assert_eq!(text(&output.stdout), "8\n");
    }
}

#[test]
fn lines_at_the_prompt_share_variables_and_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history");
    let mut child = hsh(folder.path())
        .env("HSH_HISTORY", &history)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = b"$a = 20;\nfunction f($x) {\nreturn $x + 1;\n}\nf($a) * 2\n";
    child.stdin.take().unwrap().write_all(lines).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(text(&output.stdout).ends_with("42\n"), "{}", text(&output.stdout));
    assert!(std::fs::read_to_string(history).unwrap().contains("$a = 20;\nfunction f($x) {\n"));
}

/// A C plugin with one function, as a file `upper.so` in `folder`.
fn build_plugin(folder: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new("gcc")
        .args(["-fPIC", "-shared", "-I"])
        .arg(root.join("include"))
        .arg("-o")
        .arg(folder.join("upper.so"))
        .arg(root.join("packaging/examples/plugins/upper-c/upper.c"))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn plugins_come_from_the_option_the_configuration_and_the_autoload_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    build_plugin(path);
    let configuration = |more: &str| {
        let text = format!(
            "version: \"5.6\"\nservers: []\nenvironment:\n  pluginspath: {}\n{more}",
            path.display()
        );
        std::fs::write(path.join("hsh.yaml"), text).unwrap();
    };
    std::fs::write(
        path.join("t.hsl"),
        "import { upper } from \"extras://upper\";\necho upper(\"abc\");",
    )
    .unwrap();
    let run = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hsh"));
        let output = command
            .current_dir(path)
            .args(["-c", "hsh.yaml"])
            .args(options)
            .arg("t.hsl")
            .output()
            .unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    configuration("");
    assert_eq!(run(&[]).0, Some(1), "without the plugin");
    assert_eq!(run(&["-p", "upper"]), (Some(0), "ABC\n".to_owned()));
    assert_eq!(run(&["-p", "upper", "-s"]), (Some(0), String::new()));
    let (code, message) = run(&["-p", "missing"]);
    assert_eq!(code, Some(3));
    assert!(message.contains("missing"), "{message}");
    configuration("plugins:\n  - id: upper\n");
    assert_eq!(run(&[]), (Some(0), "ABC\n".to_owned()));
    assert_eq!(run(&["-p", "upper"]), (Some(0), "ABC\n".to_owned()), "loaded once");
    configuration("");
    std::fs::create_dir_all(path.join("autoload/hsh")).unwrap();
    std::os::unix::fs::symlink("../../upper.so", path.join("autoload/hsh/upper.so")).unwrap();
    assert_eq!(run(&[]), (Some(0), "ABC\n".to_owned()));
}

/// Checking the syntax starts no plugin, and one that was not started cannot stop.
#[test]
fn only_plugins_that_were_started_clean_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let source = r#"
        #include <HalonMTA.h>
        #include <stdio.h>

        HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }
        HALON_EXPORT bool Halon_init(HalonInitContext *context) { (void)context; puts("init"); return true; }
        HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context) { (void)context; return true; }
        HALON_EXPORT void Halon_early_cleanup(void) { puts("early"); }
        HALON_EXPORT void Halon_cleanup(void) { puts("late"); fflush(stdout); }
    "#;
    std::fs::write(path.join("told.c"), source).unwrap();
    let made = Command::new("gcc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../include"))
        .arg("-o")
        .arg(path.join("told.so"))
        .arg(path.join("told.c"))
        .status();
    assert!(made.unwrap().success());
    let configuration =
        format!("version: \"5.6\"\nservers: []\nenvironment:\n  pluginspath: {}\n", path.display());
    std::fs::write(path.join("hsh.yaml"), configuration).unwrap();
    let run = |script: &str, options: &[&str]| {
        std::fs::write(path.join("t.hsl"), script).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_hsh"))
            .current_dir(path)
            .args(["-c", "hsh.yaml", "-p", "told", "t.hsl"])
            .args(options)
            .output()
            .unwrap();
        (output.status.code(), text(&output.stdout))
    };
    assert_eq!(run("$a = 1;", &[]), (Some(0), "init\nearly\nlate\n".to_owned()));
    assert_eq!(run("$a = 1;", &["-s"]), (Some(0), String::new()));
    assert_eq!(run("$a = ;", &["-s"]), (Some(1), String::new()));
}

/// Plugins add rules when they start, in every program, and some take the id for granted.
#[test]
fn rules_that_a_plugin_adds_get_their_ids_and_have_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let source = r#"
        #include <HalonMTA.h>
        #include <stdlib.h>
        #include <string.h>

        static bool works;

        HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

        HALON_EXPORT bool Halon_init(HalonInitContext *context)
        {
            (void)context;
            char *suspend = HalonMTA_queue_suspend_add("t", NULL, NULL, NULL, NULL, NULL, "tag", 60);
            char *other = HalonMTA_queue_suspend_add("t", NULL, NULL, NULL, NULL, NULL, "tag", 60);
            char *policy = HalonMTA_queue_policy_add6("given", HALONMTA_QUEUE_JOBID, HALONMTA_POLICY_TYPE_DYNAMIC,
                NULL, NULL, NULL, NULL, NULL, "job", NULL, NULL, 1, 0, 0, HALONMTA_RATE_ALGORITHM_DEFAULT, 0, "tag",
                NULL, 0, false, false, 60);
            works = strcmp(suspend, other) != 0 && strcmp(policy, "given") == 0
                && HalonMTA_queue_suspend_delete(suspend) && !HalonMTA_queue_suspend_delete(suspend)
                && HalonMTA_queue_policy_update("given", 2, 0, 0, "tag", 60)
                && HalonMTA_queue_policy_delete("given") && !HalonMTA_queue_policy_delete("given")
                && HalonMTA_queue_list_add(HALONMTA_QUEUE_JOBID, "jobs");
            free(suspend);
            free(other);
            free(policy);
            return true;
        }

        static void answer(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
        {
            (void)context, (void)arguments;
            HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_BOOLEAN, &works, 0);
        }

        HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
        {
            return HalonMTA_hsl_register_function(context, "rules_work", answer);
        }
    "#;
    std::fs::write(path.join("rules.c"), source).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include");
    let made = Command::new("gcc")
        .args(["-fPIC", "-shared", "-I"])
        .arg(include)
        .arg("-o")
        .arg(path.join("rules.so"))
        .arg(path.join("rules.c"))
        .status();
    assert!(made.unwrap().success());
    let text_of =
        format!("version: \"5.6\"\nservers: []\nenvironment:\n  pluginspath: {}\n", path.display());
    std::fs::write(path.join("hsh.yaml"), text_of).unwrap();
    std::fs::write(path.join("t.hsl"), "echo rules_work();").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(path)
        .args(["-c", "hsh.yaml", "-p", "rules", "t.hsl"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout) + &text(&output.stderr), "true\n");
}

#[test]
fn script_modules_of_plugins_are_imported_by_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir_all(path.join("hsl/greet")).unwrap();
    std::fs::write(
        path.join("hsl/greet/main.hsl"),
        "import { name } from \"./name.hsl\";\nfunction greet() { return \"hello \" . name(); }",
    )
    .unwrap();
    std::fs::write(path.join("hsl/greet/name.hsl"), "function name() { return \"you\"; }").unwrap();
    std::fs::write(
        path.join("hsh.yaml"),
        format!("version: \"5.6\"\nservers: []\nenvironment:\n  pluginspath: {}\n", path.display()),
    )
    .unwrap();
    std::fs::write(path.join("t.hsl"), "import { greet } from \"extras://greet\";\necho greet();")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(path)
        .args(["-c", "hsh.yaml", "t.hsl"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout) + &text(&output.stderr), "hello you\n");
}

#[test]
fn a_folder_of_tests_passes_or_names_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let write = |name: &str, text: &str| {
        let file = path.join("tests").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    write("_lib/double.hsl", "function double($x) { return $x * 2; }");
    write("a.hsl", "//> 42\nimport { double } from \"./_lib/double.hsl\";\necho double(21);");
    write("b/quiet.hsl", "echo \"nobody compares this\";");
    write("b/error.hsl", "//! on purpose\nthrow \"on purpose\";");
    write(
        "dns.hsl",
        "//@ example.org MX 10 mx.example.org\n//> mx.example.org\n//> true\n\
         echo dns_query(\"example.org\", [\"type\" => \"mx\"])[\"result\"][0];\n\
         echo dns_query(\"side.example\", [\"type\" => \"A\"])[\"result\"] == [\"192.0.2.7\"];",
    );
    write("dns.zone", "# beside the script\nside.example A 192.0.2.7\n");
    write("sleep.hsl", "//> true\n$t = time();\nsleep(3600);\necho time() - $t >= 3600;");
    let run = || hsh(path).args(["--test", "tests"]).output().unwrap();
    let output = run();
    assert_eq!(
        text(&output.stdout),
        "ok   - a.hsl\nok   - b/error.hsl\nok   - b/quiet.hsl\nok   - dns.hsl\nok   - sleep.hsl\n\
         5 passed, 0 failed\n"
    );
    assert_eq!(output.status.code(), Some(0));

    write("b/error.hsl", "//! on purpose\necho 1;");
    write("a.hsl", "//> 42\n//> 43\necho 42;\necho 44;");
    write("dns.hsl", "throw \"uncaught\";");
    write("sleep.hsl", "echo (;");
    let output = run();
    let printed = text(&output.stdout);
    assert!(printed.ends_with("1 passed, 4 failed\n"), "{printed}");
    for part in ["- 43", "+ 44", "no error, should be: on purpose", "uncaught", "sleep.hsl:1"] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    assert_eq!(output.status.code(), Some(1));

    std::fs::create_dir(path.join("empty")).unwrap();
    let output = hsh(path).args(["--test", "empty"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there are no tests"));
}

#[test]
fn a_test_that_does_not_end_fails_at_its_limit_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir(path.join("t")).unwrap();
    for (name, text) in [
        ("a.hsl", "echo 1;\nforever {}"),
        // This wait is over at once, for it moves the clock.
        ("b.hsl", "echo 1;\n\nforever {\n  sleep(1);\n}"),
        (
            "c.hsl",
            "function f() {\n  try {\n    while (true) { $a = 1; }\n  } catch ($e) {}\n}\nf();",
        ),
        ("d.hsl", "//! the test did not end within\nforever {}"),
        ("e.hsl", "//> 1\necho 1;"),
    ] {
        std::fs::write(path.join("t").join(name), text).unwrap();
    }
    let output = hsh(path).args(["--limit", "0.5", "--test", "t"]).output().unwrap();
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.ends_with("\n2 passed, 3 failed\n"), "{out}");
    for place in ["a.hsl:2:", "b.hsl:4:", "c.hsl:3:"] {
        assert!(out.contains(place), "{place} in {out}");
    }
    assert_eq!(out.matches("the test did not end within 0.5 s").count(), 3, "{out}");
    assert!(out.contains("function f"), "{out}");
}

#[test]
fn limits_are_seconds() {
    for wrong in ["0", "-1", "x", "1e300"] {
        let output = hsh(Path::new(".")).arg(format!("--limit={wrong}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_reader_of_the_list_of_functions_may_go_away() {
    let mut child = hsh(Path::new("."))
        .arg("--json-functions")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((text(&output.stderr), output.status.code()), (String::new(), Some(0)));
}

const SERVER_FUNCTIONS: &str = r#"
function f() { queue_policy(["jobid"], [], [], 1); queue_policy_delete("x"); queue_suspend([], 1); }
metrics_increment("m", ["a" => "1", "b" => "2"]);
metrics_increment("m", ["b" => "2", "a" => "1"], 2);
metrics_decrement("m", ["a" => "1", "b" => "2"], 0.5);
metrics_set("n", [], 7);
echo [metrics_get("m", ["a" => "1", "b" => "2"])["value"], metrics_get("n", []), metrics_get("o", [])];
echo [queue_quota("q"), server_concurrency("s")];"#;

const RULES_OF_A_TEST: &str = r#"//> [0=>true,1=>false,2=>["id"=>"mine"]]
//> [0=>"mine",1=>none,2=>true,3=>false]
//> [0=>2,1=>true,2=>none,3=>3]
$id = queue_policy(["jobid"], [], [], 60)["id"];
echo [queue_policy_delete($id), queue_policy_delete($id), queue_suspend([], 60, ["id" => "mine"])];
// An equal one is updated and keeps its id; one that is to be kept is refused.
$again = queue_suspend([], 90)["id"];
$kept = queue_suspend([], 90, ["update" => false]);
$first = queue_policy(["jobid"], ["jobid" => "x"], ["concurrency" => 1], 60)["id"];
$second = queue_policy(["jobid"], ["jobid" => "x"], ["concurrency" => 2], 60)["id"];
sleep(61);
echo [$again, $kept, $first == $second, queue_policy_delete($first)];
foreach ([1, 2] as $i)
    MIME()->setBody("hello")->queue("a@b", "c@d", "t", ["quotas" => ["q"]]);
metrics_set("m", [], 3);
$usage = queue_quota("q");
echo [$usage["count"], $usage["bytes"] > 10, server_concurrency("s"), metrics_get("m", [])["value"]];
"#;

#[test]
fn functions_of_a_server_keep_to_the_process() {
    let (folder, output) = script(SERVER_FUNCTIONS);
    let wanted = "[0=>2.5,1=>[\"value\"=>7],2=>none]\n[0=>[\"count\"=>0,\"bytes\"=>0],1=>none]\n";
    assert_eq!((text(&output.stderr), text(&output.stdout)), (String::new(), wanted.to_owned()));
    let checked = hsh(folder.path()).args(["-s", "t.hsl"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(0));
    let (_folder, output) = script("queue_suspend([\"jobid\" => \"x\"], 60);");
    assert!(text(&output.stderr).contains("queue_suspend: there is no server"));
    assert_eq!(output.status.code(), Some(1));
    std::fs::create_dir(folder.path().join("t")).unwrap();
    std::fs::write(folder.path().join("t/a.hsl"), RULES_OF_A_TEST).unwrap();
    let output = hsh(folder.path()).args(["--test", "t"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn options_that_are_about_a_script_want_one() {
    let folder = tempfile::tempdir().unwrap();
    for option in ["--profile", "--syntax", "--debugger=nowhere.sock"] {
        let output = hsh(folder.path()).arg(option).stdin(Stdio::null()).output().unwrap();
        let name = option.split('=').next().unwrap();
        assert_eq!(text(&output.stderr), format!("hsh: {name} needs a script\n"));
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn the_limits_of_the_running_configuration_hold_for_scripts_and_tests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let limits = "version: \"5.6\"\nscripting: {limits: {depth: 8, memory: 1MiB}}\n";
    std::fs::write(path.join("app.yaml"), limits).unwrap();
    let deep = "function f($n) { return $n == 0 ? 0 : f($n - 1) + 1; }\necho f(20);";
    std::fs::write(path.join("deep.hsl"), deep).unwrap();
    std::fs::write(path.join("large.hsl"), "echo length(str_repeat(\"x\", 2000000));").unwrap();
    for (script, error) in [
        ("deep.hsl", "recursion limit of 8 calls exceeded"),
        ("large.hsl", "memory limit of 1048576 bytes exceeded"),
    ] {
        let free = hsh(path).arg(script).output().unwrap();
        assert_eq!(free.status.code(), Some(0), "{}", text(&free.stderr));
        let limited = hsh(path).args(["-A", "app.yaml", script]).output().unwrap();
        assert!(text(&limited.stderr).contains(error), "{}", text(&limited.stderr));
        let tested = hsh(path).args(["-A", "app.yaml", "--test", script]).output().unwrap();
        assert!(text(&tested.stdout).contains(error), "{}", text(&tested.stdout));
    }
}

#[test]
fn one_script_can_be_tested_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("t")).unwrap();
    std::fs::write(folder.path().join("t/_a.hsl"), "//> 2\necho 1 + 1;").unwrap();
    std::fs::write(folder.path().join("t/b.hsl"), "throw \"not asked for\";").unwrap();
    let output = hsh(folder.path()).args(["--test", "t/_a.hsl"]).output().unwrap();
    assert_eq!(text(&output.stdout), "ok   - t/_a.hsl\n1 passed, 0 failed\n");
}

#[test]
fn a_script_has_as_much_time_as_it_is_given() {
    let (folder, _) = script("echo 1;");
    std::fs::write(folder.path().join("t.hsl"), "echo 1;\nforever {}").unwrap();
    let output = hsh(folder.path()).args(["--limit", "0.2", "t.hsl"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), "1\n".to_owned()));
    let error = text(&output.stderr);
    assert!(error.contains("the script did not end within 0.2 s"), "{error}");
    assert!(error.contains("t.hsl:2:"), "{error}");
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let (folder, _) = script("echo 1;");
    for root in ["absent", "t.hsl"] {
        let output = hsh(folder.path()).args(["-R", root, "t.hsl"]).output().unwrap();
        assert_eq!(text(&output.stderr), format!("hsh: --rootpath: {root} is no directory\n"));
        assert_eq!(output.status.code(), Some(3));
    }
}
