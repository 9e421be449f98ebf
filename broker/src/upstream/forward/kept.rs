//! Connections to backends that wait for their next request. Each worker has its own, so that none is ever waited for or
//! woken across threads; the newest is used first, so that the others grow old and are closed.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::RequestConnection;

/// One that waits.
struct IdleConnection {
    connection: RequestConnection,
    until: Instant,
}

/// Those of one thread.
#[derive(Default)]
struct IdleConnections {
    /// By the backend's id, the oldest first.
    lines: BTreeMap<usize, VecDeque<IdleConnection>>,
    /// So many there are.
    count: usize,
    /// So many there may be.
    most: usize,
}

thread_local! {
    static KEPT: RefCell<IdleConnections> = RefCell::default();
}

/// Takes the newest connection to a backend.
pub(super) fn take(backend: usize) -> Option<RequestConnection> {
    KEPT.with_borrow_mut(|kept| {
        let line = kept.lines.get_mut(&backend)?;
        let now = Instant::now();
        while let Some(IdleConnection { connection, until }) = line.pop_back() {
            kept.count -= 1;
            if connection.is_open() && until > now {
                return Some(connection);
            }
        }
        None
    })
}

/// Keeps a connection for so long, as one of so many to its backend.
pub(super) fn keep(backend: usize, connection: RequestConnection, most: usize, time: Duration) {
    KEPT.with_borrow_mut(|kept| {
        if most == 0 || kept.count >= kept.most || !connection.is_open() {
            return;
        }
        let line = kept.lines.entry(backend).or_default();
        while line.len() >= most {
            line.pop_front();
            kept.count -= 1;
        }
        line.push_back(IdleConnection { connection, until: Instant::now() + time });
        kept.count += 1;
    });
}

/// Closes those of this thread whose time is over, or whose backends have closed them. From now on there may be so many in
/// all: none where descriptors run short.
pub(crate) fn sweep(most: usize) {
    KEPT.with_borrow_mut(|kept| {
        let now = Instant::now();
        kept.most = most;
        kept.lines.retain(|_, line| {
            line.retain(|one| most > 0 && one.connection.is_open() && one.until > now);
            !line.is_empty()
        });
        kept.count = kept.lines.values().map(VecDeque::len).sum();
    });
}
