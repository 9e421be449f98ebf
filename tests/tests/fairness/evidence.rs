//! What one session makes its backends say is evidence about that session first.

use std::cell::Cell;
use std::collections::HashSet;
use std::net::Ipv4Addr;

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

/// Innocent clients.
const INNOCENTS: u8 = 12;

async fn backends<const N: usize>(flags: &str) -> [Backend; N] {
    let names = ["a", "b", "c", "d"];
    let started = join_all((0..N).map(|n| Backend::start(names[n], flags))).await;
    started.try_into().expect("as many as names")
}

/// Looks for the next backend soon, so that one message meets many of them.
fn hurried(backends: &[Backend]) -> BrokerBuilder {
    let broker = Broker::over(&backends.iter().collect::<Vec<_>>());
    broker.setting("failover", "backoff_min = \"20ms\"\nbackoff_max = \"50ms\"")
}

/// A request of one of several clients.
fn request(broker: &Broker, client: u8) -> Upgrade {
    Upgrade::to(broker.address()).from(Ipv4Addr::new(127, 0, 1, client))
}

async fn innocents(broker: &Broker) -> Vec<Client> {
    join_all((1..=INNOCENTS).map(async |client| request(broker, client).connect().await)).await
}

/// One exchange of each.
async fn all_talk(clients: &mut [Client]) {
    for client in clients {
        client.send("hello").await;
        let answer = client.text().await;
        assert!(answer.ends_with(":hello"), "{answer}");
    }
}

/// The states of the pool's backends.
async fn states(broker: &Broker, backends: &[Backend]) -> Vec<String> {
    let mut states = Vec::new();
    for backend in backends {
        let state = broker.backend(backend.name()).await.expect("listed")["state"].clone();
        states.push(state.as_str().expect("a word").to_owned());
    }
    states
}

