//! A message that several objects share: the top, its parts, and whoever delivers it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hsl::host::{CallContext, Measure, Thrown};
use mail_message::header::decode_value;
use mail_message::{Message, Output, PartId};
use parking_lot::Mutex;

use crate::services::FileContent;

/// A message that objects share. The lock is held for the time of one method.
pub type MessageHandle = Arc<Mutex<SharedMessage>>;

/// A message with its changes, and where its octets are.
pub struct SharedMessage {
    message: Message,
    content: Arc<dyn FileContent>,
    /// Whether the content and the text of the message are the same octets of memory.
    is_text_content: bool,
}

/// A part of a message: the state of `MIMEPart` and `MailMessage` objects.
#[derive(Clone)]
pub struct PartRef {
    /// The message.
    pub message: MessageHandle,
    /// The part; [`PartId::TOP`] for the message itself.
    pub part: PartId,
}

impl PartRef {
    /// The message itself.
    pub fn top(message: MessageHandle) -> Self {
        Self { message, part: PartId::TOP }
    }

    /// The part in a message of its own, as it is now.
    pub(crate) fn own_copy(&self) -> Self {
        Self { message: self.message.lock().own_copy(), part: self.part }
    }

    /// Tells the memory limit about the message.
    pub(super) fn measure(&self, measure: &mut Measure) {
        let message = self.message.lock();
        measure.shared(&self.message, || message.message.size());
        if !message.is_text_content {
            measure.shared(&message.content, || message.content.memory());
        }
    }
}

impl SharedMessage {
    /// Makes a message of all its octets.
    pub fn from_octets(octets: Bytes) -> Self {
        let content = Arc::new(octets.clone());
        Self { message: Message::new(octets), content, is_text_content: true }
    }

    /// Makes a message of a file. Only the header is read, until something asks for more.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn from_content(content: Arc<dyn FileContent>) -> io::Result<Self> {
        let mut wanted = FIRST_READ;
        loop {
            let head = read(&*content, wanted)?;
            let is_all = head.len() < wanted;
            let len = if is_all { head.len() as u64 } else { content.len() };
            match Message::from_head(head, len) {
                Ok(message) => return Ok(Self::from_message(message, content)),
                Err(needed) => wanted = needed.given.saturating_mul(2),
            }
        }
    }

    /// Makes a message of its start that was read already, and of all of it.
    pub fn from_message(message: Message, content: Arc<dyn FileContent>) -> Self {
        Self { message, content, is_text_content: false }
    }

    /// A message of its own as this one is now: changes of one do not show in the other.
    pub fn own_copy(&self) -> MessageHandle {
        let copy = Self {
            message: self.message.clone(),
            content: Arc::clone(&self.content),
            is_text_content: self.is_text_content,
        };
        Arc::new(Mutex::new(copy))
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The message, to be changed.
    pub fn message_mut(&mut self) -> &mut Message {
        &mut self.message
    }

    /// The original.
    pub fn content(&self) -> &Arc<dyn FileContent> {
        &self.content
    }

    /// The changed message as something to read from. It keeps the changes of this moment.
    pub fn output(&self, date: &str) -> Arc<dyn FileContent> {
        self.content_of(self.message.output(date))
    }

    /// What [`Message::output`] gave, as something to read from.
    pub fn content_of(&self, output: Output) -> Arc<dyn FileContent> {
        let content = Arc::clone(&self.content);
        if output.is_original() { content } else { Arc::new(Changed { output, content }) }
    }

    /// The decoded `Subject` of the original.
    pub fn subject(&self) -> Option<String> {
        let field = self.message.view(PartId::TOP)?.field(b"subject", 0)?;
        let kind = self.message.content_type(PartId::TOP);
        let text = decode_value(field.value, kind.as_ref().and_then(|kind| kind.charset()));
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// The changed message in one piece.
    ///
    /// # Errors
    ///
    /// When the original cannot be read.
    pub fn to_octets(&self, date: &str) -> io::Result<Bytes> {
        if self.message.is_unchanged() && self.message.is_complete() {
            return Ok(self.message.text().clone());
        }
        let output = self.output(date);
        let len = usize::try_from(output.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        read(&*output, len)
    }

    /// The message with all octets in memory, as parts and bodies need it.
    ///
    /// # Errors
    ///
    /// When the original cannot be read, or is more than the script may use.
    pub fn complete(&mut self, ctx: &mut CallContext<'_>) -> Result<&mut Message, Thrown> {
        if !self.message.is_complete() {
            let len = usize::try_from(self.message.len()).unwrap_or(usize::MAX);
            ctx.charge_memory(len)?;
            let octets = read(&*self.content, len).map_err(unreadable)?;
            if !self.message.complete(octets) {
                return Err(Thrown::new("the message changed while it was read"));
            }
        }
        Ok(&mut self.message)
    }
}

pub(super) fn unreadable(error: io::Error) -> Thrown {
    Thrown::new(format!("the message cannot be read: {error}"))
}

/// The first octets of `content`, at most `wanted`.
fn read(content: &dyn FileContent, wanted: usize) -> io::Result<Bytes> {
    let len = usize::try_from(content.len()).unwrap_or(usize::MAX).min(wanted);
    let mut octets = vec![0; len];
    let count = content.read_at(0, &mut octets)?;
    octets.truncate(count);
    Ok(octets.into())
}

/// More than nearly all headers are long.
const FIRST_READ: usize = 32 << 10;

/// A message with changes: pieces of the original and new octets.
struct Changed {
    output: Output,
    content: Arc<dyn FileContent>,
}

impl FileContent for Changed {
    fn len(&self) -> u64 {
        self.output.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read_at(offset, buffer, |at, target| {
            let count = self.content.read_at(at, target)?;
            if count == target.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use mail_message::header::WriteOptions;

    use super::*;

    /// A message of a large body; counts the octets that were read of it.
    struct Counted(Vec<u8>, AtomicU64);

    impl FileContent for Counted {
        fn len(&self) -> u64 {
            FileContent::len(&self.0)
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.1.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            self.0.read_at(offset, buffer)
        }
    }

    #[test]
    fn header_changes_of_a_large_file_read_its_head_only() {
        let mut text = b"Subject: old\r\n\r\n".to_vec();
        text.resize(4 << 20, b'x');
        let content = Arc::new(Counted(text.clone(), AtomicU64::new(0)));
        let mut message = SharedMessage::from_content(content.clone()).unwrap();
        let options = WriteOptions::default();
        let changed = message.message_mut().add_header(PartId::TOP, b"X", b"1", options);
        assert_eq!(changed, Ok(()));
        assert_eq!(message.message().output("").replacement().skip, 0);
        assert!(content.1.load(Ordering::Relaxed) <= FIRST_READ as u64);
        let octets = message.to_octets("").unwrap();
        assert_eq!(octets, [&b"X: 1\r\n"[..], &text].concat());
    }

    #[test]
    fn a_header_longer_than_the_first_read_is_read_in_full() {
        let text = [b"A: b\r\n".repeat(FIRST_READ / 2), b"\r\nbody".to_vec()].concat();
        let message = SharedMessage::from_content(Arc::new(text.clone())).unwrap();
        assert_eq!(message.message().header().body_start(), text.len() - 4);
    }
}
