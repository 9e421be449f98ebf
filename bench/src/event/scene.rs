//! A broker with its backends, to the first of which something will happen.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::Load;
use crate::backend;
use crate::door::Door;
use crate::peers::{Peer, Running};
use crate::process::Process;
use crate::tls::Tls;

/// How long a backend may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(10);

/// The scene of one round.
pub(crate) struct Scene {
    door: Door,
    struck: Option<String>,
    survivor: Option<Door>,
    /// Ended with the scene, the broker first.
    broker: Option<Running>,
    backends: Vec<(Process, SocketAddr)>,
}

impl Scene {
    /// Starts `count` backends, called by letters, and the broker in front of them.
    pub(crate) async fn start(
        load: &Load,
        peer: &Peer,
        count: u8,
        folder: &Path,
        tls: Tls<'_>,
    ) -> io::Result<Self> {
        let mut backends = Vec::new();
        for name in (b'a'..=b'z').map(char::from).take(count.into()) {
            let (delay, stall) = (format!("--delay={}", load.delay), format!("--stall={}", load.stall));
            let arguments = ["backend".to_owned(), format!("--name={name}"), delay, stall];
            let secured = tls.backend.map(backend::tls_arguments);
            let arguments =
                arguments.map(Into::into).into_iter().chain(secured.into_iter().flatten()).collect();
            let mut backend = Process::start_own(folder, &format!("backend-{name}"), arguments)?;
            let address = backend.listening_line(START_TIME_MAX).await?;
            backends.push((backend, address));
        }
        let addresses: Vec<SocketAddr> = backends.iter().map(|(_, address)| *address).collect();
        // Who dials a backend is its client.
        let of_backends = Tls { client: tls.backend, backend: None };
        let broker = peer.start(folder, &peer.to_string(), &addresses, tls).await?;
        Ok(Self {
            door: broker.door().clone(),
            struck: Some("a".to_owned()),
            survivor: addresses.last().map(|address| Door::new(*address, of_backends)),
            broker: Some(broker),
            backends,
        })
    }

    /// A broker and backends that somebody else has started. `struck` is the name that the backend to
    /// which something happens puts in front of its answers.
    pub(crate) fn of_others(
        address: SocketAddr,
        struck: Option<String>,
        survivor: Option<SocketAddr>,
    ) -> Self {
        let door = |address| Door::new(address, Tls::default());
        Self { door: door(address), struck, survivor: survivor.map(door), broker: None, backends: Vec::new() }
    }

    /// Where clients connect.
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// The name of the backend to which something happens, when it is known.
    pub(crate) fn struck(&self) -> Option<&str> {
        self.struck.as_deref()
    }

    /// A backend to which nothing happens.
    pub(crate) fn survivor(&self) -> Option<&Door> {
        self.survivor.as_ref()
    }

    /// The broker, if the harness started it.
    pub(crate) fn broker(&self) -> Option<&Running> {
        self.broker.as_ref()
    }

    /// The process and the address of the backend to which something happens, if the harness started it.
    pub(crate) fn victim(&self) -> Option<(u32, SocketAddr)> {
        self.backends.first().map(|(process, address)| (process.id(), *address))
    }
}
