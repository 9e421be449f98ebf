//! A dnsmasq on a loopback port of its own, which ends with the test, whatever its outcome.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How often another port is tried when somebody else was faster to take one.
const TRIES: usize = 10;

/// How often it is looked at until it has started, or ended.
const POLL: Duration = Duration::from_millis(15);

pub(super) struct Dnsmasq {
    child: Child,
    address: SocketAddr,
    options: Vec<String>,
    folder: TempDir,
}

impl Dnsmasq {
    /// Serves what `options` and [`write_hosts`](Self::write_hosts) say, knows all names below
    /// `test.`, and refuses others.
    pub(super) async fn start(options: &[&str]) -> Dnsmasq {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(hosts(&folder), "").expect("a file of hosts");
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        for _ in 0..TRIES {
            let address = free_address();
            if let Some(child) = serve(address, &options, &folder).await {
                return Dnsmasq { child, address, options, folder };
            }
        }
        panic!("dnsmasq did not start on any of {TRIES} free ports; run it by hand with {options:?}");
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the hosts file and has it read again. It takes a moment.
    pub(super) fn write_hosts(&self, text: &str) {
        fs::write(hosts(&self.folder), text).expect("the file can be written");
        signal(&self.child, Signal::SIGHUP);
    }

    pub(super) fn stop(&mut self) {
        end(&mut self.child);
    }

    /// On the same port, after [`stop`](Self::stop).
    pub(super) async fn start_again(&mut self) {
        let child = serve(self.address, &self.options, &self.folder).await;
        self.child = child.expect("its port was free a moment ago");
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn signal(child: &Child, signal: Signal) {
    // One that has ended by itself has nothing to hear.
    let _ = i32::try_from(child.id()).map(|id| kill(Pid::from_raw(id), signal));
}

/// By SIGTERM, on which it ends its own children too, as long as it heeds that.
fn end(child: &mut Child) {
    signal(child, Signal::SIGTERM);
    let patience = Instant::now() + Duration::from_secs(5);
    while child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < patience {
        std::thread::sleep(POLL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// `None` when it ends instead of serving. The user is named for when we are root: it would change
/// to one who cannot read our files.
async fn serve(address: SocketAddr, options: &[String], folder: &TempDir) -> Option<Child> {
    let mut child = Command::new(program())
        .args([
            "--keep-in-foreground",
            "--user=root",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--pid-file=",
        ])
        .args(["--bind-interfaces", "--listen-address=127.0.0.1", "--local=/test/"])
        .arg(format!("--port={}", address.port()))
        .arg(format!("--addn-hosts={}", hosts(folder).display()))
        .args(options)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("dnsmasq can be run");
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        if child.try_wait().expect("its state can be asked").is_some() {
            return None;
        }
        if TcpStream::connect(address).is_ok() {
            return Some(child);
        }
        if Instant::now() > patience {
            end(&mut child);
            panic!("dnsmasq runs and does not serve on {address}");
        }
        sleep(POLL).await;
    }
}

/// Free for UDP and for TCP.
fn free_address() -> SocketAddr {
    for _ in 0..TRIES {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free for both TCP and UDP");
}

fn hosts(folder: &TempDir) -> PathBuf {
    folder.path().join("hosts")
}

/// It lies where only root's PATH leads.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join("dnsmasq")).find(|file: &PathBuf| Path::is_file(file));
    found.expect("this test needs dnsmasq: install the package dnsmasq-base, or run ./test, which does")
}
