//! A WebSocket server on somebody else's library, which can die and come back on its port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use steadfast_tests::process::Process;

use super::tools::Tool;

/// `server.js`, `server.py`, `socketio-server.js` or `sockjs-server.js`, as a process.
#[derive(Debug)]
pub(crate) struct Server {
    library: Tool,
    address: SocketAddr,
    /// Keeps the port ours while the process is dead: bound, but not listening.
    _port: Socket,
    process: Option<Process>,
    seen: usize,
    /// A variable of each of its lives.
    variable: Option<(&'static str, PathBuf)>,
}

impl Server {
    /// Starts a server on `library` and waits until it listens.
    pub(crate) async fn start(library: Tool) -> Self {
        let mut server = Self::absent(library);
        server.restart().await;
        server
    }

    /// As [`Server::start`], of a `socketio-server.js` that speaks with others by the Redis at this file.
    pub(crate) async fn joined(redis: &Path) -> Self {
        let mut server = Self::absent(Tool::SocketIo);
        server.variable = Some(("REDIS", redis.to_owned()));
        server.restart().await;
        server
    }

    /// A server whose port refuses connections until [`Server::restart`].
    pub(crate) fn absent(library: Tool) -> Self {
        let port = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        port.set_reuse_address(true).expect("SO_REUSEADDR");
        port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port on loopback");
        let address = port.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket");
        Self { library, address, _port: port, process: None, seen: 0, variable: None }
    }

    /// What it answers to `!who`.
    pub(crate) fn name(&self) -> &'static str {
        match self.library {
            Tool::Ws => "ws",
            Tool::SocketIo => "socket.io",
            Tool::SockJs => "sockjs",
            _ => "websockets",
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to give to the broker.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Starts it (again) on its port, and waits until it listens.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let script = match self.library {
            Tool::Ws => "server.js",
            Tool::SocketIo => "socketio-server.js",
            Tool::SockJs => "sockjs-server.js",
            _ => "server.py",
        };
        let mut command = self.library.command();
        command.args([script, self.name()]).arg(self.address.port().to_string());
        command.envs(self.variable.clone());
        let mut process = Process::spawn(&format!("{} server", self.name()), &mut command);
        process.printed("listening on ", 0).await;
        self.process = Some(process);
        self.seen = 0;
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Gives a command, if it obeys any.
    pub(crate) fn tell(&mut self, line: &str) {
        self.process.as_mut().expect("a running server").write_line(line);
    }

    /// What it has printed with this in front.
    pub(crate) fn printed(&self, prefix: &str) -> Vec<String> {
        let lines = self.process.as_ref().map(Process::stdout).unwrap_or_default();
        lines.iter().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    /// The next thing that it saw.
    pub(crate) async fn event(&mut self) -> Value {
        let process = self.process.as_mut().expect("a running server");
        let line = process.printed("event ", self.seen).await;
        self.seen += 1;
        serde_json::from_str(&line).expect("an event is JSON")
    }
}
