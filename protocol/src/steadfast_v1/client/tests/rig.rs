//! A client, its clock, and what a broker would say to it.

use std::time::Duration;

use crate::steadfast_v1::SessionId;
use crate::steadfast_v1::client::{Client, Command, Config, Event};
use crate::steadfast_v1::client_wire::{FromBroker, Reason, Standing, Token, Watermarks, Welcome};
use crate::time::Time;
use crate::websocket::close_code::CloseCode;

/// The session that the broker gives, unless a test says another.
pub(super) const SESSION: SessionId = [1; 16];

pub(super) struct Rig {
    pub(super) client: Client,
    pub(super) now: Time,
    /// Counts welcomes, so that each token is another.
    tokens: u8,
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn token(session: SessionId, secret: u8) -> Token {
    Token::new(session, [secret; 32])
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Rig {
        let mut config = Config::default();
        change(&mut config);
        Rig { client: Client::new(config, Time::ORIGIN), now: Time::ORIGIN, tokens: 0 }
    }

    /// One that is welcomed to a new session, and has said so.
    pub(super) fn open() -> Rig {
        let mut rig = Rig::new();
        rig.connect();
        rig.welcome_fresh(SESSION, Reason::New);
        assert_eq!(rig.written(), ["a 0"]);
        rig.events();
        rig
    }

    pub(super) fn wait(&mut self, by: Duration) {
        self.now = self.now + by;
        self.client.advance(self.now, &mut || 0);
    }

    pub(super) fn command(&mut self) -> Option<Command> {
        self.client.advance(self.now, &mut || 0);
        self.client.poll_command(self.now)
    }

    /// The command to connect, when its time has come; what it offers.
    pub(super) fn dial(&mut self) -> Vec<String> {
        self.client.advance(self.now, &mut || 0);
        if let Some(at) = self.client.poll_timeout() {
            self.now = self.now.max(at);
        }
        match self.command() {
            Some(Command::Connect { protocols, .. }) => protocols,
            other => panic!("a command to connect, not {other:?}"),
        }
    }

    pub(super) fn connect(&mut self) -> Vec<String> {
        let offered = self.dial();
        self.client.handle_connected(self.now, Some("steadfast.v1"));
        offered
    }

    pub(super) fn welcome_fresh(&mut self, session: SessionId, reason: Reason) {
        self.welcome(session, Standing::Fresh(reason));
    }

    pub(super) fn welcome_resumed(&mut self, received: u64, committed: u64) {
        self.welcome(SESSION, Standing::Resumed(Watermarks { received, committed }));
    }

    fn welcome(&mut self, session: SessionId, standing: Standing) {
        self.tokens += 1;
        let token = token(session, self.tokens);
        let welcome = Welcome { session, token, window_ms: 120_000, standing };
        self.hear(&FromBroker::Welcome(welcome).text());
    }

    pub(super) fn hear(&mut self, text: &str) -> Option<u64> {
        self.client.handle_message(self.now, true, text.as_bytes())
    }

    pub(super) fn cut(&mut self) {
        self.client.handle_disconnected(self.now, None);
    }

    pub(super) fn closed(&mut self, code: u16, reason: &str) {
        self.client.handle_disconnected(self.now, Some((CloseCode(code), reason)));
    }

    pub(super) fn send(&mut self, text: &str) -> u64 {
        self.client.send(true, text.as_bytes()).expect("room")
    }

    /// Everything that is to be written now.
    pub(super) fn written(&mut self) -> Vec<String> {
        let next = || self.client.poll_transmit(self.now);
        let text = |message| String::from_utf8(message).expect("text");
        std::iter::from_fn(next).map(|outgoing| text(outgoing.message)).collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }
}
