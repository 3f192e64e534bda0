//! Names as numbers: each identifier of a program is stored once and compared as a `u32`.
//!
//! One [`Interner`] serves all files of a program, so a name means the same symbol in every module.

use std::sync::Arc;

use hashbrown::HashMap;

/// A name, interned. Equal symbols of one [`Interner`] are equal names.
///
/// Variables are interned without their `$`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u32);

impl Symbol {
    /// Returns the position of the name in its interner, from 0; symbols are dense.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// The names of a program.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    symbols: HashMap<Arc<str>, Symbol>,
    names: Vec<Arc<str>>,
}

impl Interner {
    /// Makes an interner without names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the symbol of `name`; the first time, the name is stored.
    pub fn intern(&mut self, name: &str) -> Symbol {
        if let Some(&symbol) = self.symbols.get(name) {
            return symbol;
        }
        // Names take more than one byte each in memory, so there are never four billion of them.
        let symbol = Symbol(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.symbols.insert(name, symbol);
        symbol
    }

    /// Returns the symbol of `name` if it was interned before.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Symbol> {
        self.symbols.get(name).copied()
    }

    /// Returns the name of a symbol; the empty name for a symbol of another interner.
    #[must_use]
    pub fn name(&self, symbol: Symbol) -> &str {
        self.names.get(symbol.0 as usize).map_or("", |name| name)
    }

    /// Returns the name of a symbol as a shared string.
    #[must_use]
    pub fn shared_name(&self, symbol: Symbol) -> Arc<str> {
        self.names.get(symbol.0 as usize).map_or_else(|| "".into(), Arc::clone)
    }

    /// Returns how many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns whether there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_equal_symbols() {
        let mut interner = Interner::new();
        let (a, b) = (interner.intern("a"), interner.intern("b"));
        assert_eq!(interner.intern("a"), a);
        assert_ne!(a, b);
        assert_eq!((interner.name(a), interner.name(b)), ("a", "b"));
        assert_eq!((interner.find("b"), interner.find("c")), (Some(b), None));
        assert_eq!((a.index(), b.index(), interner.len()), (0, 1, 2));
    }

    #[test]
    fn a_symbol_of_another_interner_has_no_name() {
        let symbol = Interner::new().intern("a");
        assert_eq!(Interner::new().name(symbol), "");
        assert_eq!(&*Interner::new().shared_name(symbol), "");
    }
}
