//! Reading a header from a connection, and not one byte behind it: what follows may be TLS or HTTP, and is for others to
//! read.

use std::io;

use tokio::io::AsyncReadExt;

use super::ProxyHeader;
use super::received::{HeaderBytes, HeaderFault};
use crate::net::stream::Stream;

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
