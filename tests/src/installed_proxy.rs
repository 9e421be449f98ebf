//! HAProxy and nginx, as the system has them, on ports of their own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use socket2::Socket;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::backend::reserve;
use crate::process::Process;
use crate::wait::eventually_async;

/// Either of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `haproxy`
    HaProxy,
    /// `nginx`
    Nginx,
}

impl Program {
    /// Its name as a command.
    pub fn name(self) -> &'static str {
        match self {
            Program::HaProxy => "haproxy",
            Program::Nginx => "nginx",
        }
    }

    /// Whether this machine has it.
    pub fn is_installed(self) -> bool {
        let mut command = self.command();
        command.arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn command(self) -> Command {
        // Users other than root have no path to programs of the system.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(self.name());
        command.env("PATH", path);
        command
    }

    /// What stays in front, and is told which file it is to read.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Program::HaProxy => &["-db", "-f"],
            Program::Nginx => &["-e", "stderr", "-c"],
        }
    }
}

/// A proxy that listens.
#[derive(Debug)]
pub struct InstalledProxy {
    address: SocketAddr,
    process: Process,
    _folder: TempDir,
    /// Nobody else gets it meanwhile.
    _port: Socket,
}

impl InstalledProxy {
    /// Starts it, and waits until it listens. `configuration`: for its address, and with a folder for other files.
    pub async fn start(
        program: Program,
        configuration: impl FnOnce(SocketAddr, &Path) -> String,
    ) -> InstalledProxy {
        let (port, address) = reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        // It asks for this itself, and gets the port only from who has asked for it, too.
        port.set_reuse_port(true).expect("SO_REUSEPORT");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("proxy.conf");
        fs::write(&file, configuration(address, folder.path())).expect("a file can be written");
        let mut command = program.command();
        command.args(program.arguments()).arg(&file);
        let process = Process::spawn(program.name(), &mut command);
        let listens = async || TcpStream::connect(address).await.ok();
        eventually_async(&format!("{} to listen", program.name()), listens).await;
        InstalledProxy { address, process, _folder: folder, _port: port }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
