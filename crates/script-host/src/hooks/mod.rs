//! The script entry points: what their scripts may call, and what they decide.
//!
//! [`HookSets`] holds what scripts of each hook may call: the standard library, what all hooks share,
//! the hook's own functions. Functions such as `Accept` end the script with a value of a type of this
//! module; the program that runs the script turns it into what happens next. `smtpd` does what was
//! decided, `hsh --hook` prints it.

pub mod dsn_options;
pub mod eod;
pub mod eod_rcpt;
mod header_functions;
pub mod old_functions;
pub mod old_variables;
pub mod queue_scripts;
pub mod slots;
pub mod smtp_scripts;
pub mod values;
pub mod verdict;

use std::sync::Arc;

use config::running::ScriptLimits;
use hsl::diagnostic::Style;
use hsl::host::{HostSet, Limits, Registry};
use hsl::{CompileError, Compiler, Program, Value};
use hsl_std::Services;
use hsl_std::import::FileLoader;
use old_variables::OldVariable;
use smtp::server::Verdict;

/// The entry points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// Before the banner.
    Connect,
    /// After the end of a connection.
    Disconnect,
    /// Every command line, before it is read.
    Proxy,
    /// HELO, EHLO and LHLO.
    Helo,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mailfrom,
    /// RCPT TO, once per recipient.
    Rcptto,
    /// The end of data, once per message.
    Eod,
    /// The end of data, once per recipient.
    Eodrcpt,
    /// A queued message that is due.
    Predelivery,
    /// After an attempt, and when a message is removed.
    Postdelivery,
}

impl HookKind {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 11] = [
        Self::Connect,
        Self::Disconnect,
        Self::Proxy,
        Self::Helo,
        Self::Auth,
        Self::Mailfrom,
        Self::Rcptto,
        Self::Eod,
        Self::Eodrcpt,
        Self::Predelivery,
        Self::Postdelivery,
    ];

    /// The manual's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Proxy => "proxy",
            Self::Helo => "helo",
            Self::Auth => "auth",
            Self::Mailfrom => "mailfrom",
            Self::Rcptto => "rcptto",
            Self::Eod => "eod",
            Self::Eodrcpt => "eodrcpt",
            Self::Predelivery => "predelivery",
            Self::Postdelivery => "postdelivery",
        }
    }

    /// The hook of a name.
    ///
    /// # Compatibility
    ///
    /// `eodonce` is the name that older manuals give to `eod`.
    pub fn of(name: &str) -> Option<Self> {
        let name = if name == "eodonce" { "eod" } else { name };
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is one of the queue's; the others are those of a conversation with a client.
    pub const fn is_of_queue(self) -> bool {
        matches!(self, Self::Predelivery | Self::Postdelivery)
    }

    /// Variables that scripts of this hook can read.
    pub const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Predelivery | Self::Postdelivery => &["arguments", "message"],
            Self::Eodrcpt => eod_rcpt::VARIABLES,
            _ => &["arguments", "connection", "transaction"],
        }
    }

    /// Flat variables of older manuals: scripts of this hook can read those that they do not write.
    pub fn old_variables(self) -> impl Iterator<Item = &'static str> {
        old_variables::of(self).iter().map(|variable| variable.name)
    }

    /// What the end of a script that decided nothing stands for, where the hook gives a verdict.
    pub const fn implicit(self) -> Verdict {
        match self {
            Self::Auth => Verdict::reject(),
            Self::Eod => Verdict::defer(),
            _ => Verdict::accept(),
        }
    }

    /// What the failure of a script stands for, where the hook gives a verdict.
    pub const fn failed(self) -> Verdict {
        Verdict::defer()
    }

    fn register(self, registry: &mut Registry, services: &Services) {
        old_functions::register(self, registry, services);
        match self {
            Self::Connect | Self::Helo | Self::Mailfrom | Self::Rcptto => {
                verdict::register(registry, self);
            }
            Self::Disconnect => smtp_scripts::register_disconnect(registry),
            Self::Proxy => smtp_scripts::register_proxy(registry),
            Self::Auth => smtp_scripts::register_auth(registry),
            Self::Eod => eod::register(registry, services),
            Self::Eodrcpt => eod_rcpt::register(registry, services),
            Self::Predelivery => queue_scripts::register_predelivery(registry, services),
            Self::Postdelivery => queue_scripts::register_postdelivery(registry, services),
        }
    }
}

