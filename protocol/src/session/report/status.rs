//! Where a session stands.

/// Where a session stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Both sides are connected.
    Relaying,
    /// The client's connection is lost, and it may come back; the backend is connected.
    Detached,
    /// Both sides are connected, and the session is to leave its backend.
    Quiescing,
    /// The same, and the client's messages are held until nothing is under way.
    Holding,
    /// The backend was told Close, since the session leaves it.
    Draining,
    /// The backend has failed; the next dial is to come.
    Waiting,
    /// A backend is being dialled.
    Dialing,
    /// A new backend is told again what makes the client's conversation, such as its login.
    Greeting,
    /// A new backend is getting the unacknowledged messages.
    Replaying,
    /// It has them, and must last `stable` yet.
    Settling,
    /// The backend was left, and the client, whose conversation ends with it, is to be closed.
    Orphaned,
    /// A Close was said by one side.
    Closing,
}

impl Status {
    /// Every one of them, in the order of their definition.
    pub const ALL: [Status; 12] = [
        Status::Relaying,
        Status::Detached,
        Status::Quiescing,
        Status::Holding,
        Status::Draining,
        Status::Waiting,
        Status::Dialing,
        Status::Greeting,
        Status::Replaying,
        Status::Settling,
        Status::Orphaned,
        Status::Closing,
    ];

    /// The word for logs and the API.
    pub fn name(self) -> &'static str {
        match self {
            Status::Relaying => "relaying",
            Status::Detached => "detached",
            Status::Quiescing => "quiescing",
            Status::Holding => "holding",
            Status::Draining => "draining",
            Status::Waiting => "waiting",
            Status::Dialing => "dialing",
            Status::Greeting => "greeting",
            Status::Replaying => "replaying",
            Status::Settling => "settling",
            Status::Orphaned => "orphaned",
            Status::Closing => "closing",
        }
    }
}

// The list has each of them once, up to the last.
const _: () = {
    let mut at = 0;
    while at < Status::ALL.len() {
        assert!(Status::ALL[at] as usize == at);
        at += 1;
    }
    assert!(at == Status::Closing as usize + 1);
};
