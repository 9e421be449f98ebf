//! The line of those who need memory beyond their share while it is short: one at a time gets what is kept aside.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use steadfast_protocol::time::Time;

/// Whoever gets what is kept aside, and brings nothing for so long, lets the next one have its turn.
const TURN: Duration = Duration::from_secs(1);

/// A place in the line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinePlace {
    /// Lesser ones came first.
    number: NonZeroU32,
    /// It has got nothing since; kept when it has to stand at the end again.
    since: Time,
}

/// Who waits, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct NeedLine {
    /// By number, since when each has got nothing.
    waiting: BTreeMap<NonZeroU32, Time>,
    places: u32,
    turn: Option<NeedTurn>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
struct NeedTurn {
    number: NonZeroU32,
    /// When it last brought something, or began.
    moved: Time,
    /// It has brought something.
    grown: bool,
}

impl NeedLine {
    /// Whether it is its turn. One that has no place yet, or has lost it, stands at the end now.
    pub(super) fn is_turn(&mut self, now: Time, place: &mut Option<LinePlace>) -> bool {
        let own = match *place {
            Some(own) if self.waiting.contains_key(&own.number) => own.number,
            _ => {
                let own = self.enter(place.map_or(now, |place| place.since));
                *place = Some(own);
                own.number
            }
        };
        if let Some(turn) = self.turn {
            if turn.number == own {
                return true;
            }
            if now.since(turn.moved) < TURN {
                return false;
            }
            self.remove(turn.number);
        }
        let first = self.waiting.first_key_value().map(|(number, _)| *number);
        if first == Some(own) {
            self.turn = Some(NeedTurn { number: own, moved: now, grown: false });
        }
        first == Some(own)
    }

    fn enter(&mut self, since: Time) -> LinePlace {
        self.places = self.places.wrapping_add(1);
        let number = NonZeroU32::new(self.places).unwrap_or(NonZeroU32::MIN);
        self.waiting.insert(number, since);
        LinePlace { number, since }
    }

    /// It has brought something.
    pub(super) fn moved(&mut self, now: Time, place: &mut LinePlace) {
        place.since = now;
        if let Some(since) = self.waiting.get_mut(&place.number) {
            *since = now;
        }
        if let Some(turn) = self.turn.as_mut().filter(|turn| turn.number == place.number) {
            (turn.moved, turn.grown) = (now, true);
        }
    }

    /// There is nothing to be brought. One that had something before keeps its turn for a while. True: it is not in
    /// the line any more.
    pub(super) fn has_nothing(&mut self, place: LinePlace) -> bool {
        let leaves = self.turn.is_some_and(|turn| turn.number == place.number && !turn.grown);
        if leaves {
            self.leave(place);
        }
        leaves
    }

    pub(super) fn leave(&mut self, place: LinePlace) {
        self.remove(place.number);
    }

    fn remove(&mut self, number: NonZeroU32) {
        self.waiting.remove(&number);
        self.turn.take_if(|turn| turn.number == number);
    }

    /// How many are in it.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Since when the one that has waited longest has got nothing.
    pub(super) fn waiting_since(&self) -> Option<Time> {
        self.waiting.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_origin(Duration::from_millis(millis))
    }

    #[test]
    fn one_at_a_time_in_the_order_in_which_they_came() {
        let (mut line, mut one, mut two) = (NeedLine::default(), None, None);
        assert!(line.is_turn(at(0), &mut one));
        assert!(!line.is_turn(at(0), &mut two));
        assert!(line.is_turn(at(0), &mut one));
        line.leave(one.expect("a place"));
        assert!(line.is_turn(at(1), &mut two));
    }

    #[test]
    fn whoever_brings_nothing_for_a_second_stands_at_the_end() {
        let (mut line, mut one, mut two) = (NeedLine::default(), None, None);
        assert!(line.is_turn(at(0), &mut one));
        assert!(!line.is_turn(at(0), &mut two));
        line.moved(at(900), one.as_mut().expect("a place"));
        assert!(!line.is_turn(at(1800), &mut two));
        assert!(line.is_turn(at(1900), &mut two));
        assert!(!line.is_turn(at(1900), &mut one), "it has lost its place");
        assert!(line.is_turn(at(2900), &mut one), "and has another");
    }

    #[test]
    fn whoever_has_nothing_to_bring_keeps_nobody_waiting() {
        let (mut line, mut one, mut two) = (NeedLine::default(), None, None);
        assert!(line.is_turn(at(0), &mut one));
        assert!(!line.is_turn(at(0), &mut two));
        assert!(line.has_nothing(one.expect("a place")));
        assert!(line.is_turn(at(0), &mut two));
        line.moved(at(0), two.as_mut().expect("a place"));
        assert!(!line.has_nothing(two.expect("a place")), "more of its message may come");
        assert!(line.is_turn(at(0), &mut two));
    }

    #[test]
    fn need_is_counted_from_the_last_that_was_got() {
        let (mut line, mut one, mut two) = (NeedLine::default(), None, None);
        assert_eq!(line.waiting_since(), None);
        line.is_turn(at(0), &mut one);
        line.is_turn(at(100), &mut two);
        assert_eq!(line.waiting_since(), Some(at(0)));
        line.moved(at(500), one.as_mut().expect("a place"));
        assert_eq!(line.waiting_since(), Some(at(100)));
        assert!(line.is_turn(at(1500), &mut two));
        assert!(!line.is_turn(at(1500), &mut one));
        assert!(line.is_turn(at(2500), &mut one), "the second has brought nothing");
        assert!(!line.is_turn(at(2500), &mut two));
        assert_eq!(line.waiting_since(), Some(at(100)), "though it stands at the end now");
    }
}
