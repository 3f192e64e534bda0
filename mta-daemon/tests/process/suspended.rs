//! Calls of plugins that wait: how they end with the connection, with the program, and when there are
//! many; and how plugins are found that are only scripts, or named twice.

use std::path::Path;
use std::time::{Duration, Instant};

use control::client::{Client, Endpoint, Timeouts};
use control::command::call;
use mta_daemon::{Daemon, Options};
use testkit::smtp_client::SmtpClient;

use crate::plugins::send;
use crate::support::{Program, command, compile, configured};

/// A daemon whose recipients wait in the plugin in the way that the domain of the sender names; the
/// reply holds what the plugin gave back.
fn waiting(build: &Path) -> tempfile::TempDir {
    let library = compile(WAITER, "waiter", build);
    let startup = format!("plugins:\n  - id: waiter\n    path: {}\n", library.display());
    let running = "    phases:\n      rcptto:\n        hook: wait\n\
         transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
         server: 127.0.0.1\n          port: 1\n        retry:\n          count: 3\n          intervals:\n            - interval: 1\n\
         scripting:\n  hooks:\n    rcptto:\n      - id: wait\n        data: |\n          \
         import { park, block, wake, waits } from \"extras://waiter\";\n          \
         $from = $transaction[\"senderaddress\"];\n          \
         switch ($from[\"domain\"]) {\n            \
         case \"park.example\": Accept([\"reason\" => \"parked \" . park($from[\"localpart\"])]);\n            \
         case \"block.example\": Accept([\"reason\" => \"blocked \" . block($from[\"localpart\"])]);\n            \
         case \"wake.example\": Accept([\"reason\" => \"woke \" . wake()]);\n            \
         case \"count.example\": Accept([\"reason\" => waits() . \" wait\"]);\n          }\n          Accept();\n    \
         predelivery: |\n      Try([\"plugin\" => [\"id\" => \"waiter\"]]);\n";
    configured(&startup, running)
}

/// A client that has said who sends.
async fn client(address: std::net::SocketAddr, from: &str) -> SmtpClient {
    let (mut client, _) = SmtpClient::connect(address).await;
    client.command("EHLO client.example").await;
    let reply = client.command(&format!("MAIL FROM:<{from}>")).await;
    assert!(reply.starts_with("250 "), "{reply}");
    client
}

const RCPT: &str = "RCPT TO:<to@example.org>";

/// One that waits in the plugin.
async fn waiter(address: std::net::SocketAddr, from: &str) -> SmtpClient {
    let mut client = client(address, from).await;
    client.send(format!("{RCPT}\r\n").as_bytes()).await;
    client
}

