//! The fence of every export: a panic of ours never unwinds into C.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::calling::stack;

/// Runs the body of the export `name`; on a panic, logs it and gives `failure`.
pub(crate) fn guard<R>(name: &'static str, failure: R, body: impl FnOnce() -> R) -> R {
    stack::lend();
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            let error = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("panic without text");
            tracing::error!(function = name, error, "plugin.export_panicked");
            failure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_failure_value() {
        assert!(!guard("HalonMTA_test", false, || panic!("on purpose")));
        assert!(guard("HalonMTA_test", false, || true));
    }
}
