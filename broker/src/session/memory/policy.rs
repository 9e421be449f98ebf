//! Who gives memory back when others are in need of it: the order in which sessions are pressed.
//!
//! Whoever is stopped by its own peer, or grows, is let be for long, as any proxy would let it; who holds what does not
//! move goes first. Nobody within its share is ever pressed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use steadfast_protocol::session::{HeldFor, Holding};
use steadfast_protocol::time::Time;

use crate::metric::PressWord;
use crate::net::address::Address;

/// What has not moved for so long, though it was read, stands still.
const STILL: Duration = Duration::from_secs(1);

/// So long has somebody been in need before those are pressed who hold what stands still,
const PATIENCE: Duration = Duration::from_secs(1);

/// and so long before anybody is.
const LONG: Duration = Duration::from_secs(10);

/// Sessions that are pressed at one look, at the most.
const AT_ONCE: usize = 64;

/// Whose a session is, as far as clients can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HolderClient {
    /// Behind this address stands one client.
    Address(Address),
    /// Behind its address stand many.
    Session(u128),
}

/// A session that holds more than its share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) id: u128,
    pub(crate) owner: HolderClient,
    /// Bytes beyond the share.
    pub(crate) over: usize,
    pub(crate) holding: Holding,
    pub(crate) began: Time,
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// How long the one that has waited longest has got nothing.
    pub(crate) waited: Duration,
    /// Bytes to be given back.
    pub(crate) wanted: usize,
}

/// What was seen of the holders so far. It remembers those of the last look alone.
#[derive(Debug, Default)]
pub(crate) struct Looks(HashMap<u128, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    what: HeldFor,
    moved: u64,
    /// It has stood still since.
    since: Time,
    /// Where it was at the beginning of the present stretch, and how fast it was in the one before.
    stretch: (Time, u64),
    rate: Option<u64>,
}

impl Seen {
    fn first(now: Time, holding: &Holding) -> Seen {
        let Holding { what, moved, .. } = *holding;
        Seen { what, moved, since: now, stretch: (now, moved), rate: None }
    }

    fn next(mut self, now: Time, holding: &Holding) -> Seen {
        if holding.what != self.what || holding.paused {
            return Seen::first(now, holding);
        }
        if holding.moved != self.moved {
            (self.moved, self.since) = (holding.moved, now);
        }
        let took = now.since(self.stretch.0);
        if took >= STILL {
            let moved = holding.moved.wrapping_sub(self.stretch.1);
            self.rate = Some(moved.saturating_mul(1000) / (took.as_millis() as u64).max(1));
            self.stretch = (now, holding.moved);
        }
        self
    }
}

impl Looks {
    /// Looks at all who hold more than their share, and says who is pressed, and why.
    pub(crate) fn look(&mut self, now: Time, holders: &[Holder], need: Need) -> Vec<(u128, PressWord)> {
        let before = std::mem::take(&mut self.0);
        let seen = |holder: &Holder| match before.get(&holder.id) {
            Some(seen) => seen.next(now, &holder.holding),
            None => Seen::first(now, &holder.holding),
        };
        self.0 = holders.iter().map(|holder| (holder.id, seen(holder))).collect();
        if need.waited < PATIENCE {
            return Vec::new();
        }
        let mut held: HashMap<HolderClient, usize> = HashMap::new();
        for holder in holders {
            *held.entry(holder.owner).or_default() += holder.over;
        }
        let mut ranked: Vec<_> = holders
            .iter()
            .filter_map(|holder| {
                let fault = self.fault(now, holder);
                (fault.is_some() || need.waited >= LONG).then(|| {
                    let word = fault.unwrap_or(PressWord::Most);
                    (self.rank(holder, word, held.get(&holder.owner).copied().unwrap_or(0)), word, holder)
                })
            })
            .collect();
        ranked.sort_by_key(|(rank, ..)| Reverse(*rank));
        let mut given = 0;
        let chosen = ranked.into_iter().take(AT_ONCE).take_while(|(_, word, holder)| {
            // Of those that nothing is held against, one at a time: that may be all that is needed.
            let more = given < need.wanted && (*word != PressWord::Most || given == 0);
            given += holder.over;
            more
        });
        chosen.map(|(_, word, holder)| (holder.id, word)).collect()
    }

