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

/// A search filter becomes one element of BER whose parts are whole, or is refused; whatever is
/// escaped as a value may stand in one, and is found there as it was.
pub(crate) fn ldap_filter(input: &[u8]) {
    if let Some(octets) = hsl_std::ldap_filter(input) {
        let mut rest = octets.as_slice();
        choice(&mut rest, 0);
        assert!(rest.is_empty(), "octets behind the filter");
    }
    let escaped = hsl_std::ldap_filter_escape(input);
    let octets = hsl_std::ldap_filter(&[b"(!(cn=", escaped.as_slice(), b"))"].concat());
    let octets = octets.expect("an escaped value cannot break a filter");
    let mut rest = octets.as_slice();
    let (tag, mut not) = element(&mut rest);
    let (kind, mut pair) = element(&mut not);
    assert_eq!((tag, kind), (0xa2, 0xa3), "an escaped value changes what is asked");
    let (name, value) = (element(&mut pair), element(&mut pair));
    assert_eq!((name, value), ((0x04, &b"cn"[..]), (0x04, input)));
}

/// Takes a filter off, RFC 4511 §4.5.1.7.
fn choice(rest: &mut &[u8], depth: usize) {
    assert!(depth <= 65, "deeper than servers read");
    let (tag, mut content) = element(rest);
    let content = &mut content;
    match tag {
        0xa0 | 0xa1 => {
            while !content.is_empty() {
                choice(content, depth + 1);
            }
        }
        0xa2 => choice(content, depth + 1),
        0xa3 | 0xa5 | 0xa6 | 0xa8 => assert_eq!([element(content).0, element(content).0], [4, 4]),
        0xa4 => {
            assert_eq!(element(content).0, 4);
            let (kind, mut parts) = element(content);
            assert!(kind == 0x30 && !parts.is_empty(), "no substrings");
            let mut last = 0x7f;
            while !parts.is_empty() {
                let (part, _) = element(&mut parts);
                // The first and the last are there once each.
                assert!(part > last || (part, last) == (0x81, 0x81), "{part:#x} after {last:#x}");
                assert!(part <= 0x82, "{part:#x}");
                last = part;
            }
        }
        0x87 => {
            assert!(!content.is_empty(), "an attribute without a name");
            *content = &[];
        }
        0xa9 => {
            let mut seen = Vec::new();
            while !content.is_empty() {
                seen.push(element(content).0);
            }
            assert!(seen.is_sorted() && seen.contains(&0x83), "{seen:x?}");
            assert!(seen.contains(&0x81) || seen.contains(&0x82), "{seen:x?}");
        }
        other => panic!("{other:#x} is no filter"),
    }
    assert!(content.is_empty(), "octets behind a part");
}

/// Takes an element off: its tag and its content.
fn element<'a>(rest: &mut &'a [u8]) -> (u8, &'a [u8]) {
    let (tag, first) = (rest[0], usize::from(rest[1]));
    let count = first.saturating_sub(0x80);
    let length = match first {
        0x80.. => rest[2..2 + count].iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)),
        short => short,
    };
    let (content, after) = rest[2 + count..].split_at(length);
    *rest = after;
    (tag, content)
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
