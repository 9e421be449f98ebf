//! What becomes of answers over time: which backends a name has, and when to ask again.

use std::mem;
use std::time::Duration;

use steadfast_protocol::time::Time;

use super::{FOUND_MAX, FoundBackend, LookupError, NameAnswer};
use crate::config::settings::Dns;

/// The longest wait before a name that gave no answer is asked for again, unless `dns.ttl_min` is
/// longer.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The course of one name.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// What was last found and still counts.
    known: Vec<FoundBackend>,
    /// The next set is told in any case.
    resumed: bool,
    trouble: Option<NameTrouble>,
    /// Look-ups without an answer in a row.
    unanswered: u32,
    /// Since when the DNS says that there is no such name, while its backends are kept.
    vanished: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameTrouble {
    TooMany,
    Failing,
    Vanished,
    Gone,
}

/// What follows from one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FollowStep {
    /// The new whole set of backends, if it has changed.
    pub(crate) set: Option<Vec<FoundBackend>>,
    /// How long to wait before the next look-up.
    pub(crate) next: Duration,
    /// For the log, when the state has changed.
    pub(crate) news: Option<News>,
}

/// A change of a name's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// What is wrong and what it means for the backends.
    Trouble(String),
    /// Nothing is wrong any more.
    Recovered,
}

impl Follower {
    /// One that takes over from another, which has found these. The first set is told also when it is the
    /// same: what else is configured for it may have changed.
    pub(crate) fn resume(known: Vec<FoundBackend>) -> Follower {
        Follower { known, resumed: true, ..Follower::default() }
    }

    /// Takes the result of a look-up that ended `now`.
    pub(crate) fn answered(
        &mut self,
        now: Time,
        result: Result<NameAnswer, LookupError>,
        dns: &Dns,
    ) -> FollowStep {
        match result {
            Ok(answer) => self.found(answer, dns),
            Err(LookupError::Failed(why)) => self.failed(&why, dns),
            Err(LookupError::Vanished(why)) => self.vanished(now, &why, dns),
        }
    }

    fn found(&mut self, answer: NameAnswer, dns: &Dns) -> FollowStep {
        self.unanswered = 0;
        self.vanished = None;
        let next = answer.ttl.max(dns.ttl_min).min(dns.ttl_max);
        let news = if answer.left_out > 0 {
            let all = answer.found.len().saturating_add(answer.left_out);
            self.troubled(NameTrouble::TooMany, || {
                format!("{all} backends are found; only {FOUND_MAX} are used")
            })
        } else {
            self.trouble.take().map(|_| News::Recovered)
        };
        FollowStep { set: self.change(answer.found), next, news }
    }

    /// A failed look-up changes nothing.
    fn failed(&mut self, why: &str, dns: &Dns) -> FollowStep {
        let count = self.known.len();
        let news =
            self.troubled(NameTrouble::Failing, || format!("{why}; its {count} backends stay as they are"));
        FollowStep { set: None, next: self.backoff(dns), news }
    }

    /// The backends are kept until the name has been away for `dns.hold`: who changes a zone may
    /// leave it without the name for a moment.
    fn vanished(&mut self, now: Time, why: &str, dns: &Dns) -> FollowStep {
        let away = now.since(*self.vanished.get_or_insert(now));
        let left = dns.hold.saturating_sub(away);
        if self.known.is_empty() || left.is_zero() {
            let news = self.troubled(NameTrouble::Gone, || format!("{why}; it has no backends"));
            return FollowStep { set: self.change(Vec::new()), next: self.backoff(dns), news };
        }
        let count = self.known.len();
        let news = self
            .troubled(NameTrouble::Vanished, || format!("{why}; its {count} backends are kept for {left:?}"));
        FollowStep { set: None, next: self.backoff(dns).min(left), news }
    }

    fn change(&mut self, set: Vec<FoundBackend>) -> Option<Vec<FoundBackend>> {
        let resumed = mem::take(&mut self.resumed);
        if set == self.known && !resumed {
            return None;
        }
        self.known.clone_from(&set);
        Some(set)
    }

    fn troubled(&mut self, trouble: NameTrouble, text: impl FnOnce() -> String) -> Option<News> {
        let before = self.trouble.replace(trouble);
        (before != Some(trouble)).then(|| News::Trouble(text()))
    }

