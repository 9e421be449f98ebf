//! Innocent sessions talk while everything else goes wrong at random: floods, slow ends, half-open connections, clients
//! that leave, backends that die, stop, and are drained. None of them may notice more than it was promised.
//!
//! What happens follows from a seed, which is printed; `STEADFAST_CHAOS_SEED` repeats it. When it happens does not: that
//! is the system's to say. With `STEADFAST_CHAOS_TLS` plain clients and the echoes speak TLS.

mod attack;
mod chance;
mod crowd;
mod innocent;
mod judge;
mod outage;
mod rest;
mod wires;

use std::time::{Duration, Instant};

use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::service::Service;
use steadfast_tests::upgrade::Upgrade;

use attack::Attackers;
use chance::Chance;
use crowd::Crowd;
use outage::{FLAGS, Host, Pool};
use rest::Rest;
use wires::Wires;

/// What happens in a short run: a minute on two cores.
const STEPS: usize = 120;

/// Seconds of a long run.
const SECONDS: &str = "STEADFAST_CHAOS_SECONDS";
const SECONDS_BY_DEFAULT: u64 = 900;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_innocent_notice_nothing_of_a_minutes_storm() {
    storm(|steps| steps < STEPS, Wires::of_the_environment()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_they_with_tls() {
    storm(|steps| steps < STEPS / 3, Wires::encrypted()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a quarter of an hour, or STEADFAST_CHAOS_SECONDS: ./test long chaos"]
async fn the_innocent_notice_nothing_of_a_long_storm() {
    let seconds = std::env::var(SECONDS).map_or(SECONDS_BY_DEFAULT, |text| {
        text.parse().unwrap_or_else(|_| panic!("{SECONDS} is a number, and not {text:?}"))
    });
    let end = Instant::now() + Duration::from_secs(seconds);
    storm(|_| Instant::now() < end, Wires::of_the_environment()).await;
}

/// For as long as `goes_on` holds of the number of steps.
async fn storm(goes_on: impl Fn(usize) -> bool, wires: Wires) {
    let seed = chance::seed();
    println!("To repeat it: {}", chance::again(seed));
    raise_descriptor_limit(4096);
    let mut chance = Chance::of(seed);
    let [mut echo, mut counter] = pools(&wires).await;
    let broker = broker(&echo, &counter, &wires).await;
    let before = Rest::of(&broker).await;
    let crowd = Crowd::gather(&broker, &wires).await;
    let mut attackers = Attackers::on(&broker);
    let (begun, mut steps) = (Instant::now(), 0);
    while goes_on(steps) {
        steps += 1;
        let what = match chance.below(10) {
            0..=2 => echo.change(&broker, &mut chance).await,
            3 | 4 => counter.change(&broker, &mut chance).await,
            5 => crowd.cut_one(&mut chance),
            _ => attackers.begin_one(&mut chance).await,
        };
        println!("{:>7.1} s, step {steps}: {what}", begun.elapsed().as_secs_f64());
        crowd.goes_on().await;
        newcomers(&broker, &wires).await;
    }
    for pool in [&mut echo, &mut counter] {
        pool.mend(&broker).await;
    }
    attackers.end().await;
    crowd.goes_on().await;
    let seen = crowd.hush(&broker).await;
    let after = before.comes_back(&broker).await;
    the_accounts_agree(&broker).await;
    let [p50, p99, max] = [50, 99, 100].map(|percent| seen.percentile(percent).as_secs_f64() * 1e3);
    let replayed = broker.metric("steadfast_messages_replayed_total", &[]).await;
    println!(
        "{} messages in {} changes of a backend, {replayed} replayed, {} answered again; round trips: \
         p50 {p50:.1} ms, p99 {p99:.1} ms, longest {max:.0} ms; {} MiB before, {} MiB after",
        seen.messages,
        seen.changes,
        seen.repeated,
        before.resident >> 20,
        after.resident >> 20,
    );
    assert!(seen.changes > 0, "something has happened to the innocent");
}

async fn pools(wires: &Wires) -> [Pool; 2] {
    let (mut echoes, mut counters) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        echoes.push(Host::Echo(wires.echo(name, FLAGS).await));
    }
    for name in ["x", "y"] {
        counters.push(Host::Counter(Box::new(Service::start(name, "counter").await)));
    }
    [Pool::new("echo", echoes), Pool::new("counter", counters)]
}

async fn broker(echo: &Pool, counter: &Pool, wires: &Wires) -> Broker {
    // Silence is noticed, and sessions are moved and forgotten, within the time of a test.
    let pool = "ack_timeout = \"1s\"\nresume_window = \"5s\"";
    let builder = BrokerBuilder::default().pool("echo", &[]).pool_setting(pool);
    let builder = wires.configured(builder);
    let builder = echo.tables().fold(builder, |builder, table| builder.pool_table(&table));
    let builder = builder.pool("counter", &[]).pool_setting(pool).pool_setting("ack = \"shim\"");
    let builder = counter.tables().fold(builder, |builder, table| builder.pool_table(&table));
    let drain = "quiet = \"30ms\"\nquiet_max = \"100ms\"\npatience = \"200ms\"\nhold = \"300ms\"";
    let limits = "max_handshakes = 64\nmessage = \"2MiB\"\nring = \"4MiB\"\nbuffers = \"16MiB\"";
    builder
        .setting("drain", drain)
        .setting("limits", limits)
        .setting("timeouts", "upgrade = \"1s\"\nhandshake = \"2s\"")
        .start()
        .await
}

/// Whoever comes now is served, at both pools.
async fn newcomers(broker: &Broker, wires: &Wires) {
    for (request, answers) in [(wires.upgrade(broker), ":hello"), (Upgrade::to(broker.address_of(1)), "1")] {
        let mut client = request.from([127, 0, 3, 1]).connect().await;
        client.send("hello").await;
        let answer = client.text().await;
        assert!(answer.ends_with(answers), "{answer}");
        assert_eq!(client.close(1000, "").await.0, Some(1000));
    }
}

/// Nothing is left over in the sums: all that was taken over was acknowledged or counted as lost.
async fn the_accounts_agree(broker: &Broker) {
    let upstream = [("direction", "upstream")];
    let forwarded = broker.metric("steadfast_messages_forwarded_total", &upstream).await;
    let acknowledged = broker.metric("steadfast_messages_acknowledged_total", &[]).await;
    let lost = broker.metric("steadfast_messages_lost_total", &upstream).await;
    assert_eq!(forwarded, acknowledged + lost, "{acknowledged} acknowledged, {lost} lost");
    let begun = broker.metric("steadfast_sessions_total", &[]).await;
    assert_eq!(begun, broker.ends().await, "sessions begun, and ended");
}
