//! **The** table of commands: letter, name, request, response, which programs answer.
//!
//! [`TABLE`] is what servers dispatch on and what the JSON door looks up; [`call`] holds the same rows
//! as typed constants for clients. Both come from one macro, so a row exists once. The letters after
//! `K` are not known for certain, apart from `O` and `P`; ours are given in order of introduction
//! (`docs/protocol/control.md`).

use std::{fmt, marker::PhantomData, ops::Deref, str::FromStr};

use crate::{frame::Version, pb};

/// A program with a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The mail daemon.
    Smtpd,
    /// The rate daemon.
    Rated,
    /// The data loss prevention daemon.
    Dlpd,
    /// The script shell, under a debugger.
    Hsh,
}

impl Program {
    /// All programs.
    pub const ALL: [Self; 4] = [Self::Smtpd, Self::Rated, Self::Dlpd, Self::Hsh];

    /// The name of the program, as in configuration files and in the HTTP door.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtpd => "smtpd",
            Self::Rated => "rated",
            Self::Dlpd => "dlpd",
            Self::Hsh => "hsh",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Program {
    type Err = UnknownProgram;

    fn from_str(name: &str) -> Result<Self, UnknownProgram> {
        Self::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| UnknownProgram(name.into()))
    }
}

/// No program has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown program \"{0}\"; the programs are smtpd, rated, dlpd and hsh")]
pub struct UnknownProgram(pub String);

/// Whether a request has a length and a body on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Never.
    None,
    /// Always, even when it is empty.
    Always,
    /// From clients of this version on.
    Since(Version),
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The octet on the wire.
    pub letter: u8,
    /// What the command does, as `noun_verb`; for logs and documents.
    pub name: &'static str,
    /// Who answers.
    pub programs: &'static [Program],
    /// Whether a body follows the letter.
    pub body: Body,
    /// The message of the body, without its package (`QueueListRequest`).
    pub request: Option<&'static str>,
    /// The message of the answer, without its package; `None` for an empty answer.
    pub response: Option<&'static str>,
}

impl Command {
    /// Says whether a client of `version` sends a body with this command.
    pub fn has_body(&self, version: Version) -> bool {
        match self.body {
            Body::None => false,
            Body::Always => true,
            Body::Since(since) => version >= since,
        }
    }

    /// The letter as text.
    pub fn letter_char(&self) -> char {
        char::from(self.letter)
    }
}

/// A row of the table with the types of its messages; `()` where there is none.
#[derive(Debug)]
pub struct Call<Q, R> {
    command: &'static Command,
    types: PhantomData<fn(Q) -> R>,
}

impl<Q, R> Call<Q, R> {
    const fn new(command: &'static Command) -> Self {
        Self { command, types: PhantomData }
    }

    /// The row.
    pub const fn command(&self) -> &'static Command {
        self.command
    }
}

impl<Q, R> Clone for Call<Q, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, R> Copy for Call<Q, R> {}

impl<Q, R> Deref for Call<Q, R> {
    type Target = Command;

    fn deref(&self) -> &Command {
        self.command
    }
}

/// Finds the command of `program` with this letter.
pub fn find(program: Program, letter: u8) -> Option<&'static Command> {
    TABLE.iter().copied().find(|c| c.letter == letter && c.programs.contains(&program))
}

/// The version that first had SuspendRequest.
const V5_5: Version = Version::new(5, 5);
/// The oldest version seen with ResolverCacheClearRequest.
const V5_15: Version = Version::new(5, 15);

macro_rules! message {
    (-) => {
        ()
    };
    ($message:ident) => {
        pb::$message
    };
}

macro_rules! name {
    (-) => {
        None
    };
    ($message:ident) => {
        Some(<pb::$message as prost::Name>::NAME)
    };
}

macro_rules! commands {
    ($($letter:literal $constant:ident $name:literal [$($program:ident)+] $body:expr,
        $request:tt => $response:tt;)+) => {
        /// The rows of the table as typed constants, named as they are.
        pub mod call {
            use super::*;
            $(
                #[doc = concat!("The row `", $name, "`.")]
                pub const $constant: Call<message!($request), message!($response)> =
                    Call::new(&Command {
                        letter: $letter,
                        name: $name,
                        programs: &[$(Program::$program),+],
                        body: $body,
                        request: name!($request),
                        response: name!($response),
                    });
            )+
        }

        /// All commands, in order of introduction.
        pub const TABLE: &[&Command] = &[$(call::$constant.command),+];
    };
}

