//! What a thread holds, for debug builds. In others there is nothing in here.

use std::marker::PhantomData;

/// A lock counts as held by this thread until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldRank {
    #[cfg(debug_assertions)]
    held: stack::Held,
    /// It belongs to its thread.
    _here: PhantomData<*const ()>,
}

#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<HeldRank>() == 0 && !std::mem::needs_drop::<HeldRank>());

impl HeldRank {
    /// Counts a lock as held, before it is waited for.
    ///
    /// # Panics
    /// In debug builds, when this thread holds one of this level or of a deeper one.
    #[inline]
    #[track_caller]
    #[cfg_attr(not(debug_assertions), allow(unused_variables, reason = "nothing is looked at"))]
    pub(super) fn enter(level: u8, name: &'static str) -> HeldRank {
        HeldRank {
            #[cfg(debug_assertions)]
            held: stack::enter(stack::Held { level, name }),
            _here: PhantomData,
        }
    }
}

#[cfg(debug_assertions)]
impl Drop for HeldRank {
    fn drop(&mut self) {
        stack::leave(self.held);
    }
}

#[cfg(debug_assertions)]
mod stack {
    use std::cell::RefCell;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Held {
        pub(super) level: u8,
        pub(super) name: &'static str,
    }

    thread_local! {
        static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
    }

    #[track_caller]
    pub(super) fn enter(next: Held) -> Held {
        // At the end of its life a thread has no list any more, and who panics already is not stopped once more.
        let before = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            let before = held.iter().copied().find(|own| own.level >= next.level);
            held.push(next);
            before
        });
        match before {
            Ok(Some(before)) if !std::thread::panicking() => {
                leave(next);
                panic!("locks out of order: a thread takes {} while it holds {}", next.name, before.name);
            }
            _ => next,
        }
    }

    pub(super) fn leave(one: Held) {
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(n) = held.iter().rposition(|own| *own == one) {
                held.remove(n);
            }
        });
    }
}
