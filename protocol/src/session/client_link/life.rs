//! Whether a client is still there: pings toward it, and how long an answer may take.
//!
//! A client that reads slowly answers a ping when it has read what stands before it, which may be megabytes in
//! the kernel's buffers. So how far it has read is asked for at bounded distances, and a pong is missed only
//! after the time that the client needs for what lies between.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;
use crate::websocket::frame::Opcode;

use super::super::{ClientPhase, Session};
use crate::session::report::{Command, EndCause};

/// So many pings may be out at once.
const MOST: usize = 8;

/// A client that was heard within this part of `keepalive` is not asked how far it has read.
const RECENT: u32 = 8;

/// Bytes a second that a client is believed to read of which nothing is known.
const SLOWEST: u64 = 1024;

/// Less, or in less time, says nothing of how fast a client reads.
const TELLING: (u64, Duration) = (4096, Duration::from_secs(1));

/// So many times `client_stall` is the longest that an answer may take.
const STALLS: u32 = 4;

/// What is known of a client that is asked for signs of life.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct ClientLife {
    /// The pings that are out.
    out: VecDeque<SentPing>,
    /// When the last pong came that answered one.
    ponged: Option<Time>,
    /// The fewest bytes a second that it was seen to read.
    rate: Option<u64>,
    /// The driver was asked about its connection at this time.
    told: Option<Time>,
    /// Changes with each pong.
    pongs: u64,
}

/// One ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SentPing {
    when: Time,
    /// Bytes that stand before it since the session began, as far as 32 bits go.
    at: u32,
    /// How many of them no pong has acknowledged.
    beyond: u32,
}

impl ClientLife {
    /// The last ping that is out, if nothing was heard since.
    fn unheard(&self, heard: Time) -> Option<&SentPing> {
        self.out.back().filter(|asked| asked.when > heard)
    }

    /// How long an answer may take for which `beyond` bytes must be read first.
    fn patience(&self, beyond: u32, (pong, stall): (Duration, Duration)) -> Duration {
        let rate = self.rate.unwrap_or(SLOWEST).max(1);
        let reading = Duration::from_micros(u64::from(beyond).saturating_mul(1_000_000) / rate);
        (pong + reading).min((stall * STALLS).max(pong))
    }

    fn ask(&mut self, now: Time, at: u32) {
        let acknowledged = self.out.front().map_or(at, |first| first.at.wrapping_sub(first.beyond));
        let beyond = at.wrapping_sub(acknowledged);
        self.put(SentPing { when: now, at, beyond });
    }

    fn put(&mut self, asked: SentPing) {
        if self.out.len() == MOST {
            self.out.pop_back();
        }
        self.out.push_back(asked);
    }

    /// A pong answers the ping at `at`, and so all before it. True: it was one that was asked for.
    fn answered(&mut self, now: Time, at: u32) -> bool {
        let Some(index) = self.out.iter().position(|asked| asked.at == at) else { return false };
        let asked = self.out[index];
        self.out.drain(..=index);
        for later in &mut self.out {
            later.beyond = later.at.wrapping_sub(at);
        }
        let since = self.ponged.map_or(asked.when, |ponged| ponged.max(asked.when));
        let took = now.since(since);
        if u64::from(asked.beyond) >= TELLING.0 && took >= TELLING.1 {
            let rate = u64::from(asked.beyond) * 1000 / (took.as_millis() as u64).max(1);
            self.rate = Some(self.rate.map_or(rate, |before| before.min(rate)));
        }
        (self.ponged, self.told) = (self.rate.is_some().then_some(now), None);
        self.pongs += 1;
        if self.out.is_empty() && self.rate.is_none() {
            *self = ClientLife::default();
        }
        true
    }
}

impl Session {
    /// Asks a client how far it has read that says nothing and gets much.
    #[inline]
    pub(in crate::session) fn mark_client(&mut self, now: Time) {
        if !self.state.downstream.unmarked() || !self.client_is_asked() {
            return;
        }
        let recent = self.config.keepalive / RECENT;
        if now.since(self.client_link.timers.heard()) < recent || self.config.keepalive.is_zero() {
            return;
        }
        let (at, life) = (self.state.downstream.position(), self.client_link.timers.life());
        let far = life.and_then(|life| life.out.back().map(|last| (life.out.len(), *last)));
        // Their distances grow with what is out, so that they reach far.
        if far.is_some_and(|(n, last)| n == MOST || at.wrapping_sub(last.at) < last.beyond) {
            return;
        }
        self.ask_client(now);
    }

    /// It may answer, and may not come back: one that may is asked for receipts.
    fn client_is_asked(&self) -> bool {
        matches!(self.state.client, ClientPhase::Open) && self.state.downstream.kept().is_none()
    }

