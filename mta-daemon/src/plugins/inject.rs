//! Messages that plugins put in: through the end-of-data hook of a server of type `plugin`, to the
//! same commit point as mail that comes over SMTP.

use std::sync::{Arc, Weak};

use mta_types::{Address, ServerId};
use plugin_host::InjectServices;
use plugin_host::services::{
    InjectAddress, InjectDone, InjectEnvelope, InjectMessage, ServiceError,
};
use smtp::parameters::Parameters;
use smtp::server::{Decision, EndOfData, Verdict};
use tokio::runtime::Handle;

use crate::context::Core;
use crate::inbound::connection::Connection;
use crate::inbound::facts::{RecipientFacts, TransactionFacts};
use crate::inbound::receive::Reception;
use crate::services::CoreSlot;

/// What answers `HalonMTA_inject_*`.
pub(crate) struct PluginInject {
    slot: CoreSlot,
    runtime: Handle,
}

impl PluginInject {
    /// Must be called within the runtime.
    pub(crate) fn new(slot: CoreSlot) -> Self {
        Self { slot, runtime: Handle::current() }
    }
}

impl InjectServices for PluginInject {
    fn begin(&self, serverid: &str) -> Option<Box<dyn InjectMessage>> {
        let core = self.slot.get().and_then(Weak::upgrade)?;
        let serverid = ServerId::from(serverid);
        let is_for_plugins = core.startup.config.servers.iter().any(|server| {
            server.id == serverid && server.kind == config::startup::ServerKind::Plugin
        });
        if !is_for_plugins || core.generation.load().server(&serverid).is_none() {
            return None;
        }
        let reception = match Reception::injected(&core) {
            Ok(reception) => reception,
            Err(error) => {
                tracing::warn!(server = %serverid, %error, "plugin.inject_refused");
                return None;
            }
        };
        Some(Box::new(Message {
            core,
            runtime: self.runtime.clone(),
            serverid,
            reception: Some(reception),
            lines: Lines::default(),
            size: 0,
        }))
    }
}

/// A message that a plugin is putting together.
struct Message {
    core: Arc<Core>,
    runtime: Handle,
    serverid: ServerId,
    reception: Option<Reception>,
    lines: Lines,
    size: u64,
}

impl InjectMessage for Message {
    fn append(&mut self, data: &[u8]) -> bool {
        let Some(reception) = &mut self.reception else { return false };
        let octets = self.lines.take(data);
        let most = self
            .core
            .generation
            .load()
            .server(&self.serverid)
            .and_then(|server| server.smtp.limits.size);
        self.size += octets.len() as u64;
        if most.is_some_and(|most| self.size > most) {
            return false;
        }
        // A plugin's thread may wait for the disk.
        reception.take(&octets);
        reception.is_whole()
    }

    fn commit(&mut self, envelope: InjectEnvelope, done: InjectDone) -> Result<(), ServiceError> {
        let refused = |text: &str| ServiceError(text.to_owned());
        let Some(server) = self.core.generation.load().server(&self.serverid).cloned() else {
            return Err(refused("the server is not in the configuration any more"));
        };
        if self.core.tasks.is_closed() {
            return Err(refused("the server is shutting down"));
        }
        let address = |given: &InjectAddress| {
            Address::new(&given.localpart, given.domain.as_deref().unwrap_or_default())
                .map_err(|error| ServiceError(error.to_string()))
        };
        let sender = envelope.sender.as_ref().map(address).transpose()?;
        let mut recipients = Vec::with_capacity(envelope.recipients.len());
        for recipient in &envelope.recipients {
            recipients.push(RecipientFacts {
                address: address(&recipient.address)?,
                params: Parameters::default(),
                transportid: recipient
                    .transportid
                    .as_deref()
                    .map(Into::into)
                    .or_else(|| server.transport.clone()),
            });
        }
        let Some(mut reception) = self.reception.take() else {
            return Err(refused("the message was handed in already"));
        };
        let rest = self.lines.finish();
        self.size += rest.len() as u64;
        reception.take(rest);
        let facts = TransactionFacts {
            sender: sender.unwrap_or_else(Address::null),
            params: Parameters::default(),
            recipients,
        };
        let mut connection =
            Connection::injected(Arc::clone(&self.core), server, facts, envelope.metadata);
        let end = EndOfData { size: self.size, received: 0 };
        self.core.tasks.spawn_on(
            async move {
                let verdict = Box::pin(reception.finish(&mut connection, end)).await;
                done.complete(code(&verdict), &verdict.reply.lines.join("\n"));
            },
            &self.runtime,
        );
        Ok(())
    }
}

/// The code of a verdict, as a client would hear it.
fn code(verdict: &Verdict) -> u16 {
    verdict.reply.code.unwrap_or(match verdict.decision {
        Decision::Accept => 250,
        Decision::Defer => 421,
        Decision::Reject => 550,
    })
}

/// Makes every line end CRLF: a plugin may read files that have others, and a bare one must not go
/// out over SMTP (RFC 5321 §2.3.8).
#[derive(Default)]
struct Lines {
    /// A carriage return is held back until it is known what follows.
    has_cr: bool,
}

impl Lines {
    fn take(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + data.len() / 32 + 2);
        for &octet in data {
            match (self.has_cr, octet) {
                (had, b'\r') => {
                    if had {
                        out.extend_from_slice(b"\r\n");
                    }
                    self.has_cr = true;
                }
                (_, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.has_cr = false;
                }
                (true, other) => {
                    out.extend_from_slice(b"\r\n");
                    out.push(other);
                    self.has_cr = false;
                }
                (false, other) => out.push(other),
            }
        }
        out
    }

    fn finish(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.has_cr) { b"\r\n" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_becomes_crlf_wherever_the_pieces_are_cut() {
        let given = b"a\r\nb\nc\rd\r\r\n\n\r";
        let wanted: &[u8] = b"a\r\nb\r\nc\r\nd\r\n\r\n\r\n\r\n";
        for cut in 0..=given.len() {
            let mut lines = Lines::default();
            let mut out = lines.take(&given[..cut]);
            out.extend(lines.take(&given[cut..]));
            out.extend_from_slice(lines.finish());
            assert_eq!(out, wanted, "cut at {cut}");
        }
    }
}