/// A compiled hook script.
#[derive(Clone)]
pub struct Hook {
    /// What runs.
    pub program: Arc<Program>,
    /// Which hook, as in the manual, and which script of it.
    pub name: Arc<str>,
    /// The flat variables of older manuals that it names.
    old_variables: Arc<[&'static OldVariable]>,
}

impl Hook {
    /// Adds the flat variables of older manuals that the script names, out of the other `variables`.
    /// What stays as it is: those that are among them already.
    pub fn add_old_variables(&self, variables: &mut Vec<(&'static str, Value)>) {
        old_variables::add(&self.old_variables, variables);
    }

    /// Whether the script names such variables.
    pub fn has_old_variables(&self) -> bool {
        !self.old_variables.is_empty()
    }
}

/// What scripts may call, by hook.
pub struct HookSets {
    sets: [Arc<HostSet>; HookKind::ALL.len()],
}

impl HookSets {
    /// Puts every hook's functions on top of `common`.
    pub fn new(common: &HostSet, services: &Services) -> Self {
        let sets = HookKind::ALL.map(|kind| {
            let mut registry = Registry::new();
            registry.include(common);
            kind.register(&mut registry, services);
            registry.freeze()
        });
        Self { sets }
    }

    /// The same with more functions in every hook.
    #[must_use]
    pub fn and(&self, more: &HostSet) -> Self {
        let sets = self.sets.each_ref().map(|set| {
            let mut registry = Registry::new();
            registry.include(set);
            registry.include(more);
            registry.freeze()
        });
        Self { sets }
    }

    /// The functions and classes of one hook.
    pub fn set(&self, kind: HookKind) -> &Arc<HostSet> {
        // `ALL` lists the kinds in the order of their discriminants; a test keeps it so.
        &self.sets[kind as usize]
    }

    /// Compiles a script of a hook.
    ///
    /// # Errors
    ///
    /// What is wrong, with file, line and column.
    pub fn compile(
        &self,
        kind: HookKind,
        id: Option<&str>,
        text: &str,
        files: &FileLoader,
    ) -> Result<Hook, String> {
        let name = match id {
            Some(id) => format!("{}/{id}", kind.name()),
            None => kind.name().to_owned(),
        };
        self.compile_file(kind, &format!("hook:{name}"), &name, text.as_bytes(), files).map_err(
            |error| {
                error
                    .diagnostics
                    .iter()
                    .map(|d| d.render(&error.sources, Style::Plain))
                    .collect::<Vec<_>>()
                    .join("\n")
            },
        )
    }

    /// Compiles a script of a hook that lies in a file: `identity` says where its neighbours are,
    /// `name` is shown.
    ///
    /// # Errors
    ///
    /// What is wrong, with file, line and column.
    pub fn compile_file(
        &self,
        kind: HookKind,
        identity: &str,
        name: &str,
        text: &[u8],
        files: &FileLoader,
    ) -> Result<Hook, CompileError> {
        let mut compiler = Compiler::new(self.set(kind)).with_loader(files);
        for variable in kind.variables() {
            compiler = compiler.with_read_only(variable);
        }
        for variable in kind.old_variables() {
            compiler = compiler.with_yielding(variable);
        }
        compiler = compiler.with_writable("context");
        let program = compiler.compile(identity, name, text)?;
        let old_variables = old_variables::of(kind).iter();
        let old_variables = old_variables.filter(|old| program.has_variable(old.name)).collect();
        Ok(Hook { program, name: name.into(), old_variables })
    }
}

/// What the machine bounds of what the configuration does; the time is for who drives it.
#[must_use]
pub fn machine_limits(configured: &ScriptLimits) -> Limits {
    Limits {
        depth: usize::try_from(configured.depth).unwrap_or(usize::MAX),
        memory: usize::try_from(configured.memory.bytes()).unwrap_or(usize::MAX),
        fuel: configured.fuel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_in_the_order_of_their_discriminants() {
        for (index, kind) in HookKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
