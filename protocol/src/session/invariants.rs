//! What holds of a session whenever it has done what was due.

use super::{BackendPhase, ClientPhase, Session};

impl Session {
    /// Panics if something does not hold. The fuzz targets, the properties and the simulation drive this.
    pub(super) fn check_invariants(&self) {
        self.state.ring.check_invariants();
        self.state.downstream.check_invariants();
        self.backend_link.writer.check_invariants(&self.state.ring);
        if let Some(talk) = &self.state.conversation {
            talk.check_invariants();
        }
        self.check_client();
        self.check_backend();
        self.check_counts();
    }

    fn check_client(&self) {
        let waiting = self.state.downstream.waiting();
        match self.state.client {
            ClientPhase::Open => {
                let ends = self.state.downstream.is_closed() || self.closing().is_some();
                assert!(!ends, "an open client was told Close, or its backend goodbye");
            }
            ClientPhase::Left { hears } => {
                assert!(hears || waiting == 0, "{waiting} wait for one that hung up")
            }
            ClientPhase::Told { .. } => {
                assert!(self.state.downstream.is_closed(), "no Close is there for the client")
            }
            ClientPhase::Over => assert_eq!(waiting, 0, "something waits for a client that is gone"),
        }
        if self.away() {
            let waited_for = matches!(self.state.client, ClientPhase::Open | ClientPhase::Told { .. });
            assert!(waited_for && self.returning().is_some(), "a client is away that cannot come back");
        }
    }

    fn check_backend(&self) {
        let ring = &self.state.ring;
        match self.backend {
            BackendPhase::Waiting { .. } | BackendPhase::Dialing => {
                assert!(self.underway.episode().is_some(), "the next backend is looked for in no episode");
                assert_eq!(ring.sent(), ring.base(), "something is written to no backend");
                assert!(!self.backend_link.writer.pinging(), "no backend is asked for a pong");
            }
            BackendPhase::Over => {
                let orphaned = matches!(self.state.client, ClientPhase::Open);
                assert!(ring.all_released() || orphaned, "messages are left without a backend");
                assert!(self.underway.migration().is_none(), "a session moves without a backend");
            }
            BackendPhase::Linked | BackendPhase::Draining { .. } | BackendPhase::Closing { .. } => {}
        }
        if let Some(commits) = self.commits() {
            let (committed, whole) = (commits.committed(), ring.whole_seq());
            assert!(committed <= whole, "{committed} of {whole} messages are committed");
            // What is not delivered at the end has left the ring as well.
            let ends = !matches!(self.state.client, ClientPhase::Open);
            assert!(ring.base_seq() <= committed || ends, "{} is let go of before a commit", ring.base_seq());
        }
    }

    fn check_counts(&self) {
        let ledger = self.ledger();
        for counts in [ledger.upstream, ledger.downstream] {
            assert!(counts.acknowledged + counts.lost <= counts.forwarded, "{counts:?}");
        }
    }
}
