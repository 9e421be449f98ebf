//! Random schedules: whatever is said, cut, delayed and killed in whatever order, the guarantees
//! hold.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::rig::{ms, secs};
use super::wire::{CLOSE, close_payload, masked};
use super::world::{Op, Rude, World, calm, numbers, polite, rude, shim_op};
use crate::session::{AckMode, ClientKind, Config, EndCause, Status};
use crate::time::Time;

/// Each backend gets a run without gaps, and no run begins behind a message that none has got.
fn assert_in_order(arrivals: &[Vec<usize>]) {
    let mut first_missing = 0;
    for run in arrivals {
        assert!(run.windows(2).all(|pair| pair[1] == pair[0] + 1), "{arrivals:?}");
        let Some((first, last)) = run.first().zip(run.last()) else { continue };
        assert!(*first <= first_missing, "{first_missing} was never delivered: {arrivals:?}");
        first_missing = first_missing.max(last + 1);
    }
}

fn assert_increasing(numbers: &[usize]) {
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "twice, or out of order: {numbers:?}");
}

/// Nothing but backends can end the session.
fn patient(config: &mut Config) {
    (config.deadline, config.client_stall, config.message_timeout) =
        (secs(1 << 30), secs(1 << 30), secs(1 << 30));
    config.longest = secs(1 << 30);
    (config.ack_timeout, config.poison_deaths) = (secs(1 << 20), u32::MAX);
}

/// What goes on in a world, its session's next look apart.
fn seen(world: &mut World) -> (String, Vec<String>, Vec<Vec<String>>) {
    let mut session = format!("{:?}", world.rig.session);
    for field in [", due: ", ", next_deadline: ", ", at_length: "] {
        let from = session.find(field).expect("a session has it");
        let len = session[from + 2..].find([',', '}']).expect("something follows") + 2;
        session.replace_range(from..from + len, "");
    }
    let links = world.rig.links.iter_mut().map(|link| link.reader.drain()).collect();
    (session, world.rig.downstream(), links)
}

