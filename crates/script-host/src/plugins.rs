//! Native plugins: loaded at start, registered for scripts.

use std::path::Path;
use std::sync::Arc;

use config::Node;
use config::startup::Plugin;
use hsl::Value;
use hsl::host::Registry;
use hsl_std::keys::Certificate;
use plugin_host::{FileContent, LoadError, PluginHost, Program, Services, ValueServices, specs};

use crate::plugin_schema::{self, Block};

/// What every program offers to plugins: the files of scripts.
#[must_use]
pub fn services() -> Services {
    Services::none().with_values(Arc::new(ScriptValues))
}

/// Opens the libraries of the plugins listed and of the folder of autoloaded ones, and checks their
/// versions. `app_config` gives a plugin's block of the running configuration. Where a package
/// brought schemas, the blocks must fit them before anything is opened.
///
/// # Errors
///
/// [`LoadError`] naming the plugin.
pub fn load(
    pluginspath: &Path,
    program: Program,
    listed: &[Plugin],
    app_config: impl Fn(&str) -> Option<Arc<Node>>,
    services: Services,
) -> Result<PluginHost, LoadError> {
    let specs = specs(pluginspath, program, listed, app_config);
    for spec in &specs {
        let check =
            |block, node: &Node| plugin_schema::findings(pluginspath, &spec.id, block, node);
        let mut findings = check(Block::Startup, &spec.config);
        if let Some(running) = &spec.app_config {
            findings.extend(check(Block::Running, running));
        }
        if !findings.is_empty() {
            return Err(LoadError::Configuration { id: Arc::clone(&spec.id), findings });
        }
    }
    PluginHost::load(specs, program, services)
}

/// Starts the plugins and registers what they offer to scripts. `apply_rules` puts the policies and
/// suspensions of the configuration in force: after the first initialisation, which may make lists
/// that they refer to, and before the second, which may add to them.
///
/// # Errors
///
/// [`LoadError`] naming the plugin that refused.
pub fn start(
    host: &PluginHost,
    registry: &mut Registry,
    apply_rules: impl FnOnce(),
) -> Result<(), LoadError> {
    host.early_init()?;
    apply_rules();
    host.init()?;
    host.register(registry)
}

/// Recognises the files of scripts.
struct ScriptValues;

impl ValueServices for ScriptValues {
    fn file(&self, value: &Value) -> Option<Arc<dyn FileContent>> {
        let (content, _) = hsl_std::content_of_file(value)?;
        Some(Arc::new(ScriptFile(content)))
    }

    fn x509_value(&self, certificate: Certificate) -> Value {
        hsl_std::certificate_object(certificate)
    }
}

/// A file of the standard library, as the C door reads it.
struct ScriptFile(Arc<dyn hsl_std::services::FileContent>);

impl FileContent for ScriptFile {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_a_plugin_is_an_object_with_methods_and_goes_back_as_one() {
        let text = include_bytes!("../../hsl-std/tests/keys/rsa.crt");
        let certificate = hsl_std::keys::certificates_from_pem(text).unwrap().remove(0);
        let value = ScriptValues.x509_value(certificate.clone());
        let object = value.as_object().expect("scripts call its methods");
        assert!(object.class().method(b"subject").is_some());
        assert_eq!(ScriptValues.x509(&value), Some(certificate));
    }
}
