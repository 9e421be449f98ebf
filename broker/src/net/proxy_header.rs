//! Reading a header of the PROXY protocol from a connection, and not one byte behind it: what follows may be TLS or HTTP,
//! and is for others to read.

use std::io;

use steadfast_proxy_protocol::{HeaderBytes, HeaderFault, ProxyHeader};
use tokio::io::AsyncReadExt;

use super::stream::Stream;

/// Bytes that are looked at at once; nearly all headers are shorter.
const WINDOW: usize = 512;

/// Why there is none.
#[derive(Debug)]
pub(crate) enum NoHeader {
    /// The connection ended before anything was said.
    Nothing,
    /// It ended, or was cut, within the header.
    Cut(String),
    /// Something else was said.
    Malformed,
    /// Its checksum is wrong.
    Checksum,
}

impl From<io::Error> for NoHeader {
    fn from(error: io::Error) -> NoHeader {
        NoHeader::Cut(error.to_string())
    }
}

impl From<HeaderFault> for NoHeader {
    fn from(fault: HeaderFault) -> NoHeader {
        match fault {
            HeaderFault::Malformed => NoHeader::Malformed,
            HeaderFault::Checksum => NoHeader::Checksum,
        }
    }
}

/// Reads a header of either version, however it comes. It is for the caller to set a time.
///
/// # Errors
/// When there is none, or one that says nothing that may be said.
pub(crate) async fn read(stream: &mut Stream) -> Result<ProxyHeader, NoHeader> {
    let mut header = HeaderBytes::default();
    let mut window = [0; WINDOW];
    loop {
        // What is looked at stays where it is.
        let there = match stream.peek(&mut window).await {
            Ok(there @ 1..) => there,
            Ok(_) | Err(_) if header.is_empty() => return Err(NoHeader::Nothing),
            Ok(_) => return Err(NoHeader::Cut("it ended within its PROXY header".to_owned())),
            Err(error) => return Err(error.into()),
        };
        let own = header.take(&window[..there])?;
        stream.read_exact(&mut window[..own]).await?;
        if let Some(says) = header.says() {
            return Ok(says?);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use steadfast_proxy_protocol::ProxiedEnds;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What follows a header and is not its.
    const BEHIND: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// A header of version 2 for 203.0.113.9:5678, with one TLV of so many bytes that say nothing.
    fn block(padding: u16) -> Vec<u8> {
        let ends = [203, 0, 113, 9, 192, 0, 2, 1, 0x16, 0x2e, 1, 0xbb];
        let head = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &(padding + 15).to_be_bytes(), &ends].concat();
        [&head[..], &[4], &padding.to_be_bytes(), &vec![0; padding.into()]].concat()
    }

    /// A connection, and its peer's end.
    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let peer = TcpStream::connect(address).await.expect("it listens");
        peer.set_nodelay(true).expect("it stands");
        let (stream, _) = listener.accept().await.expect("the peer connects");
        (stream.into(), peer)
    }

    #[tokio::test]
    async fn what_stands_behind_a_header_is_left_on_the_connection() {
        let client = ProxiedEnds {
            source: ([203, 0, 113, 9], 5678).into(),
            destination: ([192, 0, 2, 1], 443).into(),
        };
        for header in [&b"PROXY TCP4 203.0.113.9 192.0.2.1 5678 443\r\n"[..], &block(0), &block(3072)] {
            for one_by_one in [false, true] {
                let (mut stream, mut peer) = pair().await;
                let all = [header, BEHIND].concat();
                let says = async {
                    let pieces = if one_by_one && header.len() < 100 { 1 } else { all.len() };
                    for piece in all.chunks(pieces) {
                        peer.write_all(piece).await.expect("it is read");
                        tokio::task::yield_now().await;
                    }
                };
                let (read, ()) = tokio::join!(read(&mut stream), says);
                assert_eq!(read.expect("a header"), ProxyHeader::Client(client));
                peer.shutdown().await.expect("it stands");
                let mut behind = Vec::new();
                stream.read_to_end(&mut behind).await.expect("an orderly end");
                assert_eq!(behind, BEHIND);
            }
        }
    }

    #[tokio::test]
    async fn a_header_that_is_none_is_told_from_one_that_is_cut() {
        for (says, nothing, cut) in
            [("", true, false), ("PROXY TCP4", false, true), ("GET / HTTP/1.1", false, false)]
        {
            let (mut stream, mut peer) = pair().await;
            peer.write_all(says.as_bytes()).await.expect("it is read");
            drop(peer);
            let found = read(&mut stream).await.expect_err("there is no header");
            assert_eq!(matches!(found, NoHeader::Nothing), nothing, "{says}: {found:?}");
            assert_eq!(matches!(found, NoHeader::Cut(_)), cut, "{says}: {found:?}");
        }
    }
}
