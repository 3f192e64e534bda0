//! From a domain's MX records to the hosts to try, in order (RFC 5321 §5.1, RFC 7505).

/// One mail exchanger of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanger {
    /// Lower is tried first.
    pub preference: u16,
    /// Host name without trailing dot.
    pub host: String,
}

/// What a domain says about its mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The hosts to try, best first.
    Hosts(Vec<Exchanger>),
    /// The domain takes no mail: a single MX with the root as its host (RFC 7505 §3).
    NullMx,
}

/// Orders exchangers by preference; among equals a shuffle decides that `seed` determines.
///
/// A retry passes another seed and so meets another host first. Names that occur twice are kept
/// once, at their best preference. A root host beside real ones is ignored.
#[must_use]
pub fn order(mut exchangers: Vec<Exchanger>, seed: u64) -> Route {
    let had_root = exchangers.iter().any(|x| x.host.is_empty());
    exchangers.retain(|x| !x.host.is_empty());
    if exchangers.is_empty() && had_root {
        return Route::NullMx;
    }
    // The answer's own order may differ from query to query; sort first so that only the seed
    // decides.
    exchangers.sort_by(|a, b| a.preference.cmp(&b.preference).then_with(|| a.host.cmp(&b.host)));
    let mut random = seed;
    let mut start = 0;
    while start < exchangers.len() {
        let preference = exchangers[start].preference;
        let len = exchangers[start..].iter().take_while(|x| x.preference == preference).count();
        // Fisher–Yates over the run of equals.
        for last in (1..len).rev() {
            random = next(random);
            let other = (random % (last as u64 + 1)) as usize;
            exchangers.swap(start + last, start + other);
        }
        start += len;
    }
    let mut seen = std::collections::HashSet::new();
    exchangers.retain(|x| seen.insert(x.host.to_ascii_lowercase()));
    Route::Hosts(exchangers)
}

/// A seed from a transaction's octets and the number of the retry.
#[must_use]
pub fn seed(transaction: &[u8; 16], retry: u32) -> u64 {
    let mut state = u64::from(retry).wrapping_add(0x51_7c_c1_b7_27_22_0a_95);
    for chunk in transaction.as_chunks::<8>().0 {
        state = next(state ^ u64::from_le_bytes(*chunk));
    }
    state
}

/// One step of the SplitMix64 generator: small, and good enough to spread load.
const fn next(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mx(preference: u16, host: &str) -> Exchanger {
        Exchanger { preference, host: host.to_owned() }
    }

    fn hosts(route: Route) -> Vec<String> {
        match route {
            Route::Hosts(list) => list.into_iter().map(|x| x.host).collect(),
            Route::NullMx => panic!("null MX"),
        }
    }

    #[test]
    fn lower_preferences_come_first_whatever_the_seed() {
        for seed in 0..50 {
            let route = order(vec![mx(20, "c"), mx(10, "b"), mx(10, "a"), mx(5, "first")], seed);
            let hosts = hosts(route);
            assert_eq!(hosts[0], "first");
            assert_eq!(hosts[3], "c");
        }
    }

    #[test]
    fn equals_are_shuffled_by_the_seed_alone() {
        let list = || vec![mx(10, "a"), mx(10, "b"), mx(10, "c")];
        let mut reversed = list();
        reversed.reverse();
        assert_eq!(hosts(order(list(), 7)), hosts(order(reversed, 7)));
        let firsts: std::collections::HashSet<_> =
            (0..64).map(|seed| hosts(order(list(), seed)).remove(0)).collect();
        assert_eq!(firsts.len(), 3, "every host is first for some seed");
    }

    #[test]
    fn a_single_root_host_means_no_mail() {
        assert_eq!(order(vec![mx(0, "")], 1), Route::NullMx);
        assert_eq!(hosts(order(vec![mx(0, ""), mx(10, "a")], 1)), ["a"]);
        assert_eq!(order(vec![], 1), Route::Hosts(vec![]));
    }

    #[test]
    fn a_host_named_twice_is_tried_once() {
        assert_eq!(hosts(order(vec![mx(10, "A"), mx(20, "a"), mx(15, "b")], 3)), ["A", "b"]);
    }

    #[test]
    fn another_retry_gives_another_seed() {
        let id = [7; 16];
        assert_ne!(seed(&id, 0), seed(&id, 1));
        assert_eq!(seed(&id, 3), seed(&id, 3));
    }
}
