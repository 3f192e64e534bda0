//! What was meant by a name that nobody knows.

/// Returns the word that differs least from `name`, if it is close enough to be what was meant.
pub(super) fn nearest<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = match name.len() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    };
    words
        .filter(|word| word.len().abs_diff(name.len()) <= most && name.len() <= LONGEST)
        .filter_map(|word| Some((distance(name, word)?, word)))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, word)| word)
}

/// Longer names are not compared: the work grows with the square.
const LONGEST: usize = 64;

/// How many octets must be put in, taken out, replaced or exchanged with their neighbour to make one word of
/// the other; the case of letters does not count.
fn distance(one: &str, other: &str) -> Option<usize> {
    let other: Vec<u8> = other.bytes().map(|octet| octet.to_ascii_lowercase()).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let mut previous = None;
    for (row, octet) in one.bytes().map(|octet| octet.to_ascii_lowercase()).enumerate() {
        let mut line = vec![row + 1];
        for (column, &there) in other.iter().enumerate() {
            let same = usize::from(octet != there);
            let mut least = last.get(column)? + same;
            least = least.min(last.get(column + 1)? + 1).min(line.last()? + 1);
            let crossed = column
                .checked_sub(1)
                .filter(|left| previous == Some(there) && other.get(*left) == Some(&octet));
            if let Some(left) = crossed {
                least = least.min(before.get(left)? + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut last, line);
        previous = Some(octet);
    }
    last.last().copied()
}

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
