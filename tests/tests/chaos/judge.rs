//! What one innocent session has sent and heard, and whether that is what was promised (docs/guarantees.md).
//!
//! Messages are numbered 1, 2, 3 ..., and each is answered by its number.

/// How often a message may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Again by another backend, when its session has left one that may have answered it (`ack = "pong"`).
    AtLeastOnce,
    /// Once (`ack = "shim"`).
    Once,
}

/// What is not as promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An answer to what was not sent, or one that is no answer.
    Unasked(String),
    /// This was heard, and nothing before to the messages in between.
    Missing { after: usize, heard: usize },
    /// It was answered before, and nobody has promised less.
    Repeated(usize),
    /// The session was ended by the broker.
    Closed(String),
    /// All is over, and these were never answered.
    Unanswered { after: usize, sent: usize },
    /// More was repeated, or more often, than the broker has said that it may have been.
    NotInDoubt { repeated: u64, runs: u64 },
    /// The broker has counted otherwise.
    Miscounted { what: &'static str, broker: u64, client: u64 },
}

/// What the broker has counted of a session that has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) upstream: u64,
    pub(crate) acknowledged: u64,
    pub(crate) lost_upstream: u64,
    pub(crate) in_doubt: u64,
    pub(crate) downstream: u64,
    pub(crate) lost_downstream: u64,
    /// Backends that it has left, failed or not.
    pub(crate) changes: u64,
}

/// The judge of one session.
#[derive(Debug)]
pub(crate) struct Judge {
    promise: Promise,
    sent: usize,
    /// The highest number that was answered.
    answered: usize,
    last: usize,
    /// Who gave the last answer.
    answerer: String,
    heard: u64,
    repeated: u64,
    /// Times that somebody began again with what was answered.
    runs: u64,
    faults: Vec<Fault>,
}

impl Judge {
    pub(crate) fn new(promise: Promise) -> Self {
        let (sent, answered, last) = (0, 0, 0);
        let (heard, repeated, runs) = (0, 0, 0);
        let (answerer, faults) = (String::new(), Vec::new());
        Self { promise, sent, answered, last, answerer, heard, repeated, runs, faults }
    }

    /// The number of the message that is sent now.
    pub(crate) fn sends(&mut self) -> usize {
        self.sent += 1;
        self.sent
    }

    /// Messages that are not answered.
    pub(crate) fn under_way(&self) -> usize {
        self.sent - self.answered
    }

    /// The highest number that was answered.
    pub(crate) fn answered(&self) -> usize {
        self.answered
    }

    /// Answers to what was answered before.
    pub(crate) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// An answer has come: `NUMBER`, or anything in front of `-NUMBER`, such as `a.4711:c3-17`, where the part up to
    /// the colon is who gave it.
    pub(crate) fn hears(&mut self, answer: &str) {
        self.heard += 1;
        let number = answer.rsplit('-').next().and_then(|digits| digits.parse().ok());
        let Some(number) = number.filter(|number| (1..=self.sent).contains(number)) else {
            self.faults.push(Fault::Unasked(answer.to_owned()));
            return;
        };
        let answerer = answer.split_once(':').map_or("", |(name, _)| name);
        let next = self.last + 1;
        if number > next {
            self.faults.push(Fault::Missing { after: self.last, heard: number });
        } else if number < next {
            // Nobody gives an answer twice: only another who does not know of it.
            if self.promise == Promise::Once || answerer == self.answerer {
                self.faults.push(Fault::Repeated(number));
            }
            self.runs += 1;
        }
        self.repeated += u64::from(number <= self.answered);
        self.answered = self.answered.max(number);
        self.last = number;
        answerer.clone_into(&mut self.answerer);
    }

    /// The broker has ended the session, or its connection where that is not to end.
    pub(crate) fn is_closed(&mut self, how: String) {
        self.faults.push(Fault::Closed(how));
    }

