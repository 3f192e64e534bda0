//! What the fuzz targets of peers that scripts ask do with their input: what a directory and a web
//! server answer.
//!
//! Plain functions, so that the corpus also runs as an ordinary test
//! (`crates/hsl-std/tests/fuzz_corpus.rs`). A broken promise panics.

use std::io::Cursor;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hsl::Program;
use hsl_std::Services;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::scripts;

/// The answers to a search end it, with its entries or with an error, and entries do not exceed the
/// memory that is allowed for them.
pub(crate) fn ldap_answers(input: &[u8]) {
    let stream = tokio::io::join(Cursor::new(input.to_vec()), tokio::io::sink());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let searched = runtime.expect("a runtime").block_on(async {
        let search = hsl_std::count_ldap_entries(Box::new(stream), MEMORY);
        tokio::time::timeout(Duration::from_secs(10), search)
            .await
            .expect("does not come to an end")
    });
    if let Ok(count) = searched {
        assert!(count <= MEMORY / 128, "{count} entries");
        assert!(count * 4 <= input.len(), "{count} entries of {} octets", input.len());
    }
}

/// Few, so that answers reach it.
const MEMORY: usize = 4096;

/// The answer of a web server becomes a result or none.
pub(crate) fn http_answers(input: &[u8]) {
    static PROGRAM: OnceLock<Arc<Program>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let text = "
            $result = http(\"http://fuzz.example/\", [
                \"unix_socket_path\" => $path, \"extended_result\" => true, \"response_headers\" => true,
                \"timeout\" => 2, \"max_file_size\" => 1000, \"redirects\" => 2,
            ]);
            if ($result !== none) {
                if ($result[\"status\"] < 100 or $result[\"status\"] > 999) throw \"http: a broken promise\";
                if (length($result[\"content\"]) > 1000) throw \"http: a broken promise: too long\";
            }";
        scripts::compile(&Services::default(), |_| {}, &["path"], text)
    });
    let folder = std::env::temp_dir();
    let path =
        folder.join(format!("fuzz-{}-{:?}", std::process::id(), std::thread::current().id()));
    // A run before this one may have left it.
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    listener.set_nonblocking(true).expect("an option");
    let answer = input.to_vec();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = UnixListener::from_std(listener).expect("a listener");
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = [0; 4096];
                // The client may be gone before it is answered, or send nothing: the end of this.
                if !matches!(stream.read(&mut request).await, Ok(1..)) {
                    return;
                }
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
    });
    scripts::run(program, vec![("path", path.to_string_lossy().as_bytes().into())], Vec::new());
    // A client that says nothing ends the server.
    drop(std::os::unix::net::UnixStream::connect(&path).expect("the server is there"));
    server.join().expect("the server ends");
    // Left over, it is removed by the next run.
    let _ = std::fs::remove_file(&path);
}
