//! Whatever a peer sends, nobody panics.

use proptest::prelude::*;

use crate::targets;

/// Octets that look like a conversation often enough to get somewhere.
fn client_side() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"EHLO x\r\n",
        b"HELO x\r\n",
        b"LHLO x\r\n",
        b"MAIL FROM:<a@b>\r\n",
        b"MAIL FROM:<> SIZE=9",
        b"RCPT TO:<a@b>\r\n",
        b"RCPT TO:",
        b"DATA\r\n",
        b"BDAT 5 LAST\r\n",
        b"BDAT 2\r\n",
        b"BDAT x\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"\r",
        b"\n",
        b"\0",
        b".",
        b"text",
        b"RSET\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH LOGIN dXNlcg==\r\n",
        b"AUTH X-RAW =\r\n",
        b"AHVzZXIAcGFzcw==\r\n",
        b"*\r\n",
        b"STARTTLS\r\n",
        b"NOOP\r\n",
        b"VRFY\r\n",
        b"QUIT\r\n",
        b"\xff\xfe",
        b" SMTPUTF8\r\n",
        b"Received: x\r\n",
    ];
    let word = prop_oneof![
        8 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    (any::<u8>(), prop::collection::vec(word, 0..40))
        .prop_map(|(choice, words)| [vec![choice], words.concat()].concat())
}

fn server_side() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"220 x\r\n",
        b"250 x\r\n",
        b"250 x\r\n",
        b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
        b"250-x\r\n250-SIZE 5\r\n250 AUTH PLAIN\r\n",
        b"250-x\r\n250 STARTTLS\r\n",
        b"354 go\r\n",
        b"334 YQ==\r\n",
        b"334 !\r\n",
        b"235 ok\r\n",
        b"421 bye\r\n",
        b"450 4.1.1 x\r\n",
        b"550 5.1.1 x\r\n",
        b"250-\r\n251 \r\n",
        b"2",
        b"250",
        b"\r\n",
        b"\n",
        b"999 x\r\n",
    ];
    let word = prop_oneof![
        12 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    (any::<u8>(), prop::collection::vec(word, 0..30))
        .prop_map(|(choice, words)| [vec![choice], words.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_hostile_client_never_panics_the_server(bytes in client_side()) {
        targets::server(&bytes);
    }

    #[test]
    fn a_hostile_server_never_panics_the_client(bytes in server_side()) {
        targets::client(&bytes);
    }

    #[test]
    fn noise_never_panics(bytes: Vec<u8>) {
        targets::server(&bytes);
        targets::client(&bytes);
        targets::data(&bytes);
    }
}
