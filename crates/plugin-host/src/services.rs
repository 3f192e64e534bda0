//! What the program gives to plugins: traits it implements and the data they exchange.
//!
//! Every method may be called from any thread, also from threads of plugins that the host never
//! saw, and while another call into the same plugin is under way. Plugins hold mutexes of their own
//! around these calls and take the same ones in their callbacks: an implementation must hold no lock
//! of its own while it calls a plugin that one of these methods also takes.
//!
//! Where a program installs nothing (`hsh` has no queue) the C functions fail as documented.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hsl::Value;
use hsl::value::Resource;
use openssl::pkey::{Id, PKey, Private};
use openssl::x509::X509;

/// The services of one process. Clones share them.
#[derive(Clone, Default)]
pub struct Services {
    pub(crate) queue: Option<Arc<dyn QueueServices>>,
    pub(crate) inject: Option<Arc<dyn InjectServices>>,
    pub(crate) values: Option<Arc<dyn ValueServices>>,
}

impl Services {
    /// No services at all: queue and injection calls fail, files are no values of plugins.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Installs what answers `HalonMTA_queue_*`.
    #[must_use]
    pub fn with_queue(mut self, queue: Arc<dyn QueueServices>) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Installs what answers `HalonMTA_inject_*`.
    #[must_use]
    pub fn with_inject(mut self, inject: Arc<dyn InjectServices>) -> Self {
        self.inject = Some(inject);
        self
    }

    /// Installs what recognises files, certificates and keys among the values of scripts.
    #[must_use]
    pub fn with_values(mut self, values: Arc<dyn ValueServices>) -> Self {
        self.values = Some(values);
        self
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services")
            .field("queue", &self.queue.is_some())
            .field("inject", &self.inject.is_some())
            .field("values", &self.values.is_some())
            .finish()
    }
}

/// Recognises values of scripts that C knows by types of its own.
///
/// The provided methods know resources and objects around the types of crate `openssl` themselves; a program
/// overrides them when its standard library wraps them in something of its own.
pub trait ValueServices: Send + Sync {
    /// The content behind a `File` object; `None` for any other value.
    fn file(&self, value: &Value) -> Option<Arc<dyn FileContent>>;

    /// The certificate behind an X509 resource or object; `None` for any other value.
    fn x509(&self, value: &Value) -> Option<X509> {
        let certificate = match value {
            Value::Resource(resource) => resource.get::<X509>(),
            Value::Object(object) => object.state::<X509>(),
            _ => None,
        };
        certificate.map(|certificate| X509::clone(&certificate))
    }

    /// The key behind a private key resource; `None` for any other value.
    fn private_key(&self, value: &Value) -> Option<PKey<Private>> {
        let key = value.as_resource()?.get::<PKey<Private>>()?;
        Some(PKey::clone(&key))
    }

    /// The value that scripts see for a certificate made by a plugin.
    fn x509_value(&self, certificate: X509) -> Value {
        Value::Resource(Resource::new("X509Resource", certificate))
    }
}

/// The name that scripts see for a private key resource.
#[must_use]
pub fn private_key_type_name(key: &PKey<Private>) -> &'static str {
    match key.id() {
        Id::RSA | Id::RSA_PSS => "RSAPrivateKey",
        Id::EC => "ECPrivateKey",
        Id::ED25519 => "ED25519PrivateKey",
        _ => "PrivateKey",
    }
}

/// Octets that plugins read as a seekable `FILE *`.
pub trait FileContent: Send + Sync {
    /// The number of octets.
    fn len(&self) -> u64;

    /// Tells whether there are no octets.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` with octets from `offset` on and returns how many; 0 at the end.
    ///
    /// # Errors
    ///
    /// What reading the disk gives; the plugin sees its `errno`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize>;

    /// The path of a file with exactly this content. Then the stream is opened on it, so that the
    /// plugin's `fileno` works.
    fn path(&self) -> Option<&Path> {
        None
    }
}

impl FileContent for Vec<u8> {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }
}

/// The queue as plugins reach it (`HalonMTA_queue_*`).
///
/// Text is octets as the plugin gave them. Callable from `Halon_early_init` on.
pub trait QueueServices: Send + Sync {
    /// Adds a dynamic suspend and returns its id: the given one, or a new one.
    ///
    /// # Errors
    ///
    /// Why it was refused; logged by the caller, the plugin gets NULL.
    fn suspend_add(&self, suspend: PluginSuspend) -> Result<String, ServiceError>;

    /// Deletes a suspend; false if there is none of that id.
    fn suspend_delete(&self, id: &str) -> bool;

    /// Adds a dynamic policy and returns its id: the given one, or a new one.
    ///
    /// # Errors
    ///
    /// Why it was refused; logged by the caller, the plugin gets NULL.
    fn policy_add(&self, policy: PluginPolicy) -> Result<String, ServiceError>;

    /// Changes the limits of a policy; false if there is none of that id.
    fn policy_update(&self, id: &str, update: PolicyUpdate) -> bool;

