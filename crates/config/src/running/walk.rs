//! Reads `smtpd-app.yaml` into [`Running`] and checks what its table cannot say.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use indexmap::IndexMap;
use mta_types::{ServerId, TransportId};

use super::table::HOOK_LIMITS;
use super::transport::{check_transport, proxyprotocol, transports};
use super::{
    CustomMetric, DataPhase, Extensions, GroupingDefault, GroupingRule, Hooks, KEYS, Lists,
    MailProtocol, MailfromPhase, MetricKind, Monitor, Phases, PoolingPolicy, Queues, RcpttoPhase,
    RecipientHooks, Resolver, RetryInterval, Running, ScriptFile, ScriptLimits, Scripting, Server,
    ServerTls, SourceAddress, Transport,
};
use crate::node::{KeyPath, Node, Value};
use crate::read::{Cursor, Findings, FromNode, Read, file_data, matchers};
use crate::startup;
use crate::value::{Field, Matcher, Size, Source};

/// Reads a validated file.
pub(crate) fn read(root: &Arc<Node>, findings: &mut Findings) -> Read<Running> {
    let top = Cursor::new(root, KEYS, KeyPath::root());
    let version = startup::version(&top, findings)?;
    let scripting = scripting(&top.map("scripting"), findings)?;
    let addresses = addresses(&top, findings)?;
    let pki = startup::pki(&top.map("pki"), findings)?
        .into_iter()
        .map(|entry| (Arc::clone(&entry.id), entry))
        .collect();
    let transports = transports(&top, &addresses, findings)?;
    let lists = lists(&top.map("lists"), findings)?;
    let running = Running {
        version,
        servers: servers(&top, &scripting.hooks, &transports, findings)?,
        transports,
        scripting,
        addresses,
        pki,
        resolver: resolver(&top.map("resolver"))?,
        queues: queues(&top.map("queues"), &lists, findings)?,
        lists,
        plugins: plugins(&top, findings)?,
        monitor: monitor(&top.map("monitor"), findings)?,
        entrypoint: top.optional("__entrypoint")?,
    };
    Ok(running)
}

fn servers(
    top: &Cursor<'_>,
    hooks: &Hooks,
    transports: &IndexMap<TransportId, Transport>,
    findings: &mut Findings,
) -> Read<IndexMap<ServerId, Server>> {
    let mut servers = IndexMap::new();
    for cursor in top.list("servers") {
        let id: ServerId = cursor.value("id")?;
        let kind = cursor.value("type")?;
        startup::unimplemented_kind(&cursor, kind, findings);
        let transport: Option<TransportId> = cursor.optional("transport")?;
        if let Some(transport) = &transport {
            check_transport(&cursor, "transport", transport, transports, findings);
        }
        let phases = phases(&cursor.map("phases"), hooks, findings)?;
        let concurrency = cursor.map("concurrency");
        let mut extensions = extensions(&cursor.values("extensions")?);
        extensions.chunking &= phases.data.chunking;
        let server = Server {
            id: id.clone(),
            kind,
            hostname: cursor.optional("hostname")?,
            transport,
            phases,
            concurrency_total: concurrency.value("total")?,
            concurrency_ip: concurrency.optional("ip")?,
            timeout_idle: cursor.map("timeout").value("idle")?,
            tls: server_tls(&cursor.map("tls"))?,
            logging: cursor.value("logging")?,
            extensions,
        };
        if servers.insert(id.clone(), server).is_some() {
            findings.error(&cursor, "id", format!("there is another server `{id}`"));
        }
    }
    Ok(servers)
}

