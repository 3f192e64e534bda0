//! Content on its way in: DATA until the final dot, BDAT by count, and what becomes of refused ones.

use super::session::Pending;
use super::{BodyRefusal, CloseReason, Config, EndOfData, Event, LineEndings, Session, State};
use crate::bdat::Chunk;
use crate::data::{Decoder, Framing, HeaderWatch, Odd, Piece};
use crate::replies;

/// The message that comes in.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) fate: Fate,
    decoder: Decoder,
    pub(super) header: HeaderWatch,
    /// Octets handed out.
    size: u64,
    /// Octets of the present chunk still to come.
    chunk_left: u64,
    /// The present chunk is the last.
    chunk_last: bool,
    /// Where a skipped chunk leads back to.
    resume: State,
}

/// What happens with content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is handed out.
    #[default]
    Keep,
    /// It is swallowed, and this reply sent behind it.
    Late(Vec<u8>),
    /// It is swallowed; the reply was sent already.
    Silent,
}

impl Intake {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            fate: Fate::Keep,
            decoder: Decoder::new(Framing::Dot, config.line_endings, config.limits.text_line),
            header: HeaderWatch::default(),
            size: 0,
            chunk_left: 0,
            chunk_last: false,
            resume: State::Ready,
        }
    }

    /// All octets of the present chunk came.
    pub(super) const fn chunk_done(&self) -> bool {
        self.chunk_left == 0
    }
}

impl Session {
    /// Makes ready for a new message.
    pub(super) fn begin_intake(&mut self, framing: Framing) {
        let config = &self.config;
        self.intake = Intake {
            decoder: Decoder::new(framing, config.line_endings, config.limits.text_line),
            ..Intake::new(config)
        };
    }

    /// Goes into a chunk of the message.
    pub(super) fn begin_chunk(&mut self, chunk: Chunk) {
        self.intake.chunk_left = chunk.size;
        self.intake.chunk_last = chunk.last;
        self.intake.resume = State::Ready;
        self.state = State::Chunk;
    }

    /// Goes into a chunk whose octets nobody wants: they must never be read as commands.
    pub(super) fn skip_chunk(&mut self, chunk: Option<Chunk>, fate: Fate) {
        let Some(chunk) = chunk else { return };
        self.intake.chunk_left = chunk.size;
        self.intake.chunk_last = false;
        self.intake.resume = self.state;
        self.intake.fate = fate;
        self.state = State::Chunk;
    }

    /// Takes DATA content.
    pub(super) fn receive_data<'i>(&mut self, input: &'i [u8]) -> (usize, Option<Event<'i>>) {
        if self.intake.fate != Fate::Keep {
            let (consumed, ended) = self.intake.decoder.swallow(input);
            if ended {
                self.end_refused();
            }
            return (consumed, None);
        }
        self.decode(input)
    }

    /// Takes octets of a chunk, or ends one that has none left.
    pub(super) fn receive_chunk<'i>(&mut self, input: &'i [u8]) -> (usize, Option<Event<'i>>) {
        if self.intake.chunk_left == 0 {
            return (0, self.end_chunk());
        }
        let most = usize::try_from(self.intake.chunk_left).unwrap_or(usize::MAX);
        let piece = input.get(..most.min(input.len())).unwrap_or_default();
        let (consumed, event) = match self.intake.fate {
            Fate::Keep => self.decode(piece),
            _ => (piece.len(), None),
        };
        self.intake.chunk_left = self.intake.chunk_left.saturating_sub(consumed as u64);
        (consumed, event)
    }

    fn decode<'i>(&mut self, input: &'i [u8]) -> (usize, Option<Event<'i>>) {
        let (consumed, piece) = self.intake.decoder.decode(input);
        let event = match piece {
            None => None,
            Some(Piece::Body(body)) => Some(self.keep(body)),
            Some(Piece::End) => Some(self.complete()),
            Some(Piece::Odd(odd)) => Some(self.refuse_odd(odd)),
        };
        (consumed, event)
    }

    fn keep<'i>(&mut self, body: &'i [u8]) -> Event<'i> {
        self.intake.size = self.intake.size.saturating_add(body.len() as u64);
        if self.size_limit().is_some_and(|limit| self.intake.size > limit) {
            return self.refuse(BodyRefusal::TooLarge);
        }
        self.intake.header.feed(body);
        Event::Body(body)
    }

    fn complete(&mut self) -> Event<'static> {
        self.answering = "EOD";
        self.pending = Some(Pending::EndOfData);
        let received = self.intake.header.received();
        Event::EndOfData(EndOfData { size: self.intake.size, received })
    }

    fn refuse_odd(&mut self, odd: Odd) -> Event<'static> {
        self.refuse(match odd {
            Odd::BareLf | Odd::BareCr | Odd::Nul => BodyRefusal::BadLineEnding,
            Odd::LongLine => BodyRefusal::LineTooLong,
        })
    }

    fn refuse(&mut self, reason: BodyRefusal) -> Event<'static> {
        let close = self.config.line_endings == LineEndings::RefuseAndClose;
        let reply = match reason {
            BodyRefusal::TooLarge => replies::TOO_LARGE,
            BodyRefusal::LineTooLong => replies::TEXT_LINE_TOO_LONG,
            BodyRefusal::BadLineEnding if close => {
                self.hang_up(replies::BAD_CONTENT_CLOSE, CloseReason::BadLineEnding);
                return Event::BodyRefused(reason);
            }
            BodyRefusal::BadLineEnding => replies::BAD_CONTENT,
        };
        let mut late = Vec::new();
        for _ in 0..self.replies_due() {
            replies::write_stock(&mut late, reply, self.config.enhanced_codes);
        }
        self.intake.fate = Fate::Late(late);
        Event::BodyRefused(reason)
    }

    /// Replies to a refused message: one, or under LMTP behind DATA one per recipient (RFC 2033
    /// §4.2). A chunk that is not the last has one in any case.
    fn replies_due(&self) -> u32 {
        match self.config.protocol {
            super::Protocol::Smtp => 1,
            super::Protocol::Lmtp if self.state == State::Chunk && !self.intake.chunk_last => 1,
            super::Protocol::Lmtp => self.recipients.max(1),
        }
    }

    fn end_chunk(&mut self) -> Option<Event<'static>> {
        match self.intake.fate {
            Fate::Keep => {}
            Fate::Late(_) if self.intake.resume == State::Ready => {
                self.end_refused();
                return None;
            }
            Fate::Late(_) | Fate::Silent => {
                let resume = self.intake.resume;
                if let Fate::Late(late) = std::mem::take(&mut self.intake.fate) {
                    self.reply_octets(&late);
                }
                self.state = resume;
                return None;
            }
        }
        if !self.intake.chunk_last {
            self.reply(replies::CHUNK);
            self.state = State::Bdat;
            return None;
        }
        match self.intake.decoder.finish() {
            // The next call comes back here and finds nothing left over.
            Some(Piece::Body(body)) => Some(self.keep(body)),
            Some(Piece::Odd(odd)) => Some(self.refuse_odd(odd)),
            Some(Piece::End) | None => Some(self.complete()),
        }
    }

    /// Sends the reply that a refused message has waiting, and ends the transaction.
    fn end_refused(&mut self) {
        if let Fate::Late(late) = std::mem::take(&mut self.intake.fate) {
            self.reply_octets(&late);
        }
        // Chunks that were pipelined behind this one are no fault of the client's.
        self.mail_refused = true;
        self.reset();
    }
}