    /// Deletes a policy; false if there is none of that id.
    fn policy_delete(&self, id: &str) -> bool;

    /// Sets the number of hosts by which limits of cluster-wide policies are divided, at least 1.
    fn policy_divide(&self, hosts: usize);

    /// Adds a named list of values of `field`. Adding one again changes nothing.
    fn list_add(&self, field: QueueField, list: &str) -> bool;

    /// Adds a value to a list. It takes effect at [`Self::list_reload`].
    fn list_item_add(&self, field: QueueField, list: &str, value: &str) -> bool;

    /// Removes a value from a list. It takes effect at [`Self::list_reload`].
    fn list_item_delete(&self, field: QueueField, list: &str, value: &str) -> bool;

    /// Makes changes to lists take effect: of one list, of one field (`list` is `None`), or all.
    fn list_reload(&self, field: Option<QueueField>, list: Option<&str>) -> bool;
}

/// A service refused. The text is for the log and names no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(pub String);

/// A field of a queued message that policies, suspends and lists select by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QueueField {
    /// The transport.
    TransportId,
    /// The source address.
    LocalIp,
    /// The destination address.
    RemoteIp,
    /// The destination host name.
    RemoteMx,
    /// The domain of the recipient.
    RecipientDomain,
    /// The job.
    JobId,
    /// The grouping of destinations.
    Grouping,
    /// The tenant.
    TenantId,
}

/// Conditions on a queued message; `None` is no part of the condition.
///
/// The text forms are those of the configuration files (`&name` for a grouping, `@list`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCondition {
    /// The transport.
    pub transportid: Option<String>,
    /// The source address.
    pub localip: Option<String>,
    /// The destination address.
    pub remoteip: Option<String>,
    /// The destination host name.
    pub remotemx: Option<String>,
    /// The domain of the recipient.
    pub recipientdomain: Option<String>,
    /// The job.
    pub jobid: Option<String>,
    /// The grouping of destinations.
    pub grouping: Option<String>,
    /// The tenant.
    pub tenantid: Option<String>,
}

/// A suspend that a plugin adds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginSuspend {
    /// The wanted id; `None` asks for a new one.
    pub id: Option<String>,
    /// What it matches.
    pub condition: QueueCondition,
    /// A name for operators, at most 32 characters.
    pub tag: Option<String>,
    /// Keys and values for the operator.
    pub properties: Vec<(String, String)>,
    /// How long it stands; `None` until deleted.
    pub ttl: Option<Duration>,
}

/// A policy that a plugin adds.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginPolicy {
    /// The wanted id; `None` asks for a new one.
    pub id: Option<String>,
    /// The fields that counters are kept by.
    pub fields: Vec<QueueField>,
    /// What the policy is for.
    pub kind: PolicyKind,
    /// What it matches.
    pub condition: QueueCondition,
    /// Its limits.
    pub limits: PolicyUpdate,
}

/// The limits of a policy, as added or as changed. In a change, `None` in the optional members that
/// the older calls lack leaves them as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyUpdate {
    /// Deliveries at once; 0 is no limit.
    pub concurrency: usize,
    /// Deliveries per interval; 0 is no limit.
    pub tokens: usize,
    /// The interval of `tokens`.
    pub interval: Duration,
    /// How tokens are counted.
    pub rate_algorithm: Option<RateAlgorithm>,
    /// The least time between connections.
    pub connect_interval: Option<Duration>,
    /// A name for operators, at most 32 characters.
    pub tag: Option<String>,
    /// Keys and values, which post-delivery shows among the policies applied.
    pub properties: Option<Vec<(String, String)>>,
    /// Whether further policies are not looked at.
    pub stop: Option<bool>,
    /// Whether counters are those of the cluster.
    pub cluster: Option<bool>,
    /// How long it stands from now; `None` until deleted.
    pub ttl: Option<Duration>,
}

/// What a policy of a plugin is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// Any purpose.
    #[default]
    Dynamic,
    /// Growing volume of a new address; every selected field has a condition.
    Warmup,
    /// Answers of the receiving side.
    Backoff,
}

/// How the tokens of a policy are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateAlgorithm {
    /// As the configuration says.
    #[default]
    Default,
    /// In windows of the interval's length.
    FixedWindow,
    /// As a bucket that fills steadily.
    TokenBucket,
}

/// A queued message as plugins see it (`HalonMTA_message_getinfo`).
pub trait MessageInfo: Send + Sync {
    /// A field as text; `None` is shown as empty text.
    fn text(&self, field: MessageField) -> Option<String>;

    /// The number within its transaction.
    fn queueid(&self) -> usize;
}

/// A field of [`MessageInfo`] that is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageField {
    /// The transaction.
    TransactionId,
    /// The transport.
    TransportId,
    /// The source address; empty while not chosen.
    LocalIp,
    /// The destination address; empty while not chosen.
    RemoteIp,
    /// The destination host name; empty while not chosen.
    RemoteMx,
    /// The domain of the recipient.
    RecipientDomain,
    /// The job.
    JobId,
    /// The grouping of destinations.
    Grouping,
    /// The tenant.
    TenantId,
}