fn phases(phases: &Cursor<'_>, hooks: &Hooks, findings: &mut Findings) -> Read<Phases> {
    let mut hook = |phase: &str, scripts: &IndexMap<Arc<str>, Arc<str>>| {
        let cursor = phases.map(phase);
        let id: Option<Arc<str>> = cursor.optional("hook")?;
        if let Some(id) = &id {
            check_hook(&cursor, "hook", phase, id, scripts, findings);
        }
        Ok(id)
    };
    let connect = hook("connect", &hooks.connect)?;
    let disconnect = hook("disconnect", &hooks.disconnect)?;
    let proxy = hook("proxy", &hooks.proxy)?;
    let helo = hook("helo", &hooks.helo)?;
    let auth = hook("auth", &hooks.auth)?;
    let mailfrom = hook("mailfrom", &hooks.mailfrom)?;
    let eod = hook("eod", &hooks.eod)?;
    let recipients = phases.map("eod").map("rcpt");
    let eodrcpt = recipient_hooks(&recipients, "eodrcpt", &hooks.eodrcpt, findings)?;
    let data = phases.map("data");
    let maxsize: Size = data.value("maxsize")?;
    Ok(Phases {
        connect,
        disconnect,
        proxy,
        helo,
        auth,
        mailfrom: MailfromPhase {
            hook: mailfrom,
            maxmessages: phases.map("mailfrom").optional("maxmessages")?,
        },
        rcptto: rcptto(&phases.map("rcptto"), &hooks.rcptto, findings)?,
        data: DataPhase {
            maxsize: Some(maxsize).filter(|size| size.bytes() > 0),
            maxhops: data.value("maxhops")?,
            multipart: data.value("multipart")?,
            chunking: data.value("chunking")?,
        },
        eod,
        eodrcpt,
    })
}

fn rcptto(
    phase: &Cursor<'_>,
    scripts: &IndexMap<Arc<str>, Arc<str>>,
    findings: &mut Findings,
) -> Read<RcpttoPhase> {
    let maxrecipients: NonZeroU32 = phase.value("maxrecipients")?;
    let hooks = recipient_hooks(phase, "rcptto", scripts, findings)?;
    Ok(RcpttoPhase { hooks, maxrecipients })
}

/// `hook` of a phase with recipients: an id, or scripts by recipient domain.
fn recipient_hooks(
    phase: &Cursor<'_>,
    name: &str,
    scripts: &IndexMap<Arc<str>, Arc<str>>,
    findings: &mut Findings,
) -> Read<RecipientHooks> {
    let mut hooks = RecipientHooks::default();
    let is_mapping = |node: &Arc<Node>| matches!(node.value, Value::Mapping(_));
    if !phase.node("hook").is_some_and(is_mapping) {
        hooks.hook = phase.optional("hook")?;
        if let Some(id) = &hooks.hook {
            check_hook(phase, "hook", name, id, scripts, findings);
        }
        return Ok(hooks);
    }
    let hook = phase.map("hook");
    hooks.hook = hook.optional("id")?;
    if let Some(id) = &hooks.hook {
        check_hook(&hook, "id", name, id, scripts, findings);
    }
    let domains = hook.map("recipientdomains");
    for entry in hook.entries("recipientdomains") {
        let id =
            Arc::<str>::from_node(&entry.value).ok_or_else(|| domains.mismatch(entry.name()))?;
        check_hook(&domains, entry.name(), name, &id, scripts, findings);
        let domain = entry.name().to_ascii_lowercase().into_boxed_str();
        if hooks.recipientdomains.insert(domain, id).is_some() {
            findings.error(&domains, entry.name(), "this domain is already there".to_owned());
        }
    }
    Ok(hooks)
}

fn check_hook(
    cursor: &Cursor<'_>,
    name: &str,
    phase: &str,
    id: &str,
    scripts: &IndexMap<Arc<str>, Arc<str>>,
    findings: &mut Findings,
) {
    if !scripts.contains_key(id) {
        let message = format!("there is no script `{id}` in scripting.hooks.{phase}");
        findings.dangling(cursor, name, message, id, scripts.keys().map(AsRef::as_ref));
    }
}

