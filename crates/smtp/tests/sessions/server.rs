//! The receiving side, dialogue by dialogue.

use std::sync::Arc;

use proptest::prelude::*;
use smtp::extensions::Extensions;
use smtp::server::{
    CloseReason, Config, Event, Limits, LineEndings, Protocol, Security, Session, State, Timer,
    Verdict,
};

use crate::drive::{Server, config, play};

const EHLO: &str = "
    S: 220 mx.example
    C: EHLO client.example
    S: 250-mx.example
    S: 250-PIPELINING
    S: 250-SIZE
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-CHUNKING
    S: 250-STARTTLS
    S: 250-AUTH LOGIN PLAIN X-STEPS
    S: 250 ENHANCEDSTATUSCODES
    E: hello EHLO client.example
";

fn after_ehlo(dialogue: &str) -> Server {
    play(config(), &format!("{EHLO}{dialogue}"))
}

#[test]
fn takes_a_message() {
    let server = after_ehlo(
        "C: MAIL FROM:<Alice@Example.com> SIZE=10 BODY=8BITMIME
         S: 250 2.1.0 Sender OK
         E: mail <Alice@Example.com> SIZE=10 BODY=8BITMIME
         C: RCPT TO:<bob@example.org>
         S: 250 2.1.5 Recipient OK
         E: rcpt <bob@example.org>
         C: DATA
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         E: data
         C: Received: a
         C: received: b
         C: Subject: hi
         C:
         C: ..stuffed
         C: Received: not a header
         C: .
         S: 250 2.0.0 Message accepted
         E: end 75 received 2
         C: QUIT
         S: 221 2.0.0 Bye
         E: closing Quit",
    );
    assert!(server.body.ends_with(b"\r\n\r\n.stuffed\r\nReceived: not a header\r\n"));
    assert_eq!(server.session.timer(), Timer::Closing);
}

#[test]
fn answers_a_pipelined_batch_in_one_go() {
    after_ehlo(
        "C: MAIL FROM:<>
         C: RCPT TO:<reject@example.org>
         C: RCPT TO:<defer@example.org>
         C: RCPT TO:<Postmaster>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 554 5.7.1 Recipient refused
         S: 450 4.7.1 Recipient deferred, try again later
         S: 250 2.1.5 Recipient OK
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         E: mail <>
         E: rcpt <reject@example.org>
         E: rcpt <defer@example.org>
         E: rcpt <Postmaster>
         E: data
         C: reject this
         C: .
         C: RSET
         C: NOOP
         S: 550 5.7.1 Message refused
         S: 250 2.0.0 OK
         S: 250 2.0.0 OK
         E: end 13 received 0
         E: rset",
    );
}

#[test]
fn refuses_what_is_out_of_order() {
    play(
        config(),
        "S: 220 mx.example
         C: MAIL FROM:<a@b>
         S: 503 5.5.1 Greet first
         C: NOOP
         S: 250 2.0.0 OK
         C: HELO client.example
         S: 250 mx.example
         C: RCPT TO:<a@b>
         S: 503 5.5.1 Bad sequence of commands
         C: MAIL FROM:<a@b> SIZE=1
         S: 555 5.5.4 Parameter not recognized or not on offer
         C: STARTTLS
         S: 502 5.5.1 Command not available
         C: AUTH PLAIN AGEAYg==
         S: 502 5.5.1 Command not available
         C: MAIL FROM:<a@b>
         S: 250 2.1.0 Sender OK
         C: MAIL FROM:<a@b>
         S: 503 5.5.1 Bad sequence of commands
         C: DATA
         S: 503 5.5.1 Bad sequence of commands
         C: RCPT TO:<reject@b>
         C: DATA
         S: 554 5.7.1 Recipient refused
         S: 554 5.5.1 No valid recipients
         C: FOO
         S: 500 5.5.1 Command not recognized
         C: EXPN x
         S: 502 5.5.1 Command not available
         C: VRFY x
         S: 252 2.0.0 Cannot verify, but will try delivery
         C: HELP
         S: 214 2.0.0 See RFC 5321
         C: LHLO x
         S: 500 5.5.1 Command not recognized
         C: HELO
         S: 501 5.5.4 Syntax error in arguments",
    );
}

