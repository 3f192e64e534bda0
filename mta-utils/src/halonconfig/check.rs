//! Everything that is wrong with packed files, each by itself and all together.

use std::io;
use std::path::Path;

use config::{Diagnostic, Severity};

use super::pack::Packed;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) texts: Vec<String>,
    pub(super) has_error: bool,
}

/// Checks the files as the server would load them: by its startup configuration when there is one,
/// else each alone. Files of other programs only have to be YAML, which they are already.
pub(super) fn check(packed: &Packed) -> Findings {
    let find = |path: &str| {
        let name = Path::new(path).file_name()?.to_str()?;
        packed.get(name)
    };
    let mut diagnostics = Vec::new();
    if packed.contains_key("smtpd.yaml") {
        let read = |path: &str| {
            let text = find(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(text.clone().into_bytes())
        };
        // Without a running configuration the startup configuration is still looked at.
        if packed.contains_key(super::RUNNING) {
            diagnostics = config::check("smtpd.yaml", read).diagnostics;
        } else {
            alone(packed, "smtpd.yaml", &mut diagnostics, |text, name| {
                config::load_startup(text, name).map(|loaded| loaded.warnings)
            });
        }
    }
    if diagnostics.is_empty() {
        alone(packed, super::RUNNING, &mut diagnostics, |text, name| {
            config::load_running(text, name).map(|loaded| loaded.warnings)
        });
        alone(packed, "smtpd-policy.yaml", &mut diagnostics, |text, name| {
            config::load_policy(text, name).map(|loaded| loaded.warnings)
        });
        alone(packed, "smtpd-suspend.yaml", &mut diagnostics, |text, name| {
            config::load_suspend(text, name).map(|loaded| loaded.warnings)
        });
        alone(packed, "smtpd-delivery.yaml", &mut diagnostics, |text, name| {
            config::load_delivery(text, name).map(|loaded| loaded.warnings)
        });
    }
    let mut out = Findings::default();
    for finding in diagnostics {
        out.has_error |= finding.severity == Severity::Error;
        out.texts.push(finding.render(find(&finding.file).map_or("", String::as_str)));
    }
    out
}

fn alone(
    packed: &Packed,
    name: &str,
    diagnostics: &mut Vec<Diagnostic>,
    load: impl FnOnce(&str, &str) -> Result<Vec<Diagnostic>, Vec<Diagnostic>>,
) {
    if let Some(text) = packed.get(name) {
        diagnostics.extend(load(text, name).unwrap_or_else(|errors| errors));
    }
}
