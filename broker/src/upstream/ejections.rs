//! What comes of time alone: failures count that have waited for evidence, and ejections end, as backends are tried
//! again and have passed their trials.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock;
use crate::upstream::pool::Pool;

/// How often it looks.
const ROUND: Duration = Duration::from_millis(250);

/// Looks at all backends of these pools until it is dropped. `pools` is asked in each round.
pub(crate) async fn supervise(pools: impl Fn() -> Vec<Arc<Pool>>) {
    loop {
        sleep(ROUND).await;
        let now = clock::now();
        for pool in pools() {
            pool.judge(now);
            for backend in &pool.snapshot().backends {
                backend.advance(now);
            }
        }
    }
}
