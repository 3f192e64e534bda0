//! Data that a script imports is the same in every execution, whatever earlier ones did with it.

use std::sync::Arc;

use hsl::{Compiler, Setup, Vm};
use hsl_std::import::FileLoader;
use hsl_std::{Outcome, drive};
use parking_lot::Mutex;

#[allow(dead_code, reason = "each test program uses some of it")]
mod support;

const SCRIPT: &[u8] = br#"import $mail from "mail.eml";
import $data from "data.yaml";
[$map, $set, $deep] = [$data["map"], $data["set"], $data["deep"][0]->get("in")];
echo str_split($mail->toString(), "\r\n")[0];
echo json_encode([$map->get("key"), $set->has(2), $deep->get("key")]);
$mail->addHeader("X-Seen", "seen");
$map->set("key", "changed");
$set->add(2);
$deep->set("key", "changed");
echo str_split($mail->toString(), "\r\n")[0];
"#;

const DATA: &[u8] = b"map: !Map {key: as imported}
set: !Set [1]
deep:
  - !Map
    in: !Map {key: as imported}
";

#[test]
fn each_execution_gets_objects_of_its_own() {
    let loader = FileLoader::new()
        .with_data("mail.eml", Arc::from(&b"Subject: x\r\n\r\nText\r\n"[..]))
        .with_data("data.yaml", Arc::from(DATA));
    let output = Arc::new(Mutex::new(Vec::new()));
    let clock = Arc::new(support::StillClock::default());
    let host = support::host(&clock, &output);
    let compiler = Compiler::new(&host).with_loader(&loader);
    let program = compiler.compile("main", "main.hsl", SCRIPT).expect("a program");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..2 {
        let echoed = Arc::new(Mutex::new(Vec::<String>::new()));
        let lines = Arc::clone(&echoed);
        let echo = move |text: &[u8]| lines.lock().push(String::from_utf8_lossy(text).into_owned());
        let setup = Setup { echo: Box::new(echo), ..Setup::default() };
        let mut vm = Vm::new(&program, setup);
        if let Outcome::Failed(error) = runtime.block_on(drive(&mut vm, 1000, None, || {})) {
            panic!("{}", error.diagnostic().message());
        }
        let expected = ["Subject: x", "[\"as imported\",false,\"as imported\"]", "X-Seen: seen"];
        assert_eq!(*echoed.lock(), expected);
    }
}
