//! The script entry points, one file per hook: its variables, its functions, its verdicts.
//!
//! The mechanism is the same for all: [`HookSets`] holds what scripts of each hook may call (the
//! standard library, what all hooks share, the hook's own functions), [`runner`] runs a script, and
//! the hook's `call` turns the ending into what the conversation or the queue does next. A script
//! that fails takes the hook's error action; the table of these is in chapter *Contexts* of the
//! language reference.

pub(crate) mod auth;
pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod eod;
pub(crate) mod helo;
pub(crate) mod mailfrom;
pub(crate) mod postdelivery;
pub(crate) mod predelivery;
pub(crate) mod proxy;
pub(crate) mod queue_functions;
pub(crate) mod rcptto;
pub(crate) mod runner;
pub(crate) mod server_functions;
pub(crate) mod shared;
pub(crate) mod verdict;

use std::sync::Arc;

use hsl::Compiler;
use hsl::diagnostic::Style;
use hsl::host::{HostSet, Registry};
use hsl_std::Services;
use hsl_std::import::FileLoader;

use crate::hooks::runner::Hook;

/// The entry points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HookKind {
    Connect,
    Disconnect,
    Proxy,
    Helo,
    Auth,
    Mailfrom,
    Rcptto,
    Eod,
    Predelivery,
    Postdelivery,
}

impl HookKind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Connect,
        Self::Disconnect,
        Self::Proxy,
        Self::Helo,
        Self::Auth,
        Self::Mailfrom,
        Self::Rcptto,
        Self::Eod,
        Self::Predelivery,
        Self::Postdelivery,
    ];

    /// The manual's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Proxy => "proxy",
            Self::Helo => "helo",
            Self::Auth => "auth",
            Self::Mailfrom => "mailfrom",
            Self::Rcptto => "rcptto",
            Self::Eod => "eod",
            Self::Predelivery => "predelivery",
            Self::Postdelivery => "postdelivery",
        }
    }

    /// Variables that scripts of this hook can read.
    pub(crate) const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Predelivery | Self::Postdelivery => &["arguments", "message"],
            _ => &["arguments", "connection", "transaction"],
        }
    }

    fn register(self, registry: &mut Registry, services: &Services) {
        match self {
            Self::Connect | Self::Helo | Self::Mailfrom | Self::Rcptto => {
                verdict::register(registry);
            }
            Self::Disconnect => disconnect::register(registry),
            Self::Proxy => proxy::register(registry),
            Self::Auth => auth::register(registry),
            Self::Eod => eod::register(registry, services),
            Self::Predelivery => predelivery::register(registry, services),
            Self::Postdelivery => postdelivery::register(registry, services),
        }
    }
}

/// What scripts may call, by hook.
pub(crate) struct HookSets {
    sets: [Arc<HostSet>; HookKind::ALL.len()],
}

impl HookSets {
    /// Puts every hook's functions on top of `common`.
    pub(crate) fn new(common: &HostSet, services: &Services) -> Self {
        let sets = HookKind::ALL.map(|kind| {
            let mut registry = Registry::new();
            registry.include(common);
            kind.register(&mut registry, services);
            registry.freeze()
        });
        Self { sets }
    }

    /// The functions and classes of one hook.
    pub(crate) fn set(&self, kind: HookKind) -> &Arc<HostSet> {
        // `ALL` lists the kinds in the order of their discriminants; a test keeps it so.
        &self.sets[kind as usize]
    }

    /// Compiles a script of a hook.
    ///
    /// # Errors
    ///
    /// What is wrong, with file, line and column.
    pub(crate) fn compile(
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
        let mut compiler = Compiler::new(self.set(kind)).with_loader(files);
        for variable in kind.variables() {
            compiler = compiler.with_read_only(variable);
        }
        compiler = compiler.with_writable("context");
        let program =
            compiler.compile(&format!("hook:{name}"), &name, text.as_bytes()).map_err(|error| {
                error
                    .diagnostics
                    .iter()
                    .map(|d| d.render(&error.sources, Style::Plain))
                    .collect::<Vec<_>>()
                    .join("\n")
            })?;
        Ok(Hook { program, name: name.into() })
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
