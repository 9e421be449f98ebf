//! Waiting for conditions, never for times: each wait names what it awaits and gives up with that name.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long any single condition may take. Generous, for this bound only ends a test that has failed already.
pub const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(15);

/// Waits until `condition` holds. Panics with `what` when it does not in [`PATIENCE`].
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(what, || condition().then_some(())).await;
}

/// Waits until `probe` gives a value, and returns it.
pub async fn eventually_some<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for: {what}");
        sleep(POLL).await;
    }
}

/// Waits until `probe`, which itself waits (for the admin listener, say), gives a value.
pub async fn eventually_async<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = bounded(what, probe()).await {
            return value;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for: {what}");
        sleep(POLL).await;
    }
}

/// Awaits `future`. Panics with `what` when it takes longer than [`PATIENCE`].
pub async fn bounded<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {PATIENCE:?} in vain for: {what}"),
    }
}
