//! Standard input: a script, a running configuration, or both.

use std::io::{BufRead, StdinLock};

use anyhow::Context;

/// What has been read from standard input.
///
/// # Compatibility
///
/// Debuggers keep the stream open and end each part with EOT (0x04). With `-A - -` there are two parts,
/// of which one is YAML; in which order is not documented, so both are taken.
#[derive(Default)]
pub(crate) struct StandardInput {
    /// A script that came with a configuration.
    script: Option<Vec<u8>>,
}

impl StandardInput {
    /// Reads a configuration, and the script too if it `is_shared` with one.
    pub(crate) fn configuration(&mut self, is_shared: bool) -> anyhow::Result<String> {
        let mut stdin = std::io::stdin().lock();
        let mut configuration = read_part(&mut stdin)?;
        if is_shared {
            let mut script = read_part(&mut stdin)?;
            let is_configuration = |text: &[u8]| config::load_running(text, "-").is_ok();
            if !is_configuration(&configuration) && is_configuration(&script) {
                std::mem::swap(&mut configuration, &mut script);
            }
            self.script = Some(script);
        }
        String::from_utf8(configuration).context("the configuration is no UTF-8")
    }

    /// The script.
    pub(crate) fn script(&mut self) -> anyhow::Result<Vec<u8>> {
        match self.script.take() {
            Some(script) => Ok(script),
            None => read_part(&mut std::io::stdin().lock()),
        }
    }
}

/// Reads up to EOT or the end.
fn read_part(stdin: &mut StdinLock<'_>) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    stdin.read_until(END_OF_TRANSMISSION, &mut text).context("cannot read standard input")?;
    if text.last() == Some(&END_OF_TRANSMISSION) {
        text.pop();
    }
    Ok(text)
}

const END_OF_TRANSMISSION: u8 = 0x04;
