//! Handshakes between both sides on loopback: names, verification, versions.

use std::io;

use testkit::certs::{TestCertificate, certificate};
use tls_policy::{
    ClientOptions, ClientTls, Identity, RootStore, ServerOptions, ServerTls, Session, SniName,
    Verification, Versions,
};
use tokio::net::{TcpListener, TcpStream};

fn identity(pair: &TestCertificate) -> Identity {
    Identity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap()
}

fn authority(pair: &TestCertificate, names: &[&str]) -> Verification {
    let mut roots = RootStore::new();
    roots.add_pem(pair.root_pem.as_bytes());
    Verification::Authority { roots, names: names.iter().map(|n| (*n).to_owned()).collect() }
}

async fn handshake(
    server: ServerOptions,
    client: ClientOptions,
    name: Option<&str>,
) -> io::Result<(Session, Session)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = ServerTls::new(server);
    let accept = async {
        let (stream, _) = listener.accept().await?;
        server.accept(stream.into()).await
    };
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        ClientTls::new(client).connect(stream.into(), name).await
    };
    let (accepted, connected) = tokio::join!(accept, connect);
    Ok((accepted?.1, connected?.1))
}

fn options(pair: &TestCertificate) -> ServerOptions {
    ServerOptions { identity: identity(pair), names: Vec::new(), versions: Versions::default() }
}

fn client(verification: Verification) -> ClientOptions {
    ClientOptions { versions: Versions::default(), verification, identity: None }
}

#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let pair = certificate(&["other.example"]);
    let (server, client) =
        handshake(options(&pair), client(Verification::None), Some("mx.example")).await.unwrap();
    assert_eq!(server.sni.as_deref(), Some("mx.example"));
    assert_eq!(client.protocol, "TLSv1.3");
    assert!(
        client.cipher.starts_with("TLS_AES_") || client.cipher.contains("CHACHA"),
        "{client:?}"
    );
    assert_eq!(client.peer_certificates.len(), 1);
}

#[tokio::test]
async fn verification_wants_the_right_root_and_name() {
    let pair = certificate(&["mx.example"]);
    let stranger = certificate(&["mx.example"]);
    let try_with = async |verification| handshake(options(&pair), client(verification), None).await;
    assert!(try_with(authority(&pair, &["mx.example"])).await.is_ok());
    assert!(try_with(authority(&pair, &["a.example", "mx.example"])).await.is_ok());
    assert!(try_with(authority(&pair, &[])).await.is_ok(), "any name of a good chain");
    assert!(try_with(authority(&pair, &["a.example"])).await.is_err());
    assert!(try_with(authority(&stranger, &["mx.example"])).await.is_err());
    assert!(try_with(authority(&stranger, &[])).await.is_err(), "any name, but a bad chain");
    let nobody = Verification::Authority { roots: RootStore::new(), names: Vec::new() };
    assert!(try_with(nobody).await.is_err(), "nobody is trusted");
}

#[tokio::test]
async fn the_name_asked_for_chooses_the_certificate() {
    let default = certificate(&["default.example"]);
    let special = certificate(&["mx.special.example"]);
    let names = vec![SniName { name: "*.special.example".into(), identity: identity(&special) }];
    let server = || ServerOptions { names: names.clone(), ..options(&default) };
    let wants = |pair: &TestCertificate, name: &str| client(authority(pair, &[name]));
    let special_client = wants(&special, "mx.special.example");
    assert!(handshake(server(), special_client, Some("MX.special.example")).await.is_ok());
    let default_client = wants(&default, "default.example");
    assert!(handshake(server(), default_client, Some("elsewhere.example")).await.is_ok());
}

#[tokio::test]
async fn versions_are_kept() {
    let pair = certificate(&["a"]);
    let old = Versions { tls12: true, tls13: false };
    let new = Versions { tls12: false, tls13: true };
    let server = ServerOptions { versions: old, ..options(&pair) };
    let only_old = ClientOptions { versions: old, ..client(Verification::None) };
    let session = handshake(server.clone(), only_old, None).await.unwrap().1;
    assert_eq!(session.protocol, "TLSv1.2");
    let only_new = ClientOptions { versions: new, ..client(Verification::None) };
    assert!(handshake(server, only_new, None).await.is_err());
}
