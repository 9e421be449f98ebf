use std::sync::Arc;

use steadfast_protocol::session::Opening;

use super::Direction::{Downstream, Upstream};
use super::*;
use crate::config::{Overrides, parse};
use crate::tls::TlsSetup;
use crate::upstream::pool::Pool;

const SHARE: usize = 16 * 1024;

fn at(millis: u64) -> Time {
    Time::after_origin(Duration::from_millis(millis))
}

/// 1 MB of which a quarter is kept aside.
fn budget() -> Budget {
    Budget::new(1_000_000, 250_000, 2)
}

fn room(budget: &Budget, share: &mut MemoryShare, direction: Direction, held: usize, needs: bool) -> usize {
    budget.room_when_short(share, direction, (held, needs, at(0)))
}

#[test]
fn shares_of_all_are_half_of_the_buffers_and_no_more_than_16_kib() {
    assert_eq!(share_of(128 << 20, 1000), 16 << 10);
    assert_eq!(share_of(128 << 20, 8192), 8 << 10);
    assert_eq!(share_of(128 << 20, 0), 16 << 10);
    assert_eq!(share_of(usize::MAX, usize::MAX), 1);
}

#[test]
fn within_its_share_a_session_is_read_both_ways_however_short_memory_is() {
    let budget = budget();
    let (mut hog, mut one) = (budget.begin(), budget.begin());
    budget.count(&mut hog, 2_000_000);
    assert!(budget.is_used_up() && budget.short().is_some());
    for direction in [Upstream, Downstream] {
        assert_eq!(room(&budget, &mut one, direction, 0, false), SHARE / 2);
        assert_eq!(room(&budget, &mut one, direction, SHARE / 2 - 1, false), 1);
        assert_eq!(room(&budget, &mut one, direction, SHARE / 2, false), 0);
    }
    assert!(one.waits() && !one.is_in_need());
    budget.give_back(&mut hog);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, false), usize::MAX);
}

#[test]
fn what_is_kept_aside_goes_to_one_in_need_at_a_time_and_not_beyond_the_limit() {
    let budget = budget();
    let (mut hog, mut one, mut two) = (budget.begin(), budget.begin(), budget.begin());
    budget.count(&mut hog, 800_000);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, false), 0, "it is in no need");
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), PIECE);
    assert_eq!(room(&budget, &mut two, Downstream, SHARE, true), 0, "one is first");
    assert!(two.is_in_need() && budget.in_need_since().is_some());
    let left = budget.hard - budget.used();
    budget.count(&mut one, SHARE + left - 10);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), 10);
    budget.count(&mut one, SHARE + left);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), 0, "not even the first may pass the limit");
    assert!(one.waits());
    budget.give_back(&mut one);
    assert_eq!(room(&budget, &mut two, Downstream, SHARE, true), PIECE, "the next in line");
    budget.give_back(&mut two);
    budget.give_back(&mut hog);
    assert_eq!((budget.used(), budget.in_need_since()), (0, None));
}

#[test]
fn who_holds_little_does_not_wait_for_those_that_hold_much() {
    let budget = Budget::new(1_000_000, 200_000, 2);
    let (mut hog, mut much, mut little) = (budget.begin(), budget.begin(), budget.begin());
    assert_eq!((budget.soft, budget.express), (800_000, 50_000));
    budget.count(&mut hog, 850_000 - 2 * SHARE);
    assert_eq!(room(&budget, &mut much, Upstream, 500_000, true), PIECE);
    assert_eq!(room(&budget, &mut little, Upstream, 20_000, true), PIECE);
    budget.count(&mut hog, 960_000 - 2 * SHARE);
    assert_eq!(room(&budget, &mut much, Upstream, 500_000, true), 0, "the rest is not for it");
    assert_eq!(room(&budget, &mut little, Upstream, 20_000, true), 40_000);
    assert_eq!(room(&budget, &mut little, Upstream, 30_000, true), 0, "it holds much by now");
    budget.give_back(&mut much);
    budget.give_back(&mut little);
    assert_eq!(budget.in_need_since(), None);
}

