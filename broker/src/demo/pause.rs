//! How long sessions paused when their backend was struck. Pure.

use std::fmt;
use std::time::Duration;

use super::transcript::Transcript;

/// Messages sent this long after a strike, or after the end of one that takes a while, may show its pause. A client sends at least one in this time,
/// and the next strike on its pool is further away.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// One blow to backends of one pool.
#[derive(Debug, Clone)]
pub(super) struct Strike {
    /// What it was.
    pub(super) kind: StrikeKind,
    /// The pool, by its position in [`super::cast::POOLS`].
    pub(super) pool: usize,
    /// The names of the backends that were struck.
    pub(super) backends: Vec<String>,
    /// When, since the crowd began to talk.
    pub(super) at: Duration,
    /// Messages sent until then may show its pause.
    pub(super) until: Duration,
}

impl Strike {
    /// Whether a session's newest answer, when the strike came, was from a struck backend.
    pub(super) fn hits(&self, session: &Transcript) -> bool {
        let service = session.service_at(self.at);
        service.is_some_and(|service| self.backends.iter().any(|backend| backend == service))
    }
}

/// What can happen to backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StrikeKind {
    /// One was drained: it runs, and its sessions leave it.
    Drained,
    /// One was killed.
    Killed,
    /// One was stopped: its sockets stay open and nothing comes.
    Stopped,
    /// All of the pool were killed, and came back a second later.
    AllKilled,
}

impl StrikeKind {
    /// Every kind, in the order in which they are shown.
    pub(super) const ALL: [Self; 4] = [Self::Drained, Self::Killed, Self::Stopped, Self::AllKilled];

    /// What it is called in the verdict.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Drained => "backend drained",
            Self::Killed => "backend killed",
            Self::Stopped => "backend stopped",
            Self::AllKilled => "all backends down",
        }
    }
}

/// The pauses of many sessions, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pauses(Vec<Duration>);

impl Pauses {
    /// The pause of each struck session: of those whose newest answer, when the strike came, was from a
    /// struck backend. A pause is the longest time from sending a message to its first answer, among the
    /// messages that were open when the strike came or sent in its time.
    pub(super) fn of<'a>(strike: &Strike, sessions: impl Iterator<Item = &'a Transcript>) -> Self {
        let struck = sessions.filter(|session| strike.hits(session));
        struck.filter_map(|session| session.pause(strike.at, strike.until)).collect()
    }

    /// The pause that this share of the sessions did not exceed: nearest rank.
    fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied()
    }
}

impl FromIterator<Duration> for Pauses {
    fn from_iter<I: IntoIterator<Item = Duration>>(pauses: I) -> Self {
        let mut pauses: Vec<_> = pauses.into_iter().collect();
        pauses.sort_unstable();
        Self(pauses)
    }
}

impl IntoIterator for Pauses {
    type Item = Duration;
    type IntoIter = std::vec::IntoIter<Duration>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Milliseconds, as `p50/p99/max`, or a dash when there was no pause.
impl fmt::Display for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.quantile(share).map(|pause| (pause.as_secs_f64() * 1e3).round());
        match (ms(0.5), ms(0.99), ms(1.0)) {
            (Some(p50), Some(p99), Some(max)) => f.pad(&format!("{p50}/{p99}/{max}")),
            _ => f.pad("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn quantiles_are_pauses_that_were_measured() {
        let pauses: Pauses = (1..=200).rev().map(ms).collect();
        assert_eq!(pauses.to_string(), "100/198/200");
        assert_eq!([ms(7)].into_iter().collect::<Pauses>().to_string(), "7/7/7");
        assert_eq!(format!("{:>5}", Pauses::default()), "    -");
    }

    #[test]
    fn only_struck_sessions_count() {
        let session = |client: &str, backend: &str, answered: u64| {
            let mut transcript = Transcript::new(client.to_owned());
            let message = transcript.send(ms(0));
            transcript.receive(&format!("{backend}: {message}"), ms(1));
            let message = transcript.send(ms(100));
            transcript.receive(&format!("other: {message}"), ms(answered));
            transcript
        };
        let sessions = [session("a", "struck", 150), session("b", "other", 900), session("c", "struck", 130)];
        let backends = vec!["struck".to_owned()];
        let strike = Strike { kind: StrikeKind::Killed, pool: 0, backends, at: ms(120), until: ms(1120) };
        assert_eq!(Pauses::of(&strike, sessions.iter()).to_string(), "30/50/50");
    }
}
