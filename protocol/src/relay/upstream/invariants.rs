//! What holds of a writer at any time.

use crate::buffer::ring::Ring;

use super::pings::MOST;
use super::{HOLD_STEPS, UpstreamWriter};

impl UpstreamWriter {
    /// Panics if something does not hold.
    pub(crate) fn check_invariants(&self, ring: &Ring) {
        let (end, whole) = (ring.end(), ring.whole());
        assert!(self.acked <= end, "{} is acknowledged of {end}", self.acked);
        assert!(self.acked_seq <= ring.whole_seq(), "message {} was never there", self.acked_seq);
        self.check_pings(ring);
        if let Some(held) = &self.held {
            assert!((1..=HOLD_STEPS).contains(&held.len()), "{} steps are held", held.len());
            assert!(held.iter().is_sorted_by_key(|held| (held.until, held.at)), "what is held is in order");
            assert!(held.back().is_none_or(|held| held.at <= self.acked), "what is held was acknowledged");
        }
        if let Some(inserts) = &self.inserts {
            assert!(!inserts.is_empty(), "an empty queue holds no memory");
            // What the session drops at its end was counted as sent.
            if let Some(close) = inserts.close.as_ref().filter(|_| !ring.is_empty()) {
                assert!(ring.sent() <= close.at, "{} is sent behind a Close at {}", ring.sent(), close.at);
            }
        }
        assert!(!self.whole_only || ring.is_empty() || ring.sent() <= whole, "an open message is written");
    }

    fn check_pings(&self, ring: &Ring) {
        assert!(self.pings.len() <= MOST, "{} pings are out", self.pings.len());
        let mut before = 0;
        for ping in (0..self.pings.len()).filter_map(|index| self.pings.get(index)) {
            assert!(before <= ping.at && ping.at <= ring.whole(), "a ping at {} in an open message", ping.at);
            assert!(ring.may_be_boundary(ping.at), "a ping at {} inside a message", ping.at);
            let passed = !ping.written() && ping.at < ring.sent() && !ring.is_empty();
            assert!(!passed, "{} is sent, and the ping before it at {} is not", ring.sent(), ping.at);
            before = ping.at;
        }
    }
}
