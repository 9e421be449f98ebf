//! A DNS server on loopback, dnsmasq, that answers what a test tells it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::loopback::own_address;
use crate::process::Process;
use crate::wait::eventually;

/// Below the ports that the system gives out by itself.
const PORT: u16 = 5300;

/// A DNS server for the domain `test`: what it is not told there does not exist. It knows nothing of other domains.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    process: Option<Process>,
    directory: TempDir,
}

/// What the server answers with.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    hosts: String,
    services: Vec<String>,
}

impl Zone {
    /// Adds addresses of `name`.
    pub fn host(mut self, name: &str, addresses: &[IpAddr]) -> Self {
        for address in addresses {
            self.hosts += &format!("{address} {name}\n");
        }
        self
    }

    /// Adds an SRV record of `name`.
    pub fn service(mut self, name: &str, target: &str, port: u16, (priority, weight): (u16, u16)) -> Self {
        self.services.push(format!("--srv-host={name},{target},{port},{priority},{weight}"));
        self
    }
}

impl Dns {
    /// Whether the server can be had on this machine.
    pub fn is_there() -> bool {
        let mut command = Command::new("dnsmasq");
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Starts a server with these answers.
    pub async fn start(zone: &Zone) -> Self {
        let address = SocketAddr::new(own_address(), PORT);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut dns = Self { address, process: None, directory };
        dns.answer(zone).await;
        dns
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it anew with these answers. Questions meanwhile get none.
    pub async fn answer(&mut self, zone: &Zone) {
        self.stop();
        let hosts = self.directory.path().join("hosts");
        std::fs::write(&hosts, &zone.hosts).expect("a file of hosts can be written");
        let mut process = Process::spawn("dnsmasq", &mut self.command(&hosts, zone));
        eventually("dnsmasq to start", || {
            let ended = process.exited();
            assert!(ended.is_none(), "dnsmasq has ended ({ended:?}): {:?}", process.stderr());
            process.stderr().iter().any(|line| line.contains("started, version"))
        })
        .await;
        self.process = Some(process);
    }

    /// Ends it: nobody answers any more.
    pub fn stop(&mut self) {
        self.process = None;
    }

    fn command(&self, hosts: &Path, zone: &Zone) -> Command {
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file="]);
        command.args(["--user=", "--no-resolv", "--no-hosts", "--local=/test/", "--bind-interfaces"]);
        command.arg(format!("--port={}", self.address.port()));
        command.arg(format!("--listen-address={}", self.address.ip()));
        command.arg(format!("--addn-hosts={}", hosts.display())).args(&zone.services);
        command
    }
}
