//! What was meant by a name that nobody knows.

/// Returns the word that differs least from `name`, if it is close enough to be what was meant.
pub(super) fn nearest<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = match name.len() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    };
    if name.len() > LONGEST {
        return None;
    }
    // The case of letters does not count.
    let name = name.to_ascii_lowercase();
    words
        .filter(|word| word.len().abs_diff(name.len()) <= most)
        .map(|word| (strsim::osa_distance(&name, &word.to_ascii_lowercase()), word))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, word)| word)
}

/// Longer names are not compared: the work grows with the square.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_far_ones_are_not() {
        let words = ["str_lower", "str_upper", "length", "pcre_match", "chr", "str_strip"];
        for (name, expected) in [
            ("str_lowr", Some("str_lower")),
            ("strupper", Some("str_upper")),
            ("lenght", Some("length")),
            ("PCRE_Match", Some("pcre_match")),
            ("chs", None),
            ("str_flip", None),
            ("preg_match", Some("pcre_match")),
            ("", None),
        ] {
            assert_eq!(nearest(name, words.into_iter()), expected, "{name}");
        }
        assert_eq!(nearest(&"x".repeat(1000), ["y".repeat(1000).as_str()].into_iter()), None);
    }
}
