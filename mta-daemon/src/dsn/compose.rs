//! The text of a delivery status notification (RFC 3464, RFC 3461, RFC 3834).
//!
//! Pure: everything it says is handed in. The message threads under the one it is about: it carries
//! `In-Reply-To` and `References` with the original's Message-ID.

use std::fmt::Write as _;

use mail_message::encoded_word;
use mta_types::{Address, EnhancedCode, Timestamp, TransactionId};
use smtp::trace_header::rfc5322_date;

use script_host::hooks::dsn_options::Style;

/// What happened, in the words of RFC 3464 §2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Failed,
    Delayed,
    Relayed,
    Delivered,
}

/// Everything a notification says.
#[derive(Clone, Debug)]
pub(crate) struct Report<'a> {
    pub(crate) action: Action,
    /// Id of the notification's own transaction.
    pub(crate) id: TransactionId,
    /// Our host name.
    pub(crate) hostname: &'a str,
    /// Who is told: the original sender.
    pub(crate) to: &'a Address,
    /// When it is written, and minutes of our zone east of Greenwich.
    pub(crate) now: Timestamp,
    pub(crate) offset_minutes: i16,
    /// When the original came in.
    pub(crate) arrival: Timestamp,
    pub(crate) envid: Option<&'a str>,
    pub(crate) recipient: &'a Address,
    pub(crate) orcpt: Option<&'a str>,
    pub(crate) status: EnhancedCode,
    /// Whether the diagnostic is a reply of the peer (`smtp`) or words of ours (`x-error`).
    pub(crate) is_reply: bool,
    pub(crate) diagnostic: &'a str,
    /// The server that answered, when there was one.
    pub(crate) remote: Option<&'a str>,
    /// When the last attempt of a delayed message will be over.
    pub(crate) will_retry_until: Option<Timestamp>,
    /// The original's header section, or the whole original.
    pub(crate) original: &'a [u8],
    /// Whether `original` is the whole message (RET=FULL).
    pub(crate) is_full: bool,
    /// What a script wants to be different.
    pub(crate) style: &'a Style,
}

