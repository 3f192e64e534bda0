//! The options of `Try` and of server arrays: what a script lays over the settings.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::running::{Destination, MailProtocol, ProxyProtocol};
use config::value::TlsMode;
use hsl::host::Thrown;
use hsl::{Array, Value};
use mta_types::Address;
use script_host::hooks::{eod, values, verdict};
use smtp::parameters::Parameters;

use crate::plan::{PluginCall, Settings, Sni, Source, TryDsn};
use crate::world::World;

/// The host that stands for the exchangers of the recipient's domain.
pub const LOOKUP_MX: &str = "lookup-mx";

/// Lays `Try` options over the settings.
///
/// # Errors
///
/// An option of the wrong kind, by name, or an address that the configuration does not have.
pub fn apply(settings: &mut Settings, world: &World, options: &Array) -> Result<(), Thrown> {
    if let Some(host) = verdict::text(options, "host") {
        settings.destination = if host == LOOKUP_MX {
            Destination::Mx
        } else if let Ok(ip) = host.parse::<IpAddr>() {
            Destination::Address(ip)
        } else {
            Destination::Host(host.into())
        };
    }
    if let Some(port) = options.get_text("port").and_then(Value::as_number) {
        if !(1.0..=65535.0).contains(&port) {
            return Err(Thrown::new("Try: port is not between 1 and 65535"));
        }
        settings.port = port as u16;
    }
    if let Some(sender) = options.get_text("sender").filter(|v| !v.is_none()) {
        let (address, params) = party(sender)?;
        settings.sender = address.or(settings.sender.take());
        settings.sender_params = params;
    }
    if let Some(recipient) = options.get_text("recipient").filter(|v| !v.is_none()) {
        let (address, params) = party(recipient)?;
        settings.recipient = address.or(settings.recipient.take());
        settings.recipient_params = params;
    }
    if let Some(helo) = verdict::text(options, "helo") {
        settings.helo = Some(helo.into());
    }
    if let Some(Value::Array(list)) = options.get_text("sourceip") {
        settings.sources =
            list.values().map(|item| source(world, item)).collect::<Result<_, _>>()?;
    }
    if let Some(nonlocal) = options.get_text("nonlocal_source") {
        settings.nonlocal_source = nonlocal.is_truthy();
    }
    if let Some(random) = options.get_text("sourceip_random") {
        settings.source_random = random.is_truthy();
    }
    if let (Some(username), Some(password)) =
        (verdict::text(options, "saslusername"), verdict::text(options, "saslpassword"))
    {
        settings.credentials = Some((username.into(), password.into()));
    }
    if let Some(seconds) = options.get_text("connect_timeout").and_then(Value::as_number) {
        settings.connect_timeout = Duration::try_from_secs_f64(seconds.max(0.0))
            .map_err(|_| Thrown::new("Try: connect_timeout is too large"))?;
        settings.chosen.connect_timeout = true;
    }
    if let Some(Value::Array(states)) = options.get_text("timeout") {
        for (state, seconds) in states.iter() {
            let name = hsl::ops::to_text(&state.to_value());
            let state = name
                .as_text()
                .and_then(config::delivery::SmtpState::from_word)
                .ok_or_else(|| {
                    Thrown::new(format!("Try: {} is no SMTP state", name.as_text().unwrap_or("?")))
                })?;
            let wait = seconds
                .as_number()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| Thrown::new("Try: a timeout is no number of seconds"))?;
            settings.timeouts.insert(0, (state, wait));
        }
    }
    if let Some(protocol) = verdict::text(options, "protocol") {
        settings.protocol = match protocol.as_str() {
            "smtp" => MailProtocol::Smtp,
            "lmtp" => MailProtocol::Lmtp,
            other => return Err(Thrown::new(format!("Try: protocol {other} is unknown"))),
        };
    }
    if let Some(pooling) = options.get_text("pooling") {
        settings.pooling.enabled = pooling.is_truthy();
        settings.chosen.pooling = true;
    }
    if let Some(chunking) = options.get_text("chunking") {
        settings.chunking = chunking.is_truthy();
    }
    let names = |key: &str| match options.get_text(key) {
        Some(Value::Array(list)) => {
            Some(list.values().filter_map(Value::as_text).map(str::to_owned).collect::<Vec<_>>())
        }
        _ => None,
    };
    if let Some(list) = names("mx_include") {
        settings.mx_include = list;
    }
    if let Some(list) = names("mx_exclude") {
        settings.mx_exclude = list;
    }
    if let Some(Value::Array(attributes)) = options.get_text("xclient") {
        settings.xclient = values::text_pairs(attributes);
    }
    if let Some(Value::Array(plugin)) = options.get_text("plugin") {
        let id =
            verdict::text(plugin, "id").ok_or_else(|| Thrown::new("Try: plugin has no id"))?.into();
        let arguments = plugin.get_text("arguments").filter(|value| !value.is_none()).cloned();
        settings.plugin = Some(PluginCall { id, arguments });
    }
    if let Some(Value::Array(proxy)) = options.get_text("proxyprotocol") {
        let port = proxy.get_text("port").and_then(Value::as_number).unwrap_or_default();
        let server = verdict::text(proxy, "server")
            .ok_or_else(|| Thrown::new("Try: proxyprotocol has no server"))?;
        if !(1.0..=65535.0).contains(&port) {
            return Err(Thrown::new("Try: proxyprotocol: port is not between 1 and 65535"));
        }
        settings.proxy = Some(ProxyProtocol { server: server.into(), port: port as u16 });
    }
    if let Some(Value::Array(dsn)) = options.get_text("dsn") {
        settings.dsn = Some(Arc::new(try_dsn(dsn)?));
    }
    apply_tls(settings, options, names("tls_verify_name"))
}

