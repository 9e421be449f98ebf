//! What one client of the crowd sent and got. Pure: times are arguments, counted from the start of
//! the demo.

use std::time::Duration;

/// A client's messages, their answers, and all that was wrong with them.
#[derive(Debug, Clone)]
pub(super) struct Transcript {
    client: String,
    exchanges: Vec<Exchange>,
    newest_answered: usize,
    answered: usize,
    /// When answers beyond the first came, of all messages.
    repeats: Vec<Duration>,
    reordered: usize,
    altered: usize,
    services: Vec<(Duration, String)>,
    closed: Option<String>,
}

/// One message and its first answer.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    sent: Duration,
    answered: Option<Duration>,
}

impl Transcript {
    /// An empty transcript for the client of this name, which must not contain spaces.
    pub(super) fn new(client: String) -> Self {
        Self {
            client,
            exchanges: Vec::new(),
            newest_answered: 0,
            answered: 0,
            repeats: Vec::new(),
            reordered: 0,
            altered: 0,
            services: Vec::new(),
            closed: None,
        }
    }

    /// The next message to send, taken down as sent at `now`.
    pub(super) fn send(&mut self, now: Duration) -> String {
        self.exchanges.push(Exchange { sent: now, answered: None });
        message(&self.client, self.exchanges.len())
    }

    /// Takes down an answer: the backend's name, a colon, a space, and the message as it was sent.
    pub(super) fn receive(&mut self, answer: &str, now: Duration) {
        match self.recognise(answer) {
            Some((backend, seq)) => {
                self.note_service(backend, now);
                self.note_answer(seq, now);
            }
            None => self.altered += 1,
        }
    }

    /// Takes down that the connection ended before the client wanted it to.
    pub(super) fn close(&mut self, cause: String) {
        self.closed.get_or_insert(cause);
    }

    /// The backend and the seq, when the answer is to a message that was sent, letter for letter.
    fn recognise<'a>(&self, answer: &'a str) -> Option<(&'a str, usize)> {
        let (backend, echo) = answer.split_once(": ")?;
        let seq: usize = echo.split(' ').nth(1)?.parse().ok()?;
        let sent = (1..=self.exchanges.len()).contains(&seq);
        (sent && echo == message(&self.client, seq)).then_some((backend, seq))
    }

    fn note_service(&mut self, backend: &str, now: Duration) {
        if self.services.last().is_none_or(|(_, last)| last != backend) {
            self.services.push((now, backend.to_owned()));
        }
    }

    fn note_answer(&mut self, seq: usize, now: Duration) {
        let exchange = &mut self.exchanges[seq - 1];
        if exchange.answered.is_some() {
            self.repeats.push(now);
            return;
        }
        exchange.answered = Some(now);
        self.answered += 1;
        if seq < self.newest_answered {
            self.reordered += 1;
        }
        self.newest_answered = self.newest_answered.max(seq);
    }

    /// The client's name.
    pub(super) fn client(&self) -> &str {
        &self.client
    }

    /// Messages sent.
    pub(super) fn sent(&self) -> usize {
        self.exchanges.len()
    }

    /// Messages that got at least one answer.
    pub(super) fn answered(&self) -> usize {
        self.answered
    }

    /// Messages that got none.
    pub(super) fn unanswered(&self) -> usize {
        self.sent() - self.answered
    }

    /// Messages that were sent before that time and got none, ever.
    pub(super) fn unanswered_until(&self, until: Duration) -> usize {
        let end = self.exchanges.partition_point(|exchange| exchange.sent < until);
        self.exchanges[..end].iter().filter(|exchange| exchange.answered.is_none()).count()
    }

    /// The seq of the first message that got none.
    pub(super) fn first_unanswered(&self) -> Option<usize> {
        self.exchanges.iter().position(|exchange| exchange.answered.is_none()).map(|index| index + 1)
    }

    /// Answers beyond the first of each message.
    pub(super) fn twice(&self) -> usize {
        self.repeats.len()
    }

    /// Those of them that came before that time.
    pub(super) fn twice_until(&self, until: Duration) -> usize {
        self.repeats.partition_point(|at| *at < until)
    }

    /// First answers that came after the first answer of a later message.
    pub(super) fn reordered(&self) -> usize {
        self.reordered
    }

    /// Answers that repeat no message of this client exactly.
    pub(super) fn altered(&self) -> usize {
        self.altered
    }

    /// Why the connection ended early, if it did.
    pub(super) fn closed(&self) -> Option<&str> {
        self.closed.as_deref()
    }

    /// The backend that had given the newest answer at that time.
    pub(super) fn service_at(&self, at: Duration) -> Option<&str> {
        let known = self.services.partition_point(|(since, _)| *since <= at);
        self.services[..known].last().map(|(_, backend)| backend.as_str())
    }

    /// The longest time from sending a message to its first answer, among the answered messages that
    /// were open at `from` or sent between `from` and `until`.
    pub(super) fn pause(&self, from: Duration, until: Duration) -> Option<Duration> {
        let end = self.exchanges.partition_point(|exchange| exchange.sent < until);
        self.exchanges[..end]
            .iter()
            .filter_map(|exchange| exchange.answered.map(|answered| (exchange.sent, answered)))
            .filter(|(_, answered)| *answered > from)
            .map(|(sent, answered)| answered.saturating_sub(sent))
            .max()
    }
}

