//! Clients that come back: a session outlives its client's connection, and gives what was missing on the
//! next one.
//!
//! ```text
//!              handle_client_gone, silence, a stall
//!   attached -------------------------------------> away ------ resume_window is over ---> left, or over
//!      ^  |                                           |
//!      |  '--- handle_client_back (takes over) --.    |
//!      |                                         |    |
//!      '-----------------------------------------'<---' handle_client_back
//!
//!   A Close of the client's ends the session, as it does for others. A Close for the client waits for it
//!   while it is away.
//! ```

mod tokens;

use crate::relay::resume_buffer::ResumeBuffer;
use crate::steadfast_v1::client_wire::{
    FromBroker, FromClient, Reason, Resume, Standing, Watermarks, Welcome,
};
use crate::steadfast_v1::kind_byte::{AddKind, BadFrame, Kinded};
use crate::steadfast_v1::{CLOSE_BREACH, CLOSE_SUPERSEDED, SessionId};
use crate::time::Time;
use crate::websocket::close_code::CloseCode;
use crate::websocket::frame::{Opcode, close_frame, data_frame};
use crate::websocket::scanner::Data;

use super::client_link::{ClientSpeech, ReturningLink, ShimLink};
use super::report::EndCause;
use super::{ClientPhase, Session};

use tokens::Tokens;

/// While memory is short, a client that may have acknowledged something is read in so many bytes.
const TIGHT_READ: usize = 4096;

/// It is not, when so much waits of what it has said.
const TIGHT_RING: usize = 64 * 1024;

/// A connection that another takes over from is told so behind what is begun on it, unless that is more than this: it
/// would have to be kept until it is read.
pub(super) const LAST_WORDS_MAX: usize = 64 * 1024;

/// A session whose client may come back.
#[derive(Debug)]
pub(super) struct ResumableSession {
    /// Its client links the shim.
    shim: Option<Box<ShimClient>>,
    /// The session ends with the present connection.
    last: bool,
}

/// What a client that links the shim has shown and been told, over all its connections.
#[derive(Debug)]
struct ShimClient {
    tokens: Tokens,
    told: Watermarks,
}

impl ResumableSession {
    pub(super) fn plain() -> ResumableSession {
        ResumableSession { shim: None, last: false }
    }

    pub(super) fn shim(session: SessionId) -> ResumableSession {
        let client = ShimClient { tokens: Tokens::new(session), told: Watermarks::default() };
        ResumableSession { shim: Some(Box::new(client)), last: false }
    }

    /// Messages for the client have the kind byte.
    pub(super) fn kinds(&self) -> bool {
        self.shim.is_some()
    }
}

// ---- connections ----

impl Session {
    /// The client's first connection is there: it is told which session it has.
    pub(super) fn greet(&mut self, secret: [u8; 32], reason: Reason) {
        self.welcome(secret, Standing::Fresh(reason));
    }

    /// Whether the client of this session may come back with this wish.
    ///
    /// # Errors
    /// Why not; then it gets a fresh session, and this one stays as it is.
    pub fn resumable(&self, resume: &Resume) -> Result<(), Reason> {
        let Some(returning) = self.returning() else { return Err(Reason::Unknown) };
        let Some(client) = &returning.shim else { return Err(Reason::Unknown) };
        if !self.awaits_client() {
            return Err(Reason::Unknown);
        }
        if !client.tokens.admits(&resume.token) {
            return Err(Reason::Stale);
        }
        let reaches = self.state.downstream.kept().is_some_and(|kept| kept.reaches(resume.last));
        if reaches { Ok(()) } else { Err(Reason::Seq) }
    }

    /// Whether a plain client may come back.
    pub fn plainly_resumable(&self) -> bool {
        let plain = self.returning().is_some_and(|returning| !returning.kinds());
        plain && self.awaits_client()
    }

