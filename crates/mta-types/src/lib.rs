//! The vocabulary every other room speaks: identities, names, addresses, reply codes and time.
//!
//! Storey 0: depends on `std` alone and knows nothing of sockets, files, queues or scripts. Start
//! with [`ids`] (what a message is called) and [`address`] (who it is for); [`reply`] and
//! [`enhanced_code`] say what one server answers another; [`time`] keeps wall clock and monotonic
//! clock apart.
#![forbid(unsafe_code)]

pub mod address;
pub mod enhanced_code;
pub mod ids;
pub mod names;
pub mod reply;
pub mod time;

pub use address::{Address, AddressError};
pub use enhanced_code::{Class, EnhancedCode, InvalidEnhancedCode};
pub use ids::{InvalidId, MessageId, QueueId, TransactionId};
pub use names::{Grouping, JobId, ServerId, Tag, TenantId, TransportId};
pub use reply::Reply;
pub use time::Timestamp;