    fn ask_client(&mut self, now: Time) {
        let beyond = self.state.downstream.beyond_mark();
        let at = self.state.downstream.position();
        self.client_link.timers.change_life(|life| match life.out.is_empty() {
            true => life.put(SentPing { when: now, at, beyond }),
            false => life.ask(now, at),
        });
        self.state.downstream.mark();
        let payload = match self.state.downstream.kept() {
            None => at.to_be_bytes().to_vec(),
            Some(_) => self.keepalive_payload(),
        };
        self.state.downstream.control(Opcode::Ping, &payload);
    }

    /// A client's pong. Only one that answers a ping of ours says how far it has read.
    pub(in crate::session) fn client_ponged(&mut self, now: Time, payload: &[u8]) {
        if self.state.downstream.kept().is_some() && self.client_link.timers.life().is_some() {
            return self.client_link.timers.change_life(|life| *life = ClientLife::default());
        }
        let Ok(at) = payload.try_into().map(u32::from_be_bytes) else { return };
        if self.client_link.timers.life().is_some_and(|life| !life.out.is_empty()) {
            self.client_link.timers.change_life(|life| _ = life.answered(now, at));
        }
    }

    /// A figure that changes with each pong of the client's.
    #[inline]
    pub(in crate::session) fn client_pongs(&self) -> u64 {
        self.client_link.timers.life().map_or(0, |life| life.pongs)
    }

    /// When the client is to be asked, or an answer is missed. Not judged while the client is not read: what it
    /// says is stuck on the way. While something waits for it, a ping would have to stand behind that, and
    /// whether the client takes it shows that it is there.
    #[inline]
    pub(in crate::session) fn client_keepalive_at(&self) -> Option<Time> {
        let read = self.client_read_limit(self.client_link.timers.paused()) > 0;
        if !read || !matches!(self.state.client, ClientPhase::Open) || self.config.keepalive.is_zero() {
            return None;
        }
        let heard = self.client_link.timers.heard();
        match self.client_link.timers.life().and_then(|life| Some((life, life.unheard(heard)?))) {
            Some((life, asked)) => {
                let missed = asked.when + self.patience_with(life, asked);
                let next = life.told.unwrap_or(asked.when).max(asked.when) + self.config.client_pong;
                Some(missed.min(next))
            }
            None if self.state.downstream.waiting() > 0 => None,
            None => Some(heard + self.config.keepalive),
        }
    }

    fn patience_with(&self, life: &ClientLife, asked: &SentPing) -> Duration {
        life.patience(asked.beyond, (self.config.client_pong, self.config.client_stall))
    }

    /// The client has said nothing for long: it is asked, or the driver is asked about it, or it is given up.
    pub(in crate::session) fn client_is_silent(&mut self, now: Time) {
        let heard = self.client_link.timers.heard();
        let life = self.client_link.timers.life();
        let missed = life.and_then(|life| {
            let asked = life.unheard(heard)?;
            Some(asked.when + self.patience_with(life, asked) <= now)
        });
        match missed {
            None => self.ask_client(now),
            Some(true) => self.client_lost(now, EndCause::ClientTimeout),
            Some(false) => {
                self.client_link.timers.change_life(|life| life.told = Some(now));
                self.ask(Command::JudgeClient);
            }
        }
    }

    /// The connection to the client is dead, in answer to [`Command::JudgeClient`].
    pub fn handle_client_dead(&mut self, now: Time) {
        if !self.detach(now) && matches!(self.state.client, ClientPhase::Open) {
            self.client_left(now, None, EndCause::ClientTimeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PONG: Duration = Duration::from_secs(15);
    const STALL: Duration = Duration::from_secs(60);

    fn at(secs: u64) -> Time {
        Time::ORIGIN + Duration::from_secs(secs)
    }

    #[test]
    fn an_answer_takes_longer_behind_more() {
        let life = ClientLife::default();
        let patience = |beyond| life.patience(beyond, (PONG, STALL));
        assert_eq!(patience(0), PONG);
        assert_eq!(patience(10 * 1024), PONG + Duration::from_secs(10));
        assert_eq!(patience(1 << 30), STALL * STALLS);
    }

    #[test]
    fn the_slowest_rate_that_was_seen_counts() {
        let mut life = ClientLife::default();
        life.put(SentPing { when: at(0), at: 100_000, beyond: 100_000 });
        life.ask(at(0), 500_000);
        assert!(life.answered(at(10), 100_000));
        assert_eq!(life.rate, Some(10_000));
        assert_eq!(life.out.front().map(|asked| asked.beyond), Some(400_000));
        assert!(life.answered(at(20), 500_000));
        assert_eq!(life.rate, Some(10_000), "it was four times as fast then");
        assert_eq!(life.patience(1_000_000, (PONG, STALL)), PONG + Duration::from_secs(100));
    }

    #[test]
    fn a_pong_that_nobody_asked_for_says_nothing() {
        let mut life = ClientLife::default();
        life.put(SentPing { when: at(0), at: 7, beyond: 7 });
        assert!(!life.answered(at(1), 8));
        assert!(life.answered(at(1), 7));
        assert!(!life.answered(at(1), 7), "once is enough");
        assert_eq!(life, ClientLife::default(), "and nothing is kept");
    }
}
