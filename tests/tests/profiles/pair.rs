//! A server, a client, and the profile between them.

use crate::peers::tools::Tool;

/// A server of one library and clients of another, or of the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    /// The script of the server.
    pub(crate) server: &'static str,
    /// The script of the clients.
    pub(crate) client: &'static str,
    /// What they need.
    pub(crate) tools: &'static [Tool],
    /// What the pool says.
    pub(crate) profile: &'static str,
    /// What the configuration has besides.
    pub(crate) tables: &'static str,
    /// The upgrade is the login; else a message is.
    pub(crate) upgrade_is_login: bool,
    /// How many requests a client may have open.
    pub(crate) at_once: usize,
    /// What the broker has to say again of a client that is at rest, in messages.
    pub(crate) records: usize,
    /// Servers give signs of life of which nobody has said how often: a broker must have heard some.
    pub(crate) ticks: bool,
    /// Clients choose their feeds; else the server feeds them from the beginning.
    pub(crate) feeds: bool,
    /// A client can leave one.
    pub(crate) unfeeds: bool,
}

/// A script, ready to be started.
pub(crate) fn command(script: &str) -> std::process::Command {
    let tool = if script.ends_with(".py") { Tool::Websockets } else { Tool::Ws };
    let mut command = tool.command();
    command.arg(format!("profiles/{script}"));
    command
}