#[test]
fn no_more_than_a_quarter_is_kept_aside() {
    let budget = Budget::new(1_000_000, 900_000, 2);
    assert_eq!((budget.soft, budget.hard), (750_000, 1_000_000));
}

#[test]
fn what_is_used_says_whether_memory_is_near_its_end_short_or_used_up() {
    let budget = Budget::new(64 << 20, 16 << 20, 2);
    let mut hog = budget.begin();
    let mut at = |used: usize| {
        budget.count(&mut hog, used);
        assert_eq!(budget.used(), used);
        (budget.is_near(), budget.short().map(NonZeroU8::get), budget.is_used_up(), budget.excess())
    };
    assert_eq!(at(budget.soft - NEAR - 1), (false, None, false, 0));
    assert_eq!(at(budget.soft - NEAR), (true, None, false, 0));
    assert_eq!(at(budget.soft - 1), (true, None, false, 0));
    // Half of the share for each direction.
    assert_eq!(at(budget.soft), (true, Some(8), false, 0));
    assert_eq!(at(budget.hard - 1), (true, Some(8), false, budget.hard - 1 - budget.soft));
    assert_eq!(at(budget.hard), (true, Some(8), true, budget.hard - budget.soft));
}

#[test]
fn who_is_longest_in_need_counts_whichever_line_it_is_in() {
    for (first, second) in [(500_000, 20_000), (20_000, 500_000)] {
        let budget = Budget::new(1_000_000, 200_000, 2);
        let (mut hog, mut one, mut two) = (budget.begin(), budget.begin(), budget.begin());
        budget.count(&mut hog, 1_000_000);
        for (share, held, time) in [(&mut one, first, at(10)), (&mut two, second, at(20))] {
            assert_eq!(budget.room_when_short(share, Upstream, (held, true, time)), 0);
        }
        assert_eq!(budget.in_need_since(), Some(at(10)));
    }
}

#[test]
fn who_may_read_again_has_left_the_line() {
    let budget = budget();
    let (mut hog, mut one, mut two) = (budget.begin(), budget.begin(), budget.begin());
    budget.count(&mut hog, 800_000);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), PIECE);
    assert_eq!(room(&budget, &mut two, Upstream, SHARE, true), 0);
    // Within its share again.
    assert_eq!(room(&budget, &mut one, Upstream, 0, true), SHARE / 2);
    assert!(!one.is_in_need() && !one.waits());
    assert_eq!(room(&budget, &mut two, Upstream, SHARE, true), PIECE);
    budget.count(&mut hog, 0);
    assert_eq!(room(&budget, &mut two, Upstream, SHARE, true), usize::MAX);
    assert_eq!(budget.in_need_since(), None);
}

/// A session that holds nothing.
fn idle() -> Session {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"a\"\n[[pool.backend]]\nurl = \"ws://127.0.0.1:1\"";
    let settings = parse(text, &Overrides::default()).expect("a sound configuration");
    let pool = Pool::new(&settings.pools[0], &settings, &TlsSetup::default());
    Session::new(Arc::clone(&pool.snapshot().session), at(0), Opening::default())
}

#[test]
fn where_memory_is_free_nobody_stands_in_line_or_waits() {
    let (budget, machine) = (budget(), idle());
    let (mut hog, mut one) = (budget.begin(), budget.begin());
    budget.count(&mut hog, 800_000);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), PIECE);
    assert_eq!(room(&budget, &mut one, Downstream, SHARE, false), 0);
    assert!(one.is_in_need() && one.waits() && one.lines.is_some());
    budget.count(&mut hog, 0);
    for direction in [Upstream, Downstream] {
        assert_eq!(budget.room(&mut one, direction, (&machine, at(0))), usize::MAX);
    }
    assert!(!one.is_in_need() && !one.waits() && one.lines.is_none(), "and it needs no memory for that");
    assert_eq!(budget.in_need_since(), None);
    budget.count(&mut hog, 800_000);
    assert_eq!(budget.room(&mut one, Upstream, (&machine, at(0))), SHARE / 2);
}