/// One delivery attempt by a plugin, for [`crate::PluginHost::deliver`].
pub struct Delivery {
    /// The message.
    pub message: Arc<dyn MessageInfo>,
    /// The complete message as it would be sent.
    pub file: Arc<dyn FileContent>,
    /// The `arguments` given to `Try`.
    pub arguments: Option<Value>,
    /// What takes lines for the message trace.
    pub services: Arc<dyn DeliverServices>,
}

/// The daemon's side of a delivery that is under way.
pub trait DeliverServices: Send + Sync {
    /// Takes a line for the trace of the message.
    fn trace(&self, message: &dyn MessageInfo, text: &[u8]);
}

/// How a delivery by a plugin ended.
#[derive(Clone, Debug)]
pub struct DeliveryOutcome {
    /// What the plugin said.
    pub verdict: DeliveryVerdict,
    /// The plugin's return value, which post-delivery sees.
    pub returned: Value,
}

/// What a delivery plugin said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryVerdict {
    /// A result, read like an SMTP reply: 2xx, 4xx, 5xx.
    Result {
        /// The code, as the plugin gave it.
        code: i16,
        /// Its text.
        reason: Vec<u8>,
    },
    /// A local error, which is always temporary.
    Error {
        /// Its text.
        reason: Vec<u8>,
    },
}

/// Whether a message may be picked up now.
#[derive(Clone, Debug)]
pub struct PickupVerdict {
    /// The plugin that gave the message back; `None` if it may be delivered.
    pub refused_by: Option<Arc<str>>,
    /// What that plugin returned, for `$arguments["queue"]["plugin"]["return"]`.
    pub returned: Value,
}

/// Whether a message may enter the active queue, and with which source addresses.
#[derive(Clone, Debug)]
pub struct InsertVerdict {
    /// The plugin that refused; `None` if the message may enter.
    pub refused_by: Option<Arc<str>>,
    /// The source addresses that are left.
    pub localips: Vec<String>,
    /// What the refusing plugin returned, for `$arguments["queue"]["plugin"]["return"]`.
    pub returned: Value,
}

/// Where plugins put new messages (`HalonMTA_inject_*`).
pub trait InjectServices: Send + Sync {
    /// Starts a message at the server `serverid` of type `plugin`; `None` if there is none.
    fn begin(&self, serverid: &str) -> Option<Box<dyn InjectMessage>>;
}

/// A message that a plugin is putting together. Dropping it uncommitted forgets it.
pub trait InjectMessage: Send {
    /// Takes the next octets of the message, pieces of any size; false if they cannot be kept (disk
    /// full, message too large).
    fn append(&mut self, data: &[u8]) -> bool;

    /// Hands the message in, once. On `Ok` the end-of-data hook runs, and `done` tells how it ended.
    ///
    /// # Errors
    ///
    /// Why the message cannot be taken now; then nothing was handed in.
    fn commit(&mut self, envelope: InjectEnvelope, done: InjectDone) -> Result<(), ServiceError>;
}

/// The envelope of an injected message.
#[derive(Clone, Debug, Default)]
pub struct InjectEnvelope {
    /// The sender, if the plugin gave one.
    pub sender: Option<InjectAddress>,
    /// The recipients in order.
    pub recipients: Vec<InjectRecipient>,
    /// What the hook sees as `$arguments["metadata"]`; none if not set.
    pub metadata: Value,
}

/// A recipient of an injected message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectRecipient {
    /// The address.
    pub address: InjectAddress,
    /// The transport, where the plugin names one.
    pub transportid: Option<String>,
}

/// An address in two parts; the domain may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectAddress {
    /// What stands before the `@`, unquoted.
    pub localpart: String,
    /// What stands behind it.
    pub domain: Option<String>,
}

pub use crate::inject::InjectDone;

#[cfg(test)]
mod tests {
    use hsl::value::{Class, Object};

    use super::*;

    struct NoFiles;

    impl ValueServices for NoFiles {
        fn file(&self, _: &Value) -> Option<Arc<dyn FileContent>> {
            None
        }
    }

    #[test]
    fn certificates_are_known_as_resources_and_as_objects() {
        let key = PKey::generate_ed25519().unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.sign(&key, openssl::hash::MessageDigest::null()).unwrap();
        let certificate = builder.build();
        let class = Class::builder("X509", "a certificate").build();
        let object = Value::Object(Object::new(&class, certificate.clone()));
        let resource = NoFiles.x509_value(certificate.clone());
        for value in [object, resource] {
            assert_eq!(NoFiles.x509(&value).as_ref(), Some(&certificate));
        }
        assert!(NoFiles.x509(&Value::from("text")).is_none());
        let name = private_key_type_name(&key);
        let resource = Value::Resource(Resource::new(name, key));
        assert_eq!(name, "ED25519PrivateKey");
        assert!(NoFiles.private_key(&resource).is_some() && NoFiles.x509(&resource).is_none());
    }
}