    /// The client is back on another connection, which takes over. `resume`: `None` for a plain one.
    /// `secret` is that of its next token. Returns what the connection before it is told, if it can be,
    /// and is to be closed then.
    ///
    /// # Errors
    /// As [`Session::resumable`] says; the session stays as it is.
    pub fn handle_client_back(
        &mut self,
        now: Time,
        resume: Option<&Resume>,
        secret: [u8; 32],
    ) -> Result<Option<Vec<u8>>, Reason> {
        match resume {
            Some(resume) => self.resumable(resume)?,
            None if self.plainly_resumable() => {}
            None => return Err(Reason::Unknown),
        }
        let superseded = close_frame(CLOSE_SUPERSEDED, "superseded: the session goes on elsewhere");
        let last_words =
            self.state.downstream.kept().and_then(|kept| kept.last_words(&superseded, LAST_WORDS_MAX));
        self.lose_connection(now);
        if let Some(kept) = self.state.downstream.kept_mut() {
            kept.attach(resume.map(|resume| resume.last));
        }
        if let (Some(client), Some(resume)) = (self.shim_client(), resume) {
            client.tokens.shown(&resume.token);
        }
        self.welcome(secret, Standing::Resumed(self.watermarks()));
        Ok(last_words)
    }

    /// The client has shown that it knows its token. The token of a plain one is of its own making.
    pub(super) fn is_proven(&self) -> bool {
        let client = self.returning().and_then(|returning| returning.shim.as_ref());
        client.is_none_or(|client| client.tokens.is_proven())
    }

    /// The client has answered what stood behind its welcome.
    pub(super) fn token_is_proven(&mut self) {
        if let Some(client) = self.shim_client() {
            client.tokens.prove();
        }
    }

    /// Its client has no connection, and may come back.
    pub(super) fn away(&self) -> bool {
        self.away_until().is_some()
    }

    /// Until when a client that is away may come back; `None`: it is here.
    pub fn away_until(&self) -> Option<Time> {
        self.client_link.returning.as_ref().and_then(|link| link.away_until)
    }

    /// Whether the driver should hold a connection to the client. When it has one and this is false, it
    /// drops that one.
    pub fn wants_client(&self) -> bool {
        !self.away()
    }

    /// The client's connection is lost. True: it may come back, and the session waits for that.
    pub(super) fn detach(&mut self, now: Time) -> bool {
        let waits = self.awaits_client() && !self.config.resume_window.is_zero();
        if waits && !self.away() {
            let window = self.config.resume_window;
            let unproven = window.min(self.config.unproven_window);
            let until = now + if self.is_proven() { window } else { unproven };
            self.lose_connection(now);
            if let Some(link) = &mut self.client_link.returning {
                link.away_until = Some(until);
            }
        }
        waits
    }

    /// Nobody waits for the client any more.
    pub(super) fn expire_absence(&mut self, now: Time) {
        self.end_returning();
        self.client_lost(now, EndCause::ResumeExpired);
    }

    /// How much may be read of the client while memory is short: what it acknowledges makes room.
    pub(super) fn read_for_acknowledgements(&self) -> usize {
        let little = self.state.ring.len() < TIGHT_RING;
        if little && self.acknowledgements_may_come() { TIGHT_READ } else { 0 }
    }

    /// The client has been sent what it has not acknowledged yet.
    pub(super) fn acknowledgements_may_come(&self) -> bool {
        self.state.downstream.kept().is_some_and(|kept| kept.ring.base_seq() < kept.sent_seq())
    }

    /// Nobody can come back any more: a client that is away is not waited for, nor one that loses its
    /// connection from now on.
    pub(super) fn stop_waiting(&mut self) {
        let away = self.away();
        self.end_returning();
        if away {
            self.client_over();
        }
    }

    fn end_returning(&mut self) {
        if let Some(returning) = self.returning_mut() {
            returning.last = true;
        }
        if let Some(link) = &mut self.client_link.returning {
            link.away_until = None;
        }
    }

    /// The client may come back to what is left of the session.
    fn awaits_client(&self) -> bool {
        let told = matches!(self.state.client, ClientPhase::Told { deaf: false, answered: false, .. });
        let kept = self.state.downstream.kept().is_some_and(|kept| told && !kept.all_acknowledged());
        let may_return = self.returning().is_some_and(|returning| !returning.last);
        may_return && (matches!(self.state.client, ClientPhase::Open) || kept || (told && self.away()))
    }

    /// What has come by halves is begun anew on the next connection, and a Close is said again.
    fn lose_connection(&mut self, now: Time) {
        self.state.ring.drop_open();
        if let Some(talk) = &mut self.state.conversation {
            talk.drop_open();
        }
        self.client_link = self.state.client_link(&self.config, now);
        if let ClientPhase::Told { until, .. } = &mut self.state.client {
            *until = None;
        }
        self.state.downstream.detach();
    }

