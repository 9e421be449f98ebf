//! What plain services have got of a session's messages. They say nothing of what they have done with them, so that
//! this is all that can be promised of it: each message is read by some service, in order, and by two only if the
//! first was left meanwhile; and what is counted as lost, or in doubt, is that at least.

use steadfast_protocol::session::{AckMode, Counts};

#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// How many services have read each message whole.
    times: Vec<u32>,
    /// Messages that services were marked to have read by the time that they were left.
    marked: u64,
    /// Some service answered no pings, and the session went on without acknowledgements there.
    pub(crate) without: bool,
}

impl Deliveries {
    /// A service has read the message with this seq. `last`: the one that it had read before; `next`: the first
    /// that it is to get.
    pub(crate) fn read(&mut self, seq: u64, last: Option<u64>, next: u64, ack: AckMode) {
        let expected = last.map_or(next, |last| last + 1);
        assert_eq!(seq, expected, "a service that is to begin with {next} gets this message after {last:?}");
        if self.times.len() < seq as usize {
            self.times.resize(seq as usize, 0);
        }
        let times = &mut self.times[seq as usize - 1];
        *times += 1;
        assert!(ack == AckMode::Pong || *times == 1, "message {seq} is given to {times} services");
    }

    /// A service is left, of whose messages so many were marked.
    pub(crate) fn left(&mut self, marked: u64) {
        self.marked += marked;
    }

    /// Messages that more than one service has read.
    pub(crate) fn twice(&self) -> u64 {
        self.times.iter().filter(|times| **times > 1).count() as u64
    }

    /// Without acknowledgements, when a service was left: what was not marked is lost.
    pub(crate) fn check_marks(&self, upstream: &Counts) {
        assert_eq!(upstream.acknowledged, self.marked, "messages are marked: {upstream:?}");
    }

    /// What is counted at the end is so. `committed`: as the client may have been told; `unmarked`: messages that the
    /// last service may have read, since it has not failed.
    pub(crate) fn check(&self, ack: AckMode, upstream: &Counts, (committed, unmarked): (u64, u64)) {
        assert_eq!(upstream.acknowledged + upstream.lost, upstream.forwarded, "{upstream:?}");
        if self.without {
            return;
        }
        let sure = if ack == AckMode::None { self.marked } else { committed };
        let most = sure + unmarked;
        assert!(
            (sure..=most).contains(&upstream.acknowledged),
            "{sure} to {most} are acknowledged: {upstream:?}"
        );
        if ack == AckMode::Pong {
            let unread = (1..).zip(&self.times).find(|(seq, times)| *seq <= committed && **times == 0);
            assert_eq!(unread, None, "a message is called acknowledged that no service has read");
            assert!(self.times.len() as u64 >= committed, "{committed} are called acknowledged");
            assert!(self.twice() <= upstream.in_doubt, "{} came twice: {upstream:?}", self.twice());
        }
    }
}