    /// What is held against it, if something is.
    fn fault(&self, now: Time, holder: &Holder) -> Option<PressWord> {
        if holder.holding.unproven {
            return Some(PressWord::Unproven);
        }
        let seen = self.0.get(&holder.id)?;
        let still = now.since(seen.since) >= STILL;
        match holder.holding.what {
            HeldFor::ClientMessage | HeldFor::BackendMessage if still => Some(PressWord::StillMessage),
            HeldFor::Client if still => Some(PressWord::SlowReader),
            // A backend that takes its time is waited for, and so is a client that may come back.
            _ => None,
        }
    }

    /// Greater ones go first: by what is held against it, by what its client holds in all (within a factor of two),
    /// by the time for which it needs what it holds, by how much that is; the oldest goes last.
    fn rank(&self, holder: &Holder, word: PressWord, of_owner: usize) -> (u8, u32, u64, usize, Time) {
        let class = match word {
            PressWord::Unproven => 2,
            PressWord::StillMessage | PressWord::SlowReader => 1,
            _ => 0,
        };
        let rate = self.0.get(&holder.id).and_then(|seen| seen.rate).unwrap_or(0);
        let open = matches!(holder.holding.what, HeldFor::ClientMessage | HeldFor::BackendMessage);
        let lasts = if class == 0 && open { holder.holding.part as u64 / rate.max(1) } else { 0 };
        (class, of_owner.max(1).ilog2(), lasts, holder.over, holder.began)
    }
}

/// A session whose client is away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Absent {
    pub(crate) id: u128,
    pub(crate) owner: HolderClient,
    /// When it ends by itself.
    pub(crate) until: Time,
    pub(crate) unproven: bool,
}

