//! Places for connections of which nothing good is known yet. Nobody waits for a place longer than it takes to tell
//! another connection to go: when all are taken, the oldest one of the address with most makes room.
//!
//! So an address that holds no more than its share (the places, divided by the addresses that hold some) loses none, and
//! whoever opens many loses its own. The oldest goes since a client says what it wants at once: of many connections from
//! one address, which may be a balancer or a whole company, those that have said nothing for longest are least likely to
//! be anybody's. To make newcomers wait instead would make all wait behind the first.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::lock::rank::PlacesRank;
use crate::lock::{OrderedMutex, OrderedMutexGuard};

use super::address::Address;

/// A bounded number of places, for all threads.
#[derive(Debug)]
pub(crate) struct Places {
    seats: Arc<Semaphore>,
    table: OrderedMutex<Table, PlacesRank>,
}

/// One connection's place; given back when dropped, at the latest.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: Address,
    /// Where it stands in the order of all.
    number: AtomicU64,
    told: Arc<Notify>,
    seat: Mutex<Option<OwnedSemaphorePermit>>,
}

/// Those that may be told to go.
#[derive(Debug, Default)]
struct Table {
    /// By address, the oldest first.
    held: BTreeMap<Address, BTreeMap<u64, Arc<Notify>>>,
    /// How many each address has, and its oldest one: the last is the next to lose one.
    sizes: BTreeSet<(usize, Reverse<u64>, Address)>,
    /// Numbers given so far.
    numbers: u64,
    /// Who waits for a place that another one leaves, by address and in all.
    arriving: BTreeMap<Address, usize>,
    waiting: usize,
    /// Of them, those for whom nobody could be told to go.
    owed: usize,
}

/// What makes a place.
#[derive(Debug)]
struct Seat {
    number: u64,
    permit: OwnedSemaphorePermit,
}

/// One that waits for a place.
#[derive(Debug)]
struct Waiting<'a> {
    places: &'a Places,
    address: Address,
    /// It has its place.
    sits: bool,
}

impl Places {
    pub(crate) fn new(max: usize) -> Arc<Places> {
        Arc::new(Places { seats: Arc::new(Semaphore::new(max)), table: OrderedMutex::default() })
    }

    /// Takes a place for a connection of `address`. When all are taken, another connection is told to go, `short` is
    /// called, and this waits until that has gone. `None` never comes, since the semaphore is never closed.
    pub(crate) async fn take(self: &Arc<Self>, address: Address, short: impl FnOnce()) -> Option<Place> {
        let told = Arc::new(Notify::new());
        let Seat { number, permit } = self.seat(address, &told, short).await?;
        let (number, seat) = (AtomicU64::new(number), Mutex::new(Some(permit)));
        Some(Place { places: Arc::clone(self), address, number, told, seat })
    }

    /// As [`Places::take`], but `None` comes when nobody can be told to go.
    pub(crate) async fn take_if_one_goes(
        self: &Arc<Self>,
        address: Address,
        short: impl FnOnce(),
    ) -> Option<Place> {
        if self.seats.available_permits() == 0 && self.table.lock().sizes.is_empty() {
            return None;
        }
        self.take(address, short).await
    }

    /// Tells one to go, if there is anybody who may be told.
    pub(crate) fn tell_one(&self) {
        let leaves = self.table.lock().leaves(None);
        if let Some(told) = leaves {
            told.notify_one();
        }
    }

    async fn seat(&self, address: Address, told: &Arc<Notify>, short: impl FnOnce()) -> Option<Seat> {
        let waiting = match self.sit_or_wait(address, told) {
            Ok(seat) => return Some(seat),
            Err(waiting) => waiting,
        };
        short();
        let permit = Arc::clone(&self.seats).acquire_owned().await.ok()?;
        Some(waiting.sits(told, permit))
    }

    /// Takes a free place, or tells the one to go that is to make room. Who sits and who arrives is counted in one step
    /// with the places: others judge by the counts meanwhile.
    fn sit_or_wait(&self, address: Address, told: &Arc<Notify>) -> Result<Seat, Waiting<'_>> {
        let mut table = self.table.lock();
        // What was left for somebody is not free, though that one has not come to take it yet.
        if self.seats.available_permits() > table.waiting
            && let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned()
        {
            return Ok(Seat { number: seated(table, address, told), permit });
        }
        table.arrive(address);
        let leaves = table.leaves(Some(address));
        if leaves.is_none() {
            table.owed += 1;
        }
        drop(table);
        if let Some(told) = leaves {
            told.notify_one();
        }
        Err(Waiting { places: self, address, sits: false })
    }
}