    fn welcome(&mut self, secret: [u8; 32], standing: Standing) {
        let window_ms =
            self.config.resume_window.as_millis().min(u128::from(crate::steadfast_v1::NUMBER_MAX)) as u64;
        let (told, told_at) = (self.watermarks(), self.state.ring.whole());
        if let Some(link) = self.shim_link() {
            link.told_at = told_at;
        }
        let Some(client) = self.shim_client() else { return };
        client.told = told;
        let (session, token) = (client.tokens.session(), client.tokens.issue(secret));
        self.say(FromBroker::Welcome(Welcome { session, token, window_ms, standing }));
    }
}

// ---- what it says ----

impl Session {
    /// What is known of a client that links the shim.
    fn shim_client(&mut self) -> Option<&mut ShimClient> {
        self.returning_mut().and_then(|returning| returning.shim.as_deref_mut())
    }

    /// Its present connection.
    fn shim_link(&mut self) -> Option<&mut ShimLink> {
        self.client_link.returning.as_mut().and_then(|link| link.shim())
    }

    /// Takes a span of frames of a client that links the shim. False: of another client.
    pub(super) fn client_link_data(&mut self, now: Time, data: &Data<'_>) -> bool {
        let mut bytes = data.bytes;
        // What stands behind a breach goes nowhere.
        while self.client_listens() {
            let open = matches!(self.state.client, ClientPhase::Open);
            let Some(link) = self.client_link.returning.as_mut().and_then(|link| link.shim()) else {
                return false;
            };
            if let Some(client) = self.state.returning_mut().and_then(|returning| returning.shim.as_mut()) {
                client.tokens.confirm();
            }
            match link.strip.pass(&mut bytes, open.then_some(&mut self.state.ring)) {
                Ok(Some(text)) => self.handle_text(now, text),
                Ok(None) => break,
                Err(BadFrame) => {
                    self.client_broke(now, "bad_frame: a message has no kind, or a text cannot be read");
                }
            }
        }
        true
    }

    /// The payload that follows goes to the ring as it is.
    pub(super) fn client_payload_is_plain(&mut self) -> bool {
        self.shim_link().is_none_or(|link| link.strip.in_message())
    }

    /// Counts `n` payload bytes that went there without a look.
    pub(super) fn client_link_read(&mut self, n: usize) {
        if let Some(link) = self.shim_link() {
            link.strip.skip(n as u64);
        }
    }

    fn handle_text(&mut self, now: Time, text: FromClient) {
        match text {
            FromClient::Ack(seq) if self.state.downstream.acknowledge(seq).is_err() => {
                self.client_broke(now, "future_ack: no message with this seq was sent on this connection");
            }
            FromClient::Ack(_) => {}
            FromClient::Query => {
                if let Some(link) = self.shim_link() {
                    link.asked = true;
                }
            }
        }
    }

    fn client_broke(&mut self, now: Time, reason: &'static str) {
        if let ClientPhase::Told { deaf, .. } = &mut self.state.client {
            *deaf = true;
            return;
        }
        self.note(super::Event::ClientBreach(reason));
        // To the backend it is a client that broke its protocol (RFC 6455, 7.4.1), whatever that was.
        self.say_closing_with(now, CloseCode::PROTOCOL_ERROR);
        self.dismiss(now, CLOSE_BREACH, reason, EndCause::ProtocolClient, true);
    }

    /// What a ping for a sign of life says. A peer may answer the latest of several pings only (RFC 6455,
    /// 5.5.3), so it repeats the question that is out.
    pub(super) fn keepalive_payload(&self) -> Vec<u8> {
        match self.client_link.returning.as_ref().map(|link| &link.speech) {
            Some(ClientSpeech::Plain { asked: Some(seq) }) => seq.to_be_bytes().to_vec(),
            _ => Vec::new(),
        }
    }

    /// A plain client has answered a ping: it has what was sent before.
    pub(super) fn receipt(&mut self, payload: &[u8]) {
        let link = self.client_link.returning.as_deref_mut();
        let Some(ReturningLink { speech: ClientSpeech::Plain { asked }, .. }) = link else { return };
        let Some(seq) = asked.take_if(|seq| seq.to_be_bytes() == payload) else { return };
        // What was written before the ping was sent, so this is never too far.
        let _ = self.state.downstream.acknowledge(seq);
    }
}

