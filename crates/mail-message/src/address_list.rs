//! Addresses: the header's lists (RFC 5322 §3.4) and single ones of the envelope (RFC 5321 §4.1.2).
//!
//! Scripts work with octets, so an envelope address is split here leniently and as octets; what the
//! server itself keeps is `mta_types::address`.
//! Octets above ASCII are letters (RFC 6531 §3.3, RFC 6532 §3.2). Header lists are read leniently:
//! comments, groups, source routes and dots where they do not belong are all seen in real mail.

use crate::encoded_word::{MAX_WORD, WordEncoding, encode_words};

/// Splits an envelope address into its unquoted local part and its domain.
///
/// The null sender (empty text) has two empty parts. `None` when the text is no address.
pub fn parse_envelope(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if text.is_empty() {
        return Some((Vec::new(), Vec::new()));
    }
    let (local, domain) = if let Some(quoted) = text.strip_prefix(b"\"") {
        let mut local = Vec::with_capacity(quoted.len());
        let mut rest = quoted;
        loop {
            match rest {
                [b'\\', byte, tail @ ..] => {
                    local.push(*byte);
                    rest = tail;
                }
                [b'"', tail @ ..] => break (local, tail.strip_prefix(b"@")?),
                [byte, tail @ ..] if !byte.is_ascii_control() => {
                    local.push(*byte);
                    rest = tail;
                }
                _ => return None,
            }
        }
    } else {
        let at = memchr::memrchr(b'@', text)?;
        let (local, domain) = text.split_at(at);
        if local.is_empty() || !local.iter().all(|&byte| byte == b'.' || is_atext(byte)) {
            return None;
        }
        (local.to_vec(), domain.get(1..)?)
    };
    is_domain(domain).then(|| (local, domain.to_vec()))
}

/// Writes a local part as the envelope wants it: quoted when it is no dot-string.
pub fn escape_localpart(local: &[u8]) -> Vec<u8> {
    let is_dot_string =
        local.split(|&byte| byte == b'.').all(|atom| !atom.is_empty() && atom.iter().all(is_atom));
    if is_dot_string { local.to_vec() } else { quoted_string(local) }
}

/// Writes `text` as a quoted string (RFC 5322 §3.2.4).
pub fn quoted_string(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    out
}

/// Says whether `text` is a phrase that needs no quotes: atoms and single spaces.
pub fn is_plain_phrase(text: &[u8]) -> bool {
    text.split(|&byte| byte == b' ')
        .all(|word| !word.is_empty() && word.iter().all(|byte| byte.is_ascii() && is_atom(byte)))
}

/// Writes an entry of an address list: the name as atoms, quoted, or as encoded words.
pub fn write_mailbox(name: &[u8], address: &[u8], encoding: WordEncoding) -> Vec<u8> {
    if name.is_empty() {
        return address.to_vec();
    }
    let mut out = if is_plain_phrase(name) {
        name.to_vec()
    } else if name.is_ascii() {
        quoted_string(name)
    } else {
        encode_words(name, encoding, MAX_WORD)
    };
    out.extend_from_slice(b" <");
    out.extend_from_slice(address);
    out.push(b'>');
    out
}

/// One entry of an address list.
#[derive(Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name, or else the last comment; quotes undone, encoded words not.
    pub name: Vec<u8>,
    /// `local@domain`, the local part quoted where it has to be.
    pub address: Vec<u8>,
}

/// Reads an address list; groups are flattened. `None` when it is none.
pub fn parse_list(text: &[u8]) -> Option<Vec<Mailbox>> {
    let mut scanner = Scanner { rest: text };
    let mut list = Vec::new();
    let mut entry = Entry::default();
    let mut in_group = false;
    loop {
        match scanner.next()? {
            Token::End => {
                entry.finish(&mut list)?;
                return (!in_group).then_some(list);
            }
            Token::Special(b',') => std::mem::take(&mut entry).finish(&mut list)?,
            Token::Special(b';') if in_group => {
                std::mem::take(&mut entry).finish(&mut list)?;
                in_group = false;
            }
            Token::Special(b':') if !in_group && entry.angle.is_none() => {
                // What came before is the group's name.
                entry = Entry::default();
                in_group = true;
            }
            Token::Special(b'<') if entry.angle.is_none() => {
                entry.angle = Some(scanner.angle()?);
            }
            Token::Special(byte @ (b'@' | b'.')) if entry.angle.is_none() => {
                entry.words.push(Word::Special(byte));
            }
            Token::Special(_) => return None,
            Token::Comment(text) => entry.comment = Some(text),
            _ if entry.angle.is_some() => return None,
            Token::Atom(text) => entry.words.push(Word::Atom(text.to_vec())),
            Token::Quoted(text) => entry.words.push(Word::Quoted(text)),
            Token::Literal(text) => entry.words.push(Word::Literal(text.to_vec())),
        }
    }
}

#[derive(Default)]
struct Entry {
    words: Vec<Word>,
    comment: Option<Vec<u8>>,
    angle: Option<Vec<u8>>,
}

enum Word {
    Atom(Vec<u8>),
    Quoted(Vec<u8>),
    Literal(Vec<u8>),
    Special(u8),
}

