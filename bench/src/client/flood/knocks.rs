//! Floods of connections.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout_at};

use super::{Flood, SOURCE};
use crate::wire::handshake::Request;

/// What one waits whose connection was ended, before the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of half a request.
const HALF: usize = 40;

/// Connects again and again until it is time; how many bytes were taken. A peer that ends a connection or takes none is
/// no failure here.
pub(super) async fn knock(address: SocketAddr, flood: Flood, client: u64, until: Instant) -> io::Result<u64> {
    let request = match flood {
        Flood::Admin => {
            format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").into_bytes()
        }
        Flood::HalfOpen => Request::browser(address, client).bytes[..HALF].to_vec(),
        _ => Request::browser(address, client).bytes,
    };
    let mut bytes = 0;
    let again = async {
        loop {
            if once(address, &request).await.is_ok() {
                bytes += request.len() as u64;
            }
            if flood != Flood::Admin {
                sleep(PAUSE).await;
            }
        }
    };
    // It goes on until then.
    let _: Result<(), _> = timeout_at(until.into(), again).await;
    Ok(bytes)
}

/// One connection, to its end.
async fn once(address: SocketAddr, request: &[u8]) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((SOURCE, 0).into())?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(request).await?;
    let mut buffer = [0; 16 * 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