fn server_tls(tls: &Cursor<'_>) -> Read<ServerTls> {
    let certs = tls.map("certs");
    let mut sni = Vec::new();
    for entry in certs.entries("sni") {
        let id = Arc::<str>::from_node(&entry.value).ok_or_else(|| certs.mismatch("sni"))?;
        sni.push((Arc::from(entry.name().to_ascii_lowercase()), id));
    }
    Ok(ServerTls {
        cert: certs.optional("cert")?,
        sni,
        implicit: tls.values("implicit")?,
        clientcert: tls.value("clientcert")?,
    })
}

fn extensions(words: &[Arc<str>]) -> Extensions {
    let has = |word: &str| words.iter().any(|have| **have == *word);
    Extensions {
        auth: has("AUTH"),
        chunking: has("CHUNKING"),
        eightbitmime: has("8BITMIME"),
        pipelining: has("PIPELINING"),
        size: has("SIZE"),
        smtputf8: has("SMTPUTF8"),
        starttls: has("STARTTLS"),
    }
}

fn scripting(cursor: &Cursor<'_>, findings: &mut Findings) -> Read<Scripting> {
    let hooks = cursor.map("hooks");
    let mut scripts = |name: &str| {
        let mut scripts = IndexMap::new();
        for script in hooks.list(name) {
            let id: Arc<str> = script.value("id")?;
            if scripts.insert(Arc::clone(&id), script.value("data")?).is_some() {
                findings.error(&script, "id", format!("there is another {name} script `{id}`"));
            }
        }
        Ok(scripts)
    };
    let hooks = Hooks {
        connect: scripts("connect")?,
        disconnect: scripts("disconnect")?,
        proxy: scripts("proxy")?,
        helo: scripts("helo")?,
        auth: scripts("auth")?,
        mailfrom: scripts("mailfrom")?,
        rcptto: scripts("rcptto")?,
        eod: scripts("eod")?,
        eodrcpt: scripts("eodrcpt")?,
        predelivery: hooks.optional("predelivery")?,
        postdelivery: hooks.optional("postdelivery")?,
    };
    let mut files = IndexMap::new();
    for cursor in cursor.list("files") {
        if let Some(file) = script_file(&cursor, findings)? {
            let id = Arc::clone(&file.id);
            if files.insert(Arc::clone(&id), file).is_some() {
                findings.error(&cursor, "id", format!("there is another file `{id}`"));
            }
        }
    }
    let given = cursor.map("limits");
    let limits = ScriptLimits {
        depth: given.value("depth")?,
        memory: given.value("memory")?,
        fuel: given.optional("fuel")?,
        time: given.value("time")?,
    };
    let given = given.map("hooks");
    let mut hook_limits = IndexMap::new();
    for name in HOOK_LIMITS.iter().map(|key| key.name).filter(|name| given.has(name)) {
        let own = given.map(name);
        let own = ScriptLimits {
            depth: own.optional("depth")?.unwrap_or(limits.depth),
            memory: own.optional("memory")?.unwrap_or(limits.memory),
            fuel: own.optional("fuel")?.or(limits.fuel),
            time: own.optional("time")?.unwrap_or(limits.time),
        };
        hook_limits.insert(name, own);
    }
    Ok(Scripting { hooks, files, limits, hook_limits })
}

fn script_file(cursor: &Cursor<'_>, findings: &mut Findings) -> Read<Option<ScriptFile>> {
    let binary = cursor.value("binary")?;
    let data: Option<Arc<str>> = cursor.optional("data")?;
    let source = match (data, cursor.optional("path")?) {
        (Some(data), None) => match file_data(&data, binary) {
            Some(data) => Source::Data(data),
            None => {
                findings.error(
                    cursor,
                    "data",
                    "expected base64, since `binary` is true".to_owned(),
                );
                return Ok(None);
            }
        },
        (None, Some(path)) => Source::Path(path),
        (None, None) | (Some(_), Some(_)) => {
            findings.error(cursor, "", "expected either `data` or `path`".to_owned());
            return Ok(None);
        }
    };
    Ok(Some(ScriptFile { id: cursor.value("id")?, source }))
}

