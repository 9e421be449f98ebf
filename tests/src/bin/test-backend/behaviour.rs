//! What a backend does, as flags.

use clap::{Args, Parser, ValueEnum};

use crate::page::Page;

/// The behaviour; everything is off by default, and then the backend answers each message with `name:message`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Behaviour {
    /// Answers with `name.PID:message`, so that its lives can be told apart.
    #[arg(long)]
    pub(crate) sign: bool,
    /// Writes no frame into its journal, for tests in which there are too many.
    #[arg(long)]
    pub(crate) unwritten: bool,
    /// Answers nothing.
    #[arg(long)]
    pub(crate) silent: bool,
    /// Answers that many milliseconds after the message came; reading and pongs go on meanwhile.
    #[arg(long)]
    pub(crate) delay: Option<u64>,
    /// Handles one message after the other, as a handler that is awaited does.
    #[arg(long, requires = "delay")]
    pub(crate) one_by_one: bool,
    /// Waits that many milliseconds before each frame it reads.
    #[arg(long)]
    pub(crate) read_delay: Option<u64>,
    /// Handles each message for that many milliseconds before it reads on; other connections go on.
    #[arg(long)]
    pub(crate) handle: Option<u64>,
    /// Reads that many bytes a second from each connection.
    #[arg(long)]
    pub(crate) read_rate: Option<usize>,
    /// Pings by itself, with that many milliseconds between, whether it reads or not.
    #[arg(long)]
    pub(crate) ping_every: Option<u64>,
    /// Says Close with this code in place of each answer.
    #[arg(long)]
    pub(crate) close_with: Option<u16>,
    /// Sends `name:feed-1`, `name:feed-2`, ... with that many milliseconds between.
    #[arg(long)]
    pub(crate) feed: Option<u64>,
    /// Sends this text with the answer to the upgrade.
    #[arg(long)]
    pub(crate) greet: Option<String>,

    /// Never answers a ping.
    #[arg(long)]
    pub(crate) no_pong: bool,
    /// Answers pings after that many milliseconds, of several the latest alone (RFC 6455 5.5.3).
    #[arg(long)]
    pub(crate) latest_pong: Option<u64>,
    /// Sends pongs that nobody asked for with each message: empty ones, and guesses of eight bytes.
    #[arg(long)]
    pub(crate) unsolicited_pongs: bool,
    /// Does not answer a Close.
    #[arg(long)]
    pub(crate) ignore_close: bool,
    /// Says this text before it answers a Close.
    #[arg(long)]
    pub(crate) last_words: Option<String>,

    /// Ends when a message with this text comes.
    #[arg(long)]
    pub(crate) die_on: Option<String>,
    /// Ends when that many messages have come on one connection.
    #[arg(long)]
    pub(crate) die_after: Option<usize>,
    /// Ends when a ping comes behind a message.
    #[arg(long)]
    pub(crate) die_before_pong: bool,
    /// How it ends then.
    #[arg(long, value_enum, default_value = "exit")]
    pub(crate) die_how: Death,

    /// Ends when an upgrade of this path is asked for.
    #[arg(long)]
    pub(crate) die_on_path: Option<String>,

    /// The subprotocol it agrees to if it is offered.
    #[arg(long)]
    pub(crate) subprotocol: Option<String>,
    /// Its Sec-WebSocket-Extensions, with `;` for `; `, when permessage-deflate is offered.
    #[arg(long)]
    pub(crate) extensions: Option<String>,
    /// A header `Name:value` of the answer to the upgrade, `+` standing for a space. Can be repeated.
    #[arg(long)]
    pub(crate) answer_header: Vec<String>,

    /// Answers upgrades with this status.
    #[arg(long)]
    pub(crate) refuse: Option<u16>,
    /// Only those whose Steadfast-Attempt is above 1.
    #[arg(long, requires = "refuse")]
    pub(crate) refuse_redials: bool,
    /// Only those for this path.
    #[arg(long, requires = "refuse")]
    pub(crate) refuse_path: Option<String>,
    /// The body of the refusal, `+` standing for a space.
    #[arg(long)]
    pub(crate) refuse_body: Option<String>,
    /// What it does to an upgrade instead of an answer.
    #[arg(long, value_enum)]
    pub(crate) spoil_upgrade: Option<Spoil>,
    /// Answers an upgrade only after that many milliseconds.
    #[arg(long)]
    pub(crate) upgrade_delay: Option<u64>,

    /// Answers plain requests: `PATH:STATUS,STATUS...[:BODY]`. Can be repeated; other paths get 404.
    #[arg(long)]
    pub(crate) page: Vec<Page>,
    /// A header `Name:value` of these answers, `+` standing for a space. Can be repeated.
    #[arg(long)]
    pub(crate) page_header: Vec<String>,
    /// Answers them only after that many milliseconds.
    #[arg(long)]
    pub(crate) page_delay: Option<u64>,
}

/// How a backend that dies on purpose does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Death {
    /// The process ends.
    Exit,
    /// It sends a fragment and half a frame, then the process ends.
    Partial,
    /// It closes the connection without a Close.
    Eof,
    /// It resets the connection.
    Rst,
}

/// What can go wrong with the answer to an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spoil {
    /// None comes.
    Hang,
    /// The connection ends instead.
    Close,
    /// Something comes that is not HTTP.
    Garbage,
    /// A 101 with a wrong Sec-WebSocket-Accept.
    BadAccept,
    /// A 101 with a subprotocol that was not offered.
    BadSubprotocol,
    /// A 101, and the connection ends at once.
    AcceptThenFail,
    /// A 101, and a moment later a frame that the protocol forbids, without having read anything.
    AcceptThenGarbage,
}

impl Behaviour {
    /// The behaviour that these flags describe.
    pub(crate) fn from_flags(flags: &str) -> Result<Self, clap::Error> {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct Flags {
            #[command(flatten)]
            behaviour: Behaviour,
        }
        Ok(Flags::try_parse_from(flags.split_whitespace())?.behaviour)
    }
}
