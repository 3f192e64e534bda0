//! One walk through the pages with a real browser: `tests/browser/smoke.mjs`, with Node and Chromium.
//!
//! Nothing is installed here. Without the two programs the test fails and says so, unless
//! `MTA_SKIP_BROWSER=1`. With `MTA_SCREENSHOTS=<directory>` it leaves a picture of every page there.

mod fake;

use std::{env, net::TcpListener, path::Path, process::Stdio, time::Duration};

use fake::FakeDaemon;
use mta_admin::{routes, server, state::App};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// A walk takes a few seconds; a busy machine needs more.
const DEADLINE: Duration = Duration::from_secs(120);

fn find(names: &[&str]) -> Option<String> {
    let path = env::var_os("PATH")?;
    let directories: Vec<_> = env::split_paths(&path).collect();
    let found = |name: &&&str| directories.iter().any(|directory| directory.join(name).is_file());
    names.iter().find(found).map(|name| (*name).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_log_in_and_delete_messages() {
    if env::var_os("MTA_SKIP_BROWSER").is_some_and(|value| value == "1") {
        return;
    }
    let node = find(&["node", "nodejs"]).expect("install nodejs, or set MTA_SKIP_BROWSER=1");
    let chromium = find(&["chromium", "chromium-browser", "google-chrome"])
        .expect("install chromium, or set MTA_SKIP_BROWSER=1");
    let daemon = FakeDaemon::holding(fake::messages(137));
    let settings = fake::settings(daemon.socket().to_str().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = routes::router(App::new(&settings), settings.listeners[0].max_size);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server::serve(listener, router, stop.clone()));
    let profile = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/smoke.mjs");
    let walk = Command::new(node)
        .arg(script)
        .args([chromium.as_str(), url.as_str(), fake::PASSWORD])
        .arg(profile.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, walk).await.expect("the walk ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(daemon.letters().contains('G'), "the daemon was asked to delete: {said}");
    stop.cancel();
    serving.await.unwrap().unwrap();
}
