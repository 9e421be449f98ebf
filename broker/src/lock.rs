//! The order in which the broker's locks are taken. A debug build panics when a thread takes one out of that order, with
//! the names of both, where other builds might wait for ever; they pay nothing for it.
//!
//! Whoever panics with a lock in its hands leaves what it had changed so far: the next one goes on with that. Locks
//! that tasks wait for (tokio's) are not among these: no lock of these is held across an await.

mod check;
pub(crate) mod rank;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use check::HeldRank;
use rank::LockRank;

/// A mutex with a place in the order.
pub(crate) struct OrderedMutex<T, R>(Mutex<T>, PhantomData<fn() -> R>);

/// A lock for many readers or one writer, with a place in the order. A thread reads it once at a time.
pub(crate) struct OrderedRwLock<T, R>(RwLock<T>, PhantomData<fn() -> R>);

/// What a lock guards, until this is dropped.
pub(crate) struct OrderedGuard<G> {
    guard: G,
    _held: HeldRank,
}

pub(crate) type OrderedMutexGuard<'a, T> = OrderedGuard<MutexGuard<'a, T>>;

impl<T, R: LockRank> OrderedMutex<T, R> {
    pub(crate) const fn new(value: T) -> Self {
        OrderedMutex(Mutex::new(value), PhantomData)
    }

    /// Waits for it.
    #[inline]
    #[track_caller]
    pub(crate) fn lock(&self) -> OrderedMutexGuard<'_, T> {
        let held = enter::<R>();
        OrderedGuard { guard: self.0.lock().unwrap_or_else(PoisonError::into_inner), _held: held }
    }
}

impl<T, R: LockRank> OrderedRwLock<T, R> {
    pub(crate) const fn new(value: T) -> Self {
        OrderedRwLock(RwLock::new(value), PhantomData)
    }

    /// Waits until nobody writes.
    #[inline]
    #[track_caller]
    pub(crate) fn read(&self) -> OrderedGuard<RwLockReadGuard<'_, T>> {
        let held = enter::<R>();
        OrderedGuard { guard: self.0.read().unwrap_or_else(PoisonError::into_inner), _held: held }
    }

    /// Waits until nobody reads or writes.
    #[inline]
    #[track_caller]
    pub(crate) fn write(&self) -> OrderedGuard<RwLockWriteGuard<'_, T>> {
        let held = enter::<R>();
        OrderedGuard { guard: self.0.write().unwrap_or_else(PoisonError::into_inner), _held: held }
    }
}

/// A lock inside something that has its own, such as a concurrent map, counts as held until this is dropped.
#[inline]
#[track_caller]
#[must_use = "it counts as held until this is dropped"]
pub(crate) fn enter<R: LockRank>() -> HeldRank {
    HeldRank::enter(R::LEVEL, R::NAME)
}

impl<T: Default, R: LockRank> Default for OrderedMutex<T, R> {
    fn default() -> Self {
        OrderedMutex::new(T::default())
    }
}

impl<T: fmt::Debug, R> fmt::Debug for OrderedMutex<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Debug, R> fmt::Debug for OrderedRwLock<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<G: Deref> Deref for OrderedGuard<G> {
    type Target = G::Target;

    #[inline]
    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for OrderedGuard<G> {
    #[inline]
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

#[cfg(test)]
mod tests {
    use super::rank::{BookRank, DirectoryRank, EntryRank, StatusRank, TicketsRank};
    use super::*;

    #[test]
    fn a_lock_is_as_large_as_without_an_order() {
        assert_eq!(size_of::<OrderedMutex<[u64; 3], EntryRank>>(), size_of::<Mutex<[u64; 3]>>());
        assert_eq!(size_of::<OrderedRwLock<[u64; 3], EntryRank>>(), size_of::<RwLock<[u64; 3]>>());
    }

    #[test]
    fn in_their_order_all_may_be_held_and_let_go_in_any() {
        let book = OrderedMutex::<_, BookRank>::new(1);
        let entry = OrderedMutex::<_, EntryRank>::new(2);
        let status = OrderedRwLock::<_, StatusRank>::new(3);
        for _ in 0..2 {
            let first = book.lock();
            let directory = enter::<DirectoryRank>();
            let mut second = entry.lock();
            let third = status.read();
            *second += *first + *third;
            drop(first);
            drop(third);
            *status.write() += 1;
            drop(directory);
            drop(second);
            // What was let go may be taken again, whatever is still held.
            let again = entry.lock();
            assert!(*again > 2 && *status.read() > 3);
        }
    }

    #[test]
    fn what_another_thread_holds_is_not_ones_own() {
        let (book, entry) = (OrderedMutex::<_, BookRank>::new(()), OrderedMutex::<_, EntryRank>::new(()));
        let _held = entry.lock();
        std::thread::scope(|scope| {
            scope.spawn(|| drop(book.lock())).join().expect("it holds nothing itself");
        });
    }

    #[test]
    fn after_a_panic_it_is_taken_as_it_was_left() {
        let status = OrderedMutex::<_, StatusRank>::new(1);
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                *status.lock() = 2;
                let _held = status.lock();
                panic!("with the lock in its hands");
            });
            assert!(panics.join().is_err());
        });
        assert_eq!(*status.lock(), 2);
    }

    #[cfg(debug_assertions)]
    mod out_of_order {
        use super::*;

        #[test]
        #[should_panic(expected = "takes the book of operations while it holds a session's entry")]
        fn the_book_while_an_entry_is_held() {
            let (book, entry) = (OrderedMutex::<_, BookRank>::new(()), OrderedMutex::<_, EntryRank>::new(()));
            let _entry = entry.lock();
            let _book = book.lock();
        }

        #[test]
        #[should_panic(expected = "takes the directory of sessions while it holds a session's entry")]
        fn the_directory_while_an_entry_is_held() {
            let entry = OrderedMutex::<_, EntryRank>::new(());
            let _entry = entry.lock();
            let _directory = enter::<DirectoryRank>();
        }

        #[test]
        #[should_panic(expected = "takes a session's entry while it holds a session's entry")]
        fn two_of_the_same_place() {
            let [one, other] = [(), ()].map(OrderedMutex::<_, EntryRank>::new);
            let _one = one.lock();
            let _other = other.lock();
        }

        #[test]
        #[should_panic(expected = "takes the tickets while it holds a backend's status")]
        fn two_of_the_innermost() {
            let status = OrderedRwLock::<_, StatusRank>::new(());
            let tickets = OrderedMutex::<_, TicketsRank>::new(());
            let _status = status.read();
            let _tickets = tickets.lock();
        }

        #[test]
        #[should_panic(expected = "takes the book of operations while it holds a backend's status")]
        fn what_was_let_go_in_between_hides_nothing() {
            let (book, entry) = (OrderedMutex::<_, BookRank>::new(()), OrderedMutex::<_, EntryRank>::new(()));
            let status = OrderedMutex::<_, StatusRank>::new(());
            let first = entry.lock();
            let _status = status.lock();
            drop(first);
            let _book = book.lock();
        }
    }
}