#[test]
fn refuses_malformed_arguments() {
    after_ehlo(
        "E: nothing
         C: MAIL <a@b>
         S: 501 5.5.4 Syntax error in arguments
         C: MAIL FROM:<a b@c>
         S: 501 5.1.7 Bad sender address syntax
         C: MAIL FROM:<a@b> SIZE=x
         S: 501 5.5.4 Syntax error in arguments
         C: MAIL FROM:<a@b> SIZE=1 size=2
         S: 501 5.5.4 Syntax error in arguments
         C: MAIL FROM:<a@b> BODY=BINARYMIME
         S: 501 5.5.4 Syntax error in arguments
         C: MAIL FROM:<a@b> RET=FULL
         S: 555 5.5.4 Parameter not recognized or not on offer
         C: MAIL FROM:<ä@b>
         S: 553 5.6.7 Address needs SMTPUTF8
         C: MAIL FROM:<@x.example,@y.example:\"a b\"@[127.0.0.1]>
         S: 250 2.1.0 Sender OK
         E: mail <\"a b\"@[127.0.0.1]>
         C: RCPT TO:<>
         S: 501 5.1.3 Bad recipient address syntax
         C: RCPT TO:<ä@b>
         S: 553 5.6.7 Address needs SMTPUTF8
         C: RCPT TO:<a@b> NOTIFY=NEVER
         S: 555 5.5.4 Parameter not recognized or not on offer
         C: RSET
         C: MAIL FROM:<ä@b> SMTPUTF8
         C: RCPT TO:<ö@ü.example>
         S: 250 2.0.0 OK
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK",
    );
}

#[test]
fn understands_an_extension_that_a_script_adds() {
    play(
        config(),
        "C: EHLO dsn.example
         S: 220 mx.example
         S: 250-mx.example
         S: 250-PIPELINING
         S: 250-SIZE
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-CHUNKING
         S: 250-STARTTLS
         S: 250-AUTH LOGIN PLAIN X-STEPS
         S: 250-ENHANCEDSTATUSCODES
         S: 250 DSN
         C: MAIL FROM:<a@b> RET=HDRS ENVID=QQ314159
         C: RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b
         C: RCPT TO:<a@b> NOTIFY=NEVER,DELAY
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 501 5.5.4 Syntax error in arguments
         E: hello EHLO dsn.example
         E: mail <a@b> RET=HDRS ENVID=QQ314159
         E: rcpt <a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b",
    );
}

#[test]
fn leads_login_and_plain_to_their_end() {
    for (lines, event) in [
        ("C: AUTH PLAIN AHVzZXIAcGFzcw==", "auth PLAIN [] [user] [pass]"),
        ("C: AUTH plain\nS: 334 \nC: enoAdXNlcgBwYXNz", "auth PLAIN [zz] [user] [pass]"),
        (
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: cGFzcw==",
            "auth LOGIN [] [user] [pass]",
        ),
        ("C: AUTH LOGIN dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: cGFzcw==", "auth LOGIN [] [user] [pass]"),
    ] {
        let server = after_ehlo(&format!(
            "{lines}
             S: 235 2.7.0 Authentication successful
             E: {event}
             C: AUTH PLAIN AHVzZXIAcGFzcw==
             S: 503 5.5.1 Bad sequence of commands"
        ));
        assert!(server.session.is_authenticated());
    }
}

