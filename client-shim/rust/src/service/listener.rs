//! Accepting sessions.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::JoinSet;

use super::upgrade::upgrade;
use super::{HandshakeError, Options, Session};

/// How long nothing is accepted when the system has run out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections of brokers. Each handshake has a task of its own, so that a slow one stops no other.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    options: Arc<Options>,
    handshakes: JoinSet<(SocketAddr, Result<Session, HandshakeError>)>,
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub async fn bind(address: impl ToSocketAddrs, options: Options) -> io::Result<Listener> {
        Ok(Listener::new(TcpListener::bind(address).await?, options))
    }

    /// With a socket that listens already.
    pub fn new(listener: TcpListener, options: Options) -> Listener {
        Listener { listener, options: Arc::new(options), handshakes: JoinSet::new() }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next session that has come. Connections that become none are told to [`Options::on_refused`].
    /// Nothing is lost when it is dropped before.
    ///
    /// # Errors
    /// When the listening socket is of no use any more.
    pub async fn accept(&mut self) -> io::Result<Session> {
        loop {
            let room = self.handshakes.len() < self.options.handshakes.max(1);
            tokio::select! {
                accepted = self.listener.accept(), if room => self.begin(accepted).await?,
                Some(done) = self.handshakes.join_next() => {
                    // A handshake that panicked, in a function of the application's, is gone.
                    let Ok((peer, shaken)) = done else { continue };
                    match (shaken, &self.options.on_refused) {
                        (Ok(session), _) => return Ok(session),
                        (Err(error), Some(told)) => told(peer, &error),
                        (Err(_), None) => {}
                    }
                }
            }
        }
    }

    async fn begin(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) -> io::Result<()> {
        match accepted {
            Ok((stream, peer)) => {
                let options = self.options.clone();
                self.handshakes.spawn(async move { (peer, upgrade(stream, options).await) });
            }
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        Ok(())
    }
}

/// Everything else concerns one connection, or a moment (accept(2)).
fn is_fatal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected | io::ErrorKind::Unsupported
    )
}
