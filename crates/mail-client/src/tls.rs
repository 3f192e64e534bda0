//! TLS of one outbound connection: what the settings and the target's TLSA records come to.

use std::sync::Arc;

use config::value::TlsMode;
use smtp::client::Tls;
use tls_policy::{ClientOptions, ClientTls, Report, TlsaRecord, Verification};

use crate::attempt::{AttemptError, ErrorKind};
use crate::plan::{Settings, Sni, Target, TlsSettings};
use crate::world::World;

/// TLS of one connection, decided.
pub struct TlsSetup {
    /// `None` when TLS is off.
    pub client: Option<ClientTls>,
    /// How strictly it is wanted.
    pub level: Tls,
    /// The name sent in the handshake.
    pub sni: Option<String>,
    /// Tells set-ups apart.
    pub key: String,
}

/// What DNS says about a host's certificates.
#[derive(Debug, PartialEq, Eq)]
pub enum Dane {
    /// DNSSEC does not vouch for the way to the host, so its TLSA records say nothing (RFC 7672
    /// §2.2).
    Insecure,
    /// There are no TLSA records.
    Absent,
    /// The records could not be found out, which must not look as if there were none (RFC 7672
    /// §2.1.1).
    Failed(String),
    /// The records, usable or not; at least one.
    Records(Vec<TlsaRecord>),
}

/// Why there can be no connection to a target.
#[derive(Debug)]
pub struct Refusal {
    /// What is told.
    pub error: AttemptError,
    /// The result type of RFC 8460, where there is one.
    pub report: Option<Report>,
}

/// How the peer's certificate is looked at.
enum Check {
    Not,
    Authority,
    Dane(Vec<TlsaRecord>),
}

/// Decides how TLS is used with a target.
///
/// # Errors
///
/// [`Refusal`] when the settings cannot be kept with this target; another may do.
pub fn setup(
    world: &World,
    settings: &Settings,
    target: &Target,
) -> Result<TlsSetup, Box<Refusal>> {
    let tls = &settings.tls;
    let (level, check) = level(tls, target)?;
    let mut sni = match &tls.sni {
        Sni::Off => None,
        Sni::Host => Some(target.host.to_string()),
        Sni::Name(name) => Some(name.clone()),
    };
    if level == Tls::Disabled {
        return Ok(TlsSetup { client: None, level, sni: None, key: String::new() });
    }
    let identity = match &tls.client_cert {
        None => None,
        Some(id) => Some(world.identities.get(id).cloned().ok_or_else(|| {
            let message = format!("client certificate pki:{id} is not in the configuration");
            refusal(ErrorKind::Config, message, None)
        })?),
    };
    let mut names = Vec::new();
    match &check {
        Check::Not => {}
        Check::Authority => {
            names.clone_from(&tls.verify_names);
            if tls.verify_host.unwrap_or(names.is_empty()) {
                names.push(target.host.to_string());
            }
        }
        Check::Dane(_) => {
            // RFC 7672 §3.2.2 and §8.1: the host's own name, and it is asked for.
            sni = Some(target.host.to_string());
            names.push(target.host.to_string());
            names.extend(tls.verify_names.iter().cloned());
        }
    }
    let ciphers = tls.ciphers.as_ref().map_or("", |(text, _)| text.as_str());
    let measure = match &check {
        Check::Not => "no".to_owned(),
        Check::Authority => "authority".to_owned(),
        Check::Dane(records) => format!("{records:?}"),
    };
    let key = format!(
        "{:?}|{level:?}|{measure}|{names:?}|{}|{:?}|{ciphers}",
        tls.versions, tls.default_ca, tls.client_cert
    );
    let cache = &world.client_tls;
    let client = cache.get(key.clone(), || {
        let verification = match check {
            Check::Not => Verification::None,
            Check::Authority => {
                Verification::Authority { roots: cache.roots(tls.default_ca), names }
            }
            Check::Dane(records) => Verification::Dane { records, names },
        };
        let options = ClientOptions { versions: tls.versions, verification, identity };
        match &tls.ciphers {
            Some((_, ciphers)) => ClientTls::with_ciphers(options, ciphers),
            None => ClientTls::new(options),
        }
    });
    Ok(TlsSetup { client: Some(client), level, sni, key })
}

