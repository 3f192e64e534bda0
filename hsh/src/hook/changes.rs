//! How two header sections differ.

use mail_message::header::HeaderSection;

/// One field that was there before, or is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Removed(String),
    Added(String),
}

/// The fields that differ, in their order; a changed field is removed and added.
pub(super) fn of_headers(before: &[u8], after: &[u8]) -> Vec<Change> {
    let (before, after) = (fields(before), fields(after));
    // Most changes are few: what is equal at both ends needs no comparing.
    let start = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let (before, after) = (before.get(start..), after.get(start..));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let before = before.get(..before.len() - end).unwrap_or_default();
    let after = after.get(..after.len() - end).unwrap_or_default();
    // lengths[i][j]: how many fields of before[i..] and after[j..] stay.
    let width = after.len() + 1;
    let mut lengths = vec![0_usize; (before.len() + 1) * width];
    let at = |lengths: &[usize], i: usize, j: usize| {
        lengths.get(i * width + j).copied().unwrap_or_default()
    };
    for (i, a) in before.iter().enumerate().rev() {
        for (j, b) in after.iter().enumerate().rev() {
            let stay = if a == b {
                at(&lengths, i + 1, j + 1) + 1
            } else {
                at(&lengths, i + 1, j).max(at(&lengths, i, j + 1))
            };
            if let Some(place) = lengths.get_mut(i * width + j) {
                *place = stay;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    loop {
        match (before.get(i), after.get(j)) {
            (None, None) => return out,
            (Some(a), Some(b)) if a == b => (i, j) = (i + 1, j + 1),
            (Some(a), b) if b.is_none() || at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) => {
                out.push(Change::Removed(a.clone()));
                i += 1;
            }
            (_, Some(b)) => {
                out.push(Change::Added(b.clone()));
                j += 1;
            }
            (_, None) => return out,
        }
    }
}

/// The fields of a message, folds included, without the last line end.
fn fields(message: &[u8]) -> Vec<String> {
    let section = HeaderSection::parse(message);
    let fields = section.fields(message);
    fields.map(|field| String::from_utf8_lossy(field.raw).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_added_and_removed_fields_are_told() {
        let before = b"A: 1\r\nB: 2\r\n C\r\nD: 4\r\n\r\nbody";
        let after = b"New: x\r\nA: 1\r\nB: 3\r\nD: 4\r\nD: 4\r\n\r\nother";
        let wanted = [
            Change::Added("New: x".to_owned()),
            Change::Removed("B: 2\r\n C".to_owned()),
            Change::Added("B: 3".to_owned()),
            Change::Added("D: 4".to_owned()),
        ];
        assert_eq!(of_headers(before, after), wanted);
        assert_eq!(of_headers(before, before), []);
    }
}
