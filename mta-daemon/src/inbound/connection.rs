//! One conversation: moves octets between the socket and the session, and asks the hooks.
//!
//! The session decides what the protocol allows; this driver waits for the socket and for scripts.
//! While nothing happens a connection holds no read buffer: it is made when octets are there and
//! given back when they are used up.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use hsl::Value;
use mta_types::{Class, EnhancedCode};
use smtp::server::{
    AuthAnswer, AuthResponse, CloseReason, Decision, Event, Security, Session, Timer, Verdict,
};
use tls_policy::{Socket, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::connections::Registered;
use crate::context::{Core, Server};
use crate::hooks;
use crate::inbound::facts::{
    AuthFacts, Facts, InboundEntry, Origin, RecipientFacts, TransactionFacts,
};
use crate::inbound::receive::Reception;

/// One incoming connection.
pub(crate) struct Connection {
    pub(crate) core: Arc<Core>,
    pub(crate) server: Arc<Server>,
    pub(crate) facts: Facts,
    pub(crate) transaction: Option<TransactionFacts>,
    /// `$context` of the scripts.
    pub(crate) context: Value,
    /// `$arguments["metadata"]` of the end-of-data script, for what did not come over SMTP.
    pub(crate) metadata: Option<Value>,
    /// `$connection`, made when a script first wants it and again when facts change.
    seen: Option<Value>,
    /// The last reply of ours, for the disconnect hook.
    last_failure: Option<io::Error>,
    messages: u64,
    /// Its place among the open connections.
    entry: Option<Registered<InboundEntry>>,
}

/// What a finished input asks the socket loop to do.
enum Next {
    Read,
    Handshake,
    Close,
}

impl Connection {
    pub(crate) fn new(core: Arc<Core>, server: Arc<Server>, origin: Origin) -> Self {
        let (ends, remoteuid, proxy) = match origin {
            Origin::Network(ends, proxy) => (Some(ends), None, proxy),
            Origin::Local { uid } => (None, Some(uid), None),
        };
        let id = core.ids.next();
        let facts = Facts {
            connection: id,
            id,
            ends,
            stated: None,
            remoteuid,
            proxy,
            serverid: server.id.clone(),
            remoteptr: None,
            helo: None,
            tls: None,
            auth: None,
        };
        let entry = core.inbound.enter(InboundEntry {
            id: facts.id,
            ends,
            serverid: server.id.clone(),
            remoteptr: OnceLock::new(),
            since: Instant::now(),
            messages: AtomicU64::new(0),
            farewell: OnceLock::new(),
        });
        Self::of(core, server, facts, Some(entry))
    }

    /// A message without a connection: a plugin puts it in.
    pub(crate) fn injected(
        core: Arc<Core>,
        server: Arc<Server>,
        transaction: TransactionFacts,
        metadata: Value,
    ) -> Self {
        let id = core.ids.next();
        let facts = Facts {
            connection: id,
            id,
            ends: None,
            stated: None,
            remoteuid: None,
            proxy: None,
            serverid: server.id.clone(),
            remoteptr: None,
            helo: None,
            tls: None,
            auth: None,
        };
        let mut this = Self::of(core, server, facts, None);
        this.transaction = Some(transaction);
        this.metadata = Some(metadata);
        this
    }

    fn of(
        core: Arc<Core>,
        server: Arc<Server>,
        facts: Facts,
        entry: Option<Registered<InboundEntry>>,
    ) -> Self {
        Self {
            core,
            server,
            facts,
            transaction: None,
            context: Value::None,
            metadata: None,
            seen: None,
            last_failure: None,
            messages: 0,
            entry,
        }
    }

    /// Runs the conversation to its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; a message whose commit was asked for may or may
    /// not have become durable, and no 250 was sent for it.
    pub(crate) async fn run(mut self, socket: Socket, implicit_tls: bool) {
        tracing::debug!(
            transaction = %self.facts.id,
            server = %self.facts.serverid,
            remoteip = %self.facts.peer(),
            "inbound.connection_accepted"
        );
        let mut stream = Some(Stream::clear(socket));
        let mut security = Security::Clear;
        if implicit_tls {
            if self.handshake(&mut stream).await.is_err() {
                return;
            }
            security = Security::Tls;
        }
        let mut session = Session::new(Arc::clone(&self.server.smtp), security);
        let result = self.converse(&mut stream, &mut session).await;
        let reason = session.closing();
        if let Err(error) = result {
            tracing::debug!(transaction = %self.facts.id, %error, "inbound.connection_closed");
            self.last_failure = Some(error);
        } else {
            tracing::debug!(
                transaction = %self.facts.id,
                messages = self.messages,
                reason = ?reason,
                "inbound.connection_closed"
            );
        }
        if let Some(mut stream) = stream {
            // A polite end for TLS; the peer may be gone already.
            let _ = timeout(Timer::Closing.default_timeout(), stream.shutdown()).await;
        }
        if self.server.hooks.disconnect.is_some() {
            let local = reason.is_some_and(|reason| reason != CloseReason::Quit);
            let failure = self.last_failure.take();
            let reply = session.last_reply();
            hooks::disconnect::call(&mut self, local, reply, failure.as_ref()).await;
        }
    }

    async fn converse(
        &mut self,
        stream: &mut Option<Stream>,
        session: &mut Session,
    ) -> io::Result<()> {
        let found = Box::pin(self.look_up_peer()).await;
        let greeting = match self.server.hooks.connect.is_some() {
            true => Box::pin(hooks::connect::call(self, found)).await,
            false => Verdict::accept(),
        };
        session.greet(greeting);
        let mut buffer = Vec::new();
        let mut reception = None;
        loop {
            match self.digest(stream, session, &mut buffer, &mut reception).await? {
                Next::Close => return flush(stream, session).await,
                Next::Handshake => {
                    flush(stream, session).await?;
                    // What came in clear text behind STARTTLS is not for the encrypted session.
                    buffer = Vec::new();
                    match self.handshake(stream).await {
                        Ok(()) => session.tls_established(),
                        Err(error) => {
                            session.tls_failed();
                            return Err(error);
                        }
                    }
                }
                Next::Read => {
                    flush(stream, session).await?;
                    if !self.fill(stream, session, &mut buffer).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Feeds the session with what is buffered, answering its events.
    async fn digest(
        &mut self,
        stream: &mut Option<Stream>,
        session: &mut Session,
        buffer: &mut Vec<u8>,
        reception: &mut Option<Reception>,
    ) -> io::Result<Next> {
        let mut used = 0;
        let next = loop {
            let step = session.receive(buffer.get(used..).unwrap_or_default());
            used += step.consumed;
            let Some(event) = step.event else {
                break if session.closing().is_some() { Next::Close } else { Next::Read };
            };
            match event {
                Event::Body(octets) => {
                    if let Some(reception) = reception.as_mut() {
                        reception.take(octets);
                    }
                }
                Event::Command(line) => {
                    let answer = script(stream, session, hooks::proxy::call(self, line)).await?;
                    session.answer_proxy(answer);
                }
                Event::Hello(hello) => {
                    self.transaction = None;
                    *reception = None;
                    let before = self.facts.helo.take();
                    self.seen = None;
                    let (verdict, extensions, host) = match self.server.hooks.helo.is_some() {
                        true => script(stream, session, hooks::helo::call(self, &hello)).await?,
                        false => (Verdict::accept(), None, None),
                    };
                    // RFC 5321 §4.1.4: one that is refused leaves the one before in force.
                    let refused = verdict.decision != Decision::Accept;
                    let given = Some((hello.verb, host.unwrap_or(hello.host)));
                    self.facts.helo = before.filter(|_| refused).or(given);
                    self.seen = None;
                    session.answer_hello(verdict, extensions);
                }
                Event::StartTls => {
                    session.answer(Verdict::accept());
                    break Next::Handshake;
                }
                Event::Auth(auth) => {
                    let answer = script(stream, session, hooks::auth::call(self, &auth)).await?;
                    let answer = self.note_auth(auth.mechanism, &auth.response, answer);
                    session.answer_auth(answer);
                }
                Event::Mail(mail) => {
                    let (verdict, sender) = match self.server.hooks.mailfrom.is_some() {
                        true => script(stream, session, hooks::mailfrom::call(self, &mail)).await?,
                        false => (Verdict::accept(), None),
                    };
                    if verdict.decision == Decision::Accept {
                        self.transaction = Some(TransactionFacts {
                            sender: sender.unwrap_or(mail.address),
                            params: mail.params,
                            recipients: Vec::new(),
                        });
                    }
                    session.answer(verdict);
                }
                Event::Rcpt(rcpt) => {
                    let default = self.server.transport.clone();
                    let hook = self.server.hooks.rcptto.of(rcpt.address.domain()).cloned();
                    let (verdict, recipient) = match &hook {
                        Some(hook) => {
                            let call = hooks::rcptto::call(self, hook, rcpt, default);
                            script(stream, session, call).await?
                        }
                        None => {
                            let facts = RecipientFacts {
                                address: rcpt.address,
                                params: rcpt.params,
                                transportid: default,
                            };
                            (Verdict::accept(), facts)
                        }
                    };
                    if verdict.decision == Decision::Accept
                        && let Some(transaction) = &mut self.transaction
                    {
                        transaction.recipients.push(recipient);
                    }
                    session.answer(verdict);
                }
                Event::Data(_) => {
                    let verdict = match Reception::begin(self) {
                        Ok(begun) => {
                            *reception = Some(begun);
                            Verdict::accept()
                        }
                        Err(verdict) => verdict,
                    };
                    session.answer(verdict);
                }
                Event::BodyRefused(_) => *reception = None,
                Event::EndOfData(end) => {
                    // The session speaks of the end only after a `Data` event was accepted.
                    let verdict = match reception.take() {
                        Some(reception) => {
                            script(stream, session, reception.finish(self, end)).await?
                        }
                        None => Verdict::defer(),
                    };
                    if verdict.decision == Decision::Accept {
                        self.messages += 1;
                        if let Some(entry) = &self.entry {
                            entry.facts.messages.store(self.messages, Ordering::Relaxed);
                        }
                    }
                    session.answer(verdict);
                    self.end_transaction();
                }
                Event::Rset => {
                    *reception = None;
                    self.end_transaction();
                }
                Event::Closing(_) => break Next::Close,
                _ => {}
            }
        };
        if used >= buffer.len() {
            buffer.clear();
        } else {
            buffer.drain(..used);
        }
        Ok(next)
    }

    /// A new transaction gets a new id.
    fn end_transaction(&mut self) {
        self.transaction = None;
        self.facts.id = self.core.ids.next();
        self.seen = None;
    }

    fn note_auth(
        &mut self,
        mechanism: String,
        response: &AuthResponse,
        answer: hooks::auth::Answer,
    ) -> AuthAnswer {
        if let AuthAnswer::Verdict(verdict) = &answer.answer
            && verdict.decision == Decision::Accept
        {
            let given = match response {
                AuthResponse::Password { username, .. } => Some(username.clone()),
                AuthResponse::Raw { .. } => None,
            };
            let username = answer.username.or(given);
            self.facts.auth = Some(Box::new(AuthFacts { mechanism, username }));
            self.seen = None;
        }
        answer.answer
    }

    /// `$connection`, made once for as long as nothing changes.
    pub(crate) fn connection_value(&mut self) -> Value {
        self.seen.get_or_insert_with(|| hooks::shared::connection(&self.facts)).clone()
    }

    /// Forgets `$connection` after a script changed what it shows.
    pub(crate) fn facts_changed(&mut self) {
        self.seen = None;
    }

    /// Looks the peer's confirmed name up where somebody will see it.
    async fn look_up_peer(&mut self) -> Option<dns::Confirmation> {
        if !self.server.reverse_dns {
            return None;
        }
        let stageid = self.server.stageid.as_deref();
        let resolver = self.core.generation_of(stageid).resolver.clone();
        let remote = self.facts.remoteip()?;
        let found = timeout(REVERSE_PATIENCE, resolver.confirm_name(remote)).await.ok()?;
        if let (Some(name), Some(entry)) = (&found.name, &self.entry) {
            // Set once, here.
            let _ = entry.facts.remoteptr.set(name.clone());
        }
        self.facts.remoteptr.clone_from(&found.name);
        Some(found)
    }

    async fn handshake(&mut self, stream: &mut Option<Stream>) -> io::Result<()> {
        let Some(tls) = self.server.tls.clone() else {
            return Err(io::Error::other("TLS without a certificate"));
        };
        let Some(Ok(clear)) = stream.take().map(Stream::into_clear) else {
            return Err(io::Error::other("TLS within TLS"));
        };
        let accepted = timeout(Timer::TlsHandshake.default_timeout(), Box::pin(tls.accept(clear)))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
            .and_then(|result| result);
        match accepted {
            Ok((encrypted, session)) => {
                *stream = Some(encrypted);
                self.facts.tls = Some(Box::new(session));
                // RFC 3207 §4.2: nothing learned in clear text counts any more.
                self.facts.helo = None;
                self.facts.auth = None;
                self.transaction = None;
                self.seen = None;
                Ok(())
            }
            Err(error) => {
                tracing::info!(
                    transaction = %self.facts.id,
                    remoteip = %self.facts.peer(),
                    %error,
                    "inbound.tls_failed"
                );
                Err(error)
            }
        }
    }

    /// Reads what there is. False means that the conversation is over.
    async fn fill(
        &self,
        stream: &mut Option<Stream>,
        session: &mut Session,
        buffer: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let Some(stream) = stream else { return Ok(false) };
        let patience = self.patience(session.timer());
        if buffer.is_empty() {
            *buffer = Vec::new();
            // Without a buffer until there is something to read; TLS keeps its own.
            if !stream.is_encrypted() {
                let ready = tokio::select! {
                    biased;
                    () = self.told_to_close() => {
                        self.dismiss(session);
                        return Ok(true);
                    }
                    () = self.core.stop.cancelled(), if self.transaction.is_none() => None,
                    ready = timeout(patience, stream.socket().readable()) => Some(ready),
                };
                match ready {
                    None => {
                        session.shut_down();
                        return Ok(true);
                    }
                    Some(Err(_)) => {
                        session.timed_out();
                        return Ok(true);
                    }
                    Some(Ok(ready)) => ready?,
                }
            }
        }
        let room = if session.timer() == Timer::DataBlock { DATA_BUFFER } else { COMMAND_BUFFER };
        buffer.reserve(room);
        let stop = self.core.stop.clone();
        let read = tokio::select! {
            biased;
            () = self.told_to_close() => {
                self.dismiss(session);
                return Ok(true);
            }
            () = stop.cancelled(), if self.transaction.is_none() => None,
            read = timeout(patience, stream.read_buf(buffer)) => Some(read),
        };
        match read {
            None => session.shut_down(),
            Some(Err(_)) => session.timed_out(),
            Some(Ok(read)) => return Ok(read? > 0),
        }
        Ok(true)
    }

    /// An operator closes the connection.
    fn dismiss(&self, session: &mut Session) {
        let usual = || {
            Verdict::defer()
                .with_code(421)
                .with_enhanced(EnhancedCode::new(Class::Transient, 3, 2))
                .with_text("The connection is closed by the operator")
        };
        let farewell = self.entry.as_ref().and_then(|entry| entry.facts.farewell.get());
        let verdict = farewell.cloned().unwrap_or_else(usual);
        session.dismiss(&verdict);
    }

    /// Ends when an operator closes the connection.
    async fn told_to_close(&self) {
        match &self.entry {
            Some(entry) => entry.close.cancelled().await,
            None => std::future::pending().await,
        }
    }

    fn patience(&self, timer: Timer) -> Duration {
        match timer {
            Timer::Command => self.server.idle_timeout,
            other => other.default_timeout(),
        }
    }
}

/// Sends what the session has to say.
async fn flush(stream: &mut Option<Stream>, session: &mut Session) -> io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    while !session.output().is_empty() {
        let write = stream.write(session.output());
        let written = timeout(WRITE_PATIENCE, write).await??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        session.advance_output(written);
    }
    if stream.is_encrypted() { timeout(WRITE_PATIENCE, stream.flush()).await? } else { Ok(()) }
}

/// Waits for a script. Replies to earlier commands do not wait with it, and where it does not wait
/// they go out together with its own: a pipelined batch is answered with one write.
async fn script<T>(
    stream: &mut Option<Stream>,
    session: &mut Session,
    work: impl Future<Output = T>,
) -> io::Result<T> {
    let mut work = Box::pin(work);
    if let Poll::Ready(result) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        return Ok(result);
    }
    flush(stream, session).await?;
    Ok(work.await)
}

/// Room for commands: a pipelined batch of a few dozen.
const COMMAND_BUFFER: usize = 4 << 10;

/// Room for content.
const DATA_BUFFER: usize = 64 << 10;

/// How long one write of a reply may take; a peer that does not read for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// How long the banner waits for the peer's name.
const REVERSE_PATIENCE: Duration = Duration::from_secs(5);
