//! The options of `Try` and of server arrays: what a script lays over the settings.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::Running;
use config::running::{Destination, MailProtocol, ProxyProtocol};
use config::value::TlsMode;
use hsl::host::Thrown;
use hsl::{Array, Value};
use mta_types::Address;
use script_host::hooks::eod::EnvelopeDsn;
use script_host::hooks::{values, verdict};
use smtp::parameters::Parameters;

use crate::plan::{PluginCall, Settings, Sni, Source, TryDsn};

/// The host that stands for the exchangers of the recipient's domain.
pub const LOOKUP_MX: &str = "lookup-mx";

/// Lays `Try` options over the settings.
///
/// # Errors
///
/// An option of the wrong kind, by name, or an address that the configuration does not have.
pub fn apply(settings: &mut Settings, running: &Running, options: &Array) -> Result<(), Thrown> {
    let text = |key: &str| verdict::text_option(options, key);
    let flag = |key: &str| verdict::option(options, key).map(Value::is_truthy);
    if let Some(host) = text("host")? {
        settings.destination = if host == LOOKUP_MX {
            Destination::Mx
        } else if let Ok(ip) = host.parse::<IpAddr>() {
            Destination::Address(ip)
        } else {
            Destination::Host(host.into())
        };
    }
    if let Some(port) = verdict::number_option(options, "port")? {
        settings.port = self::port(port)?;
    }
    if let Some(sender) = verdict::option(options, "sender") {
        let (address, params) = party(sender)?;
        settings.sender = address.or(settings.sender.take());
        settings.sender_params = params;
    }
    if let Some(recipient) = verdict::option(options, "recipient") {
        let (address, params) = recipient_party(recipient)?;
        settings.recipient = address.or(settings.recipient.take());
        settings.recipient_params = params;
    }
    if let Some(helo) = text("helo")? {
        settings.helo = Some(helo.into());
    }
    if let Some(list) = verdict::array_option(options, "sourceip")? {
        settings.sources =
            list.values().map(|item| source(running, item)).collect::<Result<_, _>>()?;
    }
    if let Some(nonlocal) = flag("nonlocal_source") {
        settings.nonlocal_source = nonlocal;
    }
    if let Some(random) = flag("sourceip_random") {
        settings.source_random = random;
    }
    let login = (text("saslusername")?, text("saslpassword")?);
    if login.0.is_some() || login.1.is_some() {
        // One half may be the transport's.
        let (username, password) = settings.credentials.take().unzip();
        let username = login.0.map(Into::into).or(username);
        let password = login.1.map(Into::into).or(password);
        let both = username.zip(password);
        settings.credentials = Some(
            both.ok_or_else(|| Thrown::new("options saslusername and saslpassword go together"))?,
        );
    }
    if let Some(wait) = verdict::seconds_option(options, "connect_timeout")? {
        settings.connect_timeout = wait;
        settings.chosen.connect_timeout = true;
    }
    if let Some(states) = verdict::array_option(options, "timeout")? {
        for (state, seconds) in states.iter() {
            let state = values::text(&state.to_value());
            let known = config::delivery::SmtpState::from_word(&state)
                .ok_or_else(|| Thrown::new(format!("option timeout: {state} is no SMTP state")))?;
            let wait = values::number(seconds)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| Thrown::new("option timeout: a wait is no number of seconds"))?;
            settings.timeouts.insert(0, (known, wait));
        }
    }
    if let Some(protocol) = text("protocol")? {
        settings.protocol = match protocol.as_str() {
            "smtp" => MailProtocol::Smtp,
            "lmtp" => MailProtocol::Lmtp,
            other => return Err(Thrown::new(format!("option protocol: {other} is unknown"))),
        };
    }
    if let Some(pooling) = flag("pooling") {
        settings.pooling.enabled = pooling;
        settings.chosen.pooling = true;
    }
    if let Some(chunking) = flag("chunking") {
        settings.chunking = chunking;
    }
    if let Some(list) = verdict::texts_option(options, "mx_include")? {
        settings.mx_include = list;
    }
    if let Some(list) = verdict::texts_option(options, "mx_exclude")? {
        settings.mx_exclude = list;
    }
    if let Some(attributes) = verdict::array_option(options, "xclient")? {
        settings.xclient = values::text_pairs(attributes);
    }
    if let Some(plugin) = verdict::array_option(options, "plugin")? {
        let id = verdict::text_option(plugin, "id")?;
        let id = id.ok_or_else(|| Thrown::new("option plugin has no id"))?.into();
        let arguments = verdict::option(plugin, "arguments").cloned();
        settings.plugin = Some(PluginCall { id, arguments });
    }
    if let Some(proxy) = verdict::array_option(options, "proxyprotocol")? {
        let server = verdict::text_option(proxy, "server")?;
        let server = server.ok_or_else(|| Thrown::new("option proxyprotocol has no server"))?;
        let port = self::port(verdict::number_option(proxy, "port")?.unwrap_or_default())?;
        settings.proxy = Some(ProxyProtocol { server: server.into(), port });
    }
    if let Some(dsn) = verdict::array_option(options, "dsn")? {
        settings.dsn = Some(Arc::new(try_dsn(dsn)?));
    }
    apply_tls(settings, options)
}