#[test]
fn who_brings_something_has_been_in_need_since_then() {
    let budget = budget();
    let (mut hog, mut one) = (budget.begin(), budget.begin());
    budget.count(&mut hog, 800_000);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), PIECE);
    assert_eq!(budget.in_need_since(), Some(at(0)));
    budget.moved(&mut one, Upstream, at(700));
    assert_eq!(budget.in_need_since(), Some(at(700)));
}

#[test]
fn who_rests_or_is_to_look_again_is_told_so() {
    let budget = budget();
    let (mut hog, mut one) = (budget.begin(), budget.begin());
    budget.count(&mut hog, 800_000);
    assert_eq!(room(&budget, &mut one, Downstream, SHARE, false), 0);
    assert!(one.waits());
    budget.rest(&mut one, Downstream);
    assert!(!one.waits());
    one.look_again();
    assert!(one.waits());
    budget.rest(&mut one, Downstream);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, false), 0);
    assert!(one.waits());
}

#[test]
fn of_two_lines_the_shorter_one_says_when_to_look() {
    let budget = Budget::new(1_000_000, 200_000, 2);
    let mut hog = budget.begin();
    budget.count(&mut hog, 1_000_000);
    let mut crowd: Vec<_> = (0..500).map(|_| MemoryShare::default()).collect();
    for share in &mut crowd {
        assert_eq!(room(&budget, share, Upstream, 500_000, true), 0);
    }
    let one = &mut crowd[499];
    assert_eq!(one.look(), LOOK * 6);
    assert_eq!(room(&budget, one, Downstream, 20_000, true), 0);
    assert_eq!(one.look(), LOOK);
}

#[test]
fn the_longer_the_line_the_later_each_looks_again() {
    let budget = budget();
    let mut hog = budget.begin();
    budget.count(&mut hog, 900_000);
    let mut waiting: Vec<_> = (0..1000).map(|_| MemoryShare::default()).collect();
    let rooms: Vec<_> = waiting.iter_mut().map(|share| room(&budget, share, Upstream, SHARE, true)).collect();
    assert_eq!(rooms.iter().filter(|room| **room > 0).count(), 1, "one has its turn");
    assert_eq!(waiting[1].look(), LOOK, "the first of them");
    assert_eq!(waiting[500].look(), LOOK * 6);
    assert_eq!(waiting[999].look(), LOOK_AT_EASE);
    assert_eq!(MemoryShare::default().look(), LOOK_AT_EASE);
}

#[test]
fn the_longest_message_fits_beside_all_shares() {
    let budget = Budget::new(32 << 20, 16 << 20, 8192);
    assert_eq!((budget.share, budget.express), (2 << 10, 0));
}

#[test]
fn who_rests_or_finds_nothing_is_in_nobodys_way() {
    let budget = budget();
    let (mut hog, mut one, mut two) = (budget.begin(), budget.begin(), budget.begin());
    budget.count(&mut hog, 800_000);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), PIECE);
    budget.found_nothing(&mut one, Upstream);
    assert!(!one.waits() && !one.is_in_need());
    assert_eq!(room(&budget, &mut two, Upstream, SHARE, true), PIECE);
    budget.moved(&mut two, Upstream, at(5));
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), 0);
    budget.rest(&mut two, Upstream);
    assert_eq!(room(&budget, &mut one, Upstream, SHARE, true), PIECE);
}

#[test]
fn use_within_the_share_costs_nothing() {
    let budget = budget();
    let mut share = budget.begin();
    budget.count(&mut share, SHARE);
    assert_eq!(budget.used(), SHARE);
    budget.count(&mut share, SHARE + 5);
    assert_eq!(budget.used(), SHARE + 5);
    budget.count(&mut share, 0);
    assert_eq!(budget.used(), SHARE);
}