/// How strictly TLS is wanted, and how the certificate is looked at.
fn level(tls: &TlsSettings, target: &Target) -> Result<(Tls, Check), Box<Refusal>> {
    let named = match tls.verify_host == Some(true) || !tls.verify_names.is_empty() {
        true => Check::Authority,
        false => Check::Not,
    };
    let without_dane = match tls.mode {
        TlsMode::Disabled => return Ok((Tls::Disabled, Check::Not)),
        TlsMode::Optional => return Ok((Tls::Optional, named)),
        TlsMode::Require => return Ok((Tls::Required, named)),
        TlsMode::OptionalVerify => return Ok((Tls::Optional, Check::Authority)),
        TlsMode::RequireVerify => return Ok((Tls::Required, Check::Authority)),
        TlsMode::Dane => Some((Tls::Optional, named)),
        TlsMode::DaneFallbackRequireVerify => Some((Tls::Required, Check::Authority)),
        TlsMode::DaneRequire => None,
    };
    let host = &target.host;
    match target.dane.as_deref() {
        Some(Dane::Failed(cause)) => Err(refusal(
            ErrorKind::Dane,
            format!("{host}: cannot look up TLSA records: {cause}"),
            Some(Report::DnssecInvalid),
        )),
        Some(Dane::Records(records)) if records.iter().any(TlsaRecord::is_usable) => {
            Ok((Tls::Required, Check::Dane(records.clone())))
        }
        // RFC 7672 §2.2: the host wants TLS, but nothing says whom to expect.
        Some(Dane::Records(_)) if tls.mode == TlsMode::Dane => Ok((Tls::Required, Check::Not)),
        Some(Dane::Records(_)) => without_dane.ok_or_else(|| {
            let message = format!("{host}: no TLSA record can be used");
            refusal(ErrorKind::Dane, message, Some(Report::TlsaInvalid))
        }),
        Some(Dane::Insecure) => without_dane.ok_or_else(|| {
            let message = format!("{host}: DNSSEC does not vouch for this host");
            refusal(ErrorKind::Dane, message, Some(Report::DnssecInvalid))
        }),
        Some(Dane::Absent) | None => without_dane.ok_or_else(|| {
            let message = format!("{host}: there are no TLSA records");
            refusal(ErrorKind::Dane, message, Some(Report::DaneRequired))
        }),
    }
}

fn refusal(kind: ErrorKind, message: String, report: Option<Report>) -> Box<Refusal> {
    Box::new(Refusal { error: AttemptError { kind, temporary: true, message }, report })
}

/// Looks up the TLSA records of a host to which the way is vouched for.
pub async fn look_up(resolver: &dns::Resolver, host: &str, port: u16) -> Arc<Dane> {
    use dns::{LookupErrorKind, RecordKind, RecordValue, Security};
    let name = format!("_{port}._tcp.{host}");
    Arc::new(match resolver.query(&name, RecordKind::Tlsa).await {
        Ok(answer) if answer.security == Security::Secure => {
            let records = answer.value.into_iter().filter_map(|record| match record.value {
                RecordValue::Tlsa { usage, selector, matching, data } => {
                    Some(TlsaRecord { usage, selector, matching, data })
                }
                _ => None,
            });
            Dane::Records(records.collect())
        }
        Ok(_) => Dane::Insecure,
        Err(error) => match error.kind {
            LookupErrorKind::NoData | LookupErrorKind::NxDomain => Dane::Absent,
            _ => Dane::Failed(error.to_string()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable() -> TlsaRecord {
        TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![1; 32] }
    }

    fn unusable() -> TlsaRecord {
        TlsaRecord { usage: 1, ..usable() }
    }

    /// What comes of a mode with what DNS says: how strict, and which check.
    fn outcome(mode: TlsMode, dane: Dane) -> Result<(Tls, &'static str), Option<Report>> {
        let settings = TlsSettings { mode, ..Settings::of_script().tls };
        let target = Target {
            host: "mx.example.org".into(),
            address: "192.0.2.1:25".parse().expect("an address"),
            dane: Some(Arc::new(dane)),
        };
        match level(&settings, &target) {
            Ok((level, Check::Not)) => Ok((level, "not")),
            Ok((level, Check::Authority)) => Ok((level, "authority")),
            Ok((level, Check::Dane(_))) => Ok((level, "dane")),
            Err(refusal) => {
                assert_eq!(refusal.error.kind, ErrorKind::Dane);
                assert!(refusal.error.temporary);
                Err(refusal.report)
            }
        }
    }

    #[test]
    fn each_mode_has_its_answer_to_what_dns_says() {
        use TlsMode::{Dane as Opportunistic, DaneFallbackRequireVerify as Fallback, DaneRequire};
        let both = || Dane::Records(vec![unusable(), usable()]);
        for mode in [Opportunistic, Fallback, DaneRequire] {
            assert_eq!(outcome(mode, both()), Ok((Tls::Required, "dane")), "{mode:?}");
            let failed = outcome(mode, Dane::Failed("no answer".into()));
            assert_eq!(failed, Err(Some(Report::DnssecInvalid)), "{mode:?}");
        }
        let none = || Dane::Records(vec![unusable()]);
        assert_eq!(outcome(Opportunistic, none()), Ok((Tls::Required, "not")));
        assert_eq!(outcome(Fallback, none()), Ok((Tls::Required, "authority")));
        assert_eq!(outcome(DaneRequire, none()), Err(Some(Report::TlsaInvalid)));
        for dane in [Dane::Absent, Dane::Insecure] {
            let report = match dane {
                Dane::Absent => Report::DaneRequired,
                _ => Report::DnssecInvalid,
            };
            let copy = || if dane == Dane::Absent { Dane::Absent } else { Dane::Insecure };
            assert_eq!(outcome(Opportunistic, copy()), Ok((Tls::Optional, "not")));
            assert_eq!(outcome(Fallback, copy()), Ok((Tls::Required, "authority")));
            assert_eq!(outcome(DaneRequire, copy()), Err(Some(report)));
        }
    }
}
