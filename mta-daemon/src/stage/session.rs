//! What the scripts of a live stage tell a debugger, and how they wait for it.
//!
//! A script stands at a breakpoint while a control connection is attached: until the debugger lets it go
//! on, goes away or ends the stage, and [`PATIENCE`] at most. Without a debugger the stop is noted, to be
//! polled, and the script goes on at once: mail never waits for somebody who is not there.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use control::pb;
use mta_types::TransactionId;
use parking_lot::Mutex;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::generation::Generation;

tokio::task_local! {
    /// The session of the script that runs in this task.
    static OF_SCRIPT: Arc<Session>;
}

/// The configuration of the stage whose script runs in this task, while there is such a stage.
pub(super) fn generation() -> Option<Arc<Generation>> {
    OF_SCRIPT.try_with(|session| session.generation.get()?.upgrade()).ok().flatten()
}

/// The stops and lines of a stage's scripts.
pub(crate) struct Session {
    state: Mutex<State>,
    /// Wakes the debugger that waits.
    news: Notify,
    over: CancellationToken,
    /// How long a script stands at one breakpoint at most.
    patience: Duration,
    generation: OnceLock<Weak<Generation>>,
}

#[derive(Default)]
struct State {
    is_attached: bool,
    /// Stops that the debugger has not seen, oldest first.
    stops: VecDeque<Standing>,
    /// Lets the script go on whose stop the debugger sees.
    shown: Option<oneshot::Sender<()>>,
    lines: VecDeque<pb::HslLogResponse>,
    /// Octets of the lines.
    octets: usize,
    /// Lines for which there was no room.
    left_out: u64,
    /// Stops so far.
    number: u64,
}

struct Standing {
    number: u64,
    stop: pb::HslBreakPointResponse,
    /// `None` for a script that went on.
    go_on: Option<oneshot::Sender<()>>,
}

/// What a debugger gets next.
#[derive(Debug)]
pub(crate) enum News {
    Lines(Vec<pb::HslLogResponse>),
    Stop(Box<pb::HslBreakPointResponse>),
    Nothing,
}

impl Session {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            news: Notify::new(),
            over: CancellationToken::new(),
            patience,
            generation: OnceLock::new(),
        })
    }

    /// Names the configuration of its scripts; once, when it is built.
    pub(super) fn set_generation(&self, generation: &Arc<Generation>) {
        let _ = self.generation.set(Arc::downgrade(generation));
    }

    /// Runs the work of a script with the configuration of its stage.
    pub(crate) async fn scope<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        OF_SCRIPT.scope(self, work).await
    }

    /// Tells of a script that stops, and stands with it until it may go on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the stop back, if the debugger has not seen it.
    pub(crate) async fn stop(&self, stop: pb::HslBreakPointResponse) {
        let transaction = stop.transactionid.clone();
        let Some((number, go_on)) = self.park(stop) else { return };
        let _leave = Leave { session: self, number };
        tokio::select! {
            biased;
            // An error means that the debugger has gone.
            _ = go_on => {}
            () = self.over.cancelled() => {}
            () = tokio::time::sleep(self.patience) => {
                tracing::warn!(%transaction, "stage.script_released");
            }
        }
    }

    /// Files a stop; `None` when nobody is there to let the script go on.
    fn park(&self, stop: pb::HslBreakPointResponse) -> Option<(u64, oneshot::Receiver<()>)> {
        let mut state = self.state.lock();
        if self.over.is_cancelled() {
            return None;
        }
        state.number += 1;
        let number = state.number;
        if !state.is_attached {
            if state.stops.len() >= MAX_NOTED {
                state.stops.pop_front();
            }
            state.stops.push_back(Standing { number, stop, go_on: None });
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        state.stops.push_back(Standing { number, stop, go_on: Some(sender) });
        self.news.notify_waiters();
        Some((number, receiver))
    }

    /// Takes a line of `echo`, for a debugger that is attached.
    pub(crate) fn line(&self, id: TransactionId, text: &[u8]) {
        let mut state = self.state.lock();
        if !state.is_attached {
            return;
        }
        if state.octets + text.len() > MAX_LINES {
            state.left_out += 1;
            return;
        }
        state.octets += text.len();
        state.lines.push_back(pb::HslLogResponse {
            location: None,
            text: text.to_vec(),
            id: id.to_string(),
        });
        self.news.notify_waiters();
    }

    /// Makes scripts stand at breakpoints from now on. False when somebody else debugs the stage.
    pub(crate) fn attach(&self) -> bool {
        let mut state = self.state.lock();
        if state.is_attached {
            return false;
        }
        // What was noted does not stand any more.
        *state = State { is_attached: true, number: state.number, ..State::default() };
        true
    }

    /// The debugger has gone: every script goes on.
    pub(crate) fn detach(&self) {
        let mut state = self.state.lock();
        // Dropping the senders lets the scripts go on.
        *state = State { number: state.number, ..State::default() };
    }

    /// The stage has ended: every script goes on, and none stands any more.
    pub(super) fn end(&self) {
        self.over.cancel();
        self.detach();
        self.news.notify_waiters();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Completes when something came after the call.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Takes what the attached debugger has not seen: lines, then the oldest stop.
    pub(crate) fn next(&self) -> News {
        let mut state = self.state.lock();
        state.octets = 0;
        let mut lines: Vec<_> = state.lines.drain(..).collect();
        if state.left_out > 0 {
            let text = format!("({} lines were left out)", std::mem::take(&mut state.left_out));
            lines.push(pb::HslLogResponse { text: text.into_bytes(), ..Default::default() });
        }
        if !lines.is_empty() {
            return News::Lines(lines);
        }
        state.show().map_or(News::Nothing, |stop| News::Stop(Box::new(stop)))
    }

    /// Takes the oldest stop for the attached debugger, without the lines before it.
    pub(crate) fn show(&self) -> Option<pb::HslBreakPointResponse> {
        self.state.lock().show()
    }

    /// Takes the oldest stop that was noted while nobody was attached.
    pub(crate) fn noted(&self) -> Option<pb::HslBreakPointResponse> {
        let mut state = self.state.lock();
        if state.is_attached {
            return None;
        }
        state.stops.pop_front().map(|standing| standing.stop)
    }

    /// Whether the debugger sees a stop whose script stands there still.
    pub(crate) fn is_shown(&self) -> bool {
        self.state.lock().shown.as_ref().is_some_and(|go_on| !go_on.is_closed())
    }

    /// Lets the script go on whose stop the debugger sees. False when it sees none.
    pub(crate) fn go_on(&self) -> bool {
        let shown = self.state.lock().shown.take();
        // A script that has been released already needs nothing.
        shown.map(|go_on| go_on.send(())).is_some()
    }
}

impl State {
    fn show(&mut self) -> Option<pb::HslBreakPointResponse> {
        let standing = self.stops.pop_front()?;
        self.shown = standing.go_on;
        Some(standing.stop)
    }
}

/// Takes back a stop that is over before the debugger saw it.
struct Leave<'a> {
    session: &'a Session,
    number: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.session.state.lock().stops.retain(|standing| standing.number != self.number);
    }
}

