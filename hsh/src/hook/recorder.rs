//! What a script asks of the server that is not there: taken down instead of done.

use std::sync::Arc;

use hsl::Value;
use hsl::host::{NativeStep, Registry, Thrown};
use hsl_std::services::{BoxFuture, FileContent, MailQueue, MailToQueue, QueuedMail};
use parking_lot::Mutex;
use script_host::HookWords;
use script_host::hooks::eod::CopyFacts;

/// Takes down what scripts ask for. Clones share their list.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

/// What a script asked for.
#[derive(Default)]
pub(super) struct Recorded {
    /// Messages of its own.
    pub(super) mails: Vec<Composed>,
    /// Calls of the server's functions, with their arguments.
    pub(super) calls: Vec<(String, Vec<Value>)>,
}

/// A message that `queue()` of `MIME` or `MailMessage` was called for.
pub(super) struct Composed {
    pub(super) transaction: String,
    pub(super) copy: CopyFacts,
    pub(super) content: Arc<dyn FileContent>,
}

impl Recorder {
    /// What was taken down since the last time.
    pub(super) fn take(&self) -> Recorded {
        std::mem::take(&mut *self.0.lock())
    }

    /// Registers the functions that need a server. They return none, as those of a server do that is
    /// not up yet.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for signature in HookWords::common().functions {
            let name = signature.split('(').next().unwrap_or_default();
            let recorded = Arc::clone(&self.0);
            registry.function(signature, "Needs a server; taken down here.", move |_, args| {
                recorded.lock().calls.push((name.to_owned(), args.to_vec()));
                NativeStep::Return(Value::None)
            });
        }
    }
}

impl MailQueue for Recorder {
    fn queue(&self, mail: MailToQueue) -> Result<BoxFuture<Result<QueuedMail, Thrown>>, Thrown> {
        let copy = CopyFacts::of(&mail)?;
        let transaction = uuid::Uuid::new_v4().to_string();
        let queued = QueuedMail { transaction: transaction.clone(), queue: 1 };
        self.0.lock().mails.push(Composed { transaction, copy, content: mail.content });
        Ok(Box::pin(std::future::ready(Ok(queued))))
    }
}