/// Writes the message, CRLF line ends, octets of the original untouched.
pub(crate) fn message(report: &Report<'_>) -> Vec<u8> {
    let boundary = boundary(report);
    let host = clean(report.hostname);
    let date = rfc5322_date(report.now, report.offset_minutes);
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push_str("\r\n");
    };
    line(&format!("Date: {date}"));
    let style = report.style;
    let name = style
        .from_name
        .as_deref()
        .map_or_else(|| "Mail Delivery Subsystem".to_owned(), |name| phrase(&clean(name)));
    match &style.from {
        Some(from) => line(&format!("From: {name} <{}>", clean(from))),
        None => line(&format!("From: {name} <MAILER-DAEMON@{host}>")),
    }
    line(&format!("To: <{}>", report.to));
    let prepended = style.subject_prepend.as_deref().unwrap_or_default();
    line(&format!(
        "Subject: {}",
        encoded(&clean(&format!("{prepended}{}", subject(report.action))))
    ));
    line(&format!("Message-ID: <{}@{host}>", report.id));
    if let Some(original) = message_id(report.original) {
        line(&format!("In-Reply-To: {original}"));
        line(&format!("References: {original}"));
    }
    // RFC 3834 §5: nobody's machine shall answer this.
    line("Auto-Submitted: auto-replied");
    for (name, value) in &style.headers {
        line(&format!("{name}: {}", encoded(&clean(value))));
    }
    line("MIME-Version: 1.0");
    line("Content-Type: multipart/report; report-type=delivery-status;");
    line(&format!("\tboundary=\"{boundary}\""));
    line("");
    line("This is a MIME-encapsulated message.");
    line("");
    line(&format!("--{boundary}"));
    let mut out = out.into_bytes();
    match &style.readable_mimepart {
        Some(part) => {
            for text in part.split(|octet| *octet == b'\n') {
                out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                out.extend_from_slice(b"\r\n");
            }
        }
        None => {
            let head =
                "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n";
            for text in head.lines().chain(human_text(report).lines()) {
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    let mut line = |text: &str| {
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: message/delivery-status");
    line("");
    for text in status_fields(report, &host).lines() {
        line(text);
    }
    if style.without_original {
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        return out;
    }
    let mut line = |text: &str| {
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    line("");
    line(&format!("--{boundary}"));
    line(if report.is_full {
        "Content-Type: message/rfc822"
    } else {
        "Content-Type: text/rfc822-headers"
    });
    if !report.original.is_ascii() {
        line("Content-Transfer-Encoding: 8bit");
    }
    line("");
    out.extend_from_slice(report.original);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

/// The header section of a message: up to and with the empty line.
pub(crate) fn header_section(message: &[u8]) -> &[u8] {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 2);
    message.get(..end.unwrap_or(message.len())).unwrap_or_default()
}

const fn subject(action: Action) -> &'static str {
    match action {
        Action::Failed => "Undelivered mail: delivery failed",
        Action::Delayed => "Delayed mail: delivery is still being attempted",
        Action::Relayed => "Mail relayed: success notification",
        Action::Delivered => "Mail delivered: success notification",
    }
}

fn human_text(report: &Report<'_>) -> String {
    let host = clean(report.hostname);
    let recipient = clean(&report.recipient.to_string());
    let said = clean(report.diagnostic);
    let by = report.remote.map(|remote| format!("The server {} answered:", clean(remote)));
    let said = format!("{}\n    {said}\n", by.unwrap_or_else(|| "The reason is:".to_owned()));
    match report.action {
        Action::Failed => format!(
            "This is the mail system at {host}.\n\n\
             Your message could not be delivered to\n\n    <{recipient}>\n\n{said}\n\
             It will not be tried again.\n"
        ),
        Action::Delayed => format!(
            "This is the mail system at {host}.\n\n\
             Your message has not been delivered yet to\n\n    <{recipient}>\n\n{said}\n\
             You do not have to send it again: delivery is still being attempted.\n"
        ),
        Action::Relayed => format!(
            "This is the mail system at {host}.\n\n\
             Your message was handed on for\n\n    <{recipient}>\n\n\
             The next server may or may not notify you of its delivery.\n"
        ),
        Action::Delivered => format!(
            "This is the mail system at {host}.\n\n\
             Your message was delivered to\n\n    <{recipient}>\n"
        ),
    }
}

fn status_fields(report: &Report<'_>, host: &str) -> String {
    let mut out = String::new();
    let mut field = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name}: {value}");
    };
    if let Some(envid) = report.envid {
        field("Original-Envelope-Id", &clean(envid));
    }
    field("Reporting-MTA", &format!("dns; {host}"));
    field("Arrival-Date", &rfc5322_date(report.arrival, report.offset_minutes));
    let mut out = out + "\n";
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(out, "{name}: {value}");
    };
    if let Some(orcpt) = report.orcpt {
        field("Original-Recipient", &clean(&orcpt.replacen(';', "; ", 1)));
    }
    field("Final-Recipient", &format!("rfc822; {}", clean(&report.recipient.to_string())));
    let action = match report.action {
        Action::Failed => "failed",
        Action::Delayed => "delayed",
        Action::Relayed => "relayed",
        Action::Delivered => "delivered",
    };
    field("Action", action);
    field("Status", &report.status.to_string());
    if let Some(remote) = report.remote {
        field("Remote-MTA", &format!("dns; {}", clean(remote)));
    }
    if !report.diagnostic.is_empty() {
        let kind = if report.is_reply { "smtp" } else { "x-error" };
        field("Diagnostic-Code", &format!("{kind}; {}", clean(report.diagnostic)));
    }
    field("Last-Attempt-Date", &rfc5322_date(report.now, report.offset_minutes));
    if let Some(until) = report.will_retry_until {
        field("Will-Retry-Until", &rfc5322_date(until, report.offset_minutes));
    }
    out
}

