//! Sessions from end to end, in schedules that a seed decides wholly: the machines of the client, the broker and the
//! service as they are, in virtual time, over connections that come in pieces, are held up, break at any byte and
//! stay half open; with services that die at any step of their work, failovers, moves, fences, attempts to come back
//! that come too late, and sessions that expire. Ends are slow as well: services take their time for a message, read
//! at a steady rate, answer late or block the loop of their host; hosts are stopped, or vanish; clients read slowly.
//! The broker's process ends at any step, and another one restores its sessions from what outlives it.
//! Services link the shim, or are plain applications in ack mode `pong` or `none`.
//!
//! ```text
//!   user (client's end)  <-- network -->  broker (session)  <-- network -->  process (service's end, application)
//!         |                                     |   '- evidence: probes, dials -> hosts -'      |
//!       story                          truth, link, deliveries  <--- what each is held against -'
//!                                      verdict: what the broker does about silence
//!
//!   plan    what a schedule is to be      faults  what goes wrong in it      world  goes through it in time
//!   pace    how fast an end reads
//! ```
//!
//! The bytes of both ends of a connection are written and read by `framing`, and what is true is found by `truth`
//! from the bytes alone. In each schedule it must hold that
//!
//! - each message of the client's is consumed once, whole and in order, or is reported as unknown or unsent;
//! - each output comes to the client once, whole and in order, commits and pushes as the service said them;
//! - the capsule is what has come of exactly the messages that are committed, and so is what the next service gets;
//! - with `pong`, each service gets a run of messages that begins with the first which none has acknowledged, what is
//!   acknowledged was read, and what came to two is counted in doubt; with `none`, no message comes to two, and none
//!   is counted as read that was neither marked by a pong nor given to a service that ended in order;
//! - no more lies unread at a service than the window allows;
//! - a service is left for silence only when its connection is dead, its host has done nothing for long enough, or it
//!   has said nothing for the time of a stall; a host that does nothing is left when there is another; no third
//!   service begins what two fell silent on; where nothing goes wrong, none is left, slow as it may be;
//! - epochs grow, and what is told of progress never falls and is never ahead;
//! - nobody breaks the protocol, keeps more than its bounds, or wants to be woken without end;
//! - when nothing goes wrong any more everything is delivered and acknowledged in bounded time, no session stays on a
//!   dead connection however idle it is, and once the client has said goodbye all its sessions end.
//!
//! `cargo test` runs [`SCHEDULES`] of them and the seeds of `seeds.txt`, which have found something once. (Whoever
//! changes how schedules are drawn makes other ones of them.) Millions, from seed 5 on, and one alone with all that
//! happens in it:
//!
//! ```text
//! STEADFAST_SCHEDULES=5..1000000 cargo test --release -p steadfast-protocol --test simulation -- --ignored many
//! STEADFAST_SEED=5 cargo test -p steadfast-protocol --test simulation -- --ignored --nocapture replay
//! ```

mod acceptor;
mod application;
mod broker;
mod deliveries;
mod faults;
mod framing;
mod ground;
mod hosts;
mod link;
mod network;
mod pace;
mod plan;
mod process;
mod random;
mod runner;
mod story;
mod tally;
mod truth;
mod user;
mod verdict;
mod world;

use std::ops::Range;

use runner::run_all;

/// So many schedules run with each `cargo test`.
const SCHEDULES: u64 = 20_000;

/// Seeds that have found something.
const SEEDS: &str = include_str!("seeds.txt");

fn seeds() -> Vec<u64> {
    let lines = SEEDS.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let seed = |line: &str| line.split(' ').next().and_then(|seed| seed.parse().ok());
    lines
        .map(|line| seed(line).unwrap_or_else(|| panic!("seeds.txt: {line:?} begins with no number")))
        .collect()
}

/// A variable of the environment, if it is set.
fn variable<T>(name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(parse(&value).unwrap_or_else(|| panic!("{name} is {value:?}, which cannot be read")))
}

fn range(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

#[test]
fn schedules() {
    let tally = run_all((0..SCHEDULES).collect());
    assert_eq!(tally.schedules, SCHEDULES);
    tally.assert_that_all_happens();
}

#[test]
fn seeds_that_have_found_something() {
    let seeds = seeds();
    let count = seeds.len() as u64;
    assert_eq!(run_all(seeds).schedules, count);
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..100 {
        assert_eq!(world::run(seed, false), world::run(seed, false), "seed {seed}");
    }
}

#[test]
#[ignore = "as many as one likes"]
fn many() {
    let seeds = variable("STEADFAST_SCHEDULES", range).unwrap_or(0..1_000_000);
    println!("{}", run_all(seeds.collect()));
}

#[test]
#[ignore = "one schedule, told in full"]
fn replay() {
    let seed = variable("STEADFAST_SEED", |text| text.parse().ok()).expect("STEADFAST_SEED is set");
    println!("{}", world::run(seed, true));
}
