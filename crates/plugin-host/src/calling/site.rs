//! Which function of which plugin a call is of, at an address that stays.
//!
//! The thread that looks for calls that hang reads the names while the calls go on and end, without
//! a lock: so they are never freed. Plugins are never unloaded; each function of one has one site.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// A function of a plugin.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) plugin: Arc<str>,
    pub(crate) function: Box<str>,
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
        }));
        known.insert(&site.function, site);
        site
    }
}

/// Sites per plugin.
const LIMIT: usize = 4096;

/// The name of all functions beyond.
const OTHERS: &str = "one of many";

#[cfg(test)]
mod tests {
    use super::*;

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