/// The original's Message-ID with its brackets; `None` when there is none of valid form.
fn message_id(original: &[u8]) -> Option<String> {
    let header = header_section(original);
    let mut lines =
        header.split(|octet| *octet == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let mut value: Option<Vec<u8>> = None;
    for line in lines.by_ref() {
        if let Some(text) = &mut value {
            if !line.first().is_some_and(|octet| matches!(octet, b' ' | b'\t')) {
                break;
            }
            text.extend_from_slice(line);
        } else if line.len() >= 11
            && line.get(..11).is_some_and(|n| n.eq_ignore_ascii_case(b"message-id:"))
        {
            value = line.get(11..).map(<[u8]>::to_vec);
        }
    }
    let text = String::from_utf8(value?).ok()?;
    let id = text.trim();
    let inner = id.strip_prefix('<')?.strip_suffix('>')?;
    let sound = !inner.is_empty()
        && inner.len() < 900
        && !inner.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>'));
    sound.then(|| id.to_owned())
}

/// A boundary that cannot occur in the original by chance or by design: it holds our own fresh id.
fn boundary(report: &Report<'_>) -> String {
    format!("{}/{}", report.id, report.now.as_micros())
}

/// A display name: as it is, quoted, or as encoded words (RFC 5322 §3.2.5, RFC 2047 §5).
fn phrase(name: &str) -> String {
    if !name.is_ascii() {
        return encoded(name);
    }
    let is_plain =
        |octet: u8| octet.is_ascii_alphanumeric() || b" !#$%&'*+-/=?^_`{|}~".contains(&octet);
    if name.bytes().all(is_plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Text of a header field; what is not ASCII becomes encoded words.
fn encoded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    String::from_utf8(encoded_word::encode(text.as_bytes())).unwrap_or_default()
}

/// Text of a peer or a configuration on one line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mta_types::Class;

    fn report<'a>(original: &'a [u8], to: &'a Address, recipient: &'a Address) -> Report<'a> {
        Report {
            action: Action::Failed,
            id: TransactionId([9; 16]),
            hostname: "mx.example",
            to,
            now: Timestamp::from_secs(1_700_000_100),
            offset_minutes: 60,
            arrival: Timestamp::from_secs(1_700_000_000),
            envid: Some("env-1"),
            recipient,
            orcpt: Some("rfc822;orig@example.net"),
            status: EnhancedCode::new(Class::Permanent, 1, 1),
            is_reply: true,
            diagnostic: "550 5.1.1 No such user",
            remote: Some("mail.example.net"),
            will_retry_until: None,
            original,
            is_full: false,
            style: &USUAL,
        }
    }

    static USUAL: Style = Style {
        from: None,
        from_name: None,
        subject_prepend: None,
        headers: Vec::new(),
        readable_mimepart: None,
        without_original: false,
    };

    #[test]
    fn a_script_changes_the_text_and_nothing_gets_out_of_its_place() {
        let (to, recipient) = (Address::parse("a@b").unwrap(), Address::parse("c@d").unwrap());
        let style = Style {
            from: Some("post@example.org".into()),
            from_name: Some("Post, \"the\" Ånd\r\nX: y".into()),
            subject_prepend: Some("[acme] ".into()),
            headers: vec![("X-Class".into(), "bulk\r\nBcc: all".into())],
            readable_mimepart: Some(b"Content-Type: text/plain\n\nSorry.\n".to_vec()),
            without_original: true,
        };
        let report = Report { style: &style, ..report(b"Subject: x\r\n\r\n", &to, &recipient) };
        let text = String::from_utf8(message(&report)).unwrap();
        for part in [
            " <post@example.org>\r\n",
            "\r\nSubject: [acme] Undelivered mail: delivery failed\r\n",
            "\r\nX-Class: bulk  Bcc: all\r\n",
            "\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("rfc822-headers") && !text.contains("\nX: y"), "{text}");
        assert!(text.ends_with("--\r\n"));
    }

    fn text(original: &[u8]) -> String {
        let (to, recipient) = (
            Address::parse("from@example.org").unwrap(),
            Address::parse("to@example.net").unwrap(),
        );
        String::from_utf8(message(&report(original, &to, &recipient))).unwrap()
    }

    #[test]
    fn it_threads_under_the_original() {
        let text = text(b"Subject: x\r\nMESSAGE-ID:\r\n <a@b>\r\n\r\n");
        assert!(text.contains("\r\nIn-Reply-To: <a@b>\r\nReferences: <a@b>\r\n"), "{text}");
        assert!(text.contains("\r\nAuto-Submitted: auto-replied\r\n"));
    }

    #[test]
    fn a_message_id_that_is_none_is_not_repeated() {
        for bad in ["a@b", "<a b>", "<a@b> <c@d>", "<>", "<a\u{1}b>"] {
            let text = text(format!("Message-ID: {bad}\r\n\r\n").as_bytes());
            assert!(!text.contains("In-Reply-To"), "{bad}");
        }
    }

    #[test]
    fn the_machine_readable_part_has_the_fields_of_rfc_3464() {
        let text = text(b"Subject: x\r\n\r\n");
        for field in [
            "Original-Envelope-Id: env-1\r\nReporting-MTA: dns; mx.example\r\n",
            "\r\n\r\nOriginal-Recipient: rfc822; orig@example.net\r\nFinal-Recipient: rfc822; to@example.net\r\n",
            "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mail.example.net\r\n",
            "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n",
            "Content-Type: text/rfc822-headers\r\n\r\nSubject: x\r\n",
        ] {
            assert!(text.contains(field), "{field}\n{text}");
        }
        assert!(text.lines().all(|line| !line.contains('\r')));
        let boundary = text.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(text.matches(&format!("--{boundary}")).count(), 4);
        assert!(text.ends_with(&format!("--{boundary}--\r\n")));
    }

    #[test]
    fn line_ends_in_a_diagnostic_cannot_add_fields() {
        let (to, recipient) = (Address::parse("a@b").unwrap(), Address::parse("c@d").unwrap());
        let mut report = report(b"", &to, &recipient);
        report.diagnostic = "550 no\r\nAction: relayed";
        let text = String::from_utf8(message(&report)).unwrap();
        assert!(!text.contains("\nAction: relayed"));
    }

    #[test]
    fn the_header_section_ends_at_the_empty_line() {
        assert_eq!(header_section(b"A: b\r\nC: d\r\n\r\nbody\r\n\r\n"), b"A: b\r\nC: d\r\n");
        assert_eq!(header_section(b"no end"), b"no end");
    }
}