/// Enters one into the table, and tells those to go that are owed to others. Returns its number.
fn seated(mut table: OrderedMutexGuard<'_, Table>, address: Address, told: &Arc<Notify>) -> u64 {
    let number = table.insert(address, told);
    let leaving = table.pay();
    drop(table);
    leaving.iter().for_each(|told| told.notify_one());
    number
}

impl Waiting<'_> {
    fn sits(mut self, told: &Arc<Notify>, permit: OwnedSemaphorePermit) -> Seat {
        let mut table = self.places.table.lock();
        table.arrived(self.address);
        self.sits = true;
        Seat { number: seated(table, self.address, told), permit }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.sits {
            self.places.table.lock().arrived(self.address);
        }
    }
}

impl Place {
    /// Waits until it is told to go, to make room for another. One that was given back is not told any more.
    pub(crate) async fn told(&self) {
        loop {
            self.told.notified().await;
            if self.is_held() {
                return;
            }
        }
    }

    /// Takes a place again after it was given back, as [`Places::take`] does.
    pub(crate) async fn take_again(&self, short: impl FnOnce()) {
        if let Some(Seat { number, permit }) = self.places.seat(self.address, &self.told, short).await {
            self.number.store(number, Relaxed);
            *self.seat() = Some(permit);
        }
    }

    /// It is a connection of this address from now on, as the youngest of it.
    pub(crate) fn pass_to(&mut self, address: Address) {
        let mut table = self.places.table.lock();
        let listed = table.remove(self.address, self.number.load(Relaxed)).is_some();
        self.address = address;
        // One that has been told to go is not among them any more.
        if listed {
            self.number.store(seated(table, address, &self.told), Relaxed);
        }
    }

    /// Makes room for another connection. What comes after the first time has no effect.
    pub(crate) fn give_back(&self) {
        self.busy();
        self.seat().take();
    }

    /// From now on it is not told to go, until it is [`Place::idle`].
    pub(crate) fn busy(&self) {
        self.places.table.lock().remove(self.address, self.number.load(Relaxed));
    }

    /// It may be told to go again, as the youngest of its address.
    pub(crate) fn idle(&self) {
        let mut table = self.places.table.lock();
        table.remove(self.address, self.number.load(Relaxed));
        self.number.store(seated(table, self.address, &self.told), Relaxed);
    }

    /// It was not given back.
    pub(crate) fn is_held(&self) -> bool {
        self.seat().is_some()
    }

    /// No other thread waits for it.
    fn seat(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy();
    }
}

