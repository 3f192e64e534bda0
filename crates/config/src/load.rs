//! One function per file: text in, types or every fault out.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::keys::{self, Key};
use crate::node::{KeyPath, Node, Position};
use crate::read::{Findings, Read};
use crate::validate::validate;
use crate::{Delivery, Policy, Running, Startup, Suspend};
use crate::{delivery, policy, running, startup, suspend, yaml};

/// A file that was read without errors.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The content.
    pub config: T,
    /// The file's name as the caller gave it.
    pub file: Arc<str>,
    /// The same content as positioned values, for [`crate::diff`] and for positions.
    pub root: Arc<Node>,
    /// Keys in the file which this release accepts without acting on them, in file order.
    pub unimplemented: Vec<KeyPath>,
    /// What is probably not as meant.
    pub warnings: Vec<Diagnostic>,
    /// The table the file was read by.
    pub(crate) keys: &'static [Key],
}

impl<T> Loaded<T> {
    /// The place of `path` in the file.
    #[must_use]
    pub fn position_of(&self, path: &KeyPath) -> Position {
        self.root.position_of(path)
    }

    /// A diagnostic about `path`, for faults that only the caller can find (a file it names is
    /// missing, a certificate does not parse).
    #[must_use]
    pub fn diagnostic(&self, severity: Severity, path: &KeyPath, message: String) -> Diagnostic {
        Diagnostic {
            severity,
            file: Arc::clone(&self.file),
            position: self.position_of(path),
            path: path.clone(),
            message,
            hint: None,
        }
    }
}

/// Reads `smtpd.yaml`. `file` names the file in diagnostics.
///
/// # Errors
///
/// Everything that is wrong with the file; at least one diagnostic is an error, warnings may be
/// among them.
pub fn load_startup(
    text: impl AsRef<[u8]>,
    file: &str,
) -> Result<Loaded<Startup>, Vec<Diagnostic>> {
    load(text.as_ref(), file, keys::STARTUP, startup::read)
}

/// Reads `smtpd-app.yaml`. `file` names the file in diagnostics.
///
/// # Errors
///
/// As [`load_startup`].
pub fn load_running(
    text: impl AsRef<[u8]>,
    file: &str,
) -> Result<Loaded<Running>, Vec<Diagnostic>> {
    load(text.as_ref(), file, keys::RUNNING, running::read)
}

/// Reads `smtpd-policy.yaml`. `file` names the file in diagnostics.
///
/// # Errors
///
/// As [`load_startup`].
pub fn load_policy(text: impl AsRef<[u8]>, file: &str) -> Result<Loaded<Policy>, Vec<Diagnostic>> {
    load(text.as_ref(), file, keys::POLICY, policy::read)
}

/// Reads `smtpd-suspend.yaml`. `file` names the file in diagnostics.
///
/// # Errors
///
/// As [`load_startup`].
pub fn load_suspend(
    text: impl AsRef<[u8]>,
    file: &str,
) -> Result<Loaded<Suspend>, Vec<Diagnostic>> {
    load(text.as_ref(), file, keys::SUSPEND, suspend::read)
}

/// Reads `smtpd-delivery.yaml`. `file` names the file in diagnostics.
///
/// # Errors
///
/// As [`load_startup`].
pub fn load_delivery(
    text: impl AsRef<[u8]>,
    file: &str,
) -> Result<Loaded<Delivery>, Vec<Diagnostic>> {
    load(text.as_ref(), file, keys::DELIVERY, delivery::read)
}

fn load<T>(
    text: &[u8],
    file: &str,
    keys: &'static [Key],
    read: fn(&Arc<Node>, &mut Findings) -> Read<T>,
) -> Result<Loaded<T>, Vec<Diagnostic>> {
    let root = yaml::parse(text, file)?;
    let mut findings = Findings::new(file);
    validate(&root, keys, &mut findings);
    // References are looked at only when every value is of its kind; otherwise one typing error would
    // draw a tail of dangling references behind it.
    if findings.has_errors() {
        return Err(findings.into_diagnostics());
    }
    let config = match read(&root, &mut findings) {
        Ok(config) => config,
        Err(mismatch) => {
            mismatch.report(&mut findings);
            return Err(findings.into_diagnostics());
        }
    };
    if findings.has_errors() {
        return Err(findings.into_diagnostics());
    }
    let file = Arc::clone(&findings.file);
    let mut unimplemented = std::mem::take(&mut findings.unimplemented);
    unimplemented.sort_by_key(|path| root.position_of(path));
    Ok(Loaded { config, file, root, unimplemented, warnings: findings.into_diagnostics(), keys })
}
