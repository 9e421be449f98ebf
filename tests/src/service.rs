//! A real process of one of the shim's example services, on a port of its own, which can die and come back
//! there.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::Signal;
use socket2::Socket;

use crate::backend::reserve;
use crate::binary::locate_example;
use crate::process::Process;

/// A host of `counter` or `echo`.
#[derive(Debug)]
pub struct Service {
    name: String,
    example: &'static str,
    address: SocketAddr,
    process: Mutex<Option<Process>>,
    _port: Socket,
}

impl Service {
    /// Starts the example, as the backend `name`.
    pub async fn start(name: &str, example: &'static str) -> Service {
        let (port, address) = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
        let service =
            Service { name: name.to_owned(), example, address, process: Mutex::default(), _port: port };
        service.restart().await;
        service
    }

    /// Its name as a backend.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table of the configuration that lists it.
    pub fn table(&self) -> String {
        format!("[[pool.backend]]\nname = \"{}\"\nurl = \"ws://{}\"", self.name, self.address)
    }

    /// Kills it if it lives, starts it on the same port, and waits until it listens.
    pub async fn restart(&self) {
        self.kill();
        let mut command = Command::new(locate_example("steadfast-shim", self.example));
        command.arg(self.address.to_string());
        let mut process = Process::spawn(&format!("{} {}", self.example, self.name), &mut command);
        process.printed("listening on ", 0).await;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    /// Sends a signal, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_mut().expect("a running service").signal(signal);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