/// A message tells who sends it and which it is; the letters behind vary its length and content.
fn message(client: &str, seq: usize) -> String {
    let letters = (0..seq * 31 % 150).map(|index| char::from(b'a' + ((seq + index) % 26) as u8));
    format!("{client} {seq} {}", letters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A client that has sent `count` messages, one each 100 ms.
    fn client(count: u64) -> Transcript {
        let mut transcript = Transcript::new("immediate-007".into());
        for index in 0..count {
            transcript.send(at(index * 100));
        }
        transcript
    }

    fn answer(backend: &str, seq: usize) -> String {
        format!("{backend}: {}", message("immediate-007", seq))
    }

    #[test]
    fn counts_first_answers_and_those_beyond() {
        let mut transcript = client(3);
        for (seq, ms) in [(1, 10), (2, 120), (2, 300)] {
            transcript.receive(&answer("one", seq), at(ms));
        }
        assert_eq!((transcript.sent(), transcript.answered(), transcript.twice()), (3, 2, 1));
        assert_eq!((transcript.unanswered(), transcript.first_unanswered()), (1, Some(3)));
        assert_eq!((transcript.reordered(), transcript.altered()), (0, 0));
        assert_eq!([200, 201].map(|until| transcript.unanswered_until(at(until))), [0, 1]);
        assert_eq!([300, 301].map(|until| transcript.twice_until(at(until))), [0, 1]);
    }

    #[test]
    fn order_is_judged_on_first_answers() {
        let mut transcript = client(4);
        for seq in [1, 3, 1, 2, 4] {
            transcript.receive(&answer("one", seq), at(400));
        }
        assert_eq!((transcript.reordered(), transcript.twice()), (1, 1));
    }

    #[test]
    fn an_answer_must_repeat_a_message_that_was_sent() {
        let mut transcript = client(2);
        let cut = answer("one", 2).trim_end_matches(char::is_alphanumeric).to_owned();
        let strangers = ["", "one", "one: immediate-007", "one: immediate-007 two "];
        for wrong in
            strangers.into_iter().chain([answer("one", 0), answer("one", 3), cut].iter().map(|s| &**s))
        {
            transcript.receive(wrong, at(200));
        }
        let other = format!("one: {}", message("immediate-008", 1));
        transcript.receive(&other, at(200));
        assert_eq!((transcript.altered(), transcript.answered()), (8, 0));
    }

    #[test]
    fn every_message_differs_from_its_neighbours() {
        for seq in 1..500 {
            assert_ne!(message("a", seq), message("a", seq + 1));
            assert!(message("a", seq).len() < 200);
        }
    }

    #[test]
    fn knows_which_backend_answered_last() {
        let mut transcript = client(3);
        for (backend, seq, ms) in [("one", 1, 50), ("one", 2, 150), ("two", 3, 400)] {
            transcript.receive(&answer(backend, seq), at(ms));
        }
        let seen = [at(49), at(50), at(399), at(400)].map(|time| transcript.service_at(time));
        assert_eq!(seen, [None, Some("one"), Some("one"), Some("two")]);
    }

    #[test]
    fn a_pause_is_the_longest_answer_around_the_event() {
        let mut transcript = client(5);
        for (seq, ms) in [(1, 90), (2, 105), (3, 260), (4, 301)] {
            transcript.receive(&answer("one", seq), at(ms));
        }
        assert_eq!(transcript.pause(at(0), at(1000)), Some(at(90)), "the first message");
        assert_eq!(transcript.pause(at(95), at(1000)), Some(at(60)), "the third, without the first");
        assert_eq!(transcript.pause(at(95), at(200)), Some(at(5)), "the third is sent too late");
        assert_eq!(transcript.pause(at(301), at(1000)), None, "nothing was answered after it");
    }

    #[test]
    fn the_first_cause_of_an_end_stays() {
        let mut transcript = client(1);
        assert_eq!(transcript.closed(), None);
        transcript.close("Close 1012".into());
        transcript.close("end of stream".into());
        assert_eq!(transcript.closed(), Some("Close 1012"));
    }
}
