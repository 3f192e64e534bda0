//! Message content on the wire, both ways: dot-stuffing (RFC 5321 §4.5.2) and line endings (§2.3.8).
//!
//! [`Decoder`] takes content off the wire, for DATA and for the chunks of BDAT; [`Encoder`] puts it
//! on. Both look for line ends with `memchr` and pass on slices of what they were given, so plain
//! text is scanned once and never copied. Here, and only here, is decided what ends a message:
//! `CRLF . CRLF`, nothing else, whatever the policy on line endings says.

use memchr::{memchr, memchr2, memchr3};

use crate::server::LineEndings;

/// Takes dot-stuffing off incoming content and applies the line-ending policy.
#[derive(Clone, Debug)]
pub struct Decoder {
    at: At,
    framing: Framing,
    policy: LineEndings,
    /// Longest text line without its end.
    line_limit: usize,
    /// Octets of the current line in earlier inputs.
    line_len: usize,
}

/// How the end of content is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By `CRLF . CRLF`; leading dots are doubled.
    Dot,
    /// By counting octets (BDAT); dots mean nothing.
    Counted,
}

/// What [`Decoder::decode`] found first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'i> {
    /// Content.
    Body(&'i [u8]),
    /// The final dot.
    End,
    /// Something the policy refuses; the octets that follow are for [`Decoder::swallow`].
    Odd(Odd),
}

/// What may be wrong with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Odd {
    /// LF without CR before it.
    BareLf,
    /// CR without LF behind it.
    BareCr,
    /// A NUL: not allowed in 7bit and 8bit content (RFC 2045 §2.7), and some hops drop it, which
    /// would make an end of data out of `. NUL CRLF`.
    Nul,
    /// A line over the limit.
    LongLine,
}

/// What ends a run of plain content.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// The end of the input, or a dot at the start of a line.
    End,
    /// A CR as the last octet of the input.
    Cr,
    /// Something odd.
    Odd(Odd),
}

/// Position within a line; what is named but not in `Mid` was not passed on yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Behind CRLF, or at the very start.
    Start,
    /// Behind any octet that means nothing special.
    Mid,
    /// Behind a CR in mid-line.
    Cr,
    /// Behind a dot that starts a line.
    Dot,
    /// Behind `. CR` at the start of a line.
    DotCr,
}

impl Decoder {
    /// A decoder at the start of a message. `line_limit` counts octets without CRLF.
    #[must_use]
    pub fn new(framing: Framing, policy: LineEndings, line_limit: Option<usize>) -> Self {
        let line_limit = line_limit.unwrap_or(usize::MAX);
        Self { at: At::Start, framing, policy, line_limit, line_len: 0 }
    }

