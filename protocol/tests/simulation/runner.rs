//! Runs schedules on all processors, and says which have failed and how to see it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::tally::Tally;
use crate::world;

/// After so many failures the rest is not run.
const ENOUGH: usize = 10;

/// Runs the schedules of these seeds.
pub(crate) fn run_all(seeds: Vec<u64>) -> Tally {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = catch_unwind(AssertUnwindSafe(|| world::run(*seed, false)));
            let mut results = results.lock().expect("nobody panics with the lock");
            match result {
                Ok(tally) => results.0 += tally,
                Err(_) => results.1.push(*seed),
            }
            if results.1.len() >= ENOUGH {
                break;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (tally, failed) = results.into_inner().expect("nobody panics with the lock");
    assert!(failed.is_empty(), "{}", how_to_see(&failed));
    tally
}

fn how_to_see(failed: &[u64]) -> String {
    let commands = failed.iter().map(|seed| {
        format!(
            "\n  STEADFAST_SEED={seed} cargo test -p steadfast-protocol --test simulation -- --ignored \
             --nocapture replay"
        )
    });
    format!("{} schedules have failed; to see one:{}", failed.len(), commands.collect::<String>())
}