impl Entry {
    /// Adds the entry to `list`; nothing at all between two commas is allowed (RFC 5322 §4.4).
    fn finish(self, list: &mut Vec<Mailbox>) -> Option<()> {
        if let Some(address) = self.angle {
            let mut name = phrase(&self.words)?;
            if name.is_empty() {
                name = self.comment.unwrap_or_default();
            }
            if !address.is_empty() {
                list.push(Mailbox { name, address });
            }
            return Some(());
        }
        if self.words.is_empty() {
            return Some(());
        }
        let address = addr_spec(&self.words)?;
        list.push(Mailbox { name: self.comment.unwrap_or_default(), address });
        Some(())
    }
}

/// The words of a display name, one space between; `None` when an address is among them.
fn phrase(words: &[Word]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    let mut after_at = false;
    for word in words {
        match word {
            Word::Atom(text) | Word::Quoted(text) => {
                if !out.is_empty() && !after_at {
                    out.push(b' ');
                }
                out.extend_from_slice(text);
                after_at = false;
            }
            // Compat: an address as its own display name (`a@b.c <a@b.c>`), and initials
            // (`J. Doe <…>`); a dot binds to what follows once an `@` was seen.
            Word::Special(byte) => {
                out.push(*byte);
                after_at = *byte == b'@' || out.contains(&b'@');
            }
            Word::Literal(_) => return None,
        }
    }
    Some(out)
}

/// `local@domain` out of words; `None` when they are no address.
fn addr_spec(words: &[Word]) -> Option<Vec<u8>> {
    let at = words.iter().rposition(|word| matches!(word, Word::Special(b'@')))?;
    let (local, domain) = words.split_at(at);
    let domain = domain.get(1..)?;
    let mut out = Vec::new();
    match local {
        [Word::Quoted(text)] => out.extend(escape_localpart(text)),
        _ => join_atoms(local, &mut out)?,
    }
    out.push(b'@');
    match domain {
        [Word::Literal(text)] => out.extend_from_slice(text),
        _ => join_atoms(domain, &mut out)?,
    }
    Some(out)
}

/// Atoms with dots between them; two atoms in a row are no address.
fn join_atoms(words: &[Word], out: &mut Vec<u8>) -> Option<()> {
    let mut after_atom = false;
    for word in words {
        match word {
            Word::Atom(text) if !after_atom => {
                out.extend_from_slice(text);
                after_atom = true;
            }
            Word::Special(b'.') => {
                out.push(b'.');
                after_atom = false;
            }
            _ => return None,
        }
    }
    (!words.is_empty()).then_some(())
}

enum Token<'a> {
    End,
    Atom(&'a [u8]),
    Quoted(Vec<u8>),
    Comment(Vec<u8>),
    Literal(&'a [u8]),
    Special(u8),
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        while let [b' ' | b'\t' | b'\r' | b'\n', tail @ ..] = self.rest {
            self.rest = tail;
        }
        let Some(&first) = self.rest.first() else { return Some(Token::End) };
        match first {
            b'"' => Some(Token::Quoted(self.quoted()?)),
            b'(' => Some(Token::Comment(self.comment()?)),
            b'[' => {
                let end = memchr::memchr(b']', self.rest)? + 1;
                Some(Token::Literal(self.take(end)))
            }
            _ if is_word_octet(first) => {
                let end =
                    self.rest.iter().position(|&b| !is_word_octet(b)).unwrap_or(self.rest.len());
                Some(Token::Atom(self.take(end)))
            }
            _ => {
                self.take(1);
                Some(Token::Special(first))
            }
        }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.take(1);
        let mut text = Vec::new();
        loop {
            match self.rest {
                [b'\\', byte, ..] => {
                    text.push(*byte);
                    self.take(2);
                }
                [b'"', ..] => {
                    self.take(1);
                    return Some(text);
                }
                // Folding inside quotes leaves the white space only.
                [b'\r' | b'\n', ..] => drop(self.take(1)),
                [byte, ..] => {
                    text.push(*byte);
                    self.take(1);
                }
                [] => return None,
            }
        }
    }

    fn comment(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut depth = 0usize;
        loop {
            let byte = match self.rest {
                [b'\\', byte, ..] => {
                    text.push(*byte);
                    self.take(2);
                    continue;
                }
                [byte, ..] => *byte,
                [] => return None,
            };
            self.take(1);
            match byte {
                b'(' => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(text);
                    }
                }
                _ => {}
            }
            text.push(byte);
        }
    }

    /// What stands between `<` (already taken) and `>`; empty for the null address.
    fn angle(&mut self) -> Option<Vec<u8>> {
        let mut words = Vec::new();
        loop {
            match self.next()? {
                Token::Special(b'>') if words.is_empty() => return Some(Vec::new()),
                Token::Special(b'>') => return addr_spec(&words),
                // A source route (RFC 5322 §4.4) ends with a colon and means nothing.
                Token::Special(b':') => words.clear(),
                Token::Special(b',') => {}
                Token::Special(byte @ (b'@' | b'.')) => words.push(Word::Special(byte)),
                Token::Atom(text) => words.push(Word::Atom(text.to_vec())),
                Token::Quoted(text) => words.push(Word::Quoted(text)),
                Token::Literal(text) => words.push(Word::Literal(text.to_vec())),
                Token::Comment(_) => {}
                Token::Special(_) | Token::End => return None,
            }
        }
    }
}

fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_atom(byte: &u8) -> bool {
    is_atext(*byte)
}

/// What an atom of a header is made of: everything that is no special and no white space.
fn is_word_octet(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !b"()<>[]:;@\\,.\"".contains(&byte)
}

fn is_domain(domain: &[u8]) -> bool {
    if let Some(literal) = domain.strip_prefix(b"[") {
        return literal.strip_suffix(b"]").is_some_and(|inner| {
            !inner.is_empty() && inner.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'[')
        });
    }
    let is_label = |label: &[u8]| {
        !label.is_empty()
            && label.iter().all(|&b| b.is_ascii_alphanumeric() || b >= 0x80 || b"-_".contains(&b))
    };
    domain.len() <= MAX_DOMAIN && domain.split(|&byte| byte == b'.').all(is_label)
}

/// RFC 5321 §4.5.3.1.2.
const MAX_DOMAIN: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(text: &str) -> Option<(String, String)> {
        let text_of = |bytes| String::from_utf8(bytes).unwrap();
        parse_envelope(text.as_bytes()).map(|(local, domain)| (text_of(local), text_of(domain)))
    }

    fn list(text: &str) -> Option<Vec<(String, String)>> {
        let text_of = |bytes| String::from_utf8(bytes).unwrap();
        let list = parse_list(text.as_bytes())?;
        Some(list.into_iter().map(|m| (text_of(m.name), text_of(m.address))).collect())
    }

    #[test]
    fn envelope_addresses_are_split_and_unquoted() {
        let table = [
            ("a.b@example.org", Some(("a.b", "example.org"))),
            ("\"a b\\\"c\"@example.org", Some(("a b\"c", "example.org"))),
            ("\"a@b\"@example.org", Some(("a@b", "example.org"))),
            ("a@[192.0.2.1]", Some(("a", "[192.0.2.1]"))),
            ("å@exämple.org", Some(("å", "exämple.org"))),
            ("a..b.@example.org", Some(("a..b.", "example.org"))),
            ("", Some(("", ""))),
            ("a b@example.org", None),
            ("a@b@example.org", None),
            ("postmaster", None),
            ("a@", None),
            ("@example.org", None),
            ("a@b..c", None),
            ("\"a@example.org", None),
            ("a@[", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(envelope(text), expected, "{text}");
        }
    }

    #[test]
    fn header_lists_are_read_with_names_groups_and_comments() {
        type Row<'a> = (&'a str, Option<&'a [(&'a str, &'a str)]>);
        let table: [Row<'_>; 14] = [
            ("a@b.c", Some(&[("", "a@b.c")])),
            ("A B <a@b.c>, \"C, D\" <c@d.e>", Some(&[("A B", "a@b.c"), ("C, D", "c@d.e")])),
            ("J. Doe <a@b.c>, a@b.c <a@b.c>", Some(&[("J. Doe", "a@b.c"), ("a@b.c", "a@b.c")])),
            ("a@b.c (A (x) B)", Some(&[("A (x) B", "a@b.c")])),
            ("g: a@b.c, <d@e.f>;, g@h.i", Some(&[("", "a@b.c"), ("", "d@e.f"), ("", "g@h.i")])),
            ("undisclosed-recipients:;", Some(&[])),
            ("<@x.y,@z.w:a@b.c>", Some(&[("", "a@b.c")])),
            ("\"a b\"@c.d, \"plain\"@c.d", Some(&[("", "\"a b\"@c.d"), ("", "plain@c.d")])),
            ("a @\r\n [192.0.2.1]", Some(&[("", "a@[192.0.2.1]")])),
            (",a@b.c,,", Some(&[("", "a@b.c")])),
            ("", Some(&[])),
            ("a b", None),
            ("<a@b.c", None),
            ("a@b.c <d@e.f> x", None),
        ];
        for (text, expected) in table {
            let expected = expected
                .map(|all| all.iter().map(|(n, a)| (n.to_string(), a.to_string())).collect());
            assert_eq!(list(text), expected, "{text}");
        }
    }

    #[test]
    fn comments_nested_deep_cost_no_stack() {
        let mut text = "(".repeat(100_000);
        assert_eq!(parse_list(text.as_bytes()), None);
        text.push_str(&")".repeat(100_000));
        assert_eq!(parse_list(text.as_bytes()), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn an_escaped_local_part_reads_back(local in "[ -~å]{1,12}") {
            let mut address = escape_localpart(local.as_bytes());
            address.extend_from_slice(b"@example.org");
            let (read, _) = parse_envelope(&address).unwrap();
            prop_assert_eq!(read, local.as_bytes());
        }

        #[test]
        fn any_text_is_read_or_refused(text: Vec<u8>) {
            let _ = parse_list(&text);
            let _ = parse_envelope(&text);
        }
    }
}
