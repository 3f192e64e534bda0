//! The root of the command line and the flags that every command knows.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser};
use control::{
    client::{Client, Endpoint, Timeouts},
    command::Program,
};

use crate::{
    commands::Command,
    error::{Error, Result},
    settings,
};

/// Controls a running mail daemon.
#[derive(Debug, Parser)]
#[command(
    term_width = 100,
    name = "halonctl",
    version,
    disable_help_subcommand = true,
    after_help = "Examples:
  halonctl reload
  halonctl queue list --state DEFER --recipientdomain example.com
  halonctl queue update --jobid newsletter-7 --delete
  halonctl process-stats"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Print the answer as JSON; of lists, the array of items
    #[arg(long, global = true)]
    json: bool,

    /// Print the request as JSON first
    #[arg(long, global = true)]
    json_request: bool,

    #[command(flatten)]
    target: Target,
}

/// Which daemon to talk to, for both programs.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// Control socket [default: /var/run/halon/smtpd.ctl]
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "address")]
    socket: Option<PathBuf>,

    /// Control socket over TCP
    #[arg(long, global = true, value_name = "HOST:PORT")]
    address: Option<String>,

    /// Where the control sockets are [default: /etc/halon/halonctl.yaml, if it exists]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Seconds to wait for an answer; 0 for ever
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

impl Globals {
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn is_json_request(&self) -> bool {
        self.json_request
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

impl Target {
    /// Connects to the socket of `program`.
    pub(crate) fn connect(&self, program: Program) -> Result<Client> {
        let io = (self.timeout > 0).then(|| Duration::from_secs(self.timeout));
        let timeouts = Timeouts { io, ..Timeouts::default() };
        Ok(Client::connect(&self.endpoint(program)?, timeouts)?)
    }

    /// The socket of `program`: the one of the flags, of the configuration file, or the default.
    fn endpoint(&self, program: Program) -> Result<Endpoint> {
        if let Some(path) = &self.socket {
            return Ok(Endpoint::Unix(path.clone()));
        }
        match &self.address {
            Some(address) => parse_address(address),
            None => settings::endpoint(self.config.as_deref(), program),
        }
    }
}

/// Reads `host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
fn parse_address(text: &str) -> Result<Endpoint> {
    let wrong = || Error::usage(format!("\"{text}\" is not HOST:PORT"));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(wrong());
    }
    Ok(Endpoint::Tcp(host.to_owned(), port.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses_may_be_names_and_either_ip_version() {
        let tcp = |host: &str, port| Endpoint::Tcp(host.to_owned(), port);
        assert_eq!(parse_address("mx1:9000").unwrap(), tcp("mx1", 9000));
        assert_eq!(parse_address("[::1]:9000").unwrap(), tcp("::1", 9000));
        for wrong in ["mx1", ":9000", "mx1:port", "mx1:70000", ""] {
            assert!(parse_address(wrong).is_err(), "{wrong}");
        }
    }
}