/// Of sessions whose clients are away, `excess` that end: the unproven ones first, then again and again the oldest of
/// the owner that has most.
pub(crate) fn ends_of_absence(mut absent: Vec<Absent>, excess: usize) -> Vec<u128> {
    absent.sort_by_key(|one| Reverse(one.until));
    let mut of_owner: HashMap<HolderClient, usize> = HashMap::new();
    let mut ranked: Vec<_> = absent
        .into_iter()
        .map(|one| {
            // From the youngest on, so this is how many its owner has left once all older ones are gone.
            let left = of_owner.entry(one.owner).or_default();
            *left += 1;
            (one.unproven, *left, Reverse(one.until), one.id)
        })
        .collect();
    ranked.sort_by_key(|rank| Reverse(*rank));
    ranked.into_iter().take(excess).map(|(.., id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_origin(Duration::from_millis(millis))
    }

    fn holder(id: u128, over: usize, what: HeldFor) -> Holder {
        let holding = Holding { bytes: over, part: over, what, moved: 0, paused: false, unproven: false };
        Holder { id, owner: HolderClient::Session(id), over, holding, began: at(id as u64) }
    }

    fn need(seconds: u64, wanted: usize) -> Need {
        Need { waited: Duration::from_secs(seconds), wanted }
    }

    /// Who is pressed at the second of two looks, a second apart.
    fn pressed(holders: &[Holder], need: Need) -> Vec<(u128, PressWord)> {
        let mut looks = Looks::default();
        assert_eq!(looks.look(at(0), holders, Need { waited: Duration::ZERO, ..need }), []);
        looks.look(at(1000), holders, need)
    }

    fn ids(pressed: Vec<(u128, PressWord)>) -> Vec<u128> {
        pressed.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn nobody_is_pressed_before_somebody_has_been_in_need_for_a_second() {
        let holders = [holder(1, 1000, HeldFor::ClientMessage)];
        assert_eq!(pressed(&holders, need(0, 1)), []);
        assert_eq!(pressed(&holders, need(1, 1)), [(1, PressWord::StillMessage)]);
    }

    #[test]
    fn unproven_ones_go_first_and_then_the_largest_that_stands_still() {
        let mut holders = [
            holder(1, 5_000, HeldFor::ClientMessage),
            holder(2, 9_000, HeldFor::Client),
            holder(3, 1_000, HeldFor::Absent),
        ];
        holders[2].holding.unproven = true;
        assert_eq!(ids(pressed(&holders, need(1, usize::MAX))), [3, 2, 1]);
        assert_eq!(ids(pressed(&holders, need(1, 1_001))), [3, 2], "no more than is wanted");
    }

    #[test]
    fn a_backend_that_takes_its_time_and_a_client_that_may_come_back_are_waited_for() {
        let holders = [holder(1, 5_000, HeldFor::Backend), holder(2, 9_000, HeldFor::Absent)];
        assert_eq!(pressed(&holders, need(9, usize::MAX)), []);
        assert_eq!(pressed(&holders, need(10, usize::MAX)), [(2, PressWord::Most)], "one at a time");
    }

    #[test]
    fn what_grows_or_is_not_read_does_not_stand_still() {
        let mut looks = Looks::default();
        let mut holders =
            [holder(1, 5_000, HeldFor::ClientMessage), holder(2, 9_000, HeldFor::ClientMessage)];
        holders[1].holding.paused = true;
        for second in 0..5 {
            holders[0].holding.moved += 1;
            assert_eq!(looks.look(at(second * 1000), &holders, need(5, usize::MAX)), []);
        }
        holders[1].holding.paused = false;
        assert_eq!(looks.look(at(4500), &holders, need(5, usize::MAX)), [], "it is read since now");
        assert_eq!(ids(looks.look(at(5500), &holders, need(5, usize::MAX))), [2, 1]);
    }

    #[test]
    fn the_address_that_holds_most_in_all_goes_first() {
        let one = HolderClient::Address(Address::V4([192, 0, 2, 1]));
        let mut holders: Vec<_> = (1..=10).map(|id| holder(id, 2_000, HeldFor::Client)).collect();
        holders.iter_mut().for_each(|holder| holder.owner = one);
        holders.push(holder(11, 5_000, HeldFor::Client));
        assert_eq!(ids(pressed(&holders, need(1, 4_000))), [10, 9], "the youngest of them");
        // Behind one address of many clients each session stands for itself.
        for holder in &mut holders {
            holder.owner = HolderClient::Session(holder.id);
        }
        assert_eq!(ids(pressed(&holders, need(1, 4_000))), [11]);
    }

    #[test]
    fn of_messages_that_grow_the_one_goes_that_takes_longest() {
        let mut looks = Looks::default();
        let mut holders =
            [holder(1, 9_000, HeldFor::ClientMessage), holder(2, 8_500, HeldFor::ClientMessage)];
        for second in 0..3 {
            looks.look(at(second * 1000), &holders, need(0, 1));
            holders[0].holding.moved += 4_000;
            holders[1].holding.moved += 3;
        }
        assert_eq!(looks.look(at(3000), &holders, need(10, 1)), [(2, PressWord::Most)]);
    }

    #[test]
    fn what_is_held_for_another_reason_has_not_stood_still_before() {
        let mut looks = Looks::default();
        let mut one = holder(1, 5_000, HeldFor::ClientMessage);
        looks.look(at(0), &[one], need(5, usize::MAX));
        one.holding.what = HeldFor::Client;
        assert_eq!(looks.look(at(1000), &[one], need(5, usize::MAX)), []);
        assert_eq!(looks.look(at(2000), &[one], need(5, usize::MAX)), [(1, PressWord::SlowReader)]);
    }

    #[test]
    fn an_open_message_of_either_side_stands_still() {
        for what in [HeldFor::ClientMessage, HeldFor::BackendMessage] {
            assert_eq!(pressed(&[holder(1, 1000, what)], need(1, 1)), [(1, PressWord::StillMessage)]);
        }
    }

    #[test]
    fn an_address_counts_by_what_it_holds_and_not_by_how_many_sessions() {
        let one = HolderClient::Address(Address::V4([192, 0, 2, 1]));
        let mut holders: Vec<_> = (1..=10).map(|id| holder(id, 100, HeldFor::Client)).collect();
        holders.iter_mut().for_each(|holder| holder.owner = one);
        holders.push(holder(11, 5_000, HeldFor::Client));
        assert_eq!(ids(pressed(&holders, need(1, 1))), [11]);
    }

    /// Those two are within a factor of two.
    #[test]
    fn of_those_that_stand_still_the_larger_goes_first() {
        let holders = [holder(1, 7_000, HeldFor::Client), holder(2, 6_000, HeldFor::ClientMessage)];
        assert_eq!(ids(pressed(&holders, need(1, 1))), [1]);
    }

    #[test]
    fn who_stands_still_goes_before_those_that_nothing_is_held_against() {
        let holders = [holder(1, 90_000, HeldFor::Backend), holder(2, 1_000, HeldFor::Client)];
        let both = [(2, PressWord::SlowReader), (1, PressWord::Most)];
        assert_eq!(pressed(&holders, need(10, 1_000)), both[..1]);
    }

    #[test]
    fn how_long_a_message_takes_is_asked_only_of_those_that_grow() {
        // Both stand still: it is the size that counts, not that one was fast before.
        let mut looks = Looks::default();
        let mut holders =
            [holder(1, 7_000, HeldFor::ClientMessage), holder(2, 6_000, HeldFor::ClientMessage)];
        looks.look(at(0), &holders, need(0, 1));
        holders[0].holding.moved += 7_000;
        looks.look(at(1000), &holders, need(0, 1));
        looks.look(at(1500), &holders, need(0, 1));
        assert_eq!(looks.look(at(2000), &holders, need(10, 1)), [(1, PressWord::StillMessage)]);
        // And what is no open message takes no time.
        let holders = [holder(1, 7_000, HeldFor::Backend), holder(2, 6_000, HeldFor::Absent)];
        let mut looks = Looks::default();
        for second in 0..3 {
            let mut holders = holders;
            holders[0].holding.moved = second * 7_000;
            looks.look(at(second * 1000), &holders, need(0, 1));
        }
        assert_eq!(looks.look(at(2500), &holders, need(10, 1)), [(1, PressWord::Most)]);
    }

    #[test]
    fn a_message_is_as_fast_as_it_was_last_and_one_that_has_just_begun_is_slow() {
        let mut looks = Looks::default();
        let mut holders =
            [holder(1, 8_500, HeldFor::ClientMessage), holder(2, 9_000, HeldFor::ClientMessage)];
        // The first was fast and is slow, the second the other way round.
        let paces = [[9_000, 3], [9_000, 3], [3, 9_000], [3, 9_000]];
        for (second, pace) in paces.into_iter().enumerate() {
            looks.look(at(second as u64 * 1000), &holders, need(0, 1));
            for (holder, bytes) in holders.iter_mut().zip(pace) {
                holder.holding.moved += bytes;
            }
        }
        assert_eq!(looks.look(at(4000), &holders, need(10, 1)), [(1, PressWord::Most)]);
        // Looks that come more often are no other measure.
        holders[1].holding.moved += 1;
        holders[0].holding.moved += 9_000;
        assert_eq!(looks.look(at(4010), &holders, need(10, 1)), [(1, PressWord::Most)]);
        let newcomer = Holder { began: at(0), ..holder(3, 8_600, HeldFor::ClientMessage) };
        let all = [holders[0], holders[1], newcomer];
        assert_eq!(looks.look(at(4020), &all, need(10, 1)), [(3, PressWord::Most)]);
    }

    #[test]
    fn slow_ones_are_told_apart_too() {
        let mut looks = Looks::default();
        let mut holders =
            [holder(1, 8_500, HeldFor::ClientMessage), holder(2, 9_000, HeldFor::ClientMessage)];
        for second in 0..3 {
            looks.look(at(second * 1000), &holders, need(0, 1));
            holders[0].holding.moved += 100;
            holders[1].holding.moved += 900;
        }
        assert_eq!(looks.look(at(3000), &holders, need(10, 1)), [(1, PressWord::Most)]);
    }

    #[test]
    fn of_the_absent_the_unproven_end_first_and_then_the_oldest_of_whoever_has_most() {
        let one = HolderClient::Address(Address::V4([192, 0, 2, 1]));
        let absent = |id: u128, owner| Absent { id, owner, until: at(id as u64), unproven: false };
        let mut all = vec![absent(1, HolderClient::Session(1)), absent(2, HolderClient::Session(2))];
        all.extend((3..=6).map(|id| absent(id, one)));
        all.push(Absent { unproven: true, ..absent(7, HolderClient::Session(7)) });
        assert_eq!(ends_of_absence(all.clone(), 4), [7, 3, 4, 5]);
        assert_eq!(ends_of_absence(all.clone(), 5), [7, 3, 4, 5, 1], "then the oldest of all");
        assert_eq!(ends_of_absence(all, 100).len(), 7);
    }

    #[test]
    fn no_more_than_so_many_are_pressed_at_once_and_none_is_remembered_that_is_gone() {
        let holders: Vec<_> = (0..1000).map(|id| holder(id, 1, HeldFor::Client)).collect();
        let mut looks = Looks::default();
        looks.look(at(0), &holders, need(0, usize::MAX));
        assert_eq!(looks.look(at(1000), &holders, need(1, usize::MAX)).len(), AT_ONCE);
        assert_eq!(looks.look(at(2000), &[], need(1, usize::MAX)), []);
        assert!(looks.0.is_empty());
    }
}
