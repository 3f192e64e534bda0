//! In-line delivery: the client waits until the next hop has answered, and hears what it said.
//!
//! One server takes the message for all recipients or for none; nothing is written to the spool.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hsl::Array;
use hsl_std::mime::MessageHandle;
use hsl_std::services::FileContent;
use mta_types::Timestamp;
use script_host::hooks::eod::{CopyFacts, Variant};
use script_host::hooks::eod_rcpt::{Action, ActionKind};
use smtp::client::Recipient;
use smtp::parameters::Parameters;
use smtp::server::{Decision, Verdict};

use crate::inbound::connection::Connection;
use crate::inbound::facts::TransactionFacts;
use crate::inbound::receive::received_header;
use crate::outbound::script_client;

/// Delivers copies at once. The action is what came of it, for all of them.
///
/// # Cancel safety
///
/// Dropping the future closes the connection; the server may have taken the message.
pub(crate) async fn deliver(
    connection: &Connection,
    facts: &TransactionFacts,
    message: &MessageHandle,
    variants: Vec<Variant>,
    now: Timestamp,
) -> Action {
    let id = connection.facts.id;
    let verdict = match one_delivery(variants) {
        Ok((variant, recipients)) => {
            let first = match recipients.as_slice() {
                [one] => Some(&one.address),
                _ => None,
            };
            let trace = received_header(connection, facts, &id, first, now);
            let content = Traced {
                trace: trace.into(),
                content: message.lock().content_of(variant.output.clone()),
            };
            let core = &connection.core;
            match variant.copies.into_iter().next() {
                Some(copy) => {
                    let content = Arc::new(content);
                    let smtputf8 = facts.params.is_smtputf8();
                    let generation = core.generation_of(connection.server.stageid.as_deref());
                    let delivery = script_client::deliver_in_line(
                        core, generation, copy, recipients, smtputf8, content,
                    );
                    delivery.await
                }
                None => Ok(Verdict::accept()),
            }
        }
        Err(error) => Err(error.to_owned()),
    };
    let verdict = verdict.unwrap_or_else(|error| {
        tracing::error!(transaction = %id, error, "script.failed");
        Verdict::defer()
    });
    let kind = match verdict.decision {
        Decision::Accept => ActionKind::Deliver,
        Decision::Reject => ActionKind::Reject,
        Decision::Defer => ActionKind::Defer,
    };
    Action { kind, verdict, options: Array::new() }
}

/// The one message to deliver, with all its recipients.
fn one_delivery(variants: Vec<Variant>) -> Result<(Variant, Vec<Recipient>), &'static str> {
    let mut variants = variants.into_iter();
    let mut first = variants.next().ok_or("there is no message to deliver in line")?;
    for variant in variants {
        if variant.output != first.output {
            return Err("a message delivered in line is the same for all recipients");
        }
        first.copies.extend(variant.copies);
    }
    let is_same = |copy: &CopyFacts| {
        first.copies.first().is_some_and(|first| {
            copy.transportid == first.transportid && copy.sender == first.sender
        })
    };
    if !first.copies.iter().all(is_same) {
        return Err("in-line delivery goes from one sender over one transport");
    }
    let recipient = |copy: &CopyFacts| Recipient {
        address: copy.recipient.clone(),
        params: Parameters::default(),
    };
    let recipients = first.copies.iter().map(recipient).collect();
    Ok((first, recipients))
}

/// A message behind its trace field (RFC 5321 §4.4).
struct Traced {
    trace: Bytes,
    content: Arc<dyn FileContent>,
}

impl FileContent for Traced {
    fn len(&self) -> u64 {
        self.trace.len() as u64 + self.content.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.trace.len() as u64;
        if offset < start {
            // The reader asks for the rest.
            return FileContent::read_at(&self.trace, offset, buffer);
        }
        self.content.read_at(offset - start, buffer)
    }
}
