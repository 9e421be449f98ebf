//! A header as bytes, from its first on: where it ends, and what it says. What is not as the specification has it is
//! refused, since something else may be speaking there.

use std::net::SocketAddr;
use std::ops::Range;

use crc::{CRC_32_ISCSI, Crc};
use proxy_header::ParseConfig;

use super::{ProxiedEnds, ProxyHeader};

/// Bytes of the longest line of version 1, with its end (2.1).
const LINE_MAX: usize = 107;
/// How one begins.
const LINE: &[u8] = b"PROXY ";
/// How a header of version 2 begins (2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a header of version 2 in front of those that it counts itself.
const FIXED: usize = 16;
/// The most bytes that it may count. It may be 64 KiB by the specification, and there is no use for that.
const BLOCK_MAX: usize = 4096;
/// Bytes of the longest header that is taken, in either version.
pub const HEADER_MAX: usize = FIXED + BLOCK_MAX;
/// The type of a checksum among the TLVs (2.2.3).
const CRC32C: u8 = 0x03;

static CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// Something else was said, or what may not be said.
    Malformed,
    /// Something has changed it on its way.
    Checksum,
}

/// A header as far as it has come; never more than [`HEADER_MAX`].
#[derive(Debug, Default)]
pub struct HeaderBytes {
    bytes: Vec<u8>,
    whole: bool,
}

impl HeaderBytes {
    /// Takes what is the header's of bytes that are there, and returns how many those are. All are, unless it is whole then.
    ///
    /// # Errors
    /// When no header begins so, or it is too long.
    pub fn take(&mut self, there: &[u8]) -> Result<usize, HeaderFault> {
        match self.bytes.first().or(there.first()) {
            Some(b'P') => self.take_line(there),
            Some(b'\r') => self.take_block(there),
            _ => Err(HeaderFault::Malformed),
        }
    }

    /// Whether nothing has been taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns what it says, once it is whole.
    ///
    /// # Errors
    /// When it says nothing that may be said.
    pub fn says(&self) -> Option<Result<ProxyHeader, HeaderFault>> {
        self.whole
            .then(|| if self.bytes.first() == Some(&b'P') { line(&self.bytes) } else { block(&self.bytes) })
    }

    fn take_line(&mut self, there: &[u8]) -> Result<usize, HeaderFault> {
        let there = &there[..there.len().min(LINE_MAX.saturating_sub(self.bytes.len()))];
        let end = there.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let own = &there[..end.unwrap_or(there.len())];
        self.bytes.extend_from_slice(own);
        self.whole = end.is_some();
        let fits = begins_with(&self.bytes, LINE) && (self.whole || self.bytes.len() < LINE_MAX);
        if fits { Ok(own.len()) } else { Err(HeaderFault::Malformed) }
    }

    fn take_block(&mut self, there: &[u8]) -> Result<usize, HeaderFault> {
        let before = self.bytes.len();
        let fill = |bytes: &mut Vec<u8>, up_to: usize| {
            let rest = &there[(bytes.len() - before).min(there.len())..];
            bytes.extend_from_slice(&rest[..rest.len().min(up_to.saturating_sub(bytes.len()))]);
        };
        fill(&mut self.bytes, FIXED);
        if !begins_with(&self.bytes, SIGNATURE) {
            return Err(HeaderFault::Malformed);
        }
        if let Some([high, low]) = self.bytes.get(FIXED - 2..FIXED) {
            let counted = usize::from(u16::from_be_bytes([*high, *low]));
            if counted > BLOCK_MAX {
                return Err(HeaderFault::Malformed);
            }
            fill(&mut self.bytes, FIXED + counted);
            self.whole = self.bytes.len() == FIXED + counted;
        }
        Ok(self.bytes.len() - before)
    }
}

fn begins_with(bytes: &[u8], beginning: &[u8]) -> bool {
    let length = bytes.len().min(beginning.len());
    bytes[..length] == beginning[..length]
}

/// What a line says.
fn line(bytes: &[u8]) -> Result<ProxyHeader, HeaderFault> {
    if !is_strict(bytes) {
        return Err(HeaderFault::Malformed);
    }
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: false };
    match proxy_header::ProxyHeader::parse(bytes, config) {
        Ok((header, length)) if length == bytes.len() => {
            Ok(header.proxied_address().map_or(ProxyHeader::Own, client))
        }
        _ => Err(HeaderFault::Malformed),
    }
}

/// What the library lets pass: signs and leading zeros of ports, and anything in front of and behind the protocol's name.
fn is_strict(line: &[u8]) -> bool {
    let Some(words) = line.strip_prefix(LINE).and_then(|line| line.strip_suffix(b"\r\n")) else {
        return false;
    };
    let words: Vec<_> = words.split(|byte| *byte == b' ').collect();
    match words[..] {
        [b"UNKNOWN", ..] => true,
        [_, _, _, source, destination] => is_port(source) && is_port(destination),
        _ => false,
    }
}

fn is_port(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"))
}

/// What a block says.
fn block(bytes: &[u8]) -> Result<ProxyHeader, HeaderFault> {
    let Some([command, family]) = bytes.get(SIGNATURE.len()..FIXED - 2) else {
        return Err(HeaderFault::Malformed);
    };
    let addresses = match family {
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => 0,
    };
    let tlvs = tlvs(bytes, FIXED + addresses);
    let sums = tlvs.iter().flatten().filter(|(kind, _)| *kind == CRC32C);
    for (_, at) in sums {
        check(bytes, at.clone())?;
    }
    match (command, family) {
        // Whatever else it says is not to be looked at.
        (0x20, _) => Ok(ProxyHeader::Own),
        (0x21, 0x11 | 0x21) if tlvs.is_some() => {
            let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
            let parsed =
                proxy_header::ProxyHeader::parse(bytes, config).map_err(|_| HeaderFault::Malformed)?;
            parsed.0.proxied_address().map(client).ok_or(HeaderFault::Malformed)
        }
        // Nothing that is said of it, datagrams, and sockets that are files.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Ok(ProxyHeader::Own),
        _ => Err(HeaderFault::Malformed),
    }
}

fn client(addresses: &proxy_header::ProxiedAddress) -> ProxyHeader {
    let [source, destination] = [addresses.source, addresses.destination]
        .map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
    ProxyHeader::Client(ProxiedEnds { source, destination })
}

/// The TLVs from there to the end: the type of each, and where its value stands. `None`: they do not end where the block
/// does.
fn tlvs(bytes: &[u8], mut at: usize) -> Option<Vec<(u8, Range<usize>)>> {
    let mut found = Vec::new();
    while at != bytes.len() {
        let [kind, high, low] = *bytes.get(at..)?.first_chunk()?;
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([high, low]));
        at = value.end;
        found.push((kind, value));
    }
    Some(found)
}

/// Whether the checksum that stands there is that of the whole with zeros in its place (RFC 9260, appendix A).
fn check(bytes: &[u8], at: Range<usize>) -> Result<(), HeaderFault> {
    let said: [u8; 4] =
        bytes.get(at.clone()).and_then(|said| said.try_into().ok()).ok_or(HeaderFault::Malformed)?;
    let mut digest = CHECKSUM.digest();
    for part in [&bytes[..at.start], &[0; 4], &bytes[at.end..]] {
        digest.update(part);
    }
    if digest.finalize() == u32::from_be_bytes(said) { Ok(()) } else { Err(HeaderFault::Checksum) }
}
