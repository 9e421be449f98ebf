//! A client that keeps its session while connections come and go: what it says, what it gets, and when it
//! connects.
//!
//! ```text
//!              at its time              connected                 welcome
//!   Waiting --------------> Connecting -----------> Greeting ---------------> Open
//!    ^  ^                       |                      |                      |  |
//!    |  '--- failed, time over -'                      |                      |  | close, and everything
//!    |                                                 |                      |  | is written
//!    +------- ended, or a Close to come back after ----+----------------------'  v
//!    |                                                                         Leaving
//!    '------- ended without a Close, and not everything is delivered -------------'
//!
//!   Over   from Greeting, Open and Leaving: any other Close, or a breach of the broker's
//!          from Leaving: the broker's answer, or an end when everything is delivered
//!          from any: the goodbye takes too long, or the client gives up
//!
//!   a welcome that resumes   what the broker does not have is written again, its messages go on at LAST+1
//!   one of a fresh session   what is written and not committed is unknown, what is not written is for this one
//! ```
//!
//! The driver has one connection at a time. It loops until nothing moves: hand in what happened
//! (`handle_*`), call [`Client::advance`], do what [`Client::poll_command`] says, write what
//! [`Client::poll_transmit`] gives, take [`Client::poll_event`]. Then it sleeps until
//! [`Client::poll_timeout`]. Events are few for each message that is handed in, and the application's messages
//! are not among them, so what is kept here is bounded by [`Config::buffer`] as long as the driver takes them.

mod breach;
mod config;
mod event;
mod hearing;
mod inbox;
mod leaving;
mod outbox;
mod send_error;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::client_wire::{FromClient, Offer, Resume, Token};
use super::{CLOSE_BREACH, SessionId};
use crate::entropy::Entropy;
use crate::time::Time;
use crate::websocket::close_code::CloseCode;

pub use breach::Breach;
pub use config::Config;
pub use event::{Cause, End, Event, Loss};
pub use outbox::Fate;
pub use send_error::SendError;

use inbox::Inbox;
use outbox::Outbox;

/// What the reason of a Close may be long, in bytes (RFC 6455, 5.5).
const REASON_MAX: usize = 123;

/// What the driver is to do with its one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Connect. The answer is [`Client::handle_connected`] or [`Client::handle_connect_failed`].
    Connect {
        /// The subprotocols to offer, in this order.
        protocols: Vec<String>,
        /// Counts attempts since the last stable connection, from 1.
        attempt: u32,
    },
    /// Say Close, behind all that was written, and read on until [`Client::handle_disconnected`].
    Close {
        /// Its code.
        code: CloseCode,
        /// Its reason.
        reason: String,
    },
    /// Drop the connection, or the attempt at one. Nothing more of it is to be handed in.
    Abandon {
        /// What to say before, if that can be done without waiting: code and reason.
        close: Option<(CloseCode, String)>,
    },
}

/// A WebSocket message to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Text or binary (RFC 6455, 5.6).
    pub text: bool,
    /// Its payload.
    pub message: Vec<u8>,
}

/// Where the one connection stands.
#[derive(Debug)]
enum LinkPhase {
    /// There is none. The next attempt is due at this time; `None` until `advance` has chosen one.
    Waiting {
        at: Option<Time>,
    },
    Connecting {
        until: Time,
    },
    Greeting {
        until: Time,
    },
    Open(Open),
    Leaving,
    Over,
}

/// A connection that is welcomed.
#[derive(Debug)]
struct Open {
    since: Time,
    /// When something was last heard on it.
    heard: Time,
    /// It is being asked for a sign of life, until this time.
    asked: Option<Time>,
    /// The question is to be written.
    query: bool,
    /// The first acknowledgement is written, which confirms the token.
    confirmed: bool,
}

/// The session that the broker has for the client.
#[derive(Debug)]
struct HeldSession {
    token: Token,
    window: Duration,
}

/// The application has said goodbye.
#[derive(Debug)]
struct ClientClosing {
    until: Time,
    code: CloseCode,
    reason: String,
}

/// A client. See the [module](self) for its states.
#[derive(Debug)]
pub struct Client {
    config: Config,
    link: LinkPhase,
    held: Option<HeldSession>,
    outbox: Outbox,
    inbox: Inbox,
    /// The application's subprotocol, as the last server to agree on one chose it.
    protocol: Option<String>,
    /// Attempts since the last stable connection.
    attempts: u32,
    /// Attempts that were dropped and may still reach the broker, and take the session from a later one.
    rivals: u32,
    /// Since when no connection was welcomed.
    apart: Option<Time>,
    /// The driver can read: silence is the broker's.
    reading: bool,
    goodbye: Option<ClientClosing>,
    hang_up: Option<Command>,
    events: VecDeque<Event>,
}

