//! The daemon as the ground of scripts' SMTP dialogues, and in-line delivery over it.

use std::sync::{Arc, Weak};

use config::running::Destination;
use hsl::host::Thrown;
use hsl_std::services::{FileContent, MailClient};
use mail_client::connections::Registry;
use mail_client::count::Level;
use mail_client::plan::Settings;
use mail_client::script_client::{Ground, ScriptClient, attempt};
use mail_client::smtp::OutboundEntry;
use mail_client::world::World;
use script_host::hooks::eod::CopyFacts;
use smtp::client::{Answer, BodyType, Envelope, Outcome, Purpose, Recipient};
use smtp::parameters::Parameters;
use smtp::server::Verdict;

use crate::context::Core;
use crate::generation::Generation;
use crate::outbound::outcome::Ending;
use crate::services::CoreSlot;

/// Speaks SMTP for scripts, as the running configuration has it.
pub(crate) fn client(slot: &CoreSlot) -> Arc<dyn MailClient> {
    let slot = Arc::clone(slot);
    Arc::new(ScriptClient(move || {
        let core = slot.get().and_then(Weak::upgrade);
        let core = core.ok_or_else(|| Thrown::new("the server is not running yet"))?;
        let generation = core.generation_of_script();
        let ground: Arc<dyn Ground> = Arc::new(DaemonGround { core, generation });
        Ok(ground)
    }))
}

/// A daemon with the configuration that a dialogue began with.
struct DaemonGround {
    core: Arc<Core>,
    generation: Arc<Generation>,
}

impl Ground for DaemonGround {
    fn world(&self) -> &World {
        &self.generation
    }

    fn connections(&self) -> &Registry<OutboundEntry> {
        &self.core.outbound
    }

    fn level(&self) -> Level {
        self.core.stats.outbound.enter()
    }

    fn seed(&self) -> u64 {
        dns::mx::seed(self.core.ids.next().as_bytes(), 0)
    }
}

/// Delivers a message that a client waits for, to all recipients or none. The verdict is what the
/// server said.
///
/// # Errors
///
/// The transport has no server of its own.
///
/// # Cancel safety
///
/// Dropping the future closes the connection; the server may have taken the message.
pub(crate) async fn deliver_in_line(
    core: &Arc<Core>,
    generation: Arc<Generation>,
    copy: CopyFacts,
    recipients: Vec<Recipient>,
    smtputf8: bool,
    content: Arc<dyn FileContent>,
) -> Result<Verdict, String> {
    let ground = DaemonGround { core: Arc::clone(core), generation: Arc::clone(&generation) };
    let id = copy.transportid.as_str();
    let transport = generation.running.transports.get(id);
    let transport = transport.ok_or_else(|| format!("there is no transport {id}"))?;
    let settings = Settings::new(&generation, transport);
    if settings.destination == Destination::Mx {
        return Err(format!("transport {id} has no server: in-line delivery needs one"));
    }
    let envelope = Envelope {
        sender: copy.sender,
        params: Parameters::default(),
        recipients,
        size: Some(content.len()),
        body: BodyType::EightBit,
        smtputf8,
        purpose: Purpose::DeliverToAll,
    };
    let attempt = attempt(&ground, &settings, envelope, content).await;
    Ok(match attempt.ending {
        Ending::Answered(Outcome { answer: Answer::Reply(reply), .. }) => Verdict::from(reply),
        _ => {
            tracing::warn!(transport = id, error = attempt.reason(), "delivery.in_line_failed");
            Verdict::defer()
        }
    })
}