#[test]
fn the_short_way_comes_to_the_same() {
    let wild = prop::collection::vec(prop_oneof![30 => polite(), 4 => shim_op(), 1 => rude()], 0..60);
    let calm = prop::collection::vec(prop_oneof![6 => calm(), 1 => shim_op()], 1..40);
    let ops = (calm, wild).prop_map(|(calm, wild)| [calm, wild].concat());
    let times = prop::sample::select(vec![(0, 0), (25, 0), (25, 200)]);
    // Who speaks what, and how often the short way was taken there.
    let clients = [ClientKind::Plain, ClientKind::Returning, World::links_shim()];
    let kinds: Vec<_> = [AckMode::Pong, AckMode::Shim]
        .into_iter()
        .flat_map(|ack| clients.iter().map(move |client| (ack, client.clone())))
        .collect();
    let taken: Vec<_> = kinds.iter().map(|_| Cell::new(0)).collect();
    let compare = |(ops, (keepalive, hold), fit, kind): (Vec<Op>, (u64, u64), bool, usize)| {
        let (ack, client) = &kinds[kind];
        let change = |config: &mut Config| {
            (config.ack, config.keepalive, config.ack_hold) = (*ack, secs(keepalive), ms(hold));
        };
        let [mut short, mut long] = [(), ()].map(|()| World::with(client.clone(), change));
        long.rig.session.at_length = true;
        for op in ops {
            for world in [&mut short, &mut long] {
                if fit && world.rig.session.status() == Status::Relaying {
                    world.rig.session.set_fit();
                }
                world.apply(op.clone());
            }
            assert!(!long.rig.session.only_relays());
            taken[kind].set(taken[kind].get() + usize::from(short.rig.session.only_relays()));
            prop_assert_eq!(seen(&mut short), seen(&mut long), "after {:?}", op);
            let [early, late] =
                [&mut short, &mut long].map(|world| world.rig.session.poll_timeout().unwrap_or(Time::NEVER));
            prop_assert!(early <= late, "{early:?} instead of {late:?} after {op:?}");
        }
        Ok(())
    };
    let mut runner = TestRunner::default();
    runner.run(&(ops, times, prop::bool::weighted(0.8), 0..kinds.len()), compare).expect("no difference");
    for (kind, taken) in kinds.iter().zip(taken) {
        assert!(taken.get() > 200, "the short way was taken {} times by {kind:?}", taken.get());
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_when_a_backend_finally_stays(
        ops in prop::collection::vec(polite(), 1..80),
        hold in prop::sample::select(vec![0, 200]),
    ) {
        let mut world = World::new(|config| {
            patient(config);
            config.ack_hold = ms(hold);
        });
        ops.into_iter().for_each(|op| world.apply(op));
        world.calm_down();
        world.rig.wait(secs(60));
        let arrivals = world.arrivals();
        assert_in_order(&arrivals);
        let delivered = arrivals.iter().filter_map(|run| run.last()).max().map_or(0, |last| last + 1);
        prop_assert_eq!(delivered, world.said);
        let downstream = world.rig.downstream();
        prop_assert!(downstream.iter().all(|frame| !frame.starts_with("<close")));
        assert_increasing(&numbers(&downstream, "down "));
        assert_increasing(&numbers(&downstream, "next "));
        prop_assert_eq!(world.rig.session.buffered(), 0);
        let ledger = world.rig.session.ledger();
        prop_assert_eq!((ledger.upstream.forwarded, ledger.upstream.acknowledged, ledger.upstream.lost), (world.said as u64, world.said as u64, 0));
        prop_assert_eq!((ledger.downstream.acknowledged, ledger.downstream.lost), (ledger.downstream.forwarded, 0));
    }

    #[test]
    fn a_client_that_closes_is_delivered_wherever_that_may_be(
        before in prop::collection::vec(polite(), 1..60),
        after in prop::collection::vec(polite(), 0..30),
        hold in prop::sample::select(vec![0, 200]),
    ) {
        let mut world = World::new(|config| {
            patient(config);
            config.ack_hold = ms(hold);
        });
        before.into_iter().for_each(|op| world.apply(op));
        world.client_stream.extend(masked(true, CLOSE, &close_payload(1000, "")));
        let said = world.said;
        for op in after {
            if !matches!(op, Op::Say { .. } | Op::ClientPing) {
                world.apply(op);
            }
        }
        world.calm_down();
        world.rig.wait(secs(10));
        let ledger = world.rig.session.ledger().upstream;
        prop_assert_eq!((ledger.forwarded, ledger.acknowledged, ledger.lost), (said as u64, said as u64, 0));
        let closes = world.rig.downstream().iter().filter(|frame| frame.starts_with("<close")).count();
        prop_assert_eq!(closes, 1);
        prop_assert_eq!(world.rig.session.ended().map(|end| end.cause), Some(EndCause::ClientClose));
        let arrivals = world.arrivals();
        assert_in_order(&arrivals);
        prop_assert_eq!(arrivals.iter().filter_map(|run| run.last()).max().map_or(0, |last| last + 1), said);
    }

    #[test]
    fn every_session_ends_and_counts_what_it_lost(
        ops in prop::collection::vec(prop_oneof![20 => polite(), 1 => rude()], 1..120),
        none in any::<bool>(),
        failover in prop::bool::weighted(0.9),
        keepalive in prop::sample::select(vec![0, 25]),
        hold in prop::sample::select(vec![0, 200]),
        (anew, room, ahead) in (prop::bool::weighted(0.2), any::<bool>(), any::<bool>()),
    ) {
        let change = |config: &mut Config| {
            config.dial_ahead = ahead;
            config.ack = if none { AckMode::None } else { AckMode::Pong };
            (config.failover, config.keepalive, config.ack_hold) = (failover, secs(keepalive), ms(hold));
        };
        let mut world = World::open(change, anew);
        world.rig.room = Some(room);
        ops.into_iter().for_each(|op| world.apply(op));
        world.rude(Rude::ClientGone);
        // The deadline, an unanswered Close, and what was dialled in between.
        for _ in 0..300 {
            world.wait(1000);
            world.dial(true);
        }
        prop_assert!(world.rig.session.ended().is_some(), "{:?}", world.rig.session);
        prop_assert_eq!(world.rig.session.buffered(), 0);
        prop_assert_eq!(world.rig.session.poll_timeout(), None);
        let ledger = world.rig.session.ledger();
        prop_assert_eq!(ledger.upstream.acknowledged + ledger.upstream.lost, ledger.upstream.forwarded);
        prop_assert_eq!(ledger.downstream.acknowledged + ledger.downstream.lost, ledger.downstream.forwarded);
        if !world.nonsense {
            let downstream = world.rig.downstream();
            assert_increasing(&numbers(&downstream, "down "));
            assert_increasing(&numbers(&downstream, "next "));
            let arrivals = world.arrivals();
            if !none {
                assert_in_order(&arrivals);
            }
        }
    }
}