    /// Takes the next piece from `input`; returns it with the number of octets that are done with.
    ///
    /// `None` means that all of `input` is used up. A piece is either a slice of `input` or a
    /// short constant that stands for a line end. After [`Piece::Odd`] the octet in question is not
    /// consumed.
    pub fn decode<'i>(&mut self, input: &'i [u8]) -> (usize, Option<Piece<'i>>) {
        let mut pos = 0;
        // What was withheld, and dots that start a line.
        loop {
            let Some(&next) = input.get(pos) else { return (pos, None) };
            match (self.at, next) {
                (At::Start, b'.') if self.framing == Framing::Dot => self.at = At::Dot,
                (At::Dot, b'\r') => self.at = At::DotCr,
                (At::DotCr, b'\n') => {
                    self.at = At::Start;
                    return (pos + 1, Some(Piece::End));
                }
                (At::Cr, b'\n') => {
                    self.at = At::Start;
                    self.line_len = 0;
                    return (pos + 1, Some(Piece::Body(CRLF)));
                }
                (At::Cr | At::DotCr, _) => {
                    self.at = At::Mid;
                    return (pos, Some(self.odd(Odd::BareCr)));
                }
                // A leading dot before other text is stuffing and stays behind.
                (At::Start | At::Mid | At::Dot, _) => break,
            }
            pos += 1;
        }
        let (end, stop) = self.scan(input, pos);
        match (input.get(pos..end), stop) {
            // What stopped the run is looked at again in the next call.
            (Some(body), _) if !body.is_empty() => (end, Some(Piece::Body(body))),
            (_, Stop::Cr) => {
                self.at = At::Cr;
                (end + 1, None)
            }
            (_, Stop::Odd(odd)) => {
                let piece = self.odd(odd);
                let skip = usize::from(matches!(piece, Piece::Body(_)));
                (end + skip, Some(piece))
            }
            (_, Stop::End) => (end, None),
        }
    }

    /// Takes octets of a refused message; tells how many, and whether its true end was among them.
    ///
    /// With counted content the end is the caller's to know.
    pub fn swallow(&mut self, input: &[u8]) -> (usize, bool) {
        if self.framing == Framing::Counted {
            return (input.len(), false);
        }
        let mut pos = 0;
        while let Some(&next) = input.get(pos) {
            let (at, step) = match (self.at, next) {
                (At::Start, b'.') => (At::Dot, 1),
                (At::Dot, b'\r') => (At::DotCr, 1),
                (At::DotCr, b'\n') => return (pos + 1, true),
                (At::Cr, b'\n') => (At::Start, 1),
                (At::Mid, _) => match memchr(b'\r', input.get(pos..).unwrap_or_default()) {
                    Some(found) => (At::Cr, found + 1),
                    None => return (input.len(), false),
                },
                // Another CR in a row may still be the one before LF.
                (At::Cr | At::DotCr, b'\r') => (At::Cr, 1),
                _ => (At::Mid, 0),
            };
            self.at = at;
            pos += step;
        }
        (pos, false)
    }

    /// Ends counted content: tells what is left over when it stops behind a CR.
    pub fn finish(&mut self) -> Option<Piece<'static>> {
        (std::mem::replace(&mut self.at, At::Start) == At::Cr).then(|| self.odd(Odd::BareCr))
    }

    /// Finds how far plain content reaches from `from`, and what stops it there.
    ///
    /// The first octet is content, even if it is a dot.
    fn scan(&mut self, input: &[u8], from: usize) -> (usize, Stop) {
        let mut line_start = from;
        let mut pos = from;
        self.at = At::Mid;
        loop {
            let rest = input.get(pos..).unwrap_or_default();
            let found = memchr3(b'\r', b'\n', 0, rest).map_or(input.len(), |found| pos + found);
            let line_len = self.line_len.saturating_add(found - line_start);
            if line_len > self.line_limit {
                return (line_start, Stop::Odd(Odd::LongLine));
            }
            let stop = match (input.get(found), input.get(found + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    self.line_len = 0;
                    pos = found + 2;
                    line_start = pos;
                    let next = input.get(pos);
                    if next.is_none() || (next == Some(&b'.') && self.framing == Framing::Dot) {
                        self.at = At::Start;
                        return (pos, Stop::End);
                    }
                    continue;
                }
                (Some(b'\r'), None) => Stop::Cr,
                (Some(b'\r'), Some(_)) => Stop::Odd(Odd::BareCr),
                (Some(b'\n'), _) => Stop::Odd(Odd::BareLf),
                (Some(_), _) => Stop::Odd(Odd::Nul),
                (None, _) => Stop::End,
            };
            self.line_len = line_len;
            return (found, stop);
        }
    }

    /// What an oddity becomes under the policy.
    fn odd(&mut self, odd: Odd) -> Piece<'static> {
        match (self.policy, odd) {
            (LineEndings::Fix, Odd::BareLf) => {
                // Not `Start`: what follows is no line of the wire, so a dot there is content.
                self.line_len = 0;
                Piece::Body(CRLF)
            }
            (LineEndings::Fix, Odd::BareCr | Odd::Nul) => Piece::Body(b" "),
            _ => Piece::Odd(odd),
        }
    }
}

/// Counts `Received:` fields in the header of a message that streams by (loop protection).
#[derive(Clone, Debug, Default)]
pub struct HeaderWatch {
    received: u32,
    /// Octets of [`RECEIVED`] that matched at the start of the current line.
    matched: usize,
    place: Place,
}

/// Where a [`HeaderWatch`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Within the first octets of a line, all matching so far.
    #[default]
    LineStart,
    /// Further along a line.
    Line,
    /// Behind the empty line.
    Body,
}

impl HeaderWatch {
    /// Looks at the next octets of the message. Costs nothing once the header is over.
    pub fn feed(&mut self, mut piece: &[u8]) {
        while self.place != Place::Body {
            let Some((&next, rest)) = piece.split_first() else { return };
            match self.place {
                Place::LineStart => {
                    let wanted = RECEIVED.get(self.matched).copied();
                    if wanted == Some(next.to_ascii_lowercase()) {
                        self.matched += 1;
                        if self.matched == RECEIVED.len() {
                            self.received = self.received.saturating_add(1);
                            self.place = Place::Line;
                        }
                        piece = rest;
                    } else if next == b'\r' && self.matched == 0 {
                        // Content has CRLF only: this is the empty line.
                        self.place = Place::Body;
                    } else {
                        self.place = Place::Line;
                    }
                }
                Place::Line => match memchr(b'\n', piece) {
                    Some(found) => {
                        piece = piece.get(found + 1..).unwrap_or_default();
                        self.matched = 0;
                        self.place = Place::LineStart;
                    }
                    None => return,
                },
                Place::Body => return,
            }
        }
    }

    /// Fields seen so far.
    #[must_use]
    pub const fn received(&self) -> u32 {
        self.received
    }
}

/// Puts dot-stuffing on outgoing content and makes every line end CRLF.
///
/// A bare LF becomes CRLF and a bare CR a space, so that what we send can never be read as the end
/// of data by a lenient server, wherever the message came from.
#[derive(Clone, Debug)]
pub struct Encoder {
    at: At,
    framing: Framing,
}