    /// Whether it has been as promised so far.
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// All is said; the faults, with those of the broker's own accounts.
    pub(crate) fn verdict(mut self, ledger: &Ledger) -> Vec<Fault> {
        if self.answered < self.sent {
            self.faults.push(Fault::Unanswered { after: self.answered, sent: self.sent });
        }
        if self.repeated > ledger.in_doubt || self.runs > ledger.changes {
            self.faults.push(Fault::NotInDoubt { repeated: self.repeated, runs: self.runs });
        }
        let sent = self.sent as u64;
        let counts = [
            ("upstream", ledger.upstream, sent),
            ("acknowledged", ledger.acknowledged, sent),
            ("lost_upstream", ledger.lost_upstream, 0),
            ("downstream", ledger.downstream, self.heard),
            ("lost_downstream", ledger.lost_downstream, 0),
        ];
        for (what, broker, client) in counts {
            if broker != client {
                self.faults.push(Fault::Miscounted { what, broker, client });
            }
        }
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(promise: Promise, sent: usize, answers: &[&str]) -> Judge {
        let mut judge = Judge::new(promise);
        (0..sent).for_each(|_| _ = judge.sends());
        answers.iter().for_each(|answer| judge.hears(answer));
        judge
    }

    /// The accounts of a broker that has lost nothing.
    fn ledger(messages: u64) -> Ledger {
        Ledger { upstream: messages, acknowledged: messages, downstream: messages, ..Ledger::default() }
    }

    #[test]
    fn answers_in_order_are_as_promised() {
        assert_eq!(judge(Promise::Once, 3, &["1", "2", "3"]).verdict(&ledger(3)), []);
        let answers = ["a.1:c-1", "a.1:c-2", "b.2:c-3"];
        assert_eq!(judge(Promise::AtLeastOnce, 3, &answers).verdict(&ledger(3)), []);
    }

    #[test]
    fn a_lost_message_is_found() {
        for promise in [Promise::Once, Promise::AtLeastOnce] {
            let own = judge(promise, 3, &["1", "3"]);
            assert_eq!(own.faults(), [Fault::Missing { after: 1, heard: 3 }]);
            let own = judge(promise, 3, &["1", "2"]);
            assert!(own.verdict(&ledger(3)).contains(&Fault::Unanswered { after: 2, sent: 3 }));
        }
    }

    #[test]
    fn a_doubled_message_is_found() {
        assert_eq!(judge(Promise::Once, 3, &["1", "2", "2", "3"]).faults(), [Fault::Repeated(2)]);
        let own = judge(Promise::AtLeastOnce, 3, &["a.1:c-1", "a.1:c-2", "a.1:c-2", "a.1:c-3"]);
        assert_eq!(own.faults(), [Fault::Repeated(2)]);
    }

    #[test]
    fn a_swapped_message_is_found() {
        for promise in [Promise::Once, Promise::AtLeastOnce] {
            let own = judge(promise, 3, &["a:c-1", "a:c-3", "a:c-2"]);
            assert!(own.faults().contains(&Fault::Missing { after: 1, heard: 3 }), "{own:?}");
        }
    }

    #[test]
    fn what_another_backend_says_again_must_be_in_doubt() {
        let answers = ["a.1:c-1", "a.1:c-2", "b.2:c-2", "b.2:c-3"];
        let told = Ledger { in_doubt: 1, changes: 1, downstream: 4, ..ledger(3) };
        assert_eq!(judge(Promise::AtLeastOnce, 3, &answers).verdict(&told), []);
        let fault = [Fault::NotInDoubt { repeated: 1, runs: 1 }];
        let untold = Ledger { in_doubt: 0, ..told };
        assert_eq!(judge(Promise::AtLeastOnce, 3, &answers).verdict(&untold), fault);
        let unmoved = Ledger { changes: 0, ..told };
        assert_eq!(judge(Promise::AtLeastOnce, 3, &answers).verdict(&unmoved), fault);
    }

    #[test]
    fn a_close_is_found() {
        let mut own = judge(Promise::AtLeastOnce, 1, &["a:c-1"]);
        own.is_closed("1013".to_owned());
        assert_eq!(own.verdict(&ledger(1)), [Fault::Closed("1013".to_owned())]);
    }

    #[test]
    fn an_answer_to_nothing_is_found() {
        for answer in ["a:c-2", "0", "a:hello", ""] {
            let own = judge(Promise::AtLeastOnce, 1, &[answer]);
            assert_eq!(own.faults(), [Fault::Unasked(answer.to_owned())]);
        }
    }

    #[test]
    fn each_count_of_the_brokers_is_compared() {
        let told = ledger(1);
        let wrong = [
            Ledger { upstream: 2, ..told },
            Ledger { acknowledged: 0, ..told },
            Ledger { lost_upstream: 1, ..told },
            Ledger { downstream: 2, ..told },
            Ledger { lost_downstream: 1, ..told },
        ];
        for ledger in wrong {
            let verdict = judge(Promise::Once, 1, &["1"]).verdict(&ledger);
            assert!(matches!(verdict[..], [Fault::Miscounted { .. }]), "{ledger:?}: {verdict:?}");
        }
    }
}