/// The options `sender` and `recipient`: an address, or an array of its parts with `params`. Without
/// parts the address stays as it is.
fn party(value: &Value) -> Result<(Option<Address>, Option<Parameters>), Thrown> {
    let Value::Array(parts) = value else { return Ok((Some(values::parse_address(value)?), None)) };
    let params = match parts.get_text("params") {
        None | Some(Value::None) => return Ok((Some(values::parse_address(value)?), None)),
        Some(Value::Array(params)) => values::parse_parameters(params)?,
        Some(_) => return Err(Thrown::new("Try: params expects an array")),
    };
    let has_address = ["localpart", "domain"].iter().any(|part| parts.get_text(part).is_some());
    let address = has_address.then(|| values::parse_address(value)).transpose()?;
    Ok((address, Some(params)))
}

/// The option `dsn`: what the sender is told of success, and RFC 3461's parameters.
fn try_dsn(options: &Array) -> Result<TryDsn, Thrown> {
    let is_delivery = match verdict::text(options, "success").as_deref() {
        None | Some("relayed") => false,
        Some("delivered") => true,
        Some(other) => {
            return Err(Thrown::new(format!("Try: dsn: success {other} is unknown")));
        }
    };
    // As they come from the envelope, so as text; a list of words is accepted as well.
    let notify = match options.get_text("notify") {
        Some(Value::Array(words)) => {
            let words: Vec<String> = words.values().map(values::text).collect();
            Some(words.join(","))
        }
        _ => verdict::text(options, "notify"),
    };
    Ok(TryDsn {
        is_delivery,
        envid: verdict::text(options, "envid").map(Into::into),
        ret: verdict::text(options, "ret").map(|ret| eod::parse_ret(&ret)),
        notify: notify.map(|notify| eod::parse_notify(&notify)),
        orcpt: verdict::text(options, "orcpt").map(Into::into),
    })
}

fn apply_tls(
    settings: &mut Settings,
    options: &Array,
    verify_names: Option<Vec<String>>,
) -> Result<(), Thrown> {
    let tls = &mut settings.tls;
    if let Some(mode) = verdict::text(options, "tls") {
        tls.mode = mode
            .parse::<TlsMode>()
            .map_err(|_| Thrown::new(format!("Try: TLS mode {mode} is unknown")))?;
        settings.chosen.tls_mode = true;
    }
    match options.get_text("tls_sni") {
        None | Some(Value::None) => {}
        Some(Value::String(name)) => {
            tls.sni = Sni::Name(String::from_utf8_lossy(name.as_bytes()).into_owned());
        }
        Some(value) => tls.sni = if value.is_truthy() { Sni::Host } else { Sni::Off },
    }
    if let Some(protocols) = verdict::text(options, "tls_protocols") {
        let protocols: config::value::TlsProtocols = protocols
            .parse()
            .map_err(|error| Thrown::new(format!("Try: tls_protocols: expected {error}")))?;
        tls.versions = tls_policy::Versions { tls12: protocols.tls12, tls13: protocols.tls13 };
        settings.chosen.tls_protocols = true;
    }
    if let Some(text) = verdict::text(options, "tls_ciphers") {
        let ciphers = tls_policy::Ciphers::parse(&text)
            .map_err(|error| Thrown::new(format!("Try: tls_ciphers: {error}")))?;
        tls.ciphers = Some((text, ciphers));
    }
    if let Some(verify) = options.get_text("tls_verify_host").filter(|value| !value.is_none()) {
        tls.verify_host = Some(verify.is_truthy());
    }
    if let Some(names) = verify_names {
        tls.verify_names = names;
    }
    if let Some(system) = options.get_text("tls_default_ca") {
        tls.default_ca = system.is_truthy();
    }
    if let Some(id) = verdict::text(options, "tls_client_cert") {
        tls.client_cert = Some(id.strip_prefix("pki:").unwrap_or(&id).into());
    }
    Ok(())
}

/// A source address: an id, or an array with `id` or `address`, and `helo`.
fn source(world: &World, item: &Value) -> Result<Source, Thrown> {
    let by_id = |id: &str| {
        world
            .running
            .addresses
            .get(id)
            .map(Source::of)
            .ok_or_else(|| Thrown::new(format!("Try: sourceip {id} is not in addresses")))
    };
    match item {
        Value::Array(parts) => {
            let mut source = match (verdict::text(parts, "id"), verdict::text(parts, "address")) {
                (Some(id), _) => by_id(&id)?,
                (None, Some(address)) => Source {
                    id: None,
                    address: address.parse().map_err(|_| {
                        Thrown::new(format!("Try: sourceip {address} is no address"))
                    })?,
                    helo: None,
                    proxy: None,
                },
                (None, None) => {
                    return Err(Thrown::new("Try: a sourceip has no id and no address"));
                }
            };
            if let Some(helo) = verdict::text(parts, "helo") {
                source.helo = Some(helo.into());
            }
            Ok(source)
        }
        other => by_id(other.as_text().unwrap_or_default()),
    }
}
