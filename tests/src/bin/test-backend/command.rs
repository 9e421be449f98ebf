//! Commands, which come as messages or, for all connections or some, from standard input.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::misdeed::BadFrame;

/// A command for connections that are open now.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) text: String,
    /// How many are yet to obey.
    left: Arc<AtomicUsize>,
}

impl Order {
    /// For at most `count` of them.
    pub(crate) fn new(text: &str, count: usize) -> Self {
        Self { text: text.to_owned(), left: Arc::new(AtomicUsize::new(count)) }
    }

    /// Whether the connection that asks is one of those that are to obey.
    pub(crate) fn is_mine(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// What a connection is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `!close CODE REASON`
    Close(u16, String),
    /// `!close-empty`
    CloseEmpty,
    /// `!exit`: the process ends.
    Exit,
    /// `!eof`: the connection ends without a Close.
    Eof,
    /// `!rst`: the connection is reset.
    Rst,
    /// `!partial`: a fragment and half a frame, and nothing more.
    Partial,
    /// `!partial-then-die`: the same, and then the process ends.
    PartialThenDie,
    /// `!answers-then-close CODE`: waits until more has come than it has read, writes three last answers and a
    /// Close, and closes the socket with that input unread, which makes the kernel send a reset behind them.
    AnswersThenClose(u16),
    /// `!speak-after-close CODE`: a Close, and then a message, which nobody may see.
    SpeakAfterClose(u16),
    /// `!big N`: a binary message of that many bytes.
    Big(usize),
    /// `!fragments N`: a message in that many frames, with a ping between any two.
    Fragments(usize),
    /// `!bad-frame KIND`
    BadFrame(BadFrame),
    /// `!stop-reading`
    StopReading,
    /// `!resume-reading`
    ResumeReading,
    /// `!work MS`: reads nothing for so long, and then says `name:done`; other connections go on.
    Work(u64),
    /// `!block MS`: the same, and the whole process does nothing else.
    Block(u64),
    /// `!push TEXT`: a text message.
    Push(String),
    /// `!feed N`: `name:feed-1` to `name:feed-N`, at once.
    Feed(usize),
    /// `!ping TEXT`
    Ping(String),
    /// `!pong TEXT`
    Pong(String),
}

impl Command {
    /// The command that `text` is, if it is one. An unknown command is a test's mistake and ends the process.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (verb, rest) = text.strip_prefix('!').map(|text| text.split_once(' ').unwrap_or((text, "")))?;
        Some(match verb {
            "close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Close(number(code), reason.to_owned())
            }
            "close-empty" => Self::CloseEmpty,
            "exit" => Self::Exit,
            "eof" => Self::Eof,
            "rst" => Self::Rst,
            "partial" => Self::Partial,
            "partial-then-die" => Self::PartialThenDie,
            "answers-then-close" => Self::AnswersThenClose(number(rest)),
            "speak-after-close" => Self::SpeakAfterClose(number(rest)),
            "big" => Self::Big(number(rest)),
            "fragments" => Self::Fragments(number(rest)),
            "bad-frame" => Self::BadFrame(BadFrame::parse(rest)),
            "stop-reading" => Self::StopReading,
            "resume-reading" => Self::ResumeReading,
            "work" => Self::Work(number(rest)),
            "block" => Self::Block(number(rest)),
            "push" => Self::Push(rest.to_owned()),
            "feed" => Self::Feed(number(rest)),
            "ping" => Self::Ping(rest.to_owned()),
            "pong" => Self::Pong(rest.to_owned()),
            unknown => panic!("unknown command !{unknown}"),
        })
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number"))
}