impl Client {
    /// A client that wants to connect at once.
    pub fn new(config: Config, now: Time) -> Client {
        Client {
            link: LinkPhase::Waiting { at: Some(now) },
            held: None,
            outbox: Outbox::new(config.buffer),
            inbox: Inbox::default(),
            protocol: None,
            attempts: 0,
            rivals: 0,
            apart: Some(now),
            reading: true,
            goodbye: None,
            hang_up: None,
            events: VecDeque::new(),
            config,
        }
    }

    // What the application wants.

    /// Takes a message and returns its id: 1, 2, 3 ..., over all sessions. It is kept until the broker has
    /// it. A text must be UTF-8.
    ///
    /// # Errors
    /// When there is no room, it is too big, or the client is closed.
    pub fn send(&mut self, text: bool, payload: &[u8]) -> Result<u64, SendError> {
        let (len, limit) = (payload.len(), self.config.message_limit);
        if self.goodbye.is_some() || matches!(self.link, LinkPhase::Over) {
            Err(SendError::Closed)
        } else if len > limit {
            Err(SendError::TooBig { len, limit })
        } else if !self.outbox.has_room() {
            Err(SendError::Full)
        } else {
            Ok(self.outbox.push(text, payload))
        }
    }

    /// Says Close once everything is written, and is over when that is answered, or after
    /// [`Config::close_timeout`]. A reason longer than 123 bytes is cut (RFC 6455, 5.5).
    pub fn close(&mut self, now: Time, code: CloseCode, reason: &str) {
        if self.goodbye.is_some() || matches!(self.link, LinkPhase::Over) {
            return;
        }
        let reason = reason[..reason.floor_char_boundary(REASON_MAX)].to_owned();
        self.goodbye = Some(ClientClosing { until: now + self.config.close_timeout, code, reason });
        if self.held.is_none() && self.outbox.is_delivered() {
            self.drop_connection(None);
            self.end(Cause::Asked);
        }
    }

    // What has happened.

    /// The connection is there; the server has agreed on this subprotocol.
    pub fn handle_connected(&mut self, now: Time, protocol: Option<&str>) {
        if !matches!(self.link, LinkPhase::Connecting { .. }) {
            return;
        }
        let offered = Offer::parse(&Offer::entries(&self.config.protocols, None).join(","));
        let mut choices = std::iter::once(None).chain(self.config.protocols.iter().map(Some));
        let chosen = choices.find(|choice| {
            let answer = offered.answer(choice.map(String::as_str));
            answer.is_some() && answer.as_deref() == protocol
        });
        match chosen {
            Some(application) => {
                self.protocol = application.cloned();
                self.link = LinkPhase::Greeting { until: now + self.config.connect_timeout };
            }
            None => self.abandon(now, Loss::Incompatible),
        }
    }

    /// The connection could not be made.
    pub fn handle_connect_failed(&mut self, now: Time) {
        if matches!(self.link, LinkPhase::Connecting { .. }) {
            self.lose(now, Loss::Unreachable);
        }
    }

    /// A data message has come, whole. `Some`: it is the application's, with this seq, and its payload is
    /// behind its first byte.
    pub fn handle_message(&mut self, now: Time, text: bool, message: &[u8]) -> Option<u64> {
        if !matches!(self.link, LinkPhase::Greeting { .. } | LinkPhase::Open(_) | LinkPhase::Leaving) {
            return None;
        }
        self.handle_alive(now);
        self.understand(now, text, message).unwrap_or_else(|breach| {
            self.drop_connection(Some((CLOSE_BREACH, format!("{}: {breach}", breach.name()))));
            self.end(Cause::Breach(breach));
            None
        })
    }

    /// Something else has come, such as a ping or a part of a message: the broker is alive. It is as well if
    /// the connection takes more after it was full; while a long message is written, nothing need come.
    pub fn handle_alive(&mut self, now: Time) {
        if let LinkPhase::Open(open) = &mut self.link {
            (open.heard, open.asked, open.query) = (now, None, false);
        }
    }

    /// Whether the driver reads the connection. While it does not, silence means nothing.
    pub fn set_reading(&mut self, now: Time, reading: bool) {
        if self.reading != reading {
            self.reading = reading;
            self.handle_alive(now);
        }
    }

