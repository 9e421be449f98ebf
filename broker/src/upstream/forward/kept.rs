//! Connections to backends that wait for their next request. Each worker has its own, so that none is ever waited for or
//! woken across threads; the newest is used first, so that the others grow old and are closed.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::RequestConnection;

/// One that waits.
struct IdleConnection {
    connection: RequestConnection,
    until: Instant,
}

thread_local! {
    /// By the backend's id, the oldest first.
    static KEPT: RefCell<HashMap<usize, VecDeque<IdleConnection>>> = RefCell::default();
}

/// Takes the newest connection to a backend that can serve a request now.
pub(super) fn take(backend: usize) -> Option<RequestConnection> {
    KEPT.with_borrow_mut(|kept| {
        let line = kept.get_mut(&backend)?;
        let now = Instant::now();
        line.retain(|one| one.connection.is_open() && one.until > now);
        // One whose last answer has just ended is ready in a moment, and stays.
        let ready = line.iter().rposition(|one| one.connection.is_ready())?;
        line.remove(ready).map(|one| one.connection)
    })
}

/// Keeps a connection for so long, as one of so many.
pub(super) fn keep(backend: usize, connection: RequestConnection, most: usize, time: Duration) {
    if most == 0 || !connection.is_open() {
        return;
    }
    KEPT.with_borrow_mut(|kept| {
        let line = kept.entry(backend).or_default();
        while line.len() >= most {
            line.pop_front();
        }
        line.push_back(IdleConnection { connection, until: Instant::now() + time });
    });
}

/// Closes those of this thread whose time is over, or whose backends have closed them.
pub(crate) fn sweep() {
    KEPT.with_borrow_mut(|kept| {
        let now = Instant::now();
        kept.retain(|_, line| {
            line.retain(|one| one.connection.is_open() && one.until > now);
            !line.is_empty()
        });
    });
}