fn port(number: f64) -> Result<u16, Thrown> {
    // In the range, so the cast only cuts a fraction off.
    let is_port = (1.0..=65535.0).contains(&number);
    is_port
        .then_some(number as u16)
        .ok_or_else(|| Thrown::new("option port is not between 1 and 65535"))
}

/// An address, or an array of its parts with `params`. Without parts there is no address.
///
/// # Errors
///
/// What is no address, or no parameter.
pub(crate) fn party(value: &Value) -> Result<(Option<Address>, Option<Parameters>), Thrown> {
    let Value::Array(parts) = value else { return Ok((Some(values::parse_address(value)?), None)) };
    let Some(params) = verdict::array_option(parts, "params")? else {
        return Ok((Some(values::parse_address(value)?), None));
    };
    let has_address = ["localpart", "domain"].iter().any(|part| parts.get_text(part).is_some());
    let address = has_address.then(|| values::parse_address(value)).transpose()?;
    Ok((address, Some(values::parse_parameters(params)?)))
}

/// As [`party`], of a recipient.
///
/// # Errors
///
/// As [`party`]; the null path is no recipient.
pub(crate) fn recipient_party(
    value: &Value,
) -> Result<(Option<Address>, Option<Parameters>), Thrown> {
    let (address, params) = party(value)?;
    if address.as_ref().is_some_and(Address::is_null) {
        return Err(values::no_recipient());
    }
    Ok((address, params))
}

/// The option `dsn`: what the sender is told of success, and RFC 3461's parameters.
fn try_dsn(options: &Array) -> Result<TryDsn, Thrown> {
    let is_delivery = match verdict::text_option(options, "success")?.as_deref() {
        None | Some("relayed") => false,
        Some("delivered") => true,
        Some(other) => {
            return Err(Thrown::new(format!("option success: {other} is unknown")));
        }
    };
    Ok(TryDsn { is_delivery, envelope: EnvelopeDsn::read(options)? })
}

fn apply_tls(settings: &mut Settings, options: &Array) -> Result<(), Thrown> {
    let tls = &mut settings.tls;
    if let Some(mode) = verdict::text_option(options, "tls")? {
        tls.mode = mode
            .parse::<TlsMode>()
            .map_err(|_| Thrown::new(format!("option tls: mode {mode} is unknown")))?;
        settings.chosen.tls_mode = true;
    }
    match verdict::option(options, "tls_sni") {
        None => {}
        Some(name @ Value::String(_)) => tls.sni = Sni::Name(values::text(name)),
        Some(value) => tls.sni = if value.is_truthy() { Sni::Host } else { Sni::Off },
    }
    if let Some(protocols) = verdict::text_option(options, "tls_protocols")? {
        let protocols: config::value::TlsProtocols = protocols
            .parse()
            .map_err(|error| Thrown::new(format!("option tls_protocols: {error}")))?;
        tls.versions = tls_policy::Versions { tls12: protocols.tls12, tls13: protocols.tls13 };
        settings.chosen.tls_protocols = true;
    }
    if let Some(text) = verdict::text_option(options, "tls_ciphers")? {
        let ciphers = tls_policy::Ciphers::parse(&text)
            .map_err(|error| Thrown::new(format!("option tls_ciphers: {error}")))?;
        tls.ciphers = Some((text, ciphers));
    }
    if let Some(verify) = verdict::option(options, "tls_verify_host") {
        tls.verify_host = Some(verify.is_truthy());
    }
    if let Some(names) = verdict::texts_option(options, "tls_verify_name")? {
        tls.verify_names = names;
    }
    if let Some(system) = verdict::option(options, "tls_default_ca") {
        tls.default_ca = system.is_truthy();
    }
    if let Some(id) = verdict::text_option(options, "tls_client_cert")? {
        tls.client_cert = Some(id.strip_prefix("pki:").unwrap_or(&id).into());
    }
    Ok(())
}

/// A source address: an id, or an array with `id` or `address`, and `helo`.
fn source(running: &Running, item: &Value) -> Result<Source, Thrown> {
    let by_id = |id: &str| {
        running
            .addresses
            .get(id)
            .map(Source::of)
            .ok_or_else(|| Thrown::new(format!("option sourceip: {id} is not in addresses")))
    };
    match item {
        Value::Array(parts) => {
            let text = |key: &str| verdict::text_option(parts, key);
            let mut source = match (text("id")?, text("address")?) {
                (Some(id), _) => by_id(&id)?,
                (None, Some(address)) => Source {
                    id: None,
                    address: address.parse().map_err(|_| {
                        Thrown::new(format!("option sourceip: {address} is no address"))
                    })?,
                    helo: None,
                    proxy: None,
                },
                (None, None) => {
                    return Err(Thrown::new("option sourceip: one has no id and no address"));
                }
            };
            if let Some(helo) = text("helo")? {
                source.helo = Some(helo.into());
            }
            Ok(source)
        }
        other => by_id(other.as_text().unwrap_or_default()),
    }
}
