//! Warnings about what happens again and again: one line a second for each kind, which says how many it stands for. A
//! flood at a limit must not become a flood of lines.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use steadfast_protocol::time::Time;

/// How often one kind of line may come; in nanoseconds.
const EVERY: u64 = 1_000_000_000;

/// The pace of one kind of line.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the next line may come.
    next: AtomicU64,
    left_out: AtomicU64,
}

impl Pace {
    pub(crate) const fn new() -> Pace {
        Pace { next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Returns whether a line is to be written now, and then how many were left out since the last one. It is counted
    /// among these otherwise.
    pub(crate) fn line(&self, now: Time) -> Option<u64> {
        let (now, next) = (now.since_origin(), self.next.load(Relaxed));
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let comes = now >= next
            && self.next.compare_exchange(next, now.saturating_add(EVERY), Relaxed, Relaxed).is_ok();
        if !comes {
            self.left_out.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_line_a_second_says_how_many_it_stands_for() {
        let pace = Pace::new();
        assert_eq!(pace.line(at(5)), Some(0), "the first comes at once");
        for millis in [5, 300, 1004] {
            assert_eq!(pace.line(at(millis)), None);
        }
        assert_eq!(pace.line(at(1005)), Some(3));
        assert_eq!(pace.line(at(1006)), None);
        assert_eq!(pace.line(at(9000)), Some(1));
        assert_eq!(pace.line(at(20_000)), Some(0));
    }

    #[test]
    fn of_many_threads_one_writes_and_each_is_counted() {
        let pace = Pace::new();
        let lines: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..1000).filter_map(|_| pace.line(at(1))).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("it counts")).collect()
        });
        // Who writes tells of those that lost the race to do so and were counted before it looked.
        let [first] = lines[..] else { panic!("one line: {lines:?}") };
        assert_eq!(pace.line(at(2000)), Some(7999 - first));
    }
}
