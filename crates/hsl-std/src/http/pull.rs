//! A post by function: the script makes the payload piece by piece, while it is sent.
//!
//! The request is a future that the call holds. It runs until it wants a piece; then the script's
//! function is called with the largest size, and the request goes on with what it gave.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hsl::host::{CallContext, Continuation, NativeStep, Thrown};
use hsl::value::Value;
use parking_lot::Mutex;

use super::Call;
use super::body::{Pieces, Source};
use super::client::{Answer, HttpError};
use super::request::{Payload, Request};

type Exchange = Pin<Box<dyn Future<Output = Result<Answer, HttpError>> + Send>>;

/// Starts a call whose payload `function` makes.
pub(super) fn start(call: Call, mut request: Request, function: Value) -> NativeStep {
    if call.wanted.background.is_some() {
        // The function cannot outlive the script, so the payload is made first.
        return Gather { call, request, function, octets: Vec::new() }.ask();
    }
    let (pieces, source) = Pieces::new();
    request.payload = Payload::Pieces(pieces);
    request.settings.is_once = true;
    let (client, memory) = (call.client.clone(), call.memory);
    let exchange: Exchange = Box::pin(async move { client.run(request, memory).await });
    wait(Pull { call, function, source }, exchange)
}

struct Pull {
    call: Call,
    function: Value,
    source: Source,
}

/// What a wait ended with; it travels beside the future, which gives values only.
struct Woken {
    pull: Pull,
    /// The answer, or the exchange that wants a piece.
    result: Result<Result<Answer, HttpError>, Exchange>,
}

/// Waits until the answer is there or a piece is wanted.
fn wait(mut pull: Pull, mut exchange: Exchange) -> NativeStep {
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    NativeStep::SuspendThen {
        future: Box::pin(async move {
            let answer = tokio::select! {
                answer = &mut exchange => Some(answer),
                Some(()) = pull.source.wants.recv() => None,
            };
            let result = answer.ok_or(exchange);
            *filled.lock() = Some(Woken { pull, result });
            Ok(Value::None)
        }),
        then: Box::new(move |ctx: &mut CallContext<'_>, _: Value| {
            let woken: Option<Woken> = slot.lock().take();
            match woken {
                None => NativeStep::Return(Value::None),
                Some(Woken { pull, result: Ok(answer) }) => pull.call.finish(ctx, answer).into(),
                Some(Woken { pull, result: Err(exchange) }) => NativeStep::call(
                    pull.function.clone(),
                    [Value::from(PIECE_OCTETS)],
                    move |_: &mut CallContext<'_>, piece: Value| match piece_of(&piece) {
                        Ok(piece) => {
                            pull.source.activity.touch();
                            // There is room for the one piece that was wanted. If the request is
                            // over, its answer says so.
                            let _ = pull.source.pieces.try_send(piece);
                            wait(pull, exchange)
                        }
                        Err(thrown) => NativeStep::Throw(thrown),
                    },
                ),
            }
        }),
    }
}

/// Makes a whole payload for the background.
struct Gather {
    call: Call,
    request: Request,
    function: Value,
    octets: Vec<u8>,
}

impl Gather {
    fn ask(self) -> NativeStep {
        NativeStep::Call {
            function: self.function.clone(),
            arguments: [Value::from(PIECE_OCTETS)].into_iter().collect(),
            then: Box::new(self),
        }
    }
}

impl Continuation for Gather {
    fn resume(mut self: Box<Self>, ctx: &mut CallContext<'_>, piece: Value) -> NativeStep {
        let piece = match piece_of(&piece) {
            Ok(piece) => piece,
            Err(thrown) => return NativeStep::Throw(thrown),
        };
        if piece.is_empty() {
            let mut request = self.request;
            request.payload = Payload::Octets(self.octets.into(), None);
            return self.call.run(request);
        }
        let total = self.octets.len() + piece.len();
        if let Err(thrown) = crate::args::charge_growth(ctx, piece.len(), total) {
            return NativeStep::Throw(thrown);
        }
        self.octets.extend_from_slice(&piece);
        self.ask()
    }
}

fn piece_of(piece: &Value) -> Result<Bytes, Thrown> {
    match piece {
        Value::String(octets) => Ok(Bytes::copy_from_slice(octets)),
        other => {
            let given = other.type_of().name();
            Err(Thrown::new(format!("the function of http() must return a string, {given} given")))
        }
    }
}

/// The size that the function is called with.
const PIECE_OCTETS: usize = 65536;
