//! `mail` and `queue` hand a message and its envelope to the embedder's queue.

mod support;

use std::sync::Arc;

use hsl::Value;
use hsl::host::{Limits, Thrown};
use hsl_std::services::{BoxFuture, MailQueue, MailToQueue, QueuedMail};
use parking_lot::Mutex;

/// Notes what it is given, and takes it.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl MailQueue for Notes {
    fn queue(&self, mail: MailToQueue) -> Result<BoxFuture<Result<QueuedMail, Thrown>>, Thrown> {
        let mut content = vec![0; usize::try_from(mail.content.len()).unwrap()];
        mail.content.read_at(0, &mut content).unwrap();
        let show = |value: &Value| {
            let mut text = Vec::new();
            hsl::ops::dump(value, &mut text);
            String::from_utf8(text).unwrap()
        };
        self.0.lock().push(format!(
            "{} {} {} {}\n{}",
            show(&mail.sender),
            show(&mail.recipient),
            mail.transportid,
            show(&Value::Array(mail.options)),
            String::from_utf8(content).unwrap().replace("\r\n", "\n"),
        ));
        let queued = QueuedMail { transaction: "t1".to_owned(), queue: 2 };
        Ok(Box::pin(std::future::ready(Ok(queued))))
    }
}

fn run(script: &str) -> (String, Vec<String>) {
    let notes = Arc::new(Notes::default());
    let queue = Arc::clone(&notes);
    let report =
        support::run_with(script.as_bytes(), Limits::default(), |it| it.mail_queue = queue);
    let said = report.error.unwrap_or_else(|| String::from_utf8(report.echoed).unwrap());
    let queued = std::mem::take(&mut *notes.0.lock());
    (said, queued)
}

#[test]
fn a_text_goes_with_its_names_and_options() {
    let (said, queued) = run(
        r#"echo mail("a@example.org", ["localpart" => "b c", "domain" => "example.net"], "på", "hello\r\n", "out", [
            "sender_name" => "Doe, Jane", "recipient_name" => "Åsa", "headers" => ["X-A: 1", "X-B:två"],
            "metadata" => ["k" => "v"], "jobid" => "j", "quotas" => ["q"], "hold" => true]);"#,
    );
    assert_eq!(said, "t1:2\n");
    assert_eq!(
        queued,
        [
            r#""a@example.org" ["localpart"=>"b c","domain"=>"example.net"] out ["metadata"=>["k"=>"v"],"jobid"=>"j","quotas"=>[0=>"q"]]
From: "Doe, Jane" <a@example.org>
To: =?UTF-8?Q?=C3=85sa?= <"b c"@example.net>
Subject: =?UTF-8?Q?p=C3=A5?=
Date: Sun, 21 Mar 2021 14:05:09 +0100
X-A: 1
X-B: =?UTF-8?Q?tv=C3=A5?=
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

hello
"#
        ]
    );
}

#[test]
fn the_null_sender_has_no_from_field() {
    let (said, queued) = run(r#"echo mail("", "b@example.net", "s", "t", "out");"#);
    assert_eq!(said, "t1:2\n");
    assert!(
        queued[0].starts_with("\"\" \"b@example.net\" out []\nTo: b@example.net\nSubject: s\n")
    );
}

#[test]
fn no_argument_begins_a_field_of_its_own() {
    for arguments in [
        r#""a@b.c", "b@example.net", "s\r\nX: y", "t", "out""#,
        r#""a@b.c\r\nX: y", "b@example.net", "s", "t", "out""#,
        r#""a@b.c", "b@example.net", "s", "t", "out", ["sender_name" => "n\r\nX: y"]"#,
        r#""a@b.c", "b@example.net", "s", "t", "out", ["headers" => ["A: b\r\nX: y"]]"#,
    ] {
        let (said, queued) = run(&format!("mail({arguments});"));
        let is_field = |mail: &String| mail.lines().any(|line| line.starts_with("X:"));
        assert!(!queued.iter().any(is_field), "{arguments}: {said} {queued:?}");
    }
    let (said, _) = run(r#"mail("a@b.c", "b@c.d", "s", "t", "out", ["headers" => ["no colon"]]);"#);
    assert_eq!(said, "option \"headers\" must be a list of \"Name: value\"");
}

#[test]
fn composed_and_read_messages_are_queued_with_all_options() {
    let (said, queued) = run(
        r#"$o = ["metadata" => ["k" => "v"], "jobid" => "j", "quotas" => ["q"], "hold" => true, "delay" => 5, "dsn" => ["notify" => "NEVER"]];
           echo MIME()->addHeader("X", "y")->queue("a@b.c", "d@e.f", "out", $o);
           echo MailMessage::String("X: z\r\n\r\n")->queue("", "d@e.f", "out");"#,
    );
    assert_eq!(said, "[\"transaction\"=>\"t1\",\"queue\"=>2]\n".repeat(2));
    assert!(
        queued[0].starts_with(
            "\"a@b.c\" \"d@e.f\" out [\"metadata\"=>[\"k\"=>\"v\"],\"jobid\"=>\"j\",\"quotas\"=>[0=>\"q\"],\
             \"hold\"=>true,\"delay\"=>5,\"dsn\"=>[\"notify\"=>\"NEVER\"]]\nX: y\n"
        ),
        "{queued:?}"
    );
    assert_eq!(queued[1], "\"\" \"d@e.f\" out []\nX: z\n\n");
}
