//! An object storage that checks AWS Signature Version 4 by computing it anew from what arrived.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The server; what it stores is by path.
pub(crate) struct ObjectStorage {
    pub(crate) address: SocketAddr,
    pub(crate) objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl ObjectStorage {
    /// Starts a storage that knows one key. Objects below `/broken/` make it fail with 503.
    pub(crate) async fn start(keyid: &'static str, secret: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let objects = Arc::new(Mutex::new(BTreeMap::new()));
        let kept = Arc::clone(&objects);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, keyid, secret, Arc::clone(&kept)));
            }
        });
        Self { address, objects }
    }
}

async fn serve(
    stream: TcpStream,
    keyid: &str,
    secret: &str,
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.read_line(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) <= 2 {
                break;
            }
            let (name, value) = line.split_once(':').expect("a header");
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap().to_owned());
        let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("the whole body");
        let answer = if !is_signed(method, &path, &headers, keyid, secret) {
            "403 Forbidden\r\nContent-Length: 21\r\n\r\nSignatureDoesNotMatch"
        } else if path.starts_with("/broken/") {
            "503 Slow Down\r\nContent-Length: 0\r\n\r\n"
        } else {
            objects.lock().unwrap().insert(path, body);
            "200 OK\r\nContent-Length: 0\r\n\r\n"
        };
        if stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Computes the signature of a request, and compares.
fn is_signed(
    method: &str,
    path: &str,
    headers: &BTreeMap<String, String>,
    keyid: &str,
    secret: &str,
) -> bool {
    let authorization = headers.get("authorization").map_or("", String::as_str);
    let part = |name: &str| {
        let rest = authorization.split_once(&format!("{name}="))?.1;
        Some(rest.split(',').next().unwrap_or_default().trim())
    };
    let (Some(credential), Some(signed), Some(signature)) =
        (part("Credential"), part("SignedHeaders"), part("Signature"))
    else {
        return false;
    };
    let Some((key, scope)) = credential.split_once('/') else { return false };
    let must = ["host", "x-amz-date", "x-amz-content-sha256"];
    if key != keyid || must.iter().any(|name| !signed.split(';').any(|other| other == *name)) {
        return false;
    }
    let value = |name: &str| headers.get(name).map_or("", String::as_str);
    let canonical: String =
        signed.split(';').map(|name| format!("{name}:{}\n", value(name))).collect();
    let hash = value("x-amz-content-sha256");
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let canonical = format!("{method}\n{path}\n{query}\n{canonical}\n{signed}\n{hash}");
    let canonical = hex(&openssl::sha::sha256(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{canonical}", value("x-amz-date"));
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in scope.split('/') {
        key = hmac(&key, step.as_bytes());
    }
    hex(&hmac(&key, text.as_bytes())) == signature
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.sign_oneshot_to_vec(text).unwrap()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The example of the specification: GET of the list of users, 2015-08-30.
#[test]
fn the_signature_is_that_of_the_specification() {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in ["20150830", "us-east-1", "iam", "aws4_request"] {
        key = hmac(&key, step.as_bytes());
    }
    let text = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
    assert_eq!(
        hex(&hmac(&key, text.as_bytes())),
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}
