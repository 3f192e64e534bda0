//! Certificates judged by TLSA records.

use std::io;

use ring::digest::{SHA256, SHA512, digest};
use testkit::certs::{TestCertificate, certificate};
use tls_policy::{
    ClientOptions, ClientTls, Identity, Report, ServerOptions, ServerTls, TlsaRecord, Verification,
    Versions,
};
use tokio::net::{TcpListener, TcpStream};

/// A handshake with a server that sends its leaf, and its root too when told so.
async fn handshake(pair: &TestCertificate, sends_root: bool, dane: Verification) -> io::Result<()> {
    let mut chain = pair.cert_pem.clone();
    if sends_root {
        chain.push_str(&pair.root_pem);
    }
    let identity = Identity::from_pem(chain.as_bytes(), pair.key_pem.as_bytes()).unwrap();
    let server = ServerTls::new(ServerOptions {
        identity,
        names: Vec::new(),
        versions: Versions::default(),
    });
    let client = ClientTls::new(ClientOptions {
        versions: Versions::default(),
        verification: dane,
        identity: None,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let accept = async {
        let (stream, _) = listener.accept().await?;
        server.accept(stream.into()).await
    };
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        client.connect(stream.into(), Some("mx.example")).await
    };
    let (_, connected) = tokio::join!(accept, connect);
    connected.map(drop)
}

fn record(usage: u8, selector: u8, matching: u8, octets: &[u8]) -> TlsaRecord {
    let data = match matching {
        0 => octets.to_vec(),
        1 => digest(&SHA256, octets).as_ref().to_vec(),
        _ => digest(&SHA512, octets).as_ref().to_vec(),
    };
    TlsaRecord { usage, selector, matching, data }
}

fn dane(records: Vec<TlsaRecord>) -> Verification {
    Verification::Dane { records, names: vec!["mx.example".to_owned()] }
}

#[tokio::test]
async fn a_leaf_is_known_by_itself_or_its_key_whatever_its_name() {
    let pair = certificate(&["another.name.example"]);
    for matching in 0..=2 {
        let by_certificate = record(3, 0, matching, &pair.cert_der);
        handshake(&pair, false, dane(vec![by_certificate])).await.unwrap();
        let by_key = record(3, 1, matching, &pair.cert_spki);
        handshake(&pair, false, dane(vec![by_key])).await.unwrap();
    }
}

#[tokio::test]
async fn one_right_record_is_enough_and_a_wrong_one_is_not() {
    let (pair, stranger) = (certificate(&["mx.example"]), certificate(&["mx.example"]));
    let right = record(3, 1, 1, &pair.cert_spki);
    let wrong = record(3, 1, 1, &stranger.cert_spki);
    handshake(&pair, true, dane(vec![wrong.clone(), right])).await.unwrap();
    let error = handshake(&pair, true, dane(vec![wrong])).await.unwrap_err();
    assert_eq!(Report::of(&error), Report::ValidationFailure);
    let error = handshake(&pair, true, dane(Vec::new())).await.unwrap_err();
    assert_eq!(Report::of(&error), Report::ValidationFailure);
}

#[tokio::test]
async fn a_trust_anchor_signs_for_the_name_that_is_wanted_only() {
    let pair = certificate(&["mx.example"]);
    for (selector, octets) in [(0, &pair.root_der), (1, &pair.root_spki)] {
        for matching in 0..=2 {
            let anchor = record(2, selector, matching, octets);
            handshake(&pair, true, dane(vec![anchor])).await.unwrap();
        }
    }
    let misnamed = certificate(&["another.name.example"]);
    let anchor = record(2, 0, 1, &misnamed.root_der);
    let error = handshake(&misnamed, true, dane(vec![anchor])).await.unwrap_err();
    assert_eq!(Report::of(&error), Report::CertificateHostMismatch);
}

#[tokio::test]
async fn an_anchor_that_is_not_sent_must_stand_whole_in_the_record() {
    let pair = certificate(&["mx.example"]);
    handshake(&pair, false, dane(vec![record(2, 0, 0, &pair.root_der)])).await.unwrap();
    let error = handshake(&pair, false, dane(vec![record(2, 0, 1, &pair.root_der)])).await;
    assert!(error.is_err(), "a digest of what was not sent");
}

#[tokio::test]
async fn a_leaf_is_no_trust_anchor() {
    let pair = certificate(&["mx.example"]);
    let error = handshake(&pair, true, dane(vec![record(2, 0, 1, &pair.cert_der)])).await;
    assert!(error.is_err());
}
