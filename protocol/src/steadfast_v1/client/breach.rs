//! What a broker must not say to a client.

/// The broker says what it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// A message is empty, or of a known kind and cannot be read.
    BadFrame,
    /// Something else came before the welcome.
    NoWelcome,
    /// A connection was welcomed twice.
    SecondWelcome,
    /// A session was resumed that was not asked for.
    WrongSession,
    /// It has received or committed what was not sent.
    FutureAck,
    /// It takes back what it has acknowledged.
    BackwardAck,
}

impl Breach {
    /// Its name, for the reason of a Close.
    pub fn name(self) -> &'static str {
        match self {
            Breach::BadFrame => "bad_frame",
            Breach::NoWelcome => "no_welcome",
            Breach::SecondWelcome => "second_welcome",
            Breach::WrongSession => "wrong_session",
            Breach::FutureAck => "future_ack",
            Breach::BackwardAck => "backward_ack",
        }
    }
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Breach::BadFrame => "the broker sent a message that cannot be read",
            Breach::NoWelcome => "the broker sent something before its welcome",
            Breach::SecondWelcome => "the broker welcomed one connection twice",
            Breach::WrongSession => "the broker resumed a session that was not asked for",
            Breach::FutureAck => "the broker acknowledged what was not sent",
            Breach::BackwardAck => "the broker took an acknowledgement back",
        })
    }
}

impl std::error::Error for Breach {}