// ---- what it is told ----

impl Session {
    /// Its messages have the kind byte.
    pub(super) fn adds_kind(&self) -> bool {
        self.returning().is_some_and(ResumableSession::kinds)
    }

    /// Frames of a backend as this client is to have them; `None`: as they are.
    pub(super) fn with_kind(&mut self, data: &Data<'_>) -> Option<Kinded> {
        Some(self.backend_link.kinds()?.pass(data.bytes))
    }

    /// Counts `n` payload bytes of a backend's that went on without a look.
    pub(super) fn kind_skip(&mut self, n: usize) {
        if let Some(kinds) = self.backend_link.kinds() {
            kinds.skip(n as u64);
        }
    }

    /// What another backend says begins between two messages, or goes on as `add` has it.
    pub(super) fn kind_begins(&mut self, add: AddKind) {
        if let Some(kinds) = self.backend_link.kinds() {
            *kinds = add;
        }
    }

    /// What has changed since was not looked at yet: a time to tell the client of it is to be chosen, or it
    /// is to be asked what it has.
    pub(super) fn owes_client(&self) -> bool {
        match self.client_link.returning.as_ref().filter(|_| self.tells_progress()).map(|link| &link.speech) {
            None => false,
            Some(ClientSpeech::Shim(link)) => link.tell_at.is_none() && self.told() != self.watermarks(),
            Some(ClientSpeech::Plain { asked }) => {
                asked.is_none() && self.state.downstream.kept().is_some_and(ResumeBuffer::may_ask)
            }
        }
    }

    /// Tells the client how far its messages have come, when it is time.
    pub(super) fn tell_client_progress(&mut self, now: Time) {
        if !self.tells_progress() {
            return;
        }
        let (marks, at) = (self.watermarks(), self.state.ring.whole());
        let Some(kept) = self.state.downstream.kept() else { return };
        let (waits, sent_seq, may_ask) = (kept.data_waits(), kept.sent_seq(), kept.may_ask());
        let news = marks != self.told();
        let Some(link) = &mut self.client_link.returning else { return };
        match &mut link.speech {
            ClientSpeech::Shim(link) => {
                if !link.is_due(now, news, at, waits) {
                    return;
                }
                (link.told_at, link.tell_at, link.asked) = (at, None, false);
                link.told_when = Some(now);
                if let Some(client) = self.shim_client() {
                    client.told = marks;
                }
                if let Some(kept) = self.state.downstream.kept_mut() {
                    kept.say(marks.frame().bytes());
                }
            }
            ClientSpeech::Plain { asked } if asked.is_none() && may_ask => {
                *asked = Some(sent_seq);
                self.state.downstream.control(Opcode::Ping, &sent_seq.to_be_bytes());
            }
            _ => {}
        }
    }

    /// The client is there, and no Close is on its way to it.
    fn tells_progress(&self) -> bool {
        !self.away() && matches!(self.state.client, ClientPhase::Open | ClientPhase::Left { hears: true })
    }

    pub(super) fn tell_client_at(&self) -> Option<Time> {
        match &self.client_link.returning.as_ref().filter(|_| self.tells_progress())?.speech {
            ClientSpeech::Shim(link) => link.tell_at,
            ClientSpeech::Plain { .. } => None,
        }
    }

    /// What a client that links the shim was told last.
    fn told(&self) -> Watermarks {
        let client = self.returning().and_then(|returning| returning.shim.as_ref());
        client.map_or_else(Watermarks::default, |client| client.told)
    }

    fn watermarks(&self) -> Watermarks {
        let ends = self.adds_kind() && self.commits().is_none() && !self.client_hears();
        // What the backend has not acknowledged before the end, it may have handled or not.
        let committed = if ends { self.told().committed } else { self.done_seq() };
        Watermarks { received: self.state.ring.whole_seq(), committed }
    }

    fn say(&mut self, text: FromBroker) {
        let frame = data_frame(Opcode::Text, text.text().as_bytes(), None);
        if let Some(kept) = self.state.downstream.kept_mut() {
            kept.say(&frame);
        }
    }
}