impl Table {
    fn insert(&mut self, address: Address, told: &Arc<Notify>) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        self.change(address, |held| held.insert(number, Arc::clone(told)));
        number
    }

    fn remove(&mut self, address: Address, number: u64) -> Option<Arc<Notify>> {
        self.held.get(&address)?.get(&number)?;
        self.change(address, |held| held.remove(&number))
    }

    fn change<T>(
        &mut self,
        address: Address,
        change: impl FnOnce(&mut BTreeMap<u64, Arc<Notify>>) -> T,
    ) -> T {
        let held = self.held.entry(address).or_default();
        let size = |held: &BTreeMap<u64, _>| {
            held.first_key_value().map(|(oldest, _)| (held.len(), Reverse(*oldest), address))
        };
        if let Some(before) = size(held) {
            self.sizes.remove(&before);
        }
        let done = change(held);
        match size(held) {
            Some(after) => {
                self.sizes.insert(after);
            }
            // An address that holds nothing takes no memory.
            None => {
                self.held.remove(&address);
            }
        }
        done
    }

    fn arrive(&mut self, address: Address) {
        self.waiting += 1;
        *self.arriving.entry(address).or_default() += 1;
    }

    /// One that has arrived sits, or waits no more.
    fn arrived(&mut self, address: Address) {
        self.waiting -= 1;
        self.owed = self.owed.min(self.waiting);
        if let Entry::Occupied(mut arriving) = self.arriving.entry(address) {
            *arriving.get_mut() -= 1;
            if *arriving.get() == 0 {
                arriving.remove();
            }
        }
    }

    /// Takes the next one to go out of the table: with those who arrive counted in, the oldest of the address with most.
    fn leaves(&mut self, newcomer: Option<Address>) -> Option<Arc<Notify>> {
        let (most, _, largest) = *self.sizes.last()?;
        let fits = |address: &Address| {
            let size = self.held.get(address).map_or(0, BTreeMap::len);
            // One that has been told to go for another newcomer of the address is not among them any more.
            size > 0 && size + self.arriving.get(address).copied().unwrap_or_default() > most
        };
        let address = newcomer.filter(fits).unwrap_or(largest);
        let oldest = *self.held.get(&address)?.first_key_value()?.0;
        self.remove(address, oldest)
    }

    /// Those that go for whoever waits in vain.
    fn pay(&mut self) -> Vec<Arc<Notify>> {
        let mut leaving = Vec::new();
        while self.owed > 0 {
            let Some(told) = self.leaves(None) else { break };
            self.owed -= 1;
            leaving.push(told);
        }
        leaving
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};
    use proptest::prelude::*;

    use super::*;

    fn address(n: u8) -> Address {
        Address::of([192, 0, 2, n].into())
    }

    /// A free place.
    fn free(places: &Arc<Places>, n: u8) -> Place {
        assert!(places.seats.available_permits() > 0);
        places.take(address(n), || ()).now_or_never().flatten().expect("it is free")
    }

    async fn is_told(place: &Place) -> bool {
        poll!(Box::pin(place.told())).is_ready()
    }

    /// Those that are told to go among `held` for a newcomer of the address, by their numbers in the list.
    async fn told_for(places: &Arc<Places>, held: &[Place], newcomer: u8) -> Vec<usize> {
        let mut told = Vec::new();
        let mut taking = Box::pin(places.take(address(newcomer), || ()));
        assert!(poll!(&mut taking).is_pending(), "nobody has gone yet");
        for (n, place) in held.iter().enumerate() {
            if is_told(place).await {
                told.push(n);
            }
        }
        told
    }

    #[tokio::test]
    async fn the_oldest_of_the_address_with_most_makes_room() {
        let places = Places::new(5);
        let held = [2, 1, 1, 1, 3].map(|n| free(&places, n));
        assert_eq!(told_for(&places, &held, 4).await, [1]);
        // The next one of it, and then, of those with one each, the oldest of all.
        assert_eq!(told_for(&places, &held, 4).await, [2]);
        assert_eq!(told_for(&places, &held, 4).await, [0]);
    }

    #[tokio::test]
    async fn who_would_have_most_with_one_more_loses_its_own() {
        let places = Places::new(4);
        let held = [1, 1, 2, 2].map(|n| free(&places, n));
        assert_eq!(told_for(&places, &held, 2).await, [2]);
        let places = Places::new(3);
        let held = [1, 1, 1].map(|n| free(&places, n));
        assert_eq!(told_for(&places, &held, 1).await, [0], "alone, too");
    }

    #[tokio::test]
    async fn those_of_one_address_that_come_together_are_all_counted() {
        let places = Places::new(4);
        let held = [1, 1, 2, 2].map(|n| free(&places, n));
        let mut takings = [(); 2].map(|()| Box::pin(places.take(address(2), || ())));
        for taking in &mut takings {
            assert!(poll!(taking).is_pending());
        }
        for (n, place) in held.iter().enumerate() {
            assert_eq!(is_told(place).await, n >= 2, "{n}");
        }
        drop(held);
        for taking in takings {
            taking.await.expect("a place");
        }
        assert!(places.table.lock().arriving.is_empty());
    }

    #[tokio::test]
    async fn a_newcomer_is_seated_when_the_other_has_gone() {
        let places = Places::new(1);
        let first = free(&places, 1);
        let mut short = 0;
        let mut taking = Box::pin(places.take(address(2), || short += 1));
        assert!(poll!(&mut taking).is_pending());
        assert!(is_told(&first).await);
        assert!(poll!(&mut taking).is_pending(), "there is never one more than there are places");
        drop(first);
        let second = taking.await.expect("a place");
        assert_eq!(short, 1);
        drop(second);
        free(&places, 3);
    }

    #[tokio::test]
    async fn the_place_that_one_has_left_for_another_goes_to_no_third() {
        let places = Places::new(1);
        let first = free(&places, 1);
        // It has not come to the line yet.
        let told = Arc::default();
        let second = places.sit_or_wait(address(2), &told).expect_err("the place is taken");
        drop(first);
        let third = places.sit_or_wait(address(3), &Arc::default()).expect_err("the place is the other's");
        let seat = Arc::clone(&places.seats).acquire_owned().await.expect("it is never closed");
        let second = second.sits(&told, seat);
        assert!(told.notified().now_or_never().is_some(), "for the third");
        drop(third);
        places.table.lock().remove(address(2), second.number);
        drop(second);
        free(&places, 4);
    }

    #[tokio::test]
    async fn who_comes_again_is_one_of_all_again() {
        let places = Places::new(1);
        let first = free(&places, 1);
        first.give_back();
        let second = free(&places, 2);
        let mut again = Box::pin(first.take_again(|| ()));
        assert!(poll!(&mut again).is_pending());
        assert!(is_told(&second).await);
        drop(second);
        again.await;
        assert!(poll!(Box::pin(places.take(address(3), || ()))).is_pending());
        assert!(is_told(&first).await, "it is told to go as others are");
        drop(first);
        free(&places, 4);
    }

    #[tokio::test]
    async fn as_many_go_as_wait_though_they_come_in_later() {
        let places = Places::new(1);
        let first = free(&places, 1);
        let mut takings = [2, 3].map(|n| Box::pin(places.take(address(n), || ())));
        for taking in &mut takings {
            assert!(poll!(taking).is_pending());
        }
        let [second, third] = takings;
        drop(first);
        let second = second.await.expect("a place");
        assert!(is_told(&second).await, "the other one still waits");
        drop(second);
        let third = third.await.expect("a place");
        assert!(!is_told(&third).await, "nobody waits any more");
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_costs_nobody_a_place() {
        let places = Places::new(1);
        let first = free(&places, 1);
        let mut takings = [2, 3].map(|n| Box::pin(places.take(address(n), || ())));
        for taking in &mut takings {
            assert!(poll!(taking).is_pending());
        }
        drop(takings);
        drop(first);
        assert!(!is_told(&free(&places, 4)).await);
    }

    #[tokio::test]
    async fn who_turns_out_to_be_of_another_address_counts_with_that() {
        let places = Places::new(4);
        let mut held = [1, 1, 1, 2].map(|n| free(&places, n));
        held[1].pass_to(address(2));
        held[2].pass_to(address(2));
        assert_eq!(told_for(&places, &held, 3).await, [3], "three are of the second one now");
        held[3].pass_to(address(1));
        assert_eq!(told_for(&places, &held, 3).await, [1], "who was told to go is none of the first one");
        drop(held);
        let table = places.table.lock();
        assert!(table.held.is_empty() && table.sizes.is_empty());
    }

    #[tokio::test]
    async fn who_is_busy_is_not_told_and_who_was_is_the_youngest() {
        let places = Places::new(3);
        let held = [1, 1, 1].map(|n| free(&places, n));
        for place in &held {
            place.busy();
        }
        assert!(places.take_if_one_goes(address(2), || ()).await.is_none());
        held[0].idle();
        held[1].idle();
        held[2].idle();
        held[0].busy();
        held[0].idle();
        assert_eq!(told_for(&places, &held, 2).await, [1]);
    }

    #[tokio::test]
    async fn who_has_given_its_place_back_is_told_nothing() {
        let places = Places::new(1);
        let first = free(&places, 1);
        let mut taking = Box::pin(places.take(address(2), || ()));
        assert!(poll!(&mut taking).is_pending());
        first.give_back();
        assert!(!is_told(&first).await);
        let second = taking.await.expect("a place");
        first.give_back();
        drop(first);
        assert_eq!(places.seats.available_permits(), 0, "it is given back once");
        drop(second);
    }

    #[tokio::test]
    async fn what_is_given_back_leaves_nothing_behind() {
        let places = Places::new(100);
        let held: Vec<_> = (0..100).map(|n| free(&places, n % 7)).collect();
        assert_eq!(places.table.lock().held.len(), 7);
        drop(held);
        let table = places.table.lock();
        assert!(table.held.is_empty() && table.sizes.is_empty());
    }

    proptest! {
        /// Whoever holds no more than the places divided by the addresses keeps what it has, whatever others do.
        #[test]
        fn a_share_is_never_taken(newcomers in prop::collection::vec(0u8..6, 1..200), max in 1usize..40) {
            let mut table = Table::default();
            let mut held: Vec<(u8, Arc<Notify>)> = Vec::new();
            for n in newcomers {
                if held.len() == max {
                    table.arrive(address(n));
                    let leaves = table.leaves(Some(address(n))).expect("one of them");
                    let at = held.iter().position(|(_, told)| Arc::ptr_eq(told, &leaves)).expect("it was held");
                    let (whose, _) = held[at];
                    let size = |whose| held.iter().filter(|(of, _)| *of == whose).count() + usize::from(n == whose);
                    let addresses = (0..6).filter(|of| size(*of) > 0).count();
                    prop_assert!(size(whose) > max / addresses, "{} of {} with {}", size(whose), max, addresses);
                    prop_assert_eq!(Some(at), held.iter().position(|(of, _)| *of == whose), "the oldest");
                    held.remove(at);
                    table.arrived(address(n));
                }
                let told = Arc::new(Notify::new());
                table.insert(address(n), &told);
                held.push((n, told));
            }
        }
    }
}
