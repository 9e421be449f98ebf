//! A socket of the broker's.

use steadfast_protocol::buffer::chain::Gather;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::framing::Pen;
use crate::ground::Ground;
use crate::network::{Conn, End};

/// A socket of the broker's.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) conn: Conn,
    pub(super) end: End,
    /// It is read to its end; it is shut for writing.
    pub(super) ended: bool,
    pub(super) shut: bool,
}

impl Socket {
    pub(super) fn new(conn: Conn, end: End) -> Socket {
        Socket { conn, end, ended: false, shut: false }
    }
}

/// Writes as much as the socket takes, and says what that was.
pub(super) fn write(ground: &mut Ground, socket: &Socket, offered: &Gather<'_>) -> Vec<u8> {
    let room = ground.net.room(socket.conn, socket.end);
    let mut bytes = Vec::new();
    for piece in offered.pieces() {
        bytes.extend_from_slice(&piece[..piece.len().min(room - bytes.len())]);
    }
    let written = ground.net.write(ground.now, socket.conn, socket.end, &bytes);
    assert_eq!(written, bytes.len(), "there is room for all of it");
    bytes
}

/// Lets go of a connection with these words. What the peer still says is discarded.
pub(super) fn say_last(ground: &mut Ground, socket: &Socket, words: &[u8]) {
    ground.net.write(ground.now, socket.conn, socket.end, words);
    ground.net.close(ground.now, socket.conn, socket.end);
}

pub(crate) fn refuse(ground: &mut Ground, conn: Conn, code: CloseCode) {
    let mut words = Vec::new();
    Pen::plain().close(&mut ground.dice, Some((code, "try again")), &mut words);
    say_last(ground, &Socket::new(conn, End::Far), &words);
}
