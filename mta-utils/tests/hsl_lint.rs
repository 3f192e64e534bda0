//! `hsl-lint` as an editor calls it.

use std::io::Write;
use std::process::{Command, Stdio};

fn lint(input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hsl-lint"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn scripts_of_a_hook_know_its_functions_and_variables() {
    let fine =
        "type: eod\ndata: |\n  echo $transaction[\"id\"];\n  $context[\"x\"] = 1;\n  Accept();\n";
    assert_eq!(lint(fine), (Some(0), String::new()));
    let (code, error) = lint("type: predelivery\ndata: |\n  Try();\n  Accept();\n");
    assert_eq!(code, Some(1));
    assert!(error.starts_with("line: 2\ncolumn: 1\nmessage: "), "{error}");
    assert!(error.contains("Accept"), "{error}");
    let (code, error) = lint("type: connect\ndata: $connection = 1;\n");
    assert_eq!(code, Some(1), "read-only: {error}");
    assert_eq!(lint("type: ''\ndata: echo json_encode([]);\n").0, Some(0));
    let module = "type: ''\ndata: function f() { queue_suspend([], 1); metrics_get(\"m\", []); }\n";
    assert_eq!(lint(module), (Some(0), String::new()));
}

#[test]
fn an_error_in_an_imported_file_names_the_file_and_the_way_to_it() {
    let input = "type: eod\ndata: |\n  import { f } from \"lib/a.hsl\";\n  f();\nfiles:\n  - id: lib/a.hsl\n    \
                 data: |\n      function f() {\n        g(;\n      }\n";
    let (code, error) = lint(input);
    assert_eq!(code, Some(1));
    let finding = config::yaml::parse(error.as_bytes(), "stderr").unwrap();
    let number = |key: &str| finding.member(key).unwrap().to_json();
    assert_eq!(finding.member("file").unwrap().text(), Some("lib/a.hsl"), "{error}");
    assert_eq!(number("line"), 2);
    let path = "path:\n  - line: 1\n    column: 19\n";
    assert!(error.ends_with(path), "{error}");
    let fine = input.replace("g(;", "return 1;");
    assert_eq!(lint(&fine).0, Some(0));
}

#[test]
fn the_way_to_an_error_has_every_step_and_counts_characters() {
    let input = "data: |\n  import { f } from \"c1\";\n  f();\nfiles:\n  - id: c1\n    data: |\n      \
                 include \"c2\";\n  - id: c2\n    data: |\n      function f() { echo \"ä\" . g(); }\n";
    let expected = "line: 1\ncolumn: 27\nmessage: \"there is no function g\"\nfile: \"c2\"\npath:\n  \
                    - file: \"c1\"\n    line: 1\n    column: 9\n  - line: 1\n    column: 19\n";
    assert_eq!(lint(input), (Some(1), expected.to_owned()));
}

#[test]
fn modules_of_plugins_need_not_be_installed() {
    let input =
        "type: eod\ndata: |\n  import { ldap_search as s } from \"extras://ldap\";\n  s(1, 2);\n";
    assert_eq!(lint(input), (Some(0), String::new()));
    assert_eq!(lint(&input.replace("extras://ldap", "missing.hsl")).0, Some(1));
    // A name with static members is a class.
    let class = "type: ''\ndata: |\n  import { LDAP as L, f, $v } from \"extras://ldap\";\n  \
                 $l = L([\"ldap://x\"]); echo L::err2string(L::$last); f($v, L); $l->bind();\n";
    assert_eq!(lint(class), (Some(0), String::new()));
    assert_eq!(lint(&class.replace("f($v", "f::g($v").replace("L::", "M::")).0, Some(1));
    // So it is behind a namespace, and a function is one without them.
    let whole = "type: ''\ndata: |\n  import * as ldap from \"extras://ldap\";\n  \
                 $l = ldap::LDAP([\"ldap://x\"]); echo ldap::LDAP::err2string(ldap::LDAP::$last);\n  \
                 ldap::bind($l, ldap::$options); array_map(ldap::f, [ldap::LDAP::f]);\n";
    assert_eq!(lint(whole), (Some(0), String::new()));
    assert_eq!(lint(&whole.replace("ldap::bind", "other::bind")).0, Some(1));
}

#[test]
fn files_below_the_folder_of_scripts_need_not_be_there() {
    let input = "type: eod\ndata: |\n  import { f, Class, $v } from \"file://lib/a.hsl\";\n  \
                 import $data from \"file://lists/data.json\";\n  import $text from \"txt!file://b.eml\";\n  \
                 f($v, Class::$x, $data[\"a\"], $text);\n  foreach ($data as $k => $v2) echo $text . $v2;\n";
    assert_eq!(lint(input), (Some(0), String::new()));
    assert_eq!(lint(&input.replace("file://lib/a.hsl", "lib/a.hsl")).0, Some(1));
    assert_eq!(lint(&input.replace("file://lists/data.json", "data.json")).0, Some(1));
    assert_eq!(lint("type: eod\ndata: include \"file://a.hsl\"; f();\n").0, Some(1));
}

#[test]
fn input_that_cannot_be_used_is_a_failure_and_no_finding() {
    for input in
        ["", "data: [", "type: eod\n", "type: nohook\ndata: x\n", "data: x\nfiles: [{id: a}]\n"]
    {
        let (code, error) = lint(input);
        assert_eq!(code, Some(2), "{input}: {error}");
        assert!(error.starts_with("hsl-lint: "), "{error}");
    }
}

#[test]
fn older_functions_and_variables_are_known_in_their_hooks() {
    let input = |hook: &str, script: &str| format!("type: {hook}\ndata: |\n  {script}\n");
    for script in ["SetRecipient($recipient);", "$recipient = 1; echo $recipient;"] {
        assert_eq!(lint(&input("rcptto", script)), (Some(0), String::new()), "{script}");
    }
    assert_eq!(lint(&input("eod", "SetRecipient(1);")).0, Some(1));
}