    /// Looks at the time. To be called after each input, and when [`Client::poll_timeout`] has come.
    pub fn advance(&mut self, now: Time, entropy: &mut Entropy<'_>) {
        if self.goodbye.as_ref().is_some_and(|goodbye| goodbye.until <= now) {
            self.finish(Cause::Asked);
        }
        if self.gives_up().is_some_and(|at| at <= now) {
            self.finish(Cause::GaveUp);
        }
        self.inbox.advance(now);
        match &mut self.link {
            LinkPhase::Connecting { until } | LinkPhase::Greeting { until } if *until <= now => {
                self.abandon(now, Loss::Timeout);
            }
            LinkPhase::Open(open) if self.reading => match open.asked {
                Some(until) if until <= now => self.abandon(now, Loss::Silent),
                None if open.heard + self.config.silence <= now => {
                    (open.asked, open.query) = (Some(now + self.config.answer), true);
                }
                _ => {}
            },
            _ => {}
        }
        if let LinkPhase::Waiting { at: at @ None } = &mut self.link {
            *at = Some(now + self.config.backoff(self.attempts, entropy()));
        }
    }

    // What is to be done.

    /// What to do with the connection.
    pub fn poll_command(&mut self, now: Time) -> Option<Command> {
        if let Some(command) = self.hang_up.take() {
            return Some(command);
        }
        match (&self.link, &self.goodbye) {
            (LinkPhase::Waiting { at: Some(at) }, _) if *at <= now => {
                self.attempts = self.attempts.saturating_add(1);
                self.link = LinkPhase::Connecting { until: now + self.config.connect_timeout };
                Some(Command::Connect { protocols: self.entries(), attempt: self.attempts })
            }
            (LinkPhase::Open(open), Some(goodbye)) if open.confirmed && !self.outbox.has_next() => {
                let close = Command::Close { code: goodbye.code, reason: goodbye.reason.clone() };
                self.link = LinkPhase::Leaving;
                Some(close)
            }
            _ => None,
        }
    }

    /// The next message to write. To be asked when the connection takes one, since what was given here
    /// counts as written.
    pub fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        let LinkPhase::Open(open) = &mut self.link else { return None };
        if !std::mem::replace(&mut open.confirmed, true) {
            return Some(outgoing(FromClient::Ack(self.inbox.take_all())));
        }
        self.inbox.advance(now);
        if let Some(seq) = self.inbox.take(self.outbox.has_next()) {
            return Some(outgoing(FromClient::Ack(seq)));
        }
        if std::mem::take(&mut open.query) {
            return Some(outgoing(FromClient::Query));
        }
        let (text, message) = self.outbox.take_next()?;
        Some(Outgoing { text, message })
    }

    /// What the application should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Client::advance`] is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        let (link, ack) = match &self.link {
            LinkPhase::Waiting { at } => (at.or(Some(Time::ORIGIN)), None),
            LinkPhase::Connecting { until } | LinkPhase::Greeting { until } => (Some(*until), None),
            LinkPhase::Open(open) => {
                let silence = open.asked.unwrap_or(open.heard + self.config.silence);
                (self.reading.then_some(silence), self.inbox.due())
            }
            LinkPhase::Leaving => (None, None),
            LinkPhase::Over => return None,
        };
        let goodbye = self.goodbye.as_ref().map(|goodbye| goodbye.until);
        [link, ack, goodbye, self.gives_up()].into_iter().flatten().min().filter(|at| *at < Time::NEVER)
    }

    // How things stand.

    /// The session's name, once there was one.
    pub fn session(&self) -> Option<SessionId> {
        self.held.as_ref().map(|held| held.token.session())
    }

    /// How long the broker keeps the session while the client is away, as it said last.
    pub fn window(&self) -> Option<Duration> {
        self.held.as_ref().map(|held| held.window)
    }

    /// The application's subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Whether there is a connection that is welcomed.
    pub fn is_open(&self) -> bool {
        matches!(self.link, LinkPhase::Open(_))
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        matches!(self.link, LinkPhase::Over)
    }

    /// Whether another message would be taken.
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// Bytes that are kept until the broker has them, as [`Config::buffer`] counts them.
    pub fn buffered(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether the broker has all messages.
    pub fn is_delivered(&self) -> bool {
        self.outbox.is_delivered()
    }

    /// What became of a message. `None`: there is none with this id.
    pub fn fate(&self, id: u64) -> Option<Fate> {
        self.outbox.fate(id)
    }

    // Private parts.

    fn entries(&self) -> Vec<String> {
        let resume = self.held.as_ref();
        let resume = resume.map(|held| Resume { token: held.token, last: self.inbox.last() });
        Offer::entries(&self.config.protocols, resume.as_ref())
    }
}

fn outgoing(text: FromClient) -> Outgoing {
    Outgoing { text: true, message: text.text().into_bytes() }
}
