//! A daemon for tests: it writes down what plugins do, and completes injections at once.

use std::sync::Arc;

use hsl::Value;
use parking_lot::Mutex;
use plugin_host::services::{
    InjectDone, InjectEnvelope, InjectMessage, PluginPolicy, PluginSuspend, PolicyUpdate,
    QueueField, ServiceError,
};
use plugin_host::{
    DeliverServices, FileContent, InjectServices, MessageField, MessageInfo, QueueServices,
    ValueServices,
};

/// The services.
#[derive(Default)]
pub(crate) struct Daemon {
    log: Mutex<Vec<String>>,
}

/// The state of a file object of these tests.
pub(crate) struct TestFile(pub(crate) Arc<dyn FileContent>);

/// A message with made-up fields.
pub(crate) struct TestMessage;

impl Daemon {
    pub(crate) fn note(&self, line: String) {
        self.log.lock().push(line);
    }

    /// Takes what was written down since the last time.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock())
    }
}

impl MessageInfo for TestMessage {
    fn text(&self, field: MessageField) -> Option<String> {
        match field {
            MessageField::TransactionId => Some("t-1".to_owned()),
            MessageField::RecipientDomain => Some("example.com".to_owned()),
            _ => None,
        }
    }

    fn queueid(&self) -> usize {
        7
    }
}

impl DeliverServices for Daemon {
    fn trace(&self, message: &dyn MessageInfo, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        self.note(format!("trace {} {text}", message.queueid()));
    }
}

impl ValueServices for Daemon {
    fn file(&self, value: &Value) -> Option<Arc<dyn FileContent>> {
        Some(Arc::clone(&value.as_object()?.state::<TestFile>()?.0))
    }
}

impl QueueServices for Daemon {
    fn suspend_add(&self, suspend: PluginSuspend) -> Result<String, ServiceError> {
        let id = suspend.id.clone().unwrap_or_else(|| "s1".to_owned());
        self.note(format!("suspend_add {suspend:?}"));
        Ok(id)
    }

    fn suspend_delete(&self, id: &str) -> bool {
        self.note(format!("suspend_delete {id}"));
        true
    }

    fn policy_add(&self, policy: PluginPolicy) -> Result<String, ServiceError> {
        let id = policy.id.clone().unwrap_or_else(|| "p1".to_owned());
        self.note(format!("policy_add {policy:?}"));
        Ok(id)
    }

    fn policy_update(&self, id: &str, update: PolicyUpdate) -> bool {
        self.note(format!("policy_update {id} {update:?}"));
        true
    }

    fn policy_delete(&self, id: &str) -> bool {
        self.note(format!("policy_delete {id}"));
        true
    }

    fn policy_divide(&self, hosts: usize) {
        self.note(format!("policy_divide {hosts}"));
    }

    fn list_add(&self, field: QueueField, list: &str) -> bool {
        self.note(format!("list_add {field:?} {list}"));
        true
    }

    fn list_item_add(&self, field: QueueField, list: &str, value: &str) -> bool {
        self.note(format!("list_item_add {field:?} {list} {value}"));
        true
    }

    fn list_item_delete(&self, field: QueueField, list: &str, value: &str) -> bool {
        self.note(format!("list_item_delete {field:?} {list} {value}"));
        true
    }

    fn list_reload(&self, field: Option<QueueField>, list: Option<&str>) -> bool {
        self.note(format!("list_reload {field:?} {list:?}"));
        true
    }
}

struct Incoming {
    message: Vec<u8>,
    server: String,
}

impl InjectServices for Daemon {
    fn begin(&self, serverid: &str) -> Option<Box<dyn InjectMessage>> {
        let incoming = Incoming { message: Vec::new(), server: serverid.to_owned() };
        ["plugin", "full", "at-once"]
            .contains(&serverid)
            .then(|| Box::new(incoming) as Box<dyn InjectMessage>)
    }
}

impl InjectMessage for Incoming {
    fn append(&mut self, data: &[u8]) -> bool {
        self.message.extend_from_slice(data);
        true
    }

    fn commit(&mut self, envelope: InjectEnvelope, done: InjectDone) -> Result<(), ServiceError> {
        if self.server == "full" {
            return Err(ServiceError("the disk is full".to_owned()));
        }
        let text = format!(
            "{} octets for {} with {:?}",
            self.message.len(),
            envelope.recipients.len(),
            envelope.metadata
        );
        if self.server == "at-once" {
            // The plugin is called back inside of its own call.
            done.complete(250, &text);
        } else {
            std::thread::spawn(move || done.complete(250, &text));
        }
        Ok(())
    }
}
