//! The client of a session, as the broker has it: on a connection, away, or back on another one.

use steadfast_protocol::session::{Session, SessionSide, Status};
use steadfast_protocol::steadfast_v1::client_wire::{Reason, Resume};
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::ground::Ground;
use crate::network::{End, Read};
use crate::truth::{TOKENS_MAX, Truth};

use super::socket::{Socket, refuse, say_last, write};
use super::{Arrival, DIRECT, FRAMES, Hosted};

/// Tells a client to come back: of two connections that came at once, the other was first.
const STALE: CloseCode = CloseCode(4401);

impl Hosted {
    /// The client is back on another connection.
    pub(crate) fn arrive(&mut self, ground: &mut Ground, arrival: Arrival) {
        // The latest counts.
        if let Some(before) = self.arrival.replace(arrival) {
            ground.net.close(ground.now, before.conn, End::Far);
        }
        self.stirred = true;
    }

    pub(super) fn let_go_of_client(&mut self, ground: &mut Ground) {
        if !self.machine.wants_client()
            && let Some(socket) = self.client.take()
        {
            ground.note(&self.name, || "lets go of its client".to_owned());
            ground.count("a client is let go by the broker");
            ground.net.reset(ground.now, socket.conn, socket.end);
            self.away_until = Some(ground.now + self.window);
        }
    }

    pub(super) fn take_client(&mut self, ground: &mut Ground) -> bool {
        let now = ground.now;
        let Some(Arrival { conn, resume, .. }) = self.arrival.take_if(|arrival| arrival.at <= now) else {
            return false;
        };
        match self.machine.handle_client_back(now, Some(&resume), ground.dice.bytes()) {
            Ok(last_words) => {
                ground.note(&self.name, || format!("its client is back, with {} messages", resume.last));
                ground.count("a client is back");
                self.away_until = None;
                ground.truth(self.session).client_back(Some(&resume.token));
                if let Some(before) = self.client.replace(Socket::new(conn, End::Far)) {
                    ground.count("a client is superseded");
                    say_last(ground, &before, &last_words.unwrap_or_default());
                }
            }
            Err(reason) => {
                ground.note(&self.name, || format!("its client is late: {reason:?}"));
                ground.count("a client's resume comes too late");
                refuse(ground, conn, STALE);
            }
        }
        true
    }

    pub(super) fn read_client(&mut self, ground: &mut Ground) -> bool {
        let Some(socket) = self.client.as_mut().filter(|socket| !socket.ended) else { return false };
        let limit = self.machine.client_read_limit(false);
        if limit == 0 {
            return false;
        }
        let direct = self.machine.client_direct().map(|(_, most)| most);
        let most = direct.unwrap_or(DIRECT * 4).min(limit);
        match ground.net.read(ground.now, socket.conn, socket.end, most) {
            Read::Nothing => return false,
            Read::End(ending) => {
                ground.note(&self.name, || format!("its client's connection has ended: {ending:?}"));
                ground.count("a client's connection ends at the broker");
                socket.ended = true;
                self.away_until = Some(ground.now + self.window);
                self.machine.handle_client_gone(ground.now);
            }
            Read::Bytes(bytes) => {
                ground.truths[Ground::number_of(self.session)].client_says(&bytes);
                match self.machine.client_direct() {
                    Some((tail, _)) => {
                        tail.extend_from_slice(&bytes);
                        self.machine.client_read(ground.now, bytes.len());
                    }
                    None => {
                        let mut rest = bytes.as_slice();
                        while !rest.is_empty() {
                            let mut frames = ground.dice.pick(&FRAMES);
                            rest = &rest[self.machine.handle_client(ground.now, rest, &mut frames)..];
                        }
                    }
                }
            }
        }
        true
    }

    // ---- writing ----

    pub(super) fn write_client(&mut self, ground: &mut Ground) -> bool {
        let Some(socket) = &mut self.client else { return false };
        let mut moved = false;
        if self.machine.client_waits() {
            let written = write(ground, socket, &self.machine.poll_transmit(SessionSide::Client));
            self.machine.handle_written(SessionSide::Client, written.len());
            moved = !written.is_empty();
            let truth = &mut ground.truths[Ground::number_of(self.session)];
            if truth.client_told(&written) && self.machine.status() != Status::Closing {
                let valid = valid_tokens(&self.machine, truth);
                assert!((1..=TOKENS_MAX).contains(&valid), "{valid} tokens are valid");
            }
        }
        if self.machine.client_finished() && !socket.shut {
            socket.shut = true;
            ground.net.shut(ground.now, socket.conn, socket.end);
            moved = true;
        }
        moved
    }
}

/// How many of all tokens that the client was ever told could bring it back.
fn valid_tokens(machine: &Session, truth: &Truth) -> usize {
    let tokens = truth.tokens.iter().filter_map(|issued| issued.token);
    let wishes = tokens.map(|token| Resume { token, last: 0 });
    wishes.filter(|wish| machine.resumable(wish) != Err(Reason::Stale)).count()
}
