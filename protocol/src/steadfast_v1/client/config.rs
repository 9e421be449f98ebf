//! What a client is told once: its patience, and how much it keeps.

use std::time::Duration;

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct Config {
    /// The application's subprotocols, the most wanted first.
    pub protocols: Vec<String>,
    /// Bytes of messages that the broker does not have yet, from which on no more are taken. The message
    /// that fills it may go beyond.
    pub buffer: usize,
    /// The longest message that is taken, in bytes; less than the broker's `limits.message`, which
    /// counts one byte more.
    pub message_limit: usize,
    /// How long a connection may take to be there, and again to be welcomed.
    pub connect_timeout: Duration,
    /// The shortest wait before a second attempt; the first one waits a random part of it.
    pub backoff_min: Duration,
    /// The longest.
    pub backoff_max: Duration,
    /// How long a connection must last until attempts are counted anew.
    pub stable: Duration,
    /// Without a connection for so long, the client gives up; `Duration::MAX`: never.
    pub give_up: Duration,
    /// How long messages may wait for their acknowledgement.
    pub ack_delay: Duration,
    /// Silence after which the broker is asked for a sign of life.
    pub silence: Duration,
    /// How long it may take to give one. Then the connection is given up.
    pub answer: Duration,
    /// How long a goodbye may take, with all that is still to be delivered before it.
    pub close_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            protocols: Vec::new(),
            buffer: 4 * 1024 * 1024,
            message_limit: 16 * 1024 * 1024 - 1,
            connect_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(15),
            stable: Duration::from_secs(10),
            give_up: Duration::MAX,
            ack_delay: Duration::from_millis(100),
            silence: Duration::from_secs(20),
            answer: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// When the next attempt is due after `attempts` of them: a random part of the shortest wait at
    /// first, so that the clients of one broker do not all come back at once; then twice as long each
    /// time, with half of it random.
    pub(super) fn backoff(&self, attempts: u32, random: u64) -> Duration {
        let most = match attempts {
            0 => self.backoff_min,
            n => self.backoff_min.saturating_mul(1 << (n - 1).min(16)).min(self.backoff_max),
        };
        let least = if attempts == 0 { Duration::ZERO } else { most / 2 };
        let spread = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(random % spread.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);

    fn config() -> Config {
        Config { backoff_min: MIN, backoff_max: Duration::from_millis(350), ..Config::default() }
    }

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let most: Vec<_> = (0..5)
            .map(|attempts| {
                let spread = if attempts == 0 { MIN } else { config().backoff(attempts, 0) };
                config().backoff(attempts, u64::try_from(spread.as_micros()).expect("small"))
            })
            .collect();
        assert_eq!(most, [100, 100, 200, 350, 350].map(Duration::from_millis));
    }

    #[test]
    fn half_of_it_is_random_and_all_of_the_first() {
        assert_eq!(config().backoff(0, 0), Duration::ZERO);
        assert_eq!(config().backoff(2, 0), Duration::from_millis(100));
        assert_eq!(config().backoff(u32::MAX, 0), Duration::from_millis(175));
    }

    #[test]
    fn no_setting_overflows() {
        let endless = Config { backoff_min: Duration::MAX, backoff_max: Duration::MAX, ..Config::default() };
        assert!(endless.backoff(0, u64::MAX - 1) > MIN);
        assert!(endless.backoff(9, u64::MAX - 1) > MIN);
    }
}