fn addresses(top: &Cursor<'_>, findings: &mut Findings) -> Read<IndexMap<Arc<str>, SourceAddress>> {
    let mut addresses = IndexMap::new();
    for cursor in top.list("addresses") {
        let address = SourceAddress {
            id: cursor.value("id")?,
            address: cursor.value("address")?,
            hostname: cursor.optional("hostname")?,
            proxyprotocol: proxyprotocol(&cursor.map("proxyprotocol"))?,
        };
        if address.address.is_unspecified() {
            findings.error(&cursor, "address", "this is no address to send from".to_owned());
        }
        let id = Arc::clone(&address.id);
        if addresses.insert(Arc::clone(&id), address).is_some() {
            findings.error(&cursor, "id", format!("there is another address `{id}`"));
        }
    }
    Ok(addresses)
}

fn lists(cursor: &Cursor<'_>, findings: &mut Findings) -> Read<Lists> {
    let mut lists = Lists::new();
    for (word, field) in Field::WORDS {
        let named = cursor.map(word);
        for entry in cursor.entries(word) {
            let patterns = read_matchers(&named, entry.name(), *field, &entry.value)?;
            for pattern in &patterns {
                if !matches!(
                    pattern,
                    Matcher::Exact(_) | Matcher::Below(_) | Matcher::Regex(_) | Matcher::Network(_)
                ) {
                    let message = format!("a list cannot refer to others (`{pattern}`)");
                    findings.error(&named, entry.name(), message);
                }
            }
            lists.entry(*field).or_default().insert(Arc::from(entry.name()), patterns);
        }
    }
    Ok(lists)
}

/// The patterns of one member.
pub(crate) fn read_matchers(
    cursor: &Cursor<'_>,
    name: &str,
    field: Field,
    node: &Arc<Node>,
) -> Read<Vec<Matcher>> {
    matchers(field, node).ok_or_else(|| cursor.mismatch(name))
}

fn resolver(cursor: &Cursor<'_>) -> Read<Resolver> {
    let cache = cursor.map("cache");
    Ok(Resolver {
        servers: cursor.values("servers")?,
        cache_size: cache.value("size")?,
        cache_ttl_min: cache.map("ttl").value("min")?,
        concurrency: cursor.value("concurrency")?,
    })
}

fn queues(cursor: &Cursor<'_>, lists: &Lists, findings: &mut Findings) -> Read<Queues> {
    let pooling = cursor.map("pooling");
    let grouping = cursor.map("grouping");
    let mut groupings = Vec::new();
    let mut ids = HashSet::new();
    for rule in grouping.list("groupings") {
        let patterns = |field: Field| match rule.node(field.as_str()) {
            Some(node) => read_matchers(&rule, field.as_str(), field, node),
            None => Ok(Vec::new()),
        };
        let read = GroupingRule {
            id: rule.value("id")?,
            remotemx: patterns(Field::RemoteMx)?,
            recipientdomain: patterns(Field::RecipientDomain)?,
            remoteip: patterns(Field::RemoteIp)?,
        };
        if !ids.insert(Arc::clone(&read.id)) {
            findings.error(&rule, "id", format!("there is another grouping `{}`", read.id));
        }
        grouping_references(&rule, Field::RemoteMx, &read.remotemx, lists, findings);
        grouping_references(&rule, Field::RecipientDomain, &read.recipientdomain, lists, findings);
        grouping_references(&rule, Field::RemoteIp, &read.remoteip, lists, findings);
        groupings.push(read);
    }
    let maxmessages: u64 = cursor.value("maxmessages")?;
    Ok(Queues {
        concurrency_total: cursor.map("concurrency").value("total")?,
        maxmessages: Some(maxmessages).filter(|limit| *limit > 0),
        pooling_size: pooling.value("size")?,
        pooling_policy: pooling.value("policy")?,
        grouping_default: grouping.value("default")?,
        groupings,
    })
}

