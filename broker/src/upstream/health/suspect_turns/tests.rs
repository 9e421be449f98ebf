use super::*;

const A: usize = 1;
const B: usize = 2;

fn at(ms: u64) -> Time {
    Time::ORIGIN + Duration::from_millis(1_000_000 + ms)
}

/// The turns of one pool, as seen by its sessions, at a clock of their own.
#[derive(Default)]
struct World {
    turns: SuspectTurns,
    now: u64,
    waiting: Vec<(u64, Arc<Notify>)>,
}

impl World {
    fn join(&mut self, backend: usize, most: usize) -> u64 {
        let comes = Arc::new(Notify::new());
        let number = self.turns.join(backend, most, &comes);
        self.waiting.push((number, comes));
        number
    }

    fn join_many(&mut self, n: usize) -> Vec<u64> {
        (0..n).map(|_| self.join(A, usize::MAX)).collect()
    }

    /// Those whose turn has come now.
    fn come(&mut self, budget: usize) -> Vec<u64> {
        let granted = self.turns.grant(at(self.now), budget);
        let is_granted = |comes: &Arc<Notify>| granted.iter().any(|other| Arc::ptr_eq(comes, other));
        let (come, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, comes)| is_granted(comes));
        self.waiting = waiting;
        let come: Vec<(u64, Arc<Notify>)> = come;
        come.into_iter().map(|(number, _)| number).collect()
    }

    fn leave(&mut self, numbers: &[u64], end: TurnEnd) -> Vec<usize> {
        numbers.iter().map(|number| self.turns.leave(A, *number, end)).collect()
    }

    /// As if so many had been cleared.
    fn has_cleared(&mut self, n: usize) {
        self.turns.lines.entry(A).or_default().cleared = n;
    }
}

#[test]
fn the_first_go_alone_and_in_their_order() {
    let mut world = World::default();
    for number in world.join_many(5) {
        assert_eq!(world.come(100), [number]);
        assert_eq!(world.come(100), [0; 0], "the next waits for it");
        world.leave(&[number], TurnEnd::Cleared);
    }
    assert!(world.turns.lines.is_empty());
}

#[test]
fn many_innocents_wait_for_few_others() {
    let mut world = World::default();
    world.join_many(400);
    let mut rounds = 0;
    while !world.waiting.is_empty() {
        rounds += 1;
        let group = world.come(80);
        assert!(!group.is_empty() && group.len() <= 80);
        world.leave(&group, TurnEnd::Cleared);
    }
    assert!(rounds <= 30, "{rounds} rounds");
}

#[test]
fn a_group_with_a_killer_has_half_as_many_the_next_time() {
    let mut world = World::default();
    world.has_cleared(64);
    world.join_many(16);
    let mut sizes = Vec::new();
    loop {
        let group = world.come(100);
        sizes.push(group.len());
        if group.len() <= 1 || sizes.len() == 10 {
            break;
        }
        let most = world.leave(&group, TurnEnd::Died);
        // It goes on at another backend, whose groups are as large as these were.
        let killer = most.into_iter().max().expect("there was one");
        let rest = std::mem::take(&mut world.waiting);
        rest.into_iter().for_each(|(number, _)| {
            world.turns.leave(A, number, TurnEnd::Nothing);
        });
        world.has_cleared(64);
        world.join(A, killer);
        world.join_many(15);
    }
    assert_eq!(sizes, [16, 8, 4, 2, 1]);
}

#[test]
fn after_a_death_groups_begin_with_one_again() {
    let mut world = World::default();
    world.has_cleared(40);
    world.join_many(12);
    let group = world.come(100);
    assert_eq!(group.len(), 10);
    world.leave(&group, TurnEnd::Died);
    assert_eq!(world.come(100).len(), 1);
}

#[test]
fn no_more_are_out_than_the_budget_and_the_rest_waits() {
    let mut world = World::default();
    let numbers: Vec<u64> = (0..10).map(|backend| world.join(backend, usize::MAX)).collect();
    assert_eq!(world.come(3), numbers[..3]);
    for n in 3..10 {
        assert_eq!(world.come(3), [0; 0]);
        world.turns.leave(n - 3, numbers[n - 3], TurnEnd::Nothing);
        assert_eq!(world.come(3), [numbers[n]]);
    }
    assert_eq!([budget(0), budget(15), budget(40), budget(400)], [3, 3, 8, 80]);
}

#[test]
fn one_that_is_slow_is_not_waited_for_unless_it_has_died_in_a_turn() {
    for (most, alone) in [(usize::MAX, TURN), (1, TURN_ALONE)] {
        let mut world = World::default();
        let (slow, next) = (world.join(A, most), world.join(A, usize::MAX));
        assert_eq!(world.come(100), [slow]);
        world.now = u64::try_from(alone.as_millis()).expect("seconds") - 1;
        assert_eq!(world.come(100), [0; 0]);
        world.now += 1;
        assert_eq!(world.come(1), [next], "{most}");
    }
}

#[test]
fn however_many_look_it_is_looked_now_and_then() {
    let mut world = World::default();
    world.join_many(2);
    assert_eq!(world.turns.look(at(0), 100).len(), 1);
    world.has_cleared(100);
    assert_eq!(world.turns.look(at(49), 100).len(), 0);
    assert_eq!(world.turns.look(at(50), 100).len(), 1);
}

#[test]
fn each_backend_has_a_line_of_its_own() {
    let mut world = World::default();
    let numbers = [A, A, B].map(|backend| world.join(backend, usize::MAX));
    assert_eq!(world.come(100), [numbers[0], numbers[2]]);
}

#[test]
fn who_goes_away_leaves_nothing_behind() {
    let mut world = World::default();
    let numbers = world.join_many(3);
    assert_eq!(world.come(100), [numbers[0]]);
    world.leave(&[numbers[1], numbers[0]], TurnEnd::Nothing);
    assert_eq!(world.come(100), [numbers[2]]);
    world.leave(&[numbers[2]], TurnEnd::Nothing);
    assert!(world.turns.lines.is_empty());
}
