//! `halonctl.yaml`: where the control sockets are, when not at the default place.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use control::{client::Endpoint, command::Program};
use serde::Deserialize;

use crate::error::{Class, Error, Result};

/// Read when no other file is named, and only if it exists.
pub(crate) const DEFAULT_PATH: &str = "/etc/halon/halonctl.yaml";

/// Finds the control socket of `program` in `path`, or in the default file.
pub(crate) fn endpoint(path: Option<&Path>, program: Program) -> Result<Endpoint> {
    let settings = match path {
        Some(path) => read(path)?,
        None => read_default(Path::new(DEFAULT_PATH))?,
    };
    let socket = settings.environment.controlsockets.get(program.name());
    Ok(match socket {
        Some(ControlSocket { path: Some(path), .. }) => Endpoint::Unix(path.clone()),
        Some(ControlSocket { port: Some(port), address, .. }) => {
            Endpoint::Tcp(address.clone().unwrap_or_else(|| "127.0.0.1".to_owned()), *port)
        }
        _ => default_endpoint(program),
    })
}

/// Where the daemon puts the socket of `program`.
pub(crate) fn default_endpoint(program: Program) -> Endpoint {
    Endpoint::Unix(format!("/var/run/halon/{program}.ctl").into())
}

/// The members that concern us; others are left to newer releases.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    environment: Environment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Environment {
    controlsockets: BTreeMap<String, ControlSocket>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ControlSocket {
    path: Option<PathBuf>,
    port: Option<u16>,
    address: Option<String>,
}

fn read_default(path: &Path) -> Result<Settings> {
    match fs::exists(path) {
        Ok(true) => read(path),
        _ => Ok(Settings::default()),
    }
}

fn read(path: &Path) -> Result<Settings> {
    let wrong = |cause: anyhow::Error| {
        Error::new(Class::Configuration, cause.context(format!("cannot read {}", path.display())))
    };
    let text = fs::read_to_string(path).map_err(|error: io::Error| wrong(error.into()))?;
    if text.trim().is_empty() {
        return Ok(Settings::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        // The text has a snippet of the file; our own first word is "error" already.
        let text = error.to_string();
        wrong(anyhow::anyhow!("{}", text.strip_prefix("error: ").unwrap_or(&text)))
    })
}