/// Returns when the plugin has so many calls and deliveries.
async fn until_waiting(address: std::net::SocketAddr, count: usize) {
    let mut asking = client(address, "x@count.example").await;
    let wanted = format!(" {count} wait");
    let mut reply = String::new();
    for _ in 0..500 {
        reply = asking.command(RCPT).await;
        if reply.ends_with(&wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{count} should wait: {reply}");
}

async fn in_process(dir: &Path) -> (Daemon, std::net::SocketAddr) {
    let daemon =
        Daemon::start(Options { config: dir.join("smtpd.yaml") }).await.expect("it starts");
    let address = daemon.addresses()[0].1;
    (daemon, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_while_its_script_waits_harms_nobody() {
    let build = tempfile::tempdir().unwrap();
    let dir = waiting(build.path());
    let program = Program::start(dir.path());
    let lost = waiter(program.address, "lost@park.example").await;
    let blocked = waiter(program.address, "lost@block.example").await;
    let mut stays = waiter(program.address, "stays@park.example").await;
    until_waiting(program.address, 3).await;
    drop((lost, blocked));
    // The plugin wakes all three, each twice.
    let mut waking = client(program.address, "x@wake.example").await;
    let reply = waking.command(RCPT).await;
    assert!(reply.contains("woke 3"), "{reply}");
    let reply = stays.reply().await;
    assert!(reply.contains("parked stays"), "{reply}");
    // And again, with records and handles that were used before.
    for round in 0..20 {
        let from = format!("round{round}");
        let mut next = waiter(program.address, &format!("{from}@park.example")).await;
        until_waiting(program.address, 1).await;
        waking.command(RCPT).await;
        let reply = next.reply().await;
        assert!(reply.contains(&format!("parked {from}")), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_waits_are_counted_and_hold_nobody_else_up() {
    let build = tempfile::tempdir().unwrap();
    let dir = waiting(build.path());
    let program = Program::start(dir.path());
    let mut blocked = Vec::new();
    for number in 0..255 {
        blocked.push(waiter(program.address, &format!("n{number}@block.example")).await);
    }
    until_waiting(program.address, 255).await;
    assert!(!program.log().contains("plugin.many_blocking_suspends"));
    blocked.push(waiter(program.address, "n255@block.example").await);
    let line = program.log_until("plugin.many_blocking_suspends");
    assert!(line.contains("count=256"), "{line}");
    // Other connections are served as ever.
    let begin = Instant::now();
    let reply = client(program.address, "a@client.example").await.command(RCPT).await;
    assert!(reply.starts_with("250 ") && begin.elapsed() < Duration::from_secs(2), "{reply}");
    let reply = client(program.address, "x@wake.example").await.command(RCPT).await;
    assert!(reply.contains("woke 256"), "{reply}");
    for (number, client) in blocked.iter_mut().enumerate() {
        let reply = client.reply().await;
        assert!(reply.contains(&format!("blocked n{number}")), "{reply}");
    }
}

/// What the control socket says of calls that wait inside C: how many do, and how many scripts wait to.
async fn blocking(dir: &Path) -> (u64, u64) {
    let socket = dir.join("smtpd.ctl");
    let call = move || {
        let client = Client::connect(&Endpoint::Unix(socket), Timeouts::default());
        client.unwrap().call(call::PROCESS_STATS, &()).unwrap()
    };
    let stats = tokio::task::spawn_blocking(call).await.unwrap();
    let text = control::stats::openmetrics(&stats);
    assert!(text.contains("# TYPE halon_plugins_blocking_pending gauge\n"), "{text}");
    let blocking = stats.plugins.unwrap().blocking.unwrap();
    assert_eq!(blocking.maxconcurrent, 512);
    (blocking.concurrent, blocking.pending)
}

/// 600 want to wait on threads, and 512 may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_waits_beyond_the_limit_wait_their_turn_and_hold_nobody_up() {
    let build = tempfile::tempdir().unwrap();
    let dir = waiting(build.path());
    let program = Program::start(dir.path());
    let mut blocked = std::collections::VecDeque::new();
    for number in 0..512 {
        blocked.push_back(waiter(program.address, &format!("n{number}@block.example")).await);
    }
    until_waiting(program.address, 512).await;
    assert!(!program.log().contains("plugin.blocking_suspends_full"));
    for number in 512..600 {
        blocked.push_back(waiter(program.address, &format!("n{number}@block.example")).await);
    }
    program.log_until("plugin.blocking_suspends_full");
    let until_pending = async |wanted: u64| {
        for _ in 0..1000 {
            let (concurrent, pending) = blocking(dir.path()).await;
            if pending == wanted {
                return concurrent;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{wanted} should be pending: {:?}", blocking(dir.path()).await);
    };
    assert_eq!(until_pending(88).await, 512);
    // The plugin itself knows of no more.
    until_waiting(program.address, 512).await;

    // Others are served as ever: with and without the plugin, up to the delivery out of the queue.
    let begin = Instant::now();
    let reply = client(program.address, "a@client.example").await.command(RCPT).await;
    assert!(reply.starts_with("250 "), "{reply}");
    send(&program, "to@example.org").await;
    until_waiting(program.address, 513).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());

    // The first 512 are woken, and the others take their places, in the order in which they came.
    let wake = async || client(program.address, "x@wake.example").await.command(RCPT).await;
    let reply = wake().await;
    assert!(reply.contains("woke 513"), "{reply}");
    for number in 0..512 {
        let reply = blocked.pop_front().unwrap().reply().await;
        assert!(reply.contains(&format!("blocked n{number}")), "{reply}");
    }
    assert_eq!(until_pending(0).await, 88);
    // By now the delivery may have been tried again.
    let reply = wake().await;
    assert!(reply.contains("woke 88") || reply.contains("woke 89"), "{reply}");
    for (number, client) in (512..600).zip(&mut blocked) {
        let reply = client.reply().await;
        assert!(reply.contains(&format!("blocked n{number}")), "{reply}");
    }
    assert_eq!(blocking(dir.path()).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_plugins_may_still_wake_what_waits() {
    let build = tempfile::tempdir().unwrap();
    let dir = waiting(build.path());
    std::fs::write(build.path().join("wake-early"), "").unwrap();
    let program = Program::start(dir.path());
    let mut parked = waiter(program.address, "p@park.example").await;
    let mut blocked = waiter(program.address, "b@block.example").await;
    send(&program, "to@example.org").await;
    until_waiting(program.address, 3).await;
    let id = nix::unistd::Pid::from_raw(program.id().cast_signed());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    for (client, text) in [(&mut parked, "parked p"), (&mut blocked, "blocked b")] {
        let reply = client.reply().await;
        assert!(reply.contains(text), "{reply}");
        // The transaction may go on to its end.
        assert!(client.command("RSET").await.starts_with("250 "));
        client.command("QUIT").await;
    }
    program.log_until("daemon.stopped");
    assert!(!program.log().contains("daemon.drain_timed_out"));
    assert_eq!(program.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_a_plugin_beyond_the_grace_time() {
    let build = tempfile::tempdir().unwrap();
    let dir = waiting(build.path());
    let (daemon, address) = in_process(dir.path()).await;
    let mut parked = waiter(address, "p@park.example").await;
    let mut blocked = waiter(address, "b@block.example").await;
    let mut sender = client(address, "a@client.example").await;
    assert!(sender.command(RCPT).await.starts_with("250 "));
    assert!(sender.command("DATA").await.starts_with("354 "));
    sender.send(b"Subject: kept\r\n\r\nText\r\n.\r\n").await;
    assert!(sender.reply().await.starts_with("250 "));
    until_waiting(address, 3).await;
    let begin = Instant::now();
    daemon.stop(Duration::from_millis(300)).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    // The plugin has woken all in its last call, twice, and also the delivery that nobody waited for.
    for (client, text) in [(&mut parked, "parked p"), (&mut blocked, "blocked b")] {
        let reply = client.reply().await;
        assert!(reply.contains(text), "{reply}");
    }
    // What was acknowledged is still there, and is tried again.
    let (daemon, address) = in_process(dir.path()).await;
    until_waiting(address, 1).await;
    let reply = client(address, "x@wake.example").await.command(RCPT).await;
    assert!(reply.contains("woke 1"), "{reply}");
    daemon.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_of_scripts_alone_needs_no_library_and_reads_its_configuration() {
    let running = "    phases:\n      rcptto:\n        hook: greet\n\
         transportgroups:\n  - id: group\n    transports:\n      - id: out\n\
         plugins:\n  - id: greet\n    config:\n      word: hello\n\
         scripting:\n  hooks:\n    rcptto:\n      - id: greet\n        data: |\n          \
         import { greet } from \"extras://greet\";\n          Accept([\"reason\" => greet(\"you\")]);\n";
    // Listed for its configuration: there is no library, and none is looked for.
    let startup = "plugins:\n  - id: greet\n    config:\n      end: \"!\"\n";
    let dir = configured(startup, running);
    let folder = dir.path().join("plugins/hsl/greet");
    std::fs::create_dir_all(&folder).unwrap();
    let main = "import { name } from \"./name.hsl\";\n\
                import $running from \"plugin-config://smtpd-app.yaml\";\n\
                import $startup from \"plugin-config://smtpd.yaml\";\n\
                function greet($to) {\n  global $running, $startup;\n  \
                return $running[\"word\"] . \" \" . name($to) . $startup[\"end\"];\n}\n";
    std::fs::write(folder.join("main.hsl"), main).unwrap();
    let name = "function name($to) { return \"<\" . $to . \">\"; }\n";
    std::fs::write(folder.join("name.hsl"), name).unwrap();
    let program = Program::start(dir.path());
    let reply = client(program.address, "a@client.example").await.command(RCPT).await;
    assert!(reply.contains("hello <you>!"), "{reply}");

    // A reload reads the scripts again; one that does not compile changes nothing.
    let reload = || {
        let id = nix::unistd::Pid::from_raw(program.id().cast_signed());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGHUP).unwrap();
    };
    std::fs::write(folder.join("name.hsl"), "function name($to) {").unwrap();
    reload();
    let line = program.log_until("config.reload_failed");
    assert!(line.contains("name.hsl"), "{line}");
    let reply = client(program.address, "a@client.example").await.command(RCPT).await;
    assert!(reply.contains("hello <you>!"), "{reply}");
    std::fs::write(folder.join("name.hsl"), name.replace('<', "{")).unwrap();
    reload();
    program.log_until("config.reloaded");
    let reply = client(program.address, "a@client.example").await.command(RCPT).await;
    assert!(reply.contains("hello {you>!"), "{reply}");
}

#[test]
fn a_plugin_is_loaded_once_however_it_is_found_and_refused_when_it_is_listed_twice() {
    let build = tempfile::tempdir().unwrap();
    let library = compile(WAITER, "waiter", build.path());
    let entry = "  - id: waiter\n";
    let transport = "transportgroups:\n  - id: group\n    transports:\n      - id: out\n";
    let install = |dir: &Path| {
        let autoload = dir.join("plugins/autoload/smtpd");
        std::fs::create_dir_all(&autoload).unwrap();
        std::fs::copy(&library, dir.join("plugins/waiter.so")).unwrap();
        std::os::unix::fs::symlink("../../waiter.so", autoload.join("waiter.so")).unwrap();
    };
    let dir = configured(&format!("plugins:\n{entry}"), transport);
    install(dir.path());
    let program = Program::start(dir.path());
    assert_eq!(
        program.log().matches("plugin.loaded plugin=waiter").count(),
        1,
        "{}",
        program.log()
    );
    drop(program);

    let dir = configured(&format!("plugins:\n{entry}{entry}"), transport);
    install(dir.path());
    let output = command(dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("waiter"), "{text}");
    assert!(text.contains("plugins[1].id: there is another plugin `waiter`"), "{text}");
}

/// Keeps calls and deliveries until it is told to wake them, or until its end: the first of its last
/// calls where a file `wake-early` lies beside it, the very last where not.
const WAITER: &str = r#"
#define _GNU_SOURCE
#include <HalonMTA.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARAMETERS HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result

struct kept {
    HalonHSLContext *context;
    HalonHSLArguments *arguments;
    HalonHSLValue *result;
    HalonDeliverContext *delivery;
    struct kept *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *all;
static double count;

int Halon_version() { return HALONMTA_PLUGIN_VERSION; }

static void keep(struct kept one)
{
    struct kept *new = malloc(sizeof *new);
    pthread_mutex_lock(&lock);
    *new = one;
    new->next = all;
    all = new;
    ++count;
    pthread_mutex_unlock(&lock);
}

static void give_back(HalonHSLArguments *arguments, HalonHSLValue *result)
{
    char *text = NULL;
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, 0), HALONMTA_HSL_TYPE_STRING, &text, NULL);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_STRING, text, 0);
}

static double wake_all(void)
{
    short code = 451;
    double woken;
    pthread_mutex_lock(&lock);
    woken = count;
    while (all != NULL) {
        struct kept *one = all;
        all = one->next;
        if (one->delivery != NULL) {
            HalonMTA_deliver_setinfo(one->delivery, HALONMTA_RESULT_CODE, &code, 0);
            HalonMTA_deliver_done(one->delivery);
            HalonMTA_deliver_done(one->delivery);
        } else {
            if (one->result != NULL)
                give_back(one->arguments, one->result);
            HalonMTA_hsl_schedule(one->context);
            HalonMTA_hsl_schedule(one->context);
        }
        free(one);
    }
    count = 0;
    pthread_mutex_unlock(&lock);
    return woken;
}

static void park(PARAMETERS)
{
    HalonMTA_hsl_suspend_return(context);
    keep((struct kept){context, arguments, result, NULL, NULL});
}

static void block(PARAMETERS)
{
    keep((struct kept){context, arguments, NULL, NULL, NULL});
    HalonMTA_hsl_suspend(context);
    give_back(arguments, result);
}

static void wake(PARAMETERS)
{
    double woken = wake_all();
    (void)context, (void)arguments;
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &woken, 0);
}

static void waits(PARAMETERS)
{
    double now;
    (void)context, (void)arguments;
    pthread_mutex_lock(&lock);
    now = count;
    pthread_mutex_unlock(&lock);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &now, 0);
}

void Halon_deliver(HalonDeliverContext *context)
{
    keep((struct kept){NULL, NULL, NULL, context, NULL});
}

void Halon_early_cleanup(void)
{
    Dl_info info;
    char path[4096];
    dladdr((void *)&lock, &info);
    snprintf(path, sizeof path, "%s", info.dli_fname);
    strcpy(strrchr(path, '/'), "/wake-early");
    if (access(path, F_OK) == 0)
        wake_all();
}

void Halon_cleanup(void) { wake_all(); }

bool Halon_hsl_register(HalonHSLRegisterContext *registration)
{
    return HalonMTA_hsl_module_register_function(registration, "park", park) &&
           HalonMTA_hsl_module_register_function(registration, "block", block) &&
           HalonMTA_hsl_module_register_function(registration, "wake", wake) &&
           HalonMTA_hsl_module_register_function(registration, "waits", waits);
}
"#;
