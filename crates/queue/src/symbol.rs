//! Texts that many rows share, kept once and named by a number.
//!
//! Names are counted: whoever stores a [`Symbol`] for longer than a call holds one reference and
//! gives it back. A text that nobody refers to any more is forgotten, since peers and scripts
//! choose many of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::policy::Field;

/// A shared text; equal symbols are equal texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Symbol(NonZeroU32);

/// One symbol, or none, for each policy field.
pub(crate) type Values = [Option<Symbol>; Field::COUNT];

/// All shared texts.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<Arc<str>, Symbol>,
    texts: Vec<Text>,
    free: Vec<Symbol>,
}

#[derive(Debug)]
struct Text {
    text: Arc<str>,
    /// The text read as an address, when it is one.
    address: Option<IpAddr>,
    refs: u32,
}

impl Names {
    /// The symbol of `text`, with one more reference.
    pub(crate) fn intern(&mut self, text: &str) -> Symbol {
        match self.numbers.get(text) {
            Some(symbol) => {
                let symbol = *symbol;
                self.retain(symbol);
                symbol
            }
            None => self.add(text.into()),
        }
    }

    /// As [`Names::intern`], keeping the given allocation when the text is new.
    pub(crate) fn intern_shared(&mut self, text: Arc<str>) -> Symbol {
        match self.numbers.get(&text) {
            Some(symbol) => {
                let symbol = *symbol;
                self.retain(symbol);
                symbol
            }
            None => self.add(text),
        }
    }

    /// As [`Names::intern`] for a domain: in lower case.
    pub(crate) fn intern_domain(&mut self, domain: &str) -> Symbol {
        if domain.bytes().any(|b| b.is_ascii_uppercase()) {
            self.intern(&domain.to_ascii_lowercase())
        } else {
            self.intern(domain)
        }
    }

    /// The symbol of `text`, if anybody has it.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    /// Adds a reference.
    pub(crate) fn retain(&mut self, symbol: Symbol) {
        if let Some(text) = self.texts.get_mut(index(symbol)) {
            text.refs += 1;
        }
    }

    /// Gives a reference back.
    pub(crate) fn release(&mut self, symbol: Symbol) {
        let Some(text) = self.texts.get_mut(index(symbol)) else { return };
        text.refs = text.refs.saturating_sub(1);
        if text.refs == 0 {
            let gone = std::mem::replace(&mut text.text, Arc::from(""));
            text.address = None;
            self.numbers.remove(&gone);
            self.free.push(symbol);
        }
    }

    pub(crate) fn retain_all(&mut self, values: &Values) {
        for symbol in values.iter().flatten() {
            self.retain(*symbol);
        }
    }

    pub(crate) fn release_all(&mut self, values: &Values) {
        for symbol in values.iter().flatten() {
            self.release(*symbol);
        }
    }

    /// The text of a symbol.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        self.texts.get(index(symbol)).map_or("", |text| &text.text)
    }

    /// The text of a symbol, shared.
    pub(crate) fn shared(&self, symbol: Symbol) -> Arc<str> {
        self.texts.get(index(symbol)).map_or_else(|| Arc::from(""), |text| Arc::clone(&text.text))
    }

    /// The text of a symbol read as an address.
    pub(crate) fn address(&self, symbol: Symbol) -> Option<IpAddr> {
        self.texts.get(index(symbol))?.address
    }

    fn add(&mut self, text: Arc<str>) -> Symbol {
        let entry = Text { text: Arc::clone(&text), address: text.parse().ok(), refs: 1 };
        let symbol = match self.free.pop() {
            Some(symbol) => {
                self.texts[index(symbol)] = entry;
                symbol
            }
            None => {
                self.texts.push(entry);
                // Four thousand million texts would not fit into memory, nor would their rows.
                let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
                Symbol(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
            }
        };
        self.numbers.insert(text, symbol);
        symbol
    }

    /// References by symbol, for the tests that count them.
    #[cfg(test)]
    pub(crate) fn references(&self) -> HashMap<Symbol, u32> {
        self.numbers.values().map(|symbol| (*symbol, self.texts[index(*symbol)].refs)).collect()
    }
}

/// Symbols count from 1, so that `Option<Symbol>` needs no more room.
fn index(symbol: Symbol) -> usize {
    symbol.0.get() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_a_symbol_until_the_last_reference_goes() {
        let mut names = Names::default();
        let a = names.intern("mx");
        assert_eq!(names.intern("mx"), a);
        assert_eq!(names.intern_domain("MX"), a);
        let b = names.intern("192.0.2.1");
        assert_ne!(a, b);
        assert_eq!(names.address(b), Some("192.0.2.1".parse().unwrap()));
        for _ in 0..3 {
            assert_eq!(names.find("mx"), Some(a));
            names.release(a);
        }
        assert_eq!(names.find("mx"), None);
        let c = names.intern("other");
        assert_eq!((c, names.text(c)), (a, "other"), "the number is used again");
        assert_eq!(names.address(c), None);
    }

    #[test]
    fn an_optional_symbol_is_four_octets() {
        assert_eq!(size_of::<Option<Symbol>>(), 4);
    }
}
