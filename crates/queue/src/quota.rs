//! Quotas: messages and octets queued per name that scripts gave.

use std::collections::HashMap;

use crate::symbol::Symbol;

/// What is queued under one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Rows.
    pub count: u64,
    /// Their octets together.
    pub bytes: u64,
}

/// Usage by name; a name with nothing queued is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Quotas(HashMap<Symbol, Usage>);

impl Quotas {
    pub(crate) fn add(&mut self, quota: Symbol, size: u64) {
        let usage = self.0.entry(quota).or_default();
        usage.count += 1;
        usage.bytes = usage.bytes.saturating_add(size);
    }

    pub(crate) fn remove(&mut self, quota: Symbol, size: u64) {
        if let Some(usage) = self.0.get_mut(&quota) {
            usage.count = usage.count.saturating_sub(1);
            usage.bytes = usage.bytes.saturating_sub(size);
            if usage.count == 0 {
                self.0.remove(&quota);
            }
        }
    }

    pub(crate) fn usage(&self, quota: Symbol) -> Usage {
        self.0.get(&quota).copied().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(crate) const fn all(&self) -> &HashMap<Symbol, Usage> {
        &self.0
    }
}
