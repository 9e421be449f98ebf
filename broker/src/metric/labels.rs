//! The labels of metrics: how values become text, and the words of those that nothing else has.

use metrics::SharedString;
use steadfast_protocol::session::{Failure, MoveOutcome};

use crate::words::{Word, words};

/// The values of all labels of a metric, in the order of their names.
pub(crate) trait Labels {
    /// How many there are.
    const COUNT: usize;

    fn add_to(self, values: &mut Vec<SharedString>);
}

/// The value of one label.
pub(super) trait LabelValue {
    fn text(self) -> SharedString;
}

impl<W: Word> LabelValue for W {
    fn text(self) -> SharedString {
        self.word().into()
    }
}

/// A name, an address or a number.
impl LabelValue for String {
    fn text(self) -> SharedString {
        self.into()
    }
}

/// A word of something that stands further above.
impl LabelValue for &'static str {
    fn text(self) -> SharedString {
        self.into()
    }
}

impl LabelValue for Failure {
    fn text(self) -> SharedString {
        self.name().into()
    }
}

impl LabelValue for MoveOutcome {
    fn text(self) -> SharedString {
        self.name().into()
    }
}

impl Labels for () {
    const COUNT: usize = 0;

    fn add_to(self, _: &mut Vec<SharedString>) {}
}

impl<A: LabelValue> Labels for A {
    const COUNT: usize = 1;

    fn add_to(self, values: &mut Vec<SharedString>) {
        values.push(self.text());
    }
}

impl<A: LabelValue, B: LabelValue> Labels for (A, B) {
    const COUNT: usize = 2;

    fn add_to(self, values: &mut Vec<SharedString>) {
        values.extend([self.0.text(), self.1.text()]);
    }
}

impl<A: LabelValue, B: LabelValue, C: LabelValue> Labels for (A, B, C) {
    const COUNT: usize = 3;

    fn add_to(self, values: &mut Vec<SharedString>) {
        values.extend([self.0.text(), self.1.text(), self.2.text()]);
    }
}

words! {
    /// A limit that was reached.
    pub(crate) enum Limit {
        MaxSessions = "max_sessions",
        MaxHandshakes = "max_handshakes",
        /// Of one session.
        Ring = "ring",
        /// Of all sessions together.
        Buffers = "buffers",
        Dials = "dials",
        /// Of one pool, that wait for a backend.
        Newcomers = "newcomers",
        /// Connections to the admin listener.
        Admin = "admin",
        /// The system's, when a connection is accepted.
        Accept = "accept",
        /// The system's, when a backend is dialled.
        LocalDial = "local_dial",
        Queue = "queue",
        /// The header of a backend's answer.
        AnswerHeader = "answer_header",
    }
}

words! {
    /// Why a session had to end for others.
    pub(crate) enum PressWord {
        /// Its client was away and had never proved its token.
        Unproven = "unproven",
        /// A message was open and did not grow.
        StillMessage = "still_message",
        /// Its client took nothing of what waited for it.
        SlowReader = "slow_reader",
        /// It held most.
        Most = "most",
        /// Too many clients were away.
        Away = "away",
    }
}

words! {
    /// What a request to a sticky pool has said of its client, and where it went.
    pub(crate) enum StickyWord {
        /// To the backend that the client belongs to.
        Hit = "hit",
        /// Elsewhere, since that one could not take it.
        Miss = "miss",
        /// Nothing that would say where the client belongs.
        New = "new",
        /// A cookie that is none of the pool's, or does not count any more.
        Wrong = "wrong",
    }
}

words! {
    /// Why an upgrade is denied.
    pub(crate) enum DenialReason {
        Network = "network",
        Origin = "origin",
        Sessions = "sessions",
        Rate = "rate",
        /// Backends hung up on such requests.
        HangUps = "hang_ups",
    }
}

words! {
    /// What a PROXY header was, on a listener where there must be one.
    pub(crate) enum HeaderWord {
        Client = "client",
        /// The proxy's own connection, or one without an address.
        Own = "own",
        /// Sent, or to be sent, by somebody whose word is not taken.
        Untrusted = "untrusted",
        Malformed = "malformed",
        Checksum = "checksum",
        /// It has not come, or not all of it.
        Cut = "cut",
    }
}

words! {
    /// What a client's handshake of TLS came to.
    pub(crate) enum TlsWord {
        Full = "full",
        /// With a ticket of one before.
        Resumed = "resumed",
        Failed = "failed",
        /// None was begun: a request was sent without TLS.
        Plain = "plain",
    }
}

words! {
    /// How a balancer has looked whether somebody takes its clients.
    pub(crate) enum LookWord {
        /// By a connection of its own without a request.
        Connection = "connection",
        /// By a request for the listener's path.
        Path = "path",
    }
}

words! {
    /// Who has broken the protocol.
    pub(crate) enum Side {
        Client = "client",
        Backend = "backend",
    }
}

words! {
    /// Which way messages go.
    pub(crate) enum Flow {
        /// Client to backend.
        Upstream = "upstream",
        Downstream = "downstream",
    }
}

words! {
    /// What became of a dial.
    pub(crate) enum DialWord {
        Linked = "linked",
        /// The answer goes to the client.
        Answered = "answered",
        /// It does not fit the session.
        Refused = "refused",
        Failed = "failed",
    }
}

words! {
    /// What a request is held to be on which a backend has hung up.
    pub(crate) enum HangUpWord {
        Suspect = "suspect",
        Killer = "killer",
        /// Others fared alike there.
        Excused = "excused",
        /// A session's, which is not judged.
        Session = "session",
    }
}

words! {
    /// Whom a failure speaks of that has waited for evidence.
    pub(crate) enum VerdictWord {
        Backend = "backend",
        /// Two backends have failed it alike.
        Session = "session",
    }
}

words! {
    /// What became of a health check.
    pub(crate) enum CheckOutcome {
        Passed = "passed",
        Failed = "failed",
        /// A fault of this machine's.
        Local = "local",
    }
}

words! {
    /// What became of a question to the DNS or to an agent.
    pub(crate) enum AnswerOutcome {
        Answered = "answered",
        Failed = "failed",
    }
}

words! {
    /// What became of a reload.
    pub(crate) enum ReloadOutcome {
        Applied = "applied",
        Refused = "refused",
    }
}
