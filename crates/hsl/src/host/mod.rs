//! The door for the host: how functions, classes and modules written in Rust become visible to
//! scripts.
//!
//! Start at [`Registry`]: the standard library, hooks and plugins each fill one, sets are combined
//! with [`Registry::include`], and [`Registry::freeze`] turns the result into the [`HostSet`] that
//! scripts are compiled against. Every function is registered with its signature as text; argument
//! counts, types and their error texts come from it, and so does the documentation.
//!
//! ```
//! use hsl::host::Registry;
//! use hsl::Value;
//!
//! let mut registry = Registry::new();
//! registry.function("double(number n) -> number", "twice n", |_, args| {
//!     Value::Number(args[0].as_number().unwrap_or(0.0) * 2.0)
//! });
//! let host = registry.freeze();
//! assert!(host.function("double").is_some());
//! ```

mod context;
mod registry;
mod signature;
mod step;

pub use crate::memory::Measure;
pub use context::{CallContext, Clock, Echo, Limits};
pub use registry::{ClassBuilder, HostSet, ModuleBuilder, ModuleEntry, NativeFunction, Registry};
pub(crate) use registry::{REGEX_MATCH, count_message};
pub use signature::{Parameter, Signature, SignatureError, TypeSet};
pub use step::{
    Answer, Arguments, Continuation, HostFuture, NativeFn, NativeStep, Thrown, ThrownKind,
};

pub(crate) use context::Environment;