    fn backoff(&mut self, dns: &Dns) -> Duration {
        let doublings = self.unanswered.min(16);
        self.unanswered = self.unanswered.saturating_add(1);
        dns.ttl_min.saturating_mul(1 << doublings).min(BACKOFF_MAX.max(dns.ttl_min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DNS: Dns =
        Dns { servers: Vec::new(), timeout: secs(5), ttl_min: secs(2), ttl_max: secs(60), hold: secs(10) };

    const fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn at(seconds: u64) -> Time {
        Time::ORIGIN + secs(seconds)
    }

    fn set(ports: &[u16]) -> Vec<FoundBackend> {
        ports.iter().map(|port| FoundBackend::new("chat", ([127, 0, 0, 1], *port).into())).collect()
    }

    fn answer(ports: &[u16], ttl: u64) -> Result<NameAnswer, LookupError> {
        Ok(NameAnswer::new(set(ports), secs(ttl)))
    }

    fn failure() -> Result<NameAnswer, LookupError> {
        Err(LookupError::Failed("no answer".to_owned()))
    }

    fn absence() -> Result<NameAnswer, LookupError> {
        Err(LookupError::Vanished("chat does not exist".to_owned()))
    }

    fn trouble(text: &str) -> Option<News> {
        Some(News::Trouble(text.to_owned()))
    }

    /// One that has found two backends at second 0.
    fn settled() -> Follower {
        let mut follower = Follower::default();
        follower.answered(at(0), answer(&[1, 2], 5), &DNS);
        follower
    }

    #[test]
    fn an_answer_is_the_set_until_its_ttl() {
        let step = Follower::default().answered(at(0), answer(&[1, 2], 5), &DNS);
        assert_eq!(step, FollowStep { set: Some(set(&[1, 2])), next: secs(5), news: None });
    }

    #[test]
    fn the_ttl_is_kept_in_its_bounds() {
        let next = |ttl| Follower::default().answered(at(0), answer(&[1], ttl), &DNS).next;
        assert_eq!((next(0), next(2), next(60), next(86_400)), (secs(2), secs(2), secs(60), secs(60)));
    }

    #[test]
    fn only_a_change_is_told() {
        let mut follower = settled();
        assert_eq!(follower.answered(at(5), answer(&[1, 2], 5), &DNS).set, None);
        assert_eq!(follower.answered(at(10), answer(&[2, 3], 5), &DNS).set, Some(set(&[2, 3])));
    }

    #[test]
    fn another_weight_is_a_change() {
        let weighted = vec![FoundBackend { weight: Some(7), ..set(&[1]).remove(0) }];
        let mut follower = Follower::default();
        follower.answered(at(0), answer(&[1], 5), &DNS);
        let step = follower.answered(at(5), Ok(NameAnswer::new(weighted.clone(), secs(5))), &DNS);
        assert_eq!(step.set, Some(weighted));
    }

    #[test]
    fn failures_change_nothing_and_are_told_once() {
        let mut follower = settled();
        let step = follower.answered(at(5), failure(), &DNS);
        let news = trouble("no answer; its 2 backends stay as they are");
        assert_eq!(step, FollowStep { set: None, next: secs(2), news });
        for hours in 1..50 {
            let step = follower.answered(at(hours * 3600), failure(), &DNS);
            assert_eq!((step.set, step.news), (None, None));
        }
    }

    #[test]
    fn the_wait_after_failures_doubles_up_to_a_bound() {
        let mut follower = settled();
        let waits: Vec<_> = (0..40).map(|_| follower.answered(at(1), failure(), &DNS).next).collect();
        assert_eq!(waits[..6], [2, 4, 8, 16, 30, 30].map(secs));
        assert_eq!(waits.last(), Some(&secs(30)));
    }

    #[test]
    fn the_wait_is_never_shorter_than_the_shortest_ttl() {
        let dns = Dns { ttl_min: secs(100), ttl_max: secs(200), ..DNS };
        let mut follower = settled();
        let waits: Vec<_> = (0..3).map(|_| follower.answered(at(1), failure(), &dns).next).collect();
        assert_eq!(waits, [100, 100, 100].map(secs));
    }

    #[test]
    fn an_answer_ends_the_back_off_and_the_trouble() {
        let mut follower = settled();
        follower.answered(at(1), failure(), &DNS);
        follower.answered(at(3), failure(), &DNS);
        let step = follower.answered(at(7), answer(&[1, 2], 5), &DNS);
        assert_eq!(step, FollowStep { set: None, next: secs(5), news: Some(News::Recovered) });
        assert_eq!(follower.answered(at(12), failure(), &DNS).next, secs(2));
    }

    #[test]
    fn a_vanished_name_is_held_and_then_emptied() {
        let mut follower = settled();
        let step = follower.answered(at(5), absence(), &DNS);
        let news = trouble("chat does not exist; its 2 backends are kept for 10s");
        assert_eq!(step, FollowStep { set: None, next: secs(2), news });
        let step = follower.answered(at(7), absence(), &DNS);
        assert_eq!(step, FollowStep { set: None, next: secs(4), news: None });
        let step = follower.answered(at(11), absence(), &DNS);
        assert_eq!(
            step,
            FollowStep { set: None, next: secs(4), news: None },
            "not later than the hold's end"
        );
        let step = follower.answered(at(15), absence(), &DNS);
        let news = trouble("chat does not exist; it has no backends");
        assert_eq!(step, FollowStep { set: Some(Vec::new()), next: secs(16), news });
        let step = follower.answered(at(31), absence(), &DNS);
        assert_eq!(step, FollowStep { set: None, next: secs(30), news: None });
    }

    #[test]
    fn a_name_that_comes_back_in_time_has_lost_nothing() {
        let mut follower = settled();
        follower.answered(at(5), absence(), &DNS);
        let step = follower.answered(at(14), answer(&[1, 2], 5), &DNS);
        assert_eq!(step, FollowStep { set: None, next: secs(5), news: Some(News::Recovered) });
        assert_eq!(follower.answered(at(19), absence(), &DNS).set, None, "the hold begins anew");
    }

    #[test]
    fn a_failure_in_between_does_not_prolong_the_hold() {
        let mut follower = settled();
        follower.answered(at(5), absence(), &DNS);
        assert_eq!(follower.answered(at(10), failure(), &DNS).set, None);
        assert_eq!(follower.answered(at(20), failure(), &DNS).set, None, "a failure alone empties nothing");
        assert_eq!(follower.answered(at(21), absence(), &DNS).set, Some(Vec::new()));
    }

    #[test]
    fn without_a_hold_it_is_emptied_at_once() {
        let dns = Dns { hold: Duration::ZERO, ..DNS };
        assert_eq!(settled().answered(at(5), absence(), &dns).set, Some(Vec::new()));
    }

    #[test]
    fn a_name_that_never_was_has_no_backends() {
        let step = Follower::default().answered(at(0), absence(), &DNS);
        assert_eq!(step.set, None);
        assert_eq!(step.news, trouble("chat does not exist; it has no backends"));
    }

    #[test]
    fn one_that_takes_over_tells_its_first_set_in_any_case() {
        let mut follower = Follower::resume(set(&[1, 2]));
        assert_eq!(follower.answered(at(0), failure(), &DNS).set, None);
        assert_eq!(follower.answered(at(2), answer(&[1, 2], 5), &DNS).set, Some(set(&[1, 2])));
        assert_eq!(follower.answered(at(7), answer(&[1, 2], 5), &DNS).set, None);
    }

    #[test]
    fn one_that_takes_over_holds_a_vanished_name() {
        let mut follower = Follower::resume(set(&[1, 2]));
        assert_eq!(follower.answered(at(0), absence(), &DNS).set, None);
        assert_eq!(follower.answered(at(10), absence(), &DNS).set, Some(Vec::new()));
    }

    #[test]
    fn too_many_are_cut_and_told() {
        let ports: Vec<u16> = (1..=1030).collect();
        let mut follower = Follower::default();
        let step = follower.answered(at(0), answer(&ports, 5), &DNS);
        assert_eq!(step.set, Some(set(&ports[..1024])));
        assert_eq!(step.news, trouble("1030 backends are found; only 1024 are used"));
        assert_eq!(follower.answered(at(5), answer(&ports, 5), &DNS).news, None);
    }
}
