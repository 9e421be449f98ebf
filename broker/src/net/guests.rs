//! Clients' connections that stay for their next request. They have a place among the sessions, since each may need a
//! connection to a backend; where places run short, those go that wait, before anybody is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::Notify;

use super::address::Address;
use super::places::{Place, Places};

/// All of them.
#[derive(Debug)]
pub(crate) struct Guests {
    /// There are as many places as there can be connections, so nobody waits for one.
    places: Arc<Places>,
    ending: AtomicBool,
    told: Notify,
}

impl Guests {
    /// Of so many connections at the most.
    pub(crate) fn new(most: usize) -> Guests {
        Guests { places: Places::new(most), ending: AtomicBool::new(false), told: Notify::new() }
    }

    /// A place for a connection that is busy at first.
    pub(crate) async fn join(&self, address: Address) -> Option<Place> {
        let place = self.places.take(address, || ()).await?;
        place.busy();
        Some(place)
    }

    /// Tells one that waits to go.
    pub(crate) fn make_room(&self) {
        self.places.tell_one();
    }

    /// Tells all to go, each when its present request is answered.
    pub(crate) fn end(&self) {
        self.ending.store(true, SeqCst);
        self.told.notify_waiters();
    }

    /// All are told to go.
    pub(crate) fn are_ending(&self) -> bool {
        self.ending.load(SeqCst)
    }

    /// Waits until all are told to go.
    pub(crate) async fn ended(&self) {
        let told = self.told.notified();
        if !self.are_ending() {
            told.await;
        }
    }
}