#[test]
fn hands_other_mechanisms_on_step_by_step() {
    after_ehlo(
        "C: AUTH X-STEPS
         S: 334 c3RlcDA=
         C: YQ==
         S: 334 c3RlcDE=
         C:
         S: 235 2.7.0 Authentication successful
         E: auth X-STEPS 0 None
         E: auth X-STEPS 1 Some(\"a\")
         E: auth X-STEPS 2 Some(\"\")",
    );
    after_ehlo(
        "C: AUTH X-STEPS =
         S: 334 c3RlcDA=
         E: auth X-STEPS 0 Some(\"\")
         C: *
         S: 501 5.7.0 Authentication cancelled
         C: NOOP
         S: 250 2.0.0 OK",
    );
    let server = after_ehlo(
        "C: AUTH X-STEPS Ynll
         C: NOOP
         S: 334 c3RlcDA=
         E: auth X-STEPS 0 Some(\"bye\")",
    );
    assert_eq!(server.closed, Some(CloseReason::Verdict));
}

#[test]
fn refuses_bad_logins() {
    let server = after_ehlo(
        "C: AUTH PLAIN AHJlamVjdABwYXNz
         S: 535 5.7.8 Authentication failed
         C: AUTH PLAIN AGRlZmVyAHBhc3M=
         S: 454 4.7.0 Temporary authentication failure
         C: AUTH PLAIN !
         S: 501 5.5.2 Malformed authentication data
         C: AUTH PLAIN dXNlcg==
         S: 501 5.5.2 Malformed authentication data
         C: AUTH CRAM-MD5
         S: 504 5.5.4 Authentication mechanism not supported
         C: AUTH
         S: 501 5.5.4 Syntax error in arguments
         C: MAIL FROM:<a@b>
         S: 250 2.1.0 Sender OK
         C: AUTH PLAIN AHVzZXIAcGFzcw==
         S: 503 5.5.1 Bad sequence of commands",
    );
    assert!(!server.session.is_authenticated());
}

#[test]
fn forgets_clear_text_behind_starttls() {
    let mut server = after_ehlo(
        "C: STARTTLS
         C: RSET
         C: MAIL FROM:<injected@evil.example>
         C:| RCPT TO:<x@y>
         S: 220 2.0.0 Ready to start TLS
         E: starttls",
    );
    assert_eq!(server.session.state(), State::Tls);
    assert_eq!(server.session.timer(), Timer::TlsHandshake);
    server.session.tls_established();
    server.feed(b"\r\nNOOP\r\n");
    // The empty line is the client's own; nothing of before came back.
    assert_eq!(server.take_said(), "500 5.5.1 Command not recognized\r\n250 2.0.0 OK\r\n");
    server.feed(b"MAIL FROM:<a@b>\r\nEHLO again.example\r\nSTARTTLS\r\n");
    let said = server.take_said();
    assert!(said.starts_with("503 5.5.1 Greet first\r\n250-mx.example\r\n"), "{said}");
    assert!(!said.contains("STARTTLS"), "{said}");
    assert!(said.ends_with("503 5.5.1 Bad sequence of commands\r\n"), "{said}");
    assert!(!server.told.contains("injected"));
}

#[test]
fn forgets_a_login_that_came_before_starttls() {
    let mut server = after_ehlo(
        "C: AUTH PLAIN AHVzZXIAcGFzcw==
         C: STARTTLS
         S: 235 2.7.0 Authentication successful
         S: 220 2.0.0 Ready to start TLS",
    );
    server.session.tls_established();
    assert!(!server.session.is_authenticated());
    server.feed(b"EHLO x\r\n");
    server.take_said();
    server.feed(b"AUTH PLAIN AHVzZXIAcGFzcw==\r\n");
    assert_eq!(server.take_said(), "235 2.7.0 Authentication successful\r\n");
}

#[test]
fn a_failed_handshake_ends_the_session_without_a_word() {
    let mut server = after_ehlo("C: STARTTLS\nS: 220 2.0.0 Ready to start TLS");
    server.session.tls_failed();
    server.feed(b"EHLO x\r\n");
    assert_eq!((server.take_said().as_str(), server.closed), ("", Some(CloseReason::TlsFailed)));
}

#[test]
fn takes_chunks() {
    let server = after_ehlo(
        "C: MAIL FROM:<a@b>
         C: RCPT TO:<a@b>
         C: BDAT 7
         C: hello
         C: BDAT 5 LAST
         C:| .\\r\\n\\r\\nQUIT\\r\\n
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.0.0 Chunk OK
         S: 250 2.0.0 Message accepted
         S: 221 2.0.0 Bye
         E: mail <a@b>
         E: rcpt <a@b>
         E: bdat
         E: end 12 received 0",
    );
    // Dots mean nothing in chunks.
    assert_eq!(server.body, b"hello\r\n.\r\n\r\n");
}

#[test]
fn an_empty_last_chunk_ends_the_message() {
    after_ehlo(
        "C: MAIL FROM:<a@b>
         C: RCPT TO:<a@b>
         C: BDAT 3
         C:| a\\r\\nBDAT 0 LAST\\r\\n
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.0.0 Chunk OK
         S: 250 2.0.0 Message accepted",
    );
}

#[test]
fn octets_of_a_refused_chunk_are_never_commands() {
    after_ehlo(
        "C: BDAT 6
         C:| QUIT\\r\\nBDAT 6 LAST\\r\\nQUIT\\r\\nNOOP\\r\\n
         S: 503 5.5.1 Bad sequence of commands
         S: 503 5.5.1 Bad sequence of commands
         S: 250 2.0.0 OK
         C: MAIL FROM:<a@b>
         C: RCPT TO:<reject@b>
         C: BDAT 6 LAST
         C: QUIT
         S: 250 2.1.0 Sender OK
         S: 554 5.7.1 Recipient refused
         S: 554 5.5.1 No valid recipients
         C: BDAT six
         S: 501 5.5.4 Syntax error in arguments
         E: mail <a@b>
         E: rcpt <reject@b>
         E: closing BadChunk",
    );
}

#[test]
fn chunks_and_data_do_not_mix() {
    after_ehlo(
        "C: MAIL FROM:<a@b>
         C: RCPT TO:<a@b>
         C: BDAT 0
         C: DATA
         C: RCPT TO:<a@b>
         C: RSET
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.0.0 Chunk OK
         S: 503 5.5.1 Bad sequence of commands
         S: 503 5.5.1 Bad sequence of commands
         S: 250 2.0.0 OK",
    );
}

fn limited(limits: Limits) -> Config {
    Config { limits, auth_mechanisms: Vec::new(), ..config() }
}

#[test]
fn enforces_the_size_declared_and_real() {
    let config = limited(Limits { size: Some(10), ..Limits::default() });
    let server = play(
        config,
        "S: 220 mx.example
         C: EHLO x
         S: 250-mx.example
         S: 250-PIPELINING
         S: 250-SIZE 10
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-CHUNKING
         S: 250-STARTTLS
         S: 250 ENHANCEDSTATUSCODES
         C: MAIL FROM:<a@b> SIZE=11
         S: 552 5.3.4 Message exceeds the size limit
         C: MAIL FROM:<a@b> SIZE=10
         C: RCPT TO:<a@b>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         C: 12345678
         C: .
         S: 250 2.0.0 Message accepted
         C: MAIL FROM:<a@b>
         C: RCPT TO:<a@b>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         C: 123456789
         C: QUIT
         C: .
         C: MAIL FROM:<a@b>
         C: RCPT TO:<a@b>
         C: BDAT 11
         C: 123456789
         C: BDAT 1 LAST
         C:| xNOOP\\r\\n
         S: 552 5.3.4 Message exceeds the size limit
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 552 5.3.4 Message exceeds the size limit
         S: 503 5.5.1 Bad sequence of commands
         S: 250 2.0.0 OK",
    );
    assert_eq!(server.told.matches("bodyrefused(toolarge)").count(), 2);
    assert_eq!(server.told.matches("end ").count(), 1);
}

#[test]
fn enforces_the_number_of_recipients_and_messages() {
    let limits = Limits { recipients: 1, messages: Some(1), ..Limits::default() };
    let server = play(
        limited(limits),
        "S: 220 mx.example
         C: HELO x
         S: 250 mx.example
         C: MAIL FROM:<reject@b>
         C: MAIL FROM:<a@b>
         C: RCPT TO:<reject@b>
         C: RCPT TO:<a@b>
         C: RCPT TO:<c@b>
         C: RSET
         C: MAIL FROM:<a@b>
         C: NOOP
         S: 554 5.7.1 Sender refused
         S: 250 2.1.0 Sender OK
         S: 554 5.7.1 Recipient refused
         S: 250 2.1.5 Recipient OK
         S: 452 4.5.3 Too many recipients
         S: 250 2.0.0 OK
         S: 421 4.7.0 Too many messages on this connection",
    );
    assert_eq!(server.closed, Some(CloseReason::TooManyMessages));
}

#[test]
fn hangs_up_after_too_many_bad_commands_but_not_on_innocent_ones() {
    let limits = Limits { bad_commands: 2, recipients: 1, ..Limits::default() };
    let server = play(
        limited(limits),
        "S: 220 mx.example
         C: HELO x
         C: MAIL FROM:<reject@b>
         C: RCPT TO:<a@b>
         C: RCPT TO:<b@b>
         C: RCPT TO:<c@b>
         C: DATA
         S: 250 mx.example
         S: 554 5.7.1 Sender refused
         S: 503 5.5.1 Bad sequence of commands
         S: 503 5.5.1 Bad sequence of commands
         S: 503 5.5.1 Bad sequence of commands
         S: 503 5.5.1 Bad sequence of commands
         C: X
         C: Y
         C: Z
         C: NOOP
         S: 500 5.5.1 Command not recognized
         S: 500 5.5.1 Command not recognized
         S: 421 4.7.0 Too many errors, closing",
    );
    assert_eq!(server.closed, Some(CloseReason::TooManyBadCommands));
}

#[test]
fn refuses_overlong_lines_and_reads_on() {
    let long = "x".repeat(600);
    play(
        config(),
        &format!(
            "S: 220 mx.example
             C: NOOP {long}
             C: HELO x
             S: 500 5.5.6 Line too long
             S: 250 mx.example
             C: NOOP {}
             C: NOOP {}
             S: 250 2.0.0 OK
             S: 500 5.5.6 Line too long",
            "x".repeat(505),
            "x".repeat(506),
        ),
    );
}

#[test]
fn only_auth_may_have_a_long_line() {
    let initial = "A".repeat(11_000);
    after_ehlo(&format!(
        "C: NOOP {initial}
         C: AUTH PLAIN {initial}
         S: 500 5.5.6 Line too long
         S: 501 5.5.2 Malformed authentication data
         C: AUTH LOGIN
         C: {initial}AAAA{initial}
         S: 334 VXNlcm5hbWU6
         S: 500 5.5.6 Authentication exchange line is too long"
    ));
}

#[test]
fn text_lines_are_limited_where_wished() {
    let limits = Limits { text_line: Some(10), ..Limits::default() };
    for endings in [LineEndings::Refuse, LineEndings::Fix] {
        let server = play(
            Config { line_endings: endings, ..limited(limits) },
            "S: 220 mx.example
             C: HELO x
             C: MAIL FROM:<a@b>
             C: RCPT TO:<a@b>
             C: DATA
             S: 250 mx.example
             S: 250 2.1.0 Sender OK
             S: 250 2.1.5 Recipient OK
             S: 354 Start mail input; end with <CRLF>.<CRLF>
             C: 1234567890
             C: .12345678901
             C: .
             S: 550 5.6.0 Message has a line that is too long",
        );
        assert!(server.told.contains("bodyrefused(linetoolong)"));
    }
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let lmtp = Config { protocol: Protocol::Lmtp, ..config() };
    play(
        Config { extensions: Extensions::empty(), ..lmtp },
        "S: 220 mx.example
         C: EHLO x
         C: LHLO x
         C: MAIL FROM:<a@b>
         C: RCPT TO:<one@b>
         C: RCPT TO:<two@b>
         C: RCPT TO:<three@b>
         C: DATA
         S: 500 5.5.1 Command not recognized
         S: 250 mx.example
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         C: each
         C: .
         S: 250 2.0.0 Message accepted
         S: 550 5.7.1 Message refused
         S: 451 4.3.0 Try again later
         C: MAIL FROM:<a@b>
         C: RCPT TO:<one@b>
         C: RCPT TO:<two@b>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         C: defer
         C: .
         S: 421 4.3.0 Message deferred, try again later
         S: 421 4.3.0 Message deferred, try again later",
    );
}

#[test]
fn the_proxy_hook_passes_replaces_and_swallows() {
    let server = play(
        Config { proxy_hook: true, ..config() },
        "S: 220 mx.example
         C: SWALLOW
         C: REPLACE
         C: HELO x
         C: BDAT 96
         C:| QUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\n
         C:| QUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\nQUIT\\r\\n
         C: LAST
         C: SWALLOW
         S: 250 2.0.0 OK
         S: 250 2.0.0 OK
         S: 250 mx.example
         S: 250 2.0.0 OK
         S: 250 2.0.0 OK
         S: 500 5.5.1 Command not recognized
         E: command SWALLOW
         E: command REPLACE
         E: command HELO x
         E: hello HELO x
         E: command BDAT 96
         E: command LAST",
    );
    assert_eq!(server.closed, None);
}

#[test]
fn a_refused_connection_closes_or_waits_for_quit() {
    let greeted = |verdict: Verdict| {
        let mut session = Session::new(Arc::new(config()), Security::Clear);
        session.greet(verdict);
        let said = String::from_utf8(session.output().to_vec()).unwrap();
        (said, session)
    };
    let (said, mut session) = greeted(Verdict::reject());
    assert_eq!(said, "521 Connection refused\r\n");
    assert_eq!(session.receive(b"").event, Some(Event::Closing(CloseReason::Verdict)));
    assert_eq!(session.receive(b"EHLO x\r\n").event, None);
    let (said, session) = greeted(Verdict::defer().with_text("busy"));
    assert_eq!((said.as_str(), session.closing()), ("421 busy\r\n", Some(CloseReason::Verdict)));
    let (_, mut session) = greeted(Verdict::reject().with_code(554));
    session.advance_output(usize::MAX);
    assert_eq!(session.receive(b"EHLO x\r\n").event, None);
    assert_eq!(session.output(), b"503 5.5.1 Bad sequence of commands\r\n");
    assert_eq!(session.receive(b"QUIT\r\n").event, Some(Event::Closing(CloseReason::Quit)));
}

#[test]
fn a_verdict_may_hang_up() {
    let server = after_ehlo(
        "C: MAIL FROM:<bye@b>
         C: NOOP
         S: 554 5.7.1 Sender refused",
    );
    assert_eq!(server.closed, Some(CloseReason::Verdict));
}

#[test]
fn timers_and_shutdown_say_421() {
    let mut server = after_ehlo("");
    server.session.timed_out();
    server.feed(b"");
    assert_eq!(server.take_said(), "421 4.4.2 Idle for too long, closing\r\n");
    assert_eq!(server.closed, Some(CloseReason::Timeout));

    let mut session = Session::new(Arc::new(config()), Security::Clear);
    session.greet(Verdict::accept());
    let _ = session.receive(b"HELO x\r\n");
    session.shut_down();
    assert_eq!(session.closing(), None, "an answer is owed");
    session.advance_output(usize::MAX);
    session.answer(Verdict::accept());
    let said = String::from_utf8(session.output().to_vec()).unwrap();
    assert_eq!(said, "250 mx.example\r\n421 4.3.2 Shutting down, try again later\r\n");
    assert_eq!(session.closing(), Some(CloseReason::Shutdown));
}

#[test]
fn nothing_is_read_while_an_answer_is_owed() {
    let mut session = Session::new(Arc::new(config()), Security::Clear);
    assert_eq!(session.receive(b"EHLO x\r\n").consumed, 0, "the banner is owed");
    session.greet(Verdict::accept());
    let step = session.receive(b"EHLO x\r\nNOOP\r\n");
    assert_eq!(step.consumed, 8);
    assert!(matches!(step.event, Some(Event::Hello(_))));
    assert_eq!(session.receive(b"NOOP\r\n").consumed, 0);
    session.answer(Verdict::accept());
    assert_eq!(session.receive(b"NOOP\r\n").consumed, 6);
}

#[test]
fn enhanced_codes_can_be_switched_off() {
    let config = Config { enhanced_codes: false, extensions: Extensions::empty(), ..config() };
    play(
        config,
        "S: 220 mx.example
         C: EHLO x
         C: MAIL FROM:<a@b>
         C: FOO
         S: 250 mx.example
         S: 250 Sender OK
         S: 500 Command not recognized",
    );
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 768, "{}", size_of::<Session>());
}

/// A session with everything in it: pipelining, stuffing, chunks, errors.
const LONG: &[u8] = b"EHLO dsn.example\r\nMAIL FROM:<a@b> SIZE=5\r\nRCPT TO:<c@d>\r\nRCPT TO:<reject@d>\r\n\
    DATA\r\nReceived: x\r\n\r\n..a\r\n.b\r\nlong line\r\n.\r\nRSET\r\nFOO\r\nMAIL FROM:<>\r\n\
    RCPT TO:<e@f> NOTIFY=NEVER\r\nBDAT 4\r\na\r\nbBDAT 5 LAST\r\n\r\n.\r\nAUTH LOGIN\r\ndXNlcg==\r\n\
    cGFzcw==\r\nQUIT\r\n";

fn outcome_of(parts: &[&[u8]]) -> (String, String) {
    let mut server = Server::new(config());
    for part in parts {
        server.feed(part);
    }
    let body = server.body.escape_ascii().to_string();
    (server.take_said(), format!("{}{body}", server.told))
}

#[test]
fn every_split_of_a_session_gives_the_same() {
    let whole = outcome_of(&[LONG]);
    assert!(whole.0.ends_with("221 2.0.0 Bye\r\n"), "{}", whole.0);
    for at in 0..=LONG.len() {
        assert_eq!(outcome_of(&[&LONG[..at], &LONG[at..]]), whole, "split at {at}");
    }
    let single: Vec<&[u8]> = LONG.chunks(1).collect();
    assert_eq!(outcome_of(&single), whole, "octet by octet");
}

proptest! {
    #[test]
    fn many_splits_of_a_session_give_the_same(cuts in prop::collection::vec(0..LONG.len(), 0..20)) {
        let mut cuts = cuts;
        cuts.extend([0, LONG.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &LONG[pair[0]..pair[1]]).collect();
        prop_assert_eq!(outcome_of(&parts), outcome_of(&[LONG]));
    }
}
