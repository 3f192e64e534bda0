//! Plugins that crash the program are named, and plugins that hold its threads.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use nix::sys::signal::Signal;
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;

use crate::plugins::send;
use crate::support::{Program, build_plugin, compile, configured};

/// A hook that calls `boom(kind)` of the crasher.
fn booming(kind: &str, plugins: &[(&str, &Path)]) -> tempfile::TempDir {
    let listed =
        |(id, path): &(&str, &Path)| format!("  - id: {id}\n    path: {}\n", path.display());
    let startup = format!("plugins:\n{}", plugins.iter().map(listed).collect::<String>());
    let running = format!(
        "    phases:\n      mailfrom:\n        hook: boom\n\
         transportgroups:\n  - id: group\n    transports:\n      - id: out\n\
         scripting:\n  hooks:\n    mailfrom:\n      - id: boom\n        data: |\n          \
         import {{ boom }} from \"extras://crasher\";\n          boom(\"{kind}\");\n"
    );
    configured(&startup, &running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_named_with_plugin_function_and_thread() {
    let build = tempfile::tempdir().unwrap();
    let crasher = compile(CRASHER, "crasher", build.path());
    let go = build_plugin("sleep-go", "sleep.so", build.path());
    let in_function = "in plugin crasher, function boom, thread smtpd-worker (";
    let own_thread = "in plugin crasher, on a thread of its own, thread ";
    let alone: &[(&str, &Path)] = &[("crasher", &crasher)];
    // Go sets handlers of its own, behind ours, when it is loaded.
    let with_go: &[(&str, &Path)] = &[("crasher", &crasher), ("sleep", &go)];
    let cases = [
        ("null", alone, Signal::SIGSEGV, in_function),
        ("null", with_go, Signal::SIGSEGV, in_function),
        ("abort", with_go, Signal::SIGABRT, in_function),
        ("divide", alone, Signal::SIGFPE, in_function),
        ("illegal", alone, Signal::SIGILL, in_function),
        ("raise", alone, Signal::SIGSEGV, in_function),
        ("thread null", alone, Signal::SIGSEGV, own_thread),
        ("thread null", with_go, Signal::SIGSEGV, own_thread),
        ("thread abort", alone, Signal::SIGABRT, own_thread),
    ];
    for (kind, plugins, signal, named) in cases {
        let dir = booming(kind, plugins);
        let program = Program::start(dir.path());
        let (mut client, _) = SmtpClient::connect(program.address).await;
        client.command("EHLO client.example").await;
        client.send(b"MAIL FROM:<a@client.example>\r\n").await;
        println!("{kind}, {} plugins", plugins.len());
        let line = program.log_until("smtpd: SIG");
        assert!(line.starts_with(&format!("smtpd: {signal} {named}")), "{kind}: {line}");
        assert_eq!(program.ended().signal(), Some(signal as i32), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_that_overflows_in_a_plugin_is_named_too() {
    let build = tempfile::tempdir().unwrap();
    let crasher = compile(CRASHER, "crasher", build.path());
    for (kind, named) in [
        ("deep", "in plugin crasher, function boom, "),
        // It has called the host before, which lent it a stack for the handler.
        ("thread deep", "in plugin crasher, on a thread of its own, "),
    ] {
        let dir = booming(kind, &[("crasher", &crasher)]);
        let program = Program::start(dir.path());
        let (mut client, _) = SmtpClient::connect(program.address).await;
        client.command("EHLO client.example").await;
        client.send(b"MAIL FROM:<a@client.example>\r\n").await;
        let line = program.log_until("smtpd: SIG");
        assert!(line.contains(&format!("SIGSEGV {named}")), "{kind}: {line}");
        // The handler of the language may say what it was, and abort.
        assert!(program.ended().signal().is_some(), "{kind}");
    }
}

/// In a library, Go ends a panic that nobody recovers with an abort.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_go_is_reported_by_its_runtime_and_named() {
    let build = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let include = root.join("include").display().to_string();
    std::fs::write(build.path().join("plugin.go"), PANICKER).unwrap();
    std::fs::write(build.path().join("go.mod"), "module panicker\n\ngo 1.19\n").unwrap();
    let made = std::process::Command::new("go")
        .args(["build", "-buildmode=c-shared", "-o", "crasher.so"])
        .current_dir(build.path())
        .env("CGO_CFLAGS", format!("-I{include}"))
        .env("CGO_LDFLAGS", "-Wl,--unresolved-symbols=ignore-all")
        .env("GOFLAGS", "-mod=mod -buildvcs=false")
        .output()
        .expect("go runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let dir = booming("any", &[("crasher", &build.path().join("crasher.so"))]);
    let program = Program::start(dir.path());
    let (mut client, _) = SmtpClient::connect(program.address).await;
    client.command("EHLO client.example").await;
    client.send(b"MAIL FROM:<a@client.example>\r\n").await;
    program.log_until("panic: on purpose");
    let line = program.log_until("smtpd: SIG");
    assert!(line.contains("SIGABRT in plugin crasher, function boom, "), "{line}");
    assert_eq!(program.ended().signal(), Some(Signal::SIGABRT as i32));
}

/// Panics in its function.
const PANICKER: &str = r#"
package main

/*
#include <HalonMTA.h>
#include <stdlib.h>
*/
import "C"

import "unsafe"

func main() {}

//export Halon_version
func Halon_version() C.int { return C.HALONMTA_PLUGIN_VERSION }

//export Halon_hsl_register
func Halon_hsl_register(registration *C.HalonHSLRegisterContext) C.bool {
	name := C.CString("boom")
	defer C.free(unsafe.Pointer(name))
	C.HalonMTA_hsl_module_register_function(registration, name, nil)
	return true
}

//export boom
func boom(context *C.HalonHSLContext, arguments *C.HalonHSLArguments, result *C.HalonHSLValue) {
	panic("on purpose")
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_plugin_crashed_is_there_after_the_restart() {
    for (fuse_name, function) in
        [("/fuse/of/deliver", "Halon_deliver"), ("/fuse/of/pickup", "Halon_queue_pickup_acquire2")]
    {
        let sink = SmtpSink::start().await;
        let build = tempfile::tempdir().unwrap();
        let fuse = build.path().join("fuse");
        std::fs::write(&fuse, "").unwrap();
        let source = CRASHER.replace(fuse_name, &fuse.display().to_string());
        let crasher = compile(&source, "crasher", build.path());
        let startup = format!("plugins:\n  - id: crasher\n    path: {}\n", crasher.display());
        // The plugin has the first attempt; what it refuses for now goes to the sink.
        let running = format!(
            "transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
             server: 127.0.0.1\n          port: {}\n        retry:\n          intervals:\n            - interval: 1\n\
             scripting:\n  hooks:\n    predelivery: |\n      \
             if ($arguments[\"retry\"] == 0) Try([\"plugin\" => [\"id\" => \"crasher\"]]);\n      Try();\n",
            sink.address.port()
        );
        let dir = configured(&startup, &running);
        let program = Program::start(dir.path());
        send(&program, "to@example.org").await;
        let line = program.log_until("smtpd: SIG");
        let named = format!("smtpd: SIGSEGV in plugin crasher, function {function}, thread ");
        assert!(line.starts_with(&named), "{line}");
        assert_eq!(program.ended().signal(), Some(Signal::SIGSEGV as i32));
        assert!(!fuse.exists() && sink.messages().is_empty());

        let program = Program::start(dir.path());
        let arrived = sink.wait_for(1).await.remove(0);
        assert_eq!(arrived.to, ["<to@example.org>"]);
        assert!(arrived.content.ends_with("Text\r\n"), "{}", arrived.content);
        drop(program);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_holds_its_thread_is_reported_once() {
    let sink = SmtpSink::start().await;
    let build = tempfile::tempdir().unwrap();
    let library = compile(DAWDLER, "dawdler", build.path());
    let startup = format!("plugins:\n  - id: dawdler\n    path: {}\n", library.display());
    let running = format!(
        "    phases:\n      rcptto:\n        hook: nap\n\
         transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
         server: 127.0.0.1\n          port: {}\n        retry:\n          intervals:\n            - interval: 1\n\
         scripting:\n  hooks:\n    rcptto:\n      - id: nap\n        data: |\n          \
         import {{ nap, doze }} from \"extras://dawdler\";\n          nap(); doze(); Accept();\n    predelivery: |\n      \
         if ($arguments[\"retry\"] == 0) Try([\"plugin\" => [\"id\" => \"dawdler\"]]);\n      Try();\n",
        sink.address.port()
    );
    let dir = configured(&startup, &running);
    let program = Program::start(dir.path());
    send(&program, "to@example.org").await;
    send(&program, "to@example.org").await;
    sink.wait_for(2).await;
    let functions =
        ["nap", "Halon_deliver", "Halon_queue_insert_callback", "Halon_queue_pickup_acquire2"];
    for function in functions {
        program.log_until(&format!("plugin.call_slow plugin=dawdler function={function} took_ms="));
    }
    let log = program.log();
    // One line for each function, however often it is called; none for the wait that was asked for.
    let lines: Vec<_> = log.lines().filter(|line| line.contains("plugin.call_slow")).collect();
    assert_eq!(lines.len(), functions.len(), "{lines:#?}");
    for line in lines {
        let took = line.split("took_ms=").nth(1).and_then(|rest| rest.split(' ').next());
        let took: u64 = took.and_then(|took| took.parse().ok()).unwrap_or_default();
        assert!(took >= 150, "{line}");
        assert!(line.contains(" calls=1 longest_ms="), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_never_comes_back_is_reported_while_it_hangs() {
    let build = tempfile::tempdir().unwrap();
    // Five hundred seconds instead of a fraction of one.
    let source = DAWDLER.replace("{0, 150 * 1000 * 1000}", "{500, 0}");
    let library = compile(&source, "dawdler", build.path());
    let startup = format!("plugins:\n  - id: dawdler\n    path: {}\n", library.display());
    let running = "transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
                   server: 127.0.0.1\n          port: 1\n";
    let dir = configured(&startup, running);
    let program = Program::start(dir.path());
    send(&program, "to@example.org").await;
    let line = program.log_until("plugin.call_hangs");
    let named = "plugin.call_hangs plugin=dawdler function=Halon_queue_insert_callback for_ms=";
    assert!(line.contains(named), "{line}");
}

/// Crashes in the ways that its argument names, and where a fuse is laid, once.
const CRASHER: &str = r#"
#define _POSIX_C_SOURCE 200809L
#include <HalonMTA.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int Halon_version() { return HALONMTA_PLUGIN_VERSION; }

static volatile int *volatile nowhere;
static volatile int zero;

static int deep(int level)
{
    volatile char room[4096];
    room[level % 4096] = (char)level;
    return level < 0 ? 0 : deep(level + 1) + room[level % 4096];
}

static void crash(const char *kind)
{
    if (strcmp(kind, "null") == 0)
        *nowhere = 1;
    if (strcmp(kind, "abort") == 0)
        abort();
    if (strcmp(kind, "divide") == 0)
        zero = (int)getpid() / zero;
    if (strcmp(kind, "illegal") == 0)
        __builtin_trap();
    if (strcmp(kind, "raise") == 0)
        raise(SIGSEGV);
    if (strcmp(kind, "deep") == 0)
        zero = deep(0);
}

static void *on_thread(void *kind)
{
    HalonMTA_hsl_value_type(NULL);
    crash(kind);
    return NULL;
}

static void boom(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
{
    char *kind = NULL;
    (void)context;
    (void)result;
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, 0), HALONMTA_HSL_TYPE_STRING, &kind, NULL);
    if (strncmp(kind, "thread ", 7) == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, on_thread, kind + 7);
        pthread_join(thread, NULL);
    }
    crash(kind);
}

bool Halon_hsl_register(HalonHSLRegisterContext *registration)
{
    return HalonMTA_hsl_module_register_function(registration, "boom", boom);
}

void Halon_deliver(HalonDeliverContext *context)
{
    short code = 450;
    if (unlink("/fuse/of/deliver") == 0)
        crash("null");
    HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_CODE, &code, 0);
    HalonMTA_deliver_done(context);
}

bool Halon_queue_pickup_acquire2(HalonQueueContext *context)
{
    (void)context;
    if (unlink("/fuse/of/pickup") == 0)
        crash("null");
    return true;
}
"#;

/// Holds the threads that it is called on; `doze` asks the host to wait, which holds nobody up.
const DAWDLER: &str = r#"
#define _POSIX_C_SOURCE 200809L
#include <HalonMTA.h>
#include <pthread.h>
#include <time.h>

int Halon_version() { return HALONMTA_PLUGIN_VERSION; }

static void hold(void)
{
    struct timespec time = {0, 150 * 1000 * 1000};
    while (nanosleep(&time, &time) != 0)
        ;
}

static void *wake(void *context)
{
    hold();
    HalonMTA_hsl_schedule(context);
    return NULL;
}

static void nap(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
{
    (void)context;
    (void)arguments;
    (void)result;
    hold();
}

static void doze(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
{
    pthread_t thread;
    (void)arguments;
    (void)result;
    pthread_create(&thread, NULL, wake, context);
    HalonMTA_hsl_suspend(context);
    pthread_join(thread, NULL);
}

bool Halon_hsl_register(HalonHSLRegisterContext *registration)
{
    return HalonMTA_hsl_module_register_function(registration, "nap", nap) &&
           HalonMTA_hsl_module_register_function(registration, "doze", doze);
}

void Halon_deliver(HalonDeliverContext *context)
{
    short code = 450;
    hold();
    HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_CODE, &code, 0);
    HalonMTA_deliver_done(context);
}

bool Halon_queue_pickup_acquire2(HalonQueueContext *context)
{
    (void)context;
    hold();
    return true;
}

bool Halon_queue_insert_callback(HalonQueueContext *context)
{
    (void)context;
    hold();
    return true;
}
"#;
