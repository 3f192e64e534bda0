//! What can go wrong, named by what happened; every message names the path or id concerned.

use std::io;
use std::path::PathBuf;

use mta_types::{MessageId, TransactionId};

/// The spool cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting is out of its range.
    #[error("spool setting {key} is {value}, allowed is {allowed}")]
    Setting {
        /// Name of the field in [`Config`](crate::Config).
        key: &'static str,
        /// What was given.
        value: u64,
        /// The range in words.
        allowed: &'static str,
    },
    /// Another process holds the spool.
    #[error("spool {} is in use by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The path cannot be used as needed.
    #[error("cannot {action} {}", path.display())]
    Path {
        /// What was tried: `create`, `write`, `list`, …
        action: &'static str,
        /// The object.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A segment was written by a newer version of this program.
    #[error("segment {} has format version {version}, this program knows up to {known}", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u16,
        /// The newest version understood here.
        known: u16,
    },
    /// A thread could not be started.
    #[error("cannot start thread {name}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A commit, change or end did not become durable.
///
/// It can be cloned, because one failed sync fails everyone who waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Free space is below `spool.minfree`, or the disk is full.
    #[error("spool {} has too little free space", path.display())]
    Full {
        /// The spool directory.
        path: PathBuf,
    },
    /// More octets wait for the disk than `pending_bytes` allows.
    #[error("spool has {pending} octets waiting for the disk")]
    Busy {
        /// How many wait.
        pending: u64,
    },
    /// The transaction is already in the spool.
    #[error("transaction {transaction} is already in the spool")]
    Exists {
        /// Which one.
        transaction: TransactionId,
    },
    /// The commit has no rows, or the same row twice.
    #[error("transaction {transaction} has no rows or a row twice")]
    Rows {
        /// Which one.
        transaction: TransactionId,
    },
    /// The row is not in the spool (any more).
    #[error("message {id} is not in the spool")]
    Unknown {
        /// Which one.
        id: MessageId,
    },
    /// Metadata and rows together exceed what a record may hold.
    #[error("record of {len} octets is too large, allowed are {allowed}")]
    TooLarge {
        /// Octets wanted.
        len: u64,
        /// Octets possible.
        allowed: u64,
    },
    /// The disk refused; nothing of this operation counts as stored.
    #[error("cannot {action} {}: {kind}", path.display())]
    Disk {
        /// What was tried: `write`, `sync`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Kind of the error as the system told it.
        kind: io::ErrorKind,
    },
    /// The spool is closing.
    #[error("spool is closed")]
    Closed,
}

impl CommitError {
    /// Whether the same operation may succeed later, so that a peer is answered 4yz.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Busy { .. } | Self::Disk { .. } | Self::Closed => true,
            Self::Exists { .. }
            | Self::Rows { .. }
            | Self::Unknown { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}

/// A draft cannot take or give octets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// Free space is below `spool.minfree`, or the disk is full.
    #[error("spool {} has too little free space", path.display())]
    Full {
        /// The spool directory.
        path: PathBuf,
    },
    /// The draft's file cannot be used.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A stored message cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The transaction is not in the spool (any more).
    #[error("transaction {transaction} is not in the spool")]
    Unknown {
        /// Which one.
        transaction: TransactionId,
    },
    /// The stored octets do not match their checksum.
    #[error("transaction {transaction} is damaged in {} at octet {offset}", path.display())]
    Damaged {
        /// Which one.
        transaction: TransactionId,
        /// The segment or body file.
        path: PathBuf,
        /// Where the damaged record or body begins.
        offset: u64,
    },
    /// The disk refused.
    #[error("cannot read {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}
