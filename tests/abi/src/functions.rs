//! What test scripts find beside the functions of plugins.

use std::sync::Arc;

use hsl::Value;
use hsl::host::{NativeStep, Registry, Thrown};
use hsl::value::Resource;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509NameBuilder};
use plugin_host::{Delivery, DeliveryVerdict, MessageInfo, PluginHost};

use crate::daemon::{Daemon, TestFile, TestMessage};

/// Registers them.
pub(crate) fn register(registry: &mut Registry, host: &Arc<PluginHost>, daemon: &Arc<Daemon>) {
    registry.class("TestFile", "a file", |class| {
        class.constructor("TestFile(string data) -> TestFile", "a file over text", |ctx, args| {
            let data = args[0].as_bytes().unwrap_or_default().to_vec();
            ctx.new_object(TestFile(Arc::new(data)))
        });
    });
    registry.function("test_key() -> RSAPrivateKey", "a new key", |_, _| {
        Ok::<_, Thrown>(Value::Resource(Resource::new("ED25519PrivateKey", key()?)))
    });
    registry.function("test_certificate() -> X509Resource", "a new certificate", |_, _| {
        let certificate = certificate().map_err(|error| Thrown::new(error.to_string()))?;
        Ok::<_, Thrown>(Value::Resource(Resource::new("X509Resource", certificate)))
    });
    registry.function("subject(X509Resource c) -> string", "its common name", |_, args| {
        let certificate = args[0].as_resource().and_then(|resource| resource.get::<X509>());
        let certificate = certificate.ok_or_else(|| Thrown::new("no certificate"))?;
        let name = certificate.subject_name().entries().next();
        Ok::<_, Thrown>(name.map(|name| Value::string(name.data().as_slice())).unwrap_or_default())
    });
    registry.function("threads() -> number", "threads of this process", |_, _| threads());
    let plugins = Arc::clone(host);
    registry.function("blocking_waits() -> number", "calls that block", move |_, _| {
        plugins.blocking_waits()
    });
    let log = Arc::clone(daemon);
    registry.function("queue_log() -> array", "what happened to the queue", move |_, _| {
        Value::list(log.take_log().into_iter().map(Value::from))
    });
    let plugins = Arc::clone(host);
    registry.function(
        "plugin_command(string id, any ...words) -> string",
        "a command",
        move |_, args| {
            let words: Vec<Vec<u8>> =
                args[1..].iter().map(|word| word.as_bytes().unwrap_or_default().to_vec()).collect();
            let id = args[0].as_text().unwrap_or_default();
            match plugins.command(id, &words) {
                Ok(text) => Ok(Value::from(text)),
                Err(error) => Err(Thrown::new(error.to_string())),
            }
        },
    );
    let plugins = Arc::clone(host);
    registry.function("plugin_reload(string yaml) -> none", "a reload", move |_, args| {
        let node = crate::yaml(args[0].as_bytes().unwrap_or_default()).map_err(Thrown::new)?;
        plugins.reload(|_| Some(Arc::clone(&node)));
        Ok::<_, Thrown>(())
    });
    let plugins = Arc::clone(host);
    let services = Arc::clone(daemon);
    registry.function(
        "deliver(string id, string message [, array arguments]) -> array",
        "a delivery attempt",
        move |ctx, args| {
            let delivery = Delivery {
                message: Arc::new(TestMessage),
                file: Arc::new(args[1].as_bytes().unwrap_or_default().to_vec()),
                arguments: (ctx.given() > 2).then(|| args[2].take()),
                services: services.clone(),
            };
            let outcome = plugins.deliver(args[0].as_text().unwrap_or_default(), delivery);
            let Some(outcome) = outcome else {
                return NativeStep::Throw(Thrown::new("the plugin does not deliver"));
            };
            NativeStep::suspend(async move {
                let outcome = outcome.await;
                let (code, reason) = match outcome.verdict {
                    DeliveryVerdict::Result { code, reason } => (f64::from(code), reason),
                    DeliveryVerdict::Error { reason } => (0.0, reason),
                };
                Ok(Value::list([code.into(), reason.into(), outcome.returned]))
            })
        },
    );
    let plugins = Arc::clone(host);
    registry.function("pickup() -> array", "a decision", move |_, _| {
        let message: Arc<dyn MessageInfo> = Arc::new(TestMessage);
        let verdict = plugins.pickup_acquire(&message);
        let refused_by = verdict.refused_by.map(|id| id.to_string());
        Value::list([Value::from(refused_by), verdict.returned])
    });
    let plugins = Arc::clone(host);
    registry.function("insert(array localips) -> array", "a decision", move |_, args| {
        let message: Arc<dyn MessageInfo> = Arc::new(TestMessage);
        let localips = args[0].as_array().into_iter().flat_map(|list| list.values());
        let localips = localips.filter_map(|ip| ip.as_text().map(str::to_owned)).collect();
        let verdict = plugins.queue_insert(&message, localips);
        let refused_by = verdict.refused_by.map(|id| id.to_string());
        Value::list([
            Value::from(refused_by),
            Value::list(verdict.localips.into_iter().map(Value::from)),
            verdict.returned,
        ])
    });
}

/// Counts the threads of this process.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn key() -> Result<PKey<openssl::pkey::Private>, Thrown> {
    PKey::generate_ed25519().map_err(|error| Thrown::new(error.to_string()))
}

fn certificate() -> Result<X509, openssl::error::ErrorStack> {
    let key = PKey::generate_ed25519()?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "plugin test")?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_subject_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.sign(&key, MessageDigest::null())?;
    Ok(builder.build())
}
