//! A service's end of the PROXY protocol: takes a header off, keeps it, and passes on what follows.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use steadfast_tests::wait::eventually_some;
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::SIGNATURE;

/// In front of a service.
pub(crate) struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Header>>>,
    task: JoinHandle<()>,
}

/// What came in front of everything else on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Header {
    /// Something else.
    None,
    Line(String),
    Block {
        command: u8,
        source: Option<SocketAddr>,
        destination: Option<SocketAddr>,
        tlvs: Vec<(u8, String)>,
    },
}

impl Receiver {
    /// Passes connections on to `target`.
    pub(crate) async fn start(target: SocketAddr) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::default());
        let task = tokio::spawn(accept(listener, target, Arc::clone(&seen)));
        Receiver { address, seen, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The table of the configuration that lists it as the backend `name`.
    pub(crate) fn table(&self, name: &str) -> String {
        format!("[[pool.backend]]\nname = \"{name}\"\nurl = \"ws://{}\"", self.address)
    }

    pub(crate) fn headers(&self) -> Vec<Header> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a header that satisfies `is`, and returns the first.
    pub(crate) async fn wait(&self, what: &str, is: impl Fn(&Header) -> bool) -> Header {
        eventually_some(what, || self.headers().into_iter().find(&is)).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, seen: Arc<Mutex<Vec<Header>>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        connections.spawn(async move {
            let Some(header) = header(&mut stream).await else { return };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(header);
            let Ok(mut service) = TcpStream::connect(target).await else { return };
            // However it ends, both sides see it.
            let _ = copy_bidirectional(&mut stream, &mut service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Reads a header, and not one byte behind it.
async fn header(stream: &mut TcpStream) -> Option<Header> {
    let mut first = [0];
    stream.peek(&mut first).await.ok()?;
    match first {
        [b'P'] => {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                line.push(stream.read_u8().await.ok()?);
            }
            Some(Header::Line(String::from_utf8(line).expect("a line is text")))
        }
        [b'\r'] => {
            let mut fixed = [0; 16];
            stream.read_exact(&mut fixed).await.ok()?;
            assert_eq!(&fixed[..12], SIGNATURE);
            let mut body = vec![0; u16::from_be_bytes([fixed[14], fixed[15]]).into()];
            stream.read_exact(&mut body).await.ok()?;
            Some(block(fixed[12], fixed[13], &body))
        }
        _ => Some(Header::None),
    }
}

fn block(command: u8, family: u8, body: &[u8]) -> Header {
    let length = match family {
        0x11 => 4,
        0x21 => 16,
        _ => 0,
    };
    let address = |number: usize| {
        let ip: IpAddr = match body.get(number * length..(number + 1) * length)? {
            [] => return None,
            four @ [_, _, _, _] => <[u8; 4]>::try_from(four).ok()?.into(),
            six => <[u8; 16]>::try_from(six).ok()?.into(),
        };
        let port = body.get(2 * length + 2 * number..)?;
        Some(SocketAddr::new(ip, u16::from_be_bytes([*port.first()?, *port.get(1)?])))
    };
    let mut rest = &body[if length == 0 { 0 } else { 2 * length + 4 }..];
    let mut tlvs = Vec::new();
    while let [kind, high, low, after @ ..] = rest {
        let (value, next) = after.split_at(u16::from_be_bytes([*high, *low]).into());
        tlvs.push((*kind, String::from_utf8(value.to_vec()).expect("text")));
        rest = next;
    }
    Header::Block { command, source: address(0), destination: address(1), tlvs }
}