/// A grouping may use lists (plugins may add some later, so a missing one is a warning), but no
/// roll-ups.
fn grouping_references(
    rule: &Cursor<'_>,
    field: Field,
    patterns: &[Matcher],
    lists: &Lists,
    findings: &mut Findings,
) {
    for pattern in patterns {
        match pattern {
            Matcher::List(name)
                if !lists.get(&field).is_some_and(|named| named.contains_key(name)) =>
            {
                let message = format!("there is no list lists.{field}.{name}");
                findings.warning(rule, field.as_str(), message);
            }
            Matcher::Rollup(_) => {
                let message = format!("`{pattern}` has a meaning only in pickup policies");
                findings.error(rule, field.as_str(), message);
            }
            _ => {}
        }
    }
}

fn plugins(top: &Cursor<'_>, findings: &mut Findings) -> Read<IndexMap<Arc<str>, Arc<Node>>> {
    let mut plugins = IndexMap::new();
    for cursor in top.list("plugins") {
        let id: Arc<str> = cursor.value("id")?;
        let config = startup::plugin_config(&cursor)?;
        if plugins.insert(Arc::clone(&id), config).is_some() {
            findings.error(&cursor, "id", format!("there is another plugin `{id}`"));
        }
    }
    Ok(plugins)
}

fn monitor(cursor: &Cursor<'_>, findings: &mut Findings) -> Read<Monitor> {
    let maxmessages = cursor.map("healthy").map("maxmessages");
    let mut metrics = Vec::new();
    let mut names = HashSet::new();
    for metric in cursor.list("metrics") {
        let read = CustomMetric {
            name: metric.value("name")?,
            kind: metric.value("type")?,
            help: metric.optional("help")?,
            buckets: metric.values("buckets")?,
        };
        if !names.insert(Arc::clone(&read.name)) {
            findings.error(&metric, "name", format!("there is another metric `{}`", read.name));
        }
        let rising = read.buckets.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
        if !rising {
            findings.error(&metric, "buckets", "the bounds must rise".to_owned());
        }
        if !read.buckets.is_empty() && read.kind != MetricKind::Histogram {
            findings.error(&metric, "buckets", "only a histogram has buckets".to_owned());
        }
        metrics.push(read);
    }
    Ok(Monitor {
        apikeys: cursor.values("apikeys")?,
        cert: cursor.map("tls").map("certs").optional("cert")?,
        maxmessages_upper: maxmessages.optional("upper")?,
        maxmessages_lower: maxmessages.optional("lower")?,
        metrics,
    })
}

impl FromNode for RetryInterval {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        let interval = std::time::Duration::from_node(node.member("interval")?)?;
        let notify = match node.member("notify") {
            Some(notify) => bool::from_node(notify)?,
            None => false,
        };
        Some(Self { interval, notify })
    }
}

impl FromNode for MailProtocol {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match node.text()? {
            "lmtp" => Some(Self::Lmtp),
            "smtp" => Some(Self::Smtp),
            _ => None,
        }
    }
}

impl FromNode for MetricKind {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match node.text()? {
            "counter" => Some(Self::Counter),
            "gauge" => Some(Self::Gauge),
            "histogram" => Some(Self::Histogram),
            _ => None,
        }
    }
}

impl FromNode for PoolingPolicy {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match node.text()? {
            "grouping" => Some(Self::Grouping),
            "remotemx" => Some(Self::RemoteMx),
            _ => None,
        }
    }
}

impl FromNode for GroupingDefault {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match node.text()? {
            "" => Some(Self::Empty),
            "recipientdomain" => Some(Self::RecipientDomain),
            "remotemx" => Some(Self::RemoteMx),
            _ => None,
        }
    }
}