/// Has innocents talk, and new ones come, until `done`; none may be refused, nor the pool be empty.
async fn nobody_suffers(broker: &Broker, backends: &[Backend], done: impl AsyncFn() -> bool) {
    let mut innocents = innocents(broker).await;
    eventually_async("the attack to be over", async || {
        all_talk(&mut innocents).await;
        let mut newcomer = request(broker, INNOCENTS + 1).connect().await;
        all_talk(std::slice::from_mut(&mut newcomer)).await;
        newcomer.close(1000, "").await;
        let states = states(broker, backends).await;
        assert!(states.iter().any(|state| state == "up"), "the pool is empty: {states:?}");
        done().await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_answered_with_service_restart_empties_no_pool() {
    let backends = backends::<4>("").await;
    let broker = hurried(&backends).start().await;
    let attack = async {
        let mut attacker = request(&broker, 100).connect().await;
        attacker.send("!close 1012 restart").await;
        assert_eq!(attacker.closed().await, (Some(1012), "restart".to_owned()), "it meets no more of them");
    };
    let judged = async || verdicts(&broker, "session").await >= 2.0;
    tokio::join!(attack, nobody_suffers(&broker, &backends, judged));
    assert_eq!(broker.metric("steadfast_drain_requests_total", &[]).await, 0.0, "it is the session's doing");
}

#[tokio::test]
async fn a_service_that_closes_idle_sessions_stays_in_service() {
    let backends = backends::<2>("").await;
    let broker = hurried(&backends).start().await;
    let mut clients = innocents(&broker).await;
    for backend in &backends {
        let labels = [("backend", backend.name()), ("reason", "going_away")];
        eventually_async("each to look as if it went", async || {
            backend.command("!close 1001 idle").await;
            all_talk(&mut clients).await;
            (broker.metric("steadfast_drain_requests_total", &labels).await >= 1.0).then_some(())
        })
        .await;
    }
    eventually_async("one of them being drained", async || {
        states(&broker, &backends).await.iter().any(|state| state == "draining").then_some(())
    })
    .await;
    for _ in 0..100 {
        request(&broker, 50).connect().await.close(1000, "").await;
        assert!(states(&broker, &backends).await.iter().any(|state| state == "up"));
    }
    // A visitor knows of its end a moment before the broker has counted it.
    broker.wait_sessions(clients.len()).await;
    assert_eq!(broker.ends().await, 100.0, "nobody but the visitors has left");
}

/// So many failures were judged to speak of sessions, or of backends.
async fn verdicts(broker: &Broker, verdict: &str) -> f64 {
    broker.metric("steadfast_failure_verdicts_total", &[("verdict", verdict)]).await
}

/// No backend is out, or tried last, for what the attacker has done.
async fn nothing_is_blamed(broker: &Broker, backends: &[Backend]) {
    assert_eq!(verdicts(broker, "backend").await, 0.0);
    assert_eq!(broker.metric("steadfast_ejections_total", &[]).await, 0.0);
    for backend in backends {
        let own = broker.backend(backend.name()).await.expect("listed");
        assert_eq!((own["state"].as_str(), &own["penalised"]), (Some("up"), &false.into()), "{own}");
    }
}

#[tokio::test]
async fn a_message_that_fails_at_every_backend_takes_none_out() {
    let backends = backends::<4>("").await;
    let broker = hurried(&backends).start().await;
    const WORD: &str = "!close 1011 oops";
    let over = Cell::new(false);
    let attack = async {
        // More than the failures that eject a backend; each meets some of them.
        for _ in 0..8 {
            let mut attacker = request(&broker, 100).connect().await;
            attacker.send(WORD).await;
            assert_eq!(attacker.closed().await, (Some(1011), "oops".to_owned()));
        }
        over.set(true);
    };
    // While nobody is there, nobody speaks for a backend: the innocent stay until all of it is judged.
    let judged = async || {
        // Of a session that meets the same one again the first time is judged.
        let met = |backend: &Backend| {
            let sessions = backend.journal().sessions();
            let met = sessions.iter().filter(|own| own.texts().contains(&WORD.to_owned()));
            met.map(|own| own.session().to_owned()).collect::<HashSet<_>>().len()
        };
        let met: usize = backends.iter().map(met).sum();
        over.get() && verdicts(&broker, "session").await + verdicts(&broker, "backend").await >= met as f64
    };
    tokio::join!(attack, nobody_suffers(&broker, &backends, judged));
    nothing_is_blamed(&broker, &backends).await;
}

#[tokio::test]
async fn a_path_that_fails_at_every_backend_reaches_two_and_takes_none_out() {
    let backends = backends::<4>("--refuse 500 --refuse-path /broken --refuse-body no+database").await;
    let broker = hurried(&backends).start().await;
    let attack = async {
        for _ in 0..20 {
            let answer = request(&broker, 100).path("/broken").refused().await;
            assert_eq!((answer.status, answer.body.as_slice()), (500, b"no database".as_slice()));
        }
    };
    let judged = async || verdicts(&broker, "session").await >= 40.0;
    tokio::join!(attack, nobody_suffers(&broker, &backends, judged));
    nothing_is_blamed(&broker, &backends).await;
    let connections = backends.iter().flat_map(|backend| backend.journal().connections());
    assert_eq!(connections.filter(|own| own.status() == Some(500)).count(), 40, "two for each request");
}

#[tokio::test]
async fn one_user_that_asks_too_often_has_no_backend_tried_last() {
    let backends = backends::<3>("--refuse 429 --refuse-path /limited").await;
    let broker = hurried(&backends).start().await;
    let attack = async {
        for _ in 0..10 {
            assert_eq!(request(&broker, 100).path("/limited").refused().await.status, 429);
        }
    };
    let judged = async || verdicts(&broker, "session").await >= 30.0;
    tokio::join!(attack, nobody_suffers(&broker, &backends, judged));
    nothing_is_blamed(&broker, &backends).await;
}

/// One backend fails whoever uses it: it is out soon, wherever its clients come from, and nobody is lost.
async fn is_taken_out(flags: &str, source: impl Fn(u8) -> u8) {
    let backends = backends::<2>("").await;
    let broker = hurried(&backends).pool_table("[pool.outlier]\nfailures = 3");
    let broker = broker.setting("timeouts", "keepalive = \"50ms\"").start().await;
    let idle = join_all((1..=8).map(async |client| request(&broker, source(client)).connect().await)).await;
    backends[0].set(flags).await;
    let mut clients = Vec::new();
    eventually_async("its ejection", async || {
        let client = u8::try_from(clients.len() % 200).expect("less than 200") + 10;
        let mut client = request(&broker, source(client)).connect().await;
        client.ask("hello", "b:hello").await;
        clients.push(client);
        broker.backend("a").await.filter(|own| own["state"] == "ejected")
    })
    .await;
    assert_eq!(broker.ends().await, 0.0);
    drop(idle);
}

#[tokio::test]
async fn a_backend_that_fails_all_is_out_though_idle_sessions_answer_its_pings() {
    for flags in ["--close-with 1011", "--die-after 1 --die-how eof", "--refuse 500"] {
        is_taken_out(flags, |client| client).await;
    }
}

#[tokio::test]
async fn a_backend_that_fails_all_is_out_when_they_have_one_address() {
    for flags in ["--close-with 1011", "--die-after 1 --die-how eof", "--refuse 500"] {
        is_taken_out(flags, |_| 1).await;
    }
}

/// Without a drain: each says Close 1012 to all, ends, and begins anew.
#[tokio::test]
async fn all_backends_are_restarted_in_turn_and_nobody_is_closed_or_blamed() {
    let backends = backends::<3>("").await;
    let broker = hurried(&backends).setting("drain", "ask_timeout = \"500ms\"").start().await;
    let mut idle = innocents(&broker).await;
    let over = Cell::new(false);
    // Sessions: whose request three backends in turn hang up on is told to come again.
    let talkers = join_all((30..40).map(async |client| request(&broker, client).connect().await)).await;
    let busy = async |mut client: Client| {
        let mut exchanges = 0;
        while !over.get() {
            all_talk(std::slice::from_mut(&mut client)).await;
            exchanges += 1;
        }
        assert!(exchanges > 0);
    };
    let deploy = async {
        for backend in &backends {
            let before = backend.journal().sessions().len();
            backend.command("!close 1012 restart").await;
            backend.restart().await;
            // It gets sessions again, whatever its Closes have let infer.
            let mut clients = Vec::new();
            eventually_async("sessions after its restart", async || {
                clients.push(request(&broker, 60).connect().await);
                (backend.journal().sessions().len() > before).then_some(())
            })
            .await;
        }
        over.set(true);
    };
    tokio::join!(deploy, join_all(talkers.into_iter().map(busy)));
    all_talk(&mut idle).await;
    assert!(broker.ended().await.iter().all(|line| line["cause"] != "backend_close"));
    assert_eq!(broker.metric("steadfast_ejections_total", &[]).await, 0.0);
    let lost = broker.ended().await.into_iter().filter(|line| line["cause"] != "client_gone");
    assert_eq!(lost.count(), 0, "nobody was closed");
}
