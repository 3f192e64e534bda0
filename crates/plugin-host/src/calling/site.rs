//! Which function of which plugin a call is of, at an address that stays.
//!
//! The thread that looks for calls that hang reads the names while the calls go on and end, without
//! a lock: so they are never freed. Plugins are never unloaded; each function of one has one site.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

/// A function of a plugin.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) plugin: Arc<str>,
    pub(crate) function: Box<str>,
    pub(crate) patience: Patience,
    /// Whether it has waited inside C (`HalonMTA_hsl_suspend`): then each call of it takes a place.
    pub(crate) blocks: AtomicBool,
}

/// Whether calls that suspend were scheduled so soon, of late, that looking for it is worth a moment.
/// Threads that learn at once may lose what the other has learned.
#[derive(Debug, Default)]
pub(crate) struct Patience(AtomicU32);

impl Patience {
    /// Tells whether to look. Counts a call for which it is not, so that one is tried now and then.
    pub(crate) fn is_worth_it(&self) -> bool {
        let failures = self.0.load(Ordering::Relaxed);
        let is_worth_it = failures < PATIENCE || failures.is_multiple_of(RETRY);
        if !is_worth_it {
            self.0.store(failures.wrapping_add(1), Ordering::Relaxed);
        }
        is_worth_it
    }

    /// Learns what looking gave.
    pub(crate) fn learn(&self, is_scheduled: bool) {
        let failures =
            if is_scheduled { 0 } else { self.0.load(Ordering::Relaxed).wrapping_add(1) };
        self.0.store(failures, Ordering::Relaxed);
    }
}

/// The sites of one plugin, by function.
pub(crate) struct Sites {
    plugin: Arc<str>,
    known: Mutex<HashMap<&'static str, &'static Site>>,
}

impl Sites {
    pub(crate) fn new(plugin: &Arc<str>) -> Self {
        Self { plugin: Arc::clone(plugin), known: Mutex::default() }
    }

    /// The site of `function`, made the first time. A plugin that invents names without end gets
    /// [`LIMIT`] of them; the rest share one.
    pub(crate) fn of(&self, function: &str) -> &'static Site {
        let mut known = self.known.lock();
        if let Some(site) = known.get(function) {
            return site;
        }
        let function = if known.len() < LIMIT { function } else { OTHERS };
        if let Some(site) = known.get(function) {
            return site;
        }
        let site: &'static Site = Box::leak(Box::new(Site {
            plugin: Arc::clone(&self.plugin),
            function: function.into(),
            patience: Patience::default(),
            blocks: AtomicBool::new(false),
        }));
        known.insert(&site.function, site);
        site
    }
}

/// Calls in a row that were looked at in vain until no more are.
const PATIENCE: u32 = 4;

/// From then on one in so many is looked at.
const RETRY: u32 = 256;

/// Sites per plugin.
const LIMIT: usize = 4096;

/// The name of all functions beyond.
const OTHERS: &str = "one of many";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_and_is_tried_again_now_and_then() {
        let patience = Patience::default();
        let mut looks = 0;
        for _ in 0..RETRY * 2 {
            if patience.is_worth_it() {
                looks += 1;
                patience.learn(false);
            }
        }
        assert_eq!(looks, PATIENCE + 1);
        while !patience.is_worth_it() {}
        patience.learn(true);
        assert!((0..RETRY).all(|_| patience.is_worth_it()));
    }

    #[test]
    fn each_function_has_one_site_and_those_beyond_the_limit_share_one() {
        let sites = Sites::new(&Arc::from("p"));
        let first = sites.of("f0");
        assert_eq!((&*first.plugin, &*first.function), ("p", "f0"));
        for at in 0..LIMIT {
            sites.of(&format!("f{at}"));
        }
        assert!(std::ptr::eq(first, sites.of("f0")));
        let beyond = sites.of("g");
        assert_eq!(&*beyond.function, OTHERS);
        assert!(std::ptr::eq(beyond, sites.of("h")));
    }
}
