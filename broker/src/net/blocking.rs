//! Calls that block, each on a thread of its own: look-ups of names, and reading the configuration. Tokio has threads for
//! these too, and panics when the system gives it none; here that is an error of the one call.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread;

use tokio::sync::{Semaphore, oneshot};

/// Threads at once. Further calls wait, for as long as their caller does.
const AT_ONCE: usize = 512;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Does it on another thread, also to its end when nobody waits for it any more.
///
/// # Errors
///
/// The system gives no thread (`EAGAIN`), or the call has panicked.
pub(crate) async fn call<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let place = PLACES.acquire().await.map_err(io::Error::other)?;
    let (done, result) = oneshot::channel();
    let work = move || {
        let _place = place;
        // Nobody may wait for it.
        let _ = done.send(what());
    };
    thread::Builder::new().name("blocking".to_owned()).spawn(work)?;
    result.await.map_err(|_| io::Error::other("it has failed"))
}

/// Returns the addresses of a host, which the system looks up unless it is one itself.
///
/// # Errors
///
/// Those of [`call`] and of getaddrinfo(3).
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    call(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_brings_its_result() {
        assert_eq!(call(|| 7).await.expect("a thread"), 7);
        assert!(call(|| panic!("as a bug would")).await.is_err());
    }

    #[tokio::test]
    async fn an_address_is_itself_and_a_name_is_looked_up() {
        let six: SocketAddr = "[::1]:7".parse().expect("an address");
        assert_eq!(look_up("::1", 7).await.expect("it is one"), [six]);
        let found = look_up("localhost", 7).await.expect("every machine has it");
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7), "{found:?}");
        assert!(look_up("nobody.invalid", 7).await.is_err());
    }
}
