//! What the broker does about a service that says nothing, held against what the service is: it leaves none that is
//! merely slow, it leaves one that is dead or stopped when there is another, and no third one gets a message on
//! which two have fallen silent.

use steadfast_protocol::session::{AckMode, Config, Failure, Judgement};
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::hosts::{Host, Hosts};
use crate::truth::Truth;

/// So many times `ack_timeout` a host may do nothing before the session must have left it.
const PATIENCE: u32 = 3;

/// A service that says nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) host: Host,
    /// Its connection is.
    pub(crate) dead: bool,
    /// There is another one to go to.
    pub(crate) other: bool,
    /// The broker wants it no more.
    pub(crate) leaves: bool,
}

impl Case {
    /// Says what has happened here, for the tally.
    pub(crate) fn check(
        &self,
        judgement: &Judgement,
        truth: &mut Truth,
        hosts: &Hosts,
        (now, config): (Time, &Config),
    ) -> Vec<&'static str> {
        let mute = truth.link.mute_for(now);
        let stalled = !config.stall_timeout.is_zero() && mute >= config.stall_timeout;
        let again = truth.is_silent_again();
        match judgement {
            Judgement::Left { .. } if self.dead => vec!["a dead connection is left"],
            Judgement::Left { blamed } => {
                if *blamed {
                    assert!(config.ack != AckMode::None, "it is left for silence without acknowledgements");
                    assert!(hosts.was_mute(self.host, now), "a host that lives is called dead");
                } else {
                    assert!(stalled, "a service is left that says nothing for {mute:?}");
                }
                if self.leaves {
                    assert!(!again, "a third service gets what two fell silent on");
                    truth.fell_silent();
                }
                vec![match (again, *blamed) {
                    (true, _) => "two services stall",
                    (_, true) => "a host that does nothing is left",
                    (_, false) => "a service stalls",
                }]
            }
            Judgement::Follows => {
                assert!(again, "another message, and silence is said to follow it");
                truth.silence_follows();
                vec!["silence follows a message"]
            }
            Judgement::Stays => self.check_stay(truth, hosts, (now, config), again),
        }
    }

    fn check_stay(
        &self,
        truth: &Truth,
        hosts: &Hosts,
        (now, config): (Time, &Config),
        again: bool,
    ) -> Vec<&'static str> {
        let asked = truth.link.answers_pings;
        assert!(!(self.dead && asked), "the session stays on a connection that is dead");
        let most = config.ack_timeout * PATIENCE;
        let silent = truth.link.is_silent_for(now, most);
        let unable = hosts.unable_for(self.host, now);
        let judged = config.ack != AckMode::None && asked && self.other && !again;
        assert!(
            !(judged && silent && unable >= most),
            "the session stays with a host that has done nothing for {unable:?}, and there is another"
        );
        let slow = truth.link.mute_for(now) >= config.ack_timeout;
        match (slow, unable.is_zero()) {
            (true, true) => vec!["a service is slow, and not left"],
            (true, false) if !self.other => vec!["the only host does nothing, and is not left"],
            _ => Vec::new(),
        }
    }
}

/// What the driver knows of a service that the broker leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving {
    /// Its connection has ended, or is dead.
    pub(crate) ended: bool,
    pub(crate) dead: bool,
    /// It was judged to be silent, or its connection dead.
    pub(crate) judged: bool,
    /// It has said Close, with this code.
    pub(crate) closed_with: Option<CloseCode>,
    /// The session ends, and it was told so; it has read on towards that of late.
    pub(crate) told: bool,
    pub(crate) reads_on: bool,
}

impl Leaving {
    /// No service is left without a reason. Says which it was if the tally is to know.
    pub(crate) fn check(&self, failure: Failure) -> Option<&'static str> {
        let reason = match failure {
            Failure::Eof | Failure::Reset => self.ended,
            Failure::Close(code) => self.closed_with == Some(code),
            Failure::Dead => self.judged,
            Failure::Silence => self.judged || (self.told && !self.reads_on),
            Failure::Breach | Failure::Planned | Failure::Ordered | Failure::Restored => true,
            // Nobody was asked about it that answers no pings.
            Failure::SlowMessage => self.dead,
            Failure::Protocol | Failure::Cut => false,
            // No protocol is known here.
            Failure::Prologue | Failure::Denied => false,
        };
        assert!(reason, "a service is left for {failure:?}: {self:?}");
        let late = failure == Failure::Silence && !self.judged;
        late.then_some("a service is left that does not answer a Close in time")
    }
}
