//! What a client hears: the engine of `smtpd`, led to the command of the hook and answered.

use std::sync::Arc;

use mta_types::TransactionId;
use script_host::hooks::smtp_scripts::{Challenge, proxy_failure};
use script_host::hooks::verdict::HookVerdict;
use script_host::hooks::{HookKind, eod, values};
use smtp::server::{AuthAnswer, Config, Decision, Event, ProxyAnswer, Security, Session, Verdict};

/// What a hook of a conversation decided.
pub(super) enum Answer<'a> {
    /// A verdict of the script, of its end or of its failure.
    Verdict(&'a Verdict, Option<&'a HookVerdict>),
    Challenge(&'a Challenge),
    Proxy(&'a ProxyAnswer),
}

/// The lines of the reply; `None` where the hook sends none.
///
/// `queued` tells whether there are copies, which the usual text of the end of data names.
pub(super) fn lines(
    kind: HookKind,
    answer: &Answer<'_>,
    id: TransactionId,
    hostname: &str,
    queued: bool,
) -> Option<Vec<String>> {
    let config = Config {
        hostname: hostname.to_owned(),
        auth_mechanisms: vec![MECHANISM.to_owned()],
        proxy_hook: kind == HookKind::Proxy,
        ..Config::default()
    };
    let mut session = Session::new(Arc::new(config), Security::Clear);
    let commands: &[&str] = match kind {
        HookKind::Connect => &[],
        HookKind::Proxy => &["NOOP"],
        HookKind::Helo => &["EHLO client.example"],
        HookKind::Auth => &["EHLO client.example", "AUTH X-SCRIPT"],
        HookKind::Mailfrom => &["EHLO client.example", "MAIL FROM:<>"],
        HookKind::Rcptto => &["EHLO client.example", "MAIL FROM:<>", "RCPT TO:<postmaster>"],
        HookKind::Eod | HookKind::Eodrcpt => {
            &["EHLO client.example", "MAIL FROM:<>", "RCPT TO:<postmaster>", "DATA", "x\r\n."]
        }
        HookKind::Disconnect | HookKind::Predelivery | HookKind::Postdelivery => return None,
    };
    if kind == HookKind::Connect {
        let Answer::Verdict(verdict, _) = answer else { return None };
        session.greet(Verdict::clone(verdict));
        return Some(take(&mut session));
    }
    session.greet(Verdict::accept());
    for (index, command) in commands.iter().enumerate() {
        take(&mut session);
        let line = format!("{command}\r\n");
        let mut rest = line.as_bytes();
        let is_last = index + 1 == commands.len();
        while !rest.is_empty() {
            let step = session.receive(rest);
            rest = rest.get(step.consumed..).unwrap_or_default();
            match step.event {
                Some(Event::Body(_)) => {}
                None if rest.is_empty() => break,
                Some(_) if !is_last => session.answer(Verdict::accept()),
                _ => break,
            }
        }
    }
    take(&mut session);
    match answer {
        Answer::Verdict(verdict, script) if kind == HookKind::Helo => {
            let list = script.and_then(|script| script.options.get_text("extensions"));
            let extensions = match list {
                Some(hsl::Value::Array(list)) => Some(list.values().map(values::text).collect()),
                _ => None,
            };
            session.answer_hello(Verdict::clone(verdict), extensions);
        }
        Answer::Verdict(verdict, _) if kind == HookKind::Auth => {
            session.answer_auth(AuthAnswer::Verdict(Verdict::clone(verdict)));
        }
        Answer::Verdict(verdict, _)
            if matches!(kind, HookKind::Eod | HookKind::Eodrcpt)
                && queued
                && verdict.decision == Decision::Accept =>
        {
            session.answer(eod::queued_as(Verdict::clone(verdict), id));
        }
        Answer::Verdict(_, _) if kind == HookKind::Proxy => session.answer_proxy(proxy_failure()),
        Answer::Verdict(verdict, _) => session.answer(Verdict::clone(verdict)),
        Answer::Challenge(challenge) => session.answer_auth(AuthAnswer::Challenge {
            challenge: challenge.octets.clone(),
            reply: challenge.reply.clone(),
            disconnect: challenge.disconnect,
        }),
        Answer::Proxy(ProxyAnswer::Pass { .. }) => return None,
        Answer::Proxy(answer) => session.answer_proxy(ProxyAnswer::clone(answer)),
    }
    Some(take(&mut session))
}

fn take(session: &mut Session) -> Vec<String> {
    let text = String::from_utf8_lossy(session.output()).into_owned();
    session.advance_output(session.output().len());
    text.lines().map(str::to_owned).collect()
}

/// A mechanism that only scripts know: one command, one question.
const MECHANISM: &str = "X-SCRIPT";