impl Encoder {
    /// An encoder at the start of a message.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self { at: At::Start, framing }
    }

    /// Appends to `slices` what `piece` looks like on the wire.
    ///
    /// Lines without leading dots and with CRLF pass as one slice of `piece`.
    pub fn encode<'a>(&mut self, piece: &'a [u8], slices: &mut Vec<&'a [u8]>) {
        let mut push = |slice: &'a [u8]| {
            if !slice.is_empty() {
                slices.push(slice);
            }
        };
        let (mut from, mut pos) = (0, 0);
        while let Some(&next) = piece.get(pos) {
            // End of the run before, start of the run behind, and what comes in between.
            let (end, start, between): (usize, usize, &'static [u8]) = match (self.at, next) {
                (At::Start, b'.') if self.framing == Framing::Dot => {
                    self.at = At::Mid;
                    (pos, pos, b".")
                }
                (At::Cr, b'\n') => {
                    self.at = At::Start;
                    (pos, pos + 1, CRLF)
                }
                (At::Cr, _) => {
                    self.at = At::Mid;
                    (pos, pos, b" ")
                }
                _ => {
                    let rest = piece.get(pos..).unwrap_or_default();
                    let Some(found) = memchr2(b'\r', b'\n', rest) else {
                        self.at = At::Mid;
                        break;
                    };
                    let found = pos + found;
                    match (piece.get(found), piece.get(found + 1)) {
                        (Some(b'\r'), Some(b'\n')) => {
                            self.at = At::Start;
                            pos = found + 2;
                            continue;
                        }
                        (Some(b'\r'), None) => {
                            self.at = At::Cr;
                            (found, found + 1, b"")
                        }
                        (Some(b'\r'), Some(_)) => {
                            self.at = At::Mid;
                            (found, found + 1, b" ")
                        }
                        _ => {
                            self.at = At::Start;
                            (found, found + 1, CRLF)
                        }
                    }
                }
            };
            push(piece.get(from..end).unwrap_or_default());
            push(between);
            from = start;
            pos = start;
        }
        push(piece.get(from..).unwrap_or_default());
    }

    /// Appends what ends the message: with dots a line end if one is missing, and the final dot.
    pub fn finish(&mut self, slices: &mut Vec<&[u8]>) {
        let end: &'static [u8] = match (self.framing, std::mem::replace(&mut self.at, At::Start)) {
            (Framing::Dot, At::Start) => b".\r\n",
            (Framing::Dot, _) => b"\r\n.\r\n",
            (Framing::Counted, At::Cr) => CRLF,
            (Framing::Counted, _) => return,
        };
        slices.push(end);
    }
}

const CRLF: &[u8] = b"\r\n";

/// In lower case, for comparison.
const RECEIVED: &[u8] = b"received:";

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(framing: Framing, pieces: &[&[u8]]) -> (Vec<u8>, usize) {
        let mut slices = Vec::new();
        let mut encoder = Encoder::new(framing);
        for piece in pieces {
            encoder.encode(piece, &mut slices);
        }
        encoder.finish(&mut slices);
        (slices.concat(), slices.len())
    }

    #[test]
    fn plain_text_passes_in_one_slice_both_ways() {
        let text = b"one\r\ntwo.\r\n\r\nthree\r\n";
        assert_eq!(encoded(Framing::Dot, &[text]).1, 2, "the text and the final dot");
        let mut decoder = Decoder::new(Framing::Dot, LineEndings::Refuse, None);
        assert_eq!(decoder.decode(text), (text.len(), Some(Piece::Body(text))));
        assert_eq!(decoder.decode(b".\r\n"), (3, Some(Piece::End)));
    }

    #[test]
    fn the_encoder_stuffs_and_ends_wherever_the_pieces_are_cut() {
        let text: &[u8] = b".a\r\n..\r\nb\n.\rc\r\n.";
        let wire = b"..a\r\n...\r\nb\r\n.. c\r\n..\r\n.\r\n";
        assert_eq!(encoded(Framing::Dot, &[text]).0, wire);
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            assert_eq!(encoded(Framing::Dot, &[head, tail]).0, wire, "cut at {at}");
        }
        assert_eq!(encoded(Framing::Dot, &[]).0, b".\r\n");
        assert_eq!(encoded(Framing::Dot, &[b"a\r"]).0, b"a\r\n.\r\n");
        assert_eq!(encoded(Framing::Counted, &[b".\n."]).0, b".\r\n.");
    }

    #[test]
    fn received_fields_are_counted_in_the_header_only() {
        let text = b"Received: a\r\nX-Received: b\r\nRECEIVED:c\r\n\tReceived: d\r\nReceived : e\r\n\r\nReceived: f\r\n";
        for at in 0..=text.len() {
            let mut watch = HeaderWatch::default();
            watch.feed(&text[..at]);
            watch.feed(&text[at..]);
            assert_eq!(watch.received(), 2, "cut at {at}");
        }
    }

    #[test]
    fn what_is_swallowed_ends_at_the_true_end_only() {
        let mut decoder = Decoder::new(Framing::Dot, LineEndings::Refuse, None);
        let text = b"a\n.\n\r.\r\r\n..\r\n.\r\nNOOP";
        assert_eq!(decoder.swallow(text), (text.len() - 4, true));
    }
}
