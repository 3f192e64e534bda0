//! Request bodies: known octets, or pieces that a script makes while they are sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// When something was last sent or received, for the option `timeout`.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn touch(&self) {
        *self.0.lock() = Instant::now();
    }

    pub(super) fn last(&self) -> Instant {
        *self.0.lock()
    }
}

/// The body of one request.
pub(super) enum RequestBody {
    /// Octets, or nothing any more.
    Whole(Option<Bytes>),
    /// Pieces on demand.
    Pieces(Pieces),
}

/// The receiving end of a post by function.
pub(super) struct Pieces {
    /// Takes one mark for each piece that is wanted.
    wants: mpsc::Sender<()>,
    /// Gives the pieces; an empty one is the end.
    pieces: mpsc::Receiver<Bytes>,
    is_asked: bool,
    is_done: bool,
    activity: Activity,
}

/// The giving end: where the script's pieces go.
pub(super) struct Source {
    /// Marks of wanted pieces.
    pub(super) wants: mpsc::Receiver<()>,
    /// Where they go.
    pub(super) pieces: mpsc::Sender<Bytes>,
    /// Told of each piece.
    pub(super) activity: Activity,
}

impl Pieces {
    /// Both ends of a post by function.
    pub(super) fn new() -> (Self, Source) {
        let (wants, wanted) = mpsc::channel(1);
        let (give, pieces) = mpsc::channel(1);
        let activity = Activity::new();
        let source = Source { wants: wanted, pieces: give, activity: activity.clone() };
        (Self { wants, pieces, is_asked: false, is_done: false, activity }, source)
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let pieces = match self.get_mut() {
            Self::Whole(octets) => {
                return Poll::Ready(octets.take().map(|octets| Ok(Frame::data(octets))));
            }
            Self::Pieces(pieces) => pieces,
        };
        if pieces.is_done {
            return Poll::Ready(None);
        }
        if !pieces.is_asked {
            // There is room for one mark, and one at a time is out.
            pieces.is_asked = pieces.wants.try_send(()).is_ok();
        }
        match pieces.pieces.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(piece)) => {
                pieces.is_asked = false;
                pieces.activity.touch();
                pieces.is_done = piece.is_empty();
                Poll::Ready((!pieces.is_done).then(|| Ok(Frame::data(piece))))
            }
            // The script is gone: a chunked body without its end tells the server so.
            Poll::Ready(None) => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(octets) => octets.as_ref().is_none_or(Bytes::is_empty),
            Self::Pieces(pieces) => pieces.is_done,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(octets) => {
                SizeHint::with_exact(octets.as_ref().map_or(0, |octets| octets.len() as u64))
            }
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}
