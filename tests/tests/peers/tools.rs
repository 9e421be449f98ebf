//! Which of the programs that the tests use are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use steadfast_tests::skipped::leave_out;

/// What a test may need besides Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Node.js with the package `ws`.
    Ws,
    /// Node.js with the packages `socket.io` and `socket.io-client`.
    SocketIo,
    /// Node.js with the packages `sockjs` and `sockjs-client`.
    SockJs,
    /// Node.js with the package `graphql-ws`.
    GraphQl,
    /// Node.js with the package `subscriptions-transport-ws`.
    OldGraphQl,
    /// Node.js with the package `ocpp-rpc`.
    Ocpp,
    /// Node.js with the package `rpc-websockets`.
    RpcWebSockets,
    /// Node.js with the package `ethers`.
    Ethers,
    /// Python 3 with the packages `python-socketio` and `aiohttp`.
    PythonSocketIo,
    /// Python 3 with the packages `ocpp` and `websockets`.
    PythonOcpp,
    /// `redis-server`.
    Redis,
    /// Python 3 with the package `websockets`.
    Websockets,
    /// curl.
    Curl,
    /// Chromium.
    Chromium,
    /// NSS's tool for its stores of certificates.
    Certutil,
}

impl Tool {
    /// Whether it can be used.
    fn is_installed(self) -> bool {
        match self {
            Self::Ws => succeeds(self.command().args(["-e", "require('ws')"])),
            Self::SocketIo => {
                let both = "require('socket.io'); require('socket.io-client')";
                succeeds(self.command().args(["-e", both]))
            }
            Self::SockJs => {
                succeeds(self.command().args(["-e", "require('sockjs'); require('sockjs-client')"]))
            }
            Self::GraphQl => requires(&["graphql-ws", "graphql", "ws"]),
            Self::OldGraphQl => requires(&["subscriptions-transport-ws", "graphql", "ws"]),
            Self::Ocpp => requires(&["ocpp-rpc"]),
            Self::RpcWebSockets => requires(&["rpc-websockets"]),
            Self::Ethers => requires(&["ethers", "ws"]),
            Self::PythonSocketIo => imports(&["socketio", "aiohttp"]),
            Self::PythonOcpp => imports(&["ocpp", "websockets"]),
            Self::Websockets => succeeds(self.command().args(["-c", "import websockets"])),
            Self::Curl | Self::Chromium | Self::Redis => succeeds(self.command().arg("--version")),
            // It has no question to which it answers that all is well.
            Self::Certutil => self.command().stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok(),
        }
    }

    /// The program, set up to find its packages where `./test` puts them.
    pub(crate) fn command(self) -> Command {
        let mut command = Command::new(match self {
            Self::Ws | Self::SocketIo | Self::SockJs => "node",
            Self::GraphQl | Self::OldGraphQl | Self::Ocpp | Self::RpcWebSockets | Self::Ethers => "node",
            Self::Redis => "redis-server",
            Self::Websockets | Self::PythonSocketIo | Self::PythonOcpp => "python3",
            Self::Curl => "curl",
            Self::Chromium => "chromium",
            Self::Certutil => "certutil",
        });
        command.current_dir(scripts()).env("PYTHONPATH", root().join(".tools/python"));
        command
    }
}

/// Whether a test must be left out, and is, because a tool of `needed` is missing.
pub(crate) fn left_out(test: &str, needed: &[Tool]) -> bool {
    let missing: Vec<Tool> = needed.iter().copied().filter(|tool| !tool.is_installed()).collect();
    if missing.is_empty() {
        return false;
    }
    leave_out(&format!("{test}: {missing:?} missing; ./test installs it where it can"));
    true
}

/// The folder of the scripts in other languages, where Node.js looks for its packages too.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("third_party")
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// Whether npm's packages are there. Many tests ask, so that none is loaded.
fn requires(packages: &[&str]) -> bool {
    packages.iter().all(|package| scripts().join("node_modules").join(package).is_dir())
}

/// Whether Python's packages are there.
fn imports(packages: &[&str]) -> bool {
    packages.iter().all(|package| root().join(".tools/python").join(package).is_dir())
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