/// How long a script stands at one breakpoint at most: clients wait five minutes for most replies
/// (RFC 5321 §4.5.3.2).
const PATIENCE: Duration = Duration::from_secs(300);

/// Stops that are noted for a debugger that polls.
const MAX_NOTED: usize = 100;

/// Octets of lines that wait for the debugger.
const MAX_LINES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(id: &str) -> pb::HslBreakPointResponse {
        pb::HslBreakPointResponse { id: id.to_owned(), ..Default::default() }
    }

    fn shown(session: &Session) -> Option<String> {
        match session.next() {
            News::Stop(stop) => Some(stop.id),
            _ => None,
        }
    }

    /// A script at a breakpoint, polled once.
    async fn standing(
        session: &Arc<Session>,
        id: &str,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let (session, stop) = (Arc::clone(session), stop(id));
        let mut script: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { session.stop(stop).await });
        std::future::poll_fn(|context| {
            assert!(script.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        script
    }

    #[tokio::test]
    async fn scripts_stand_in_turn_and_go_on_one_by_one() {
        let session = Session::new();
        assert!(session.attach() && !session.attach(), "one debugger at a time");
        let (one, two) = (standing(&session, "1").await, standing(&session, "2").await);
        assert_eq!(shown(&session).as_deref(), Some("1"));
        assert!(session.is_shown() && session.go_on());
        one.await;
        assert!(!session.go_on(), "nothing is shown");
        // A connection that breaks off takes its stop along.
        drop(two);
        assert_eq!(shown(&session), None);
    }

    #[tokio::test]
    async fn a_debugger_that_goes_lets_all_scripts_go_on() {
        let session = Session::new();
        session.attach();
        let (one, two) = (standing(&session, "1").await, standing(&session, "2").await);
        assert_eq!(shown(&session).as_deref(), Some("1"));
        session.detach();
        tokio::join!(one, two);
        // Without a debugger nobody stands; the stop can be polled.
        session.stop(stop("3")).await;
        assert_eq!(session.noted().unwrap().id, "3");
        assert!(session.noted().is_none());
        session.attach();
        let four = standing(&session, "4").await;
        session.end();
        four.await;
        session.stop(stop("5")).await;
        assert!(session.noted().is_none(), "the stage is over");
    }

    #[tokio::test]
    async fn a_script_goes_on_by_itself_when_its_time_is_over() {
        let session = Session::with_patience(Duration::from_millis(1));
        session.attach();
        session.stop(stop("1")).await;
        assert_eq!(shown(&session), None, "what does not stand is not shown");
        let script = standing(&session, "2").await;
        assert_eq!(shown(&session).as_deref(), Some("2"));
        script.await;
        assert!(!session.is_shown());
        assert!(session.go_on(), "a debugger may be late");
    }

    #[test]
    fn lines_come_before_stops_and_have_a_bound() {
        let session = Session::new();
        let id = TransactionId::from_bytes([1; 16]);
        session.line(id, b"nobody is there");
        session.attach();
        session.line(id, b"one");
        session.line(id, &vec![b'x'; MAX_LINES]);
        let News::Lines(lines) = session.next() else { panic!("there are lines") };
        let texts: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
        assert_eq!(texts, ["one", "(1 lines were left out)"]);
        assert_eq!(lines[0].id, id.to_string());
        assert!(matches!(session.next(), News::Nothing));
    }
}
