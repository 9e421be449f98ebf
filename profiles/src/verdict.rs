//! What a message is to a session.

/// The name of something within one session: 64 bits of its hash. Two names that collide harm the session that
/// made them up, and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// When a kept record is said to the next backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// First of all: a login.
    Door,
    /// Behind that: a subscription.
    Standing,
}

/// A message that the next backend must hear again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// What it stands for; a later one of the same slot takes its place.
    pub slot: Key,
    /// How its answer will be known; `None`: it gets none.
    pub answer: Option<Key>,
    /// When it is said again.
    pub phase: Phase,
    /// Nothing else is said to the next backend before it has answered this.
    pub waits: bool,
    /// Its end is an answer that the client waits for.
    pub awaited: bool,
}

/// What a message of the client's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    /// It gets no answer, and is done when a backend has read it.
    Tell,
    /// It is done when it is answered.
    Ask(Key),
    /// It stands until it is retired or ended.
    Keep(Keep),
    /// What stands in this slot ends. `answer`: this message is answered. Where the next backend has never heard of
    /// what it ends, neither is said again, if [`Words::answer`] has what the client is told instead, or it gets none.
    Retire {
        /// Of the record.
        slot: Key,
        /// How the answer will be known.
        answer: Option<Key>,
    },
    /// It answers what a backend has asked.
    Reply(Key),
    /// A sign of life, or the answer to one. It passes while there is a backend, and is never said again.
    /// [`Words::answer`] has what the client is told while there is none, if anything.
    Beat,
    /// The next message belongs to it: they are one.
    More,
    /// The conversation is not one that can be repeated; the text says why, for the log.
    Unsaveable(&'static str),
}

/// What a message of the backend's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// It is for the client.
    Push,
    /// It answers an ask or a kept record. `pass`: also when the client has had an answer to that already.
    Answer {
        /// Of what it answers.
        key: Key,
        /// A repeated answer is for the client as well.
        pass: bool,
    },
    /// It answers a kept record, and says no. Where the key is that of an ask, or of what retires something, it is an
    /// answer like any other.
    Refusal(Key),
    /// What stands in this slot is over.
    End(Key),
    /// It is said unasked when a link begins. `pass`: to the client as well, each time.
    Greeting {
        /// Every greeting is for the client.
        pass: bool,
    },
    /// The backend asks the client, who will reply with this key. Where the client still owes a reply of that name to an
    /// earlier backend, the machine has given it another one ([`Words::instead`]), and turns the reply back.
    Asks(Key),
    /// A sign of life, or a demand for one.
    Beat,
    /// The backend says that it goes away. It is not for the client.
    Parting,
    /// The next message belongs to it: they are one.
    More,
}

/// What is to be said in a message's place, also of one that is [`Up::More`] or [`Down::More`].
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Words {
    /// Passed on instead of that part of its payload which was looked at; what is behind it, if it was not
    /// [`Message::whole`](crate::Message::whole), follows as it is. The kind of message stays.
    pub instead: Option<Vec<u8>>,
    /// Said to the client by the broker itself, as a text message.
    pub answer: Option<Vec<u8>>,
}