commands! {
    b'a' STAGE_START "stage_start" [Smtpd] Body::Always, ConfigGreenDeployRequest => -;
    b'b' STAGE_STATUS "stage_status" [Smtpd] Body::None, - => ConfigGreenStatusResponse;
    b'c' STAGE_CANCEL "stage_cancel" [Smtpd] Body::None, - => -;
    b'd' BREAKPOINT_POLL "breakpoint_poll" [Smtpd Hsh] Body::Always, HslBreakPointRequest => HslBreakPointResponse;
    b'e' BREAKPOINT_WAIT "breakpoint_wait" [Smtpd Hsh] Body::None, - => HslBreakPointResponse;
    b'f' BREAKPOINT_CONTINUE "breakpoint_continue" [Smtpd Hsh] Body::None, - => -;
    b'g' CACHE_LIST "cache_list" [Smtpd] Body::None, - => HslCacheResponse;
    b'h' CACHE_CLEAR "cache_clear" [Smtpd] Body::Always, HslCacheClearRequest => HslCacheClearResponse;
    b'i' RATE_LIST "rate_list" [Rated Smtpd] Body::Always, HslRateRequest => HslRateResponse;
    b'j' RATE_CLEAR "rate_clear" [Rated Smtpd] Body::Always, HslRateClearRequest => HslRateClearResponse;
    b'k' RESOLVER_RELOAD "resolver_reload" [Smtpd] Body::None, - => -;
    b'l' QUEUE_DISCARD "queue_discard" [Smtpd] Body::None, - => -;
    b'n' USERS "users" [Smtpd] Body::None, - => UsersResponse;
    b'o' SUSPEND_RELOAD "suspend_reload" [Smtpd] Body::None, - => -;
    b'p' POLICY_RELOAD "policy_reload" [Smtpd] Body::None, - => -;
    b'q' PROCESS_STATS "process_stats" [Smtpd Rated Dlpd] Body::None, - => ProcessStatsResponse;
    b'r' CONFIG_RELOAD "config_reload" [Smtpd Rated Dlpd] Body::None, - => -;
    b's' SUSPEND_LIST "suspend_list" [Smtpd] Body::Since(V5_5), SuspendRequest => SuspendResponse;
    b't' SUSPEND_ADD "suspend_add" [Smtpd] Body::Always, SuspendAddRequest => SuspendAddResponse;
    b'u' SUSPEND_DELETE "suspend_delete" [Smtpd] Body::Always, SuspendDeleteRequest => SuspendDeleteResponse;
    b'v' CONDITION_LIST "condition_list" [Smtpd] Body::None, - => PolicyConditionResponse;
    b'w' CONDITION_ADD "condition_add" [Smtpd] Body::Always, PolicyConditionAddRequest => PolicyConditionAddResponse;
    b'x' CONDITION_DELETE "condition_delete" [Smtpd] Body::Always, PolicyConditionDeleteRequest => PolicyConditionDeleteResponse;
    b'y' MEMORY_FETCH "memory_fetch" [Smtpd] Body::Always, HslMemoryRequest => HslMemoryResponse;
    b'z' MEMORY_STORE "memory_store" [Smtpd] Body::Always, HslMemoryStoreRequest => HslMemoryStoreResponse;
    b'A' MEMORY_DELETE "memory_delete" [Smtpd] Body::Always, HslMemoryDeleteRequest => HslMemoryDeleteResponse;
    b'B' RATE_REFILL "rate_refill" [Smtpd] Body::Always, PolicyRateRefillRequest => PolicyRateRefillResponse;
    b'C' RESOLVER_CLEAR "resolver_clear" [Smtpd] Body::Since(V5_15), ResolverCacheClearRequest => ResolverCacheClearResponse;
    b'D' QUEUE_GROUPBY "queue_groupby" [Smtpd] Body::Always, QueueGroupByRequest => QueueGroupByResponse;
    b'E' QUEUE_IMPORT "queue_import" [Smtpd] Body::Always, QueueImportRequest => QueueImportResponse;
    b'F' QUEUE_LIST "queue_list" [Smtpd] Body::Always, QueueListRequest => QueueListResponse;
    b'G' QUEUE_UPDATE "queue_update" [Smtpd] Body::Always, QueueUpdateRequest => QueueUpdateResponse;
    b'H' DELIVERY_RELOAD "delivery_reload" [Smtpd] Body::None, - => -;
    b'I' QUEUE_QUOTA "queue_quota" [Smtpd] Body::Always, QueueQuotaRequest => QueueQuotaResponse;
    b'J' QUEUE_UNLOAD "queue_unload" [Smtpd] Body::Always, QueueUnloadRequest => QueueUnloadResponse;
    b'K' MEMORY_LIST "memory_list" [Smtpd] Body::Always, HslMemoryListRequest => HslMemoryListResponse;
    b'L' RESOLVER_QUERY "resolver_query" [Smtpd] Body::Always, ResolverQueryRequest => ResolverQueryResponse;
    b'M' PLUGIN_COMMAND "plugin_command" [Smtpd] Body::Always, PluginCommandRequest => PluginCommandResponse;
    b'N' QUEUE_EXPORT "queue_export" [Smtpd] Body::Always, QueueExportRequest => QueueExportResponse;
    b'O' SUSPEND_UPDATE "suspend_update" [Smtpd] Body::Always, SuspendUpdateRequest => SuspendUpdateResponse;
    b'P' CONDITION_UPDATE "condition_update" [Smtpd] Body::Always, PolicyConditionUpdateRequest => PolicyConditionUpdateResponse;
    b'Q' VERSION "version" [Smtpd Rated Dlpd] Body::None, - => VersionResponse;
    b'R' POLICY_MATCH "policy_match" [Smtpd] Body::Always, PolicyMatchRequest => PolicyMatchResponse;
    b'S' GROUPING_LIST "grouping_list" [Smtpd] Body::Always, PolicyGroupingListRequest => PolicyGroupingListResponse;
    b'T' GROUPING "grouping" [Smtpd] Body::Always, PolicyGroupingRequest => PolicyGroupingResponse;
    b'U' SERVER_CONNECTIONS_LIST "server_connections_list" [Smtpd] Body::Always, ServerConnectionsListRequest => ServerConnectionsListResponse;
    b'V' SERVER_CONNECTIONS_CLOSE "server_connections_close" [Smtpd] Body::Always, ServerConnectionsCloseRequest => ServerConnectionsCloseResponse;
    b'W' QUEUE_CONNECTIONS_LIST "queue_connections_list" [Smtpd] Body::Always, QueueConnectionsListRequest => QueueConnectionsListResponse;
    b'X' QUEUE_CONNECTIONS_CLOSE "queue_connections_close" [Smtpd] Body::Always, QueueConnectionsCloseRequest => QueueConnectionsCloseResponse;
    b'Y' TRACE_SMTP "trace_smtp" [Smtpd] Body::Always, TraceSmtpRequest => -;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_letter_stands_for_one_command() {
        for (i, command) in TABLE.iter().enumerate() {
            assert!(command.letter.is_ascii_alphabetic(), "{}", command.name);
            assert!(
                TABLE[..i].iter().all(|c| c.letter != command.letter && c.name != command.name),
                "{} comes twice",
                command.name
            );
        }
    }

    #[test]
    fn every_named_message_has_a_descriptor() {
        for command in TABLE {
            assert_eq!(command.request.is_some(), command.body != Body::None, "{}", command.name);
            assert_eq!(json::request_of(command).is_some(), command.request.is_some());
            assert_eq!(json::response_of(command).is_some(), command.response.is_some());
        }
    }

    #[test]
    fn the_document_has_the_same_table() {
        let text = include_str!("../../../docs/protocol/control.md");
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("| `") && line.matches('|').count() == 7)
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), TABLE.len());
        for (row, command) in rows.iter().zip(TABLE) {
            let programs: Vec<&str> = command.programs.iter().map(|p| p.name()).collect();
            assert!(row[1].starts_with(&format!("`{}`", command.letter_char())), "{row:?}");
            assert_eq!(row[2], command.name);
            assert_eq!(row[3], programs.join(", "), "{row:?}");
            // A version may follow the request.
            assert_eq!(row[4].split(' ').next(), Some(command.request.unwrap_or("–")), "{row:?}");
            assert_eq!(row[5], command.response.unwrap_or("–"), "{row:?}");
        }
    }

    #[test]
    fn suspensions_are_listed_without_a_body_before_5_5() {
        assert!(!call::SUSPEND_LIST.has_body(Version::new(5, 4)));
        assert!(call::SUSPEND_LIST.has_body(Version::new(5, 5)));
    }

    #[test]
    fn programs_answer_only_their_own_commands() {
        assert!(find(Program::Smtpd, b'F').is_some());
        assert!(find(Program::Rated, b'F').is_none());
        assert!(find(Program::Dlpd, b'i').is_none());
        assert_eq!(find(Program::Hsh, b'e').map(|c| c.name), Some("breakpoint_wait"));
        assert!(find(Program::Smtpd, 0).is_none());
    }
}
