//! Schedules of `steadfast.v1`.
mod application;
mod broker;
mod door;
mod faults;
mod framing;
mod ground;
mod network;
mod plan;
mod process;
mod random;
mod story;
mod truth;
mod user;
mod world;

#[test]
fn try_some() {
    let n: u64 = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let seed: Option<u64> = std::env::var("SEED").ok().and_then(|n| n.parse().ok());
    if let Some(seed) = seed {
        world::run(seed, true);
        return;
    }
    let mut sum = world::Tally::default();
    let mut bad = Vec::new();
    for seed in 0..n {
        match std::panic::catch_unwind(|| world::run(seed, false)) {
            Ok(t) => {
                sum.messages += t.messages;
                sum.moments += t.moments;
                sum.sessions += t.sessions;
                sum.services += t.services;
                sum.connections += t.connections;
            }
            Err(_) => bad.push(seed),
        }
    }
    println!("{sum:?} bad {} {bad:?}", bad.len());
    assert!(bad.is_empty());
}
