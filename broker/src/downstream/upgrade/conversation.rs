//! What a session is told that depends on the protocol which its client speaks.

use std::sync::Arc;

use http::{HeaderMap, Uri};
use steadfast_protocol::session::Config;

use crate::config::settings::OnFailure;
use crate::http::backend_headers::supports_failover;
use crate::routing::binding::RouteBinding;
use crate::upstream::conversations::{Help, recognise};
use crate::upstream::pool::PoolSnapshot;

/// The machine's configuration for a client that asks for `target`, with the subprotocols that are agreed on, or
/// offered; and whether it must reconnect when the backend that gave this `answer` is left. The configuration is
/// that of the pool as it was when it was dialled, whatever a reload has made of it.
pub(super) fn terms(
    binding: &RouteBinding,
    present: &PoolSnapshot,
    target: &Uri,
    subprotocols: &[u8],
    answer: &HeaderMap,
) -> (Arc<Config>, bool) {
    let pools = || (Arc::clone(&present.session), false);
    if present.settings.on_failure != OnFailure::Auto {
        return pools();
    }
    let Some(conversation) = recognise(target, subprotocols) else { return pools() };
    if supports_failover(answer) {
        return pools();
    }
    binding.pool.announce(conversation);
    match conversation.help {
        Help::Close => (Arc::clone(&present.session), true),
        Help::Hold => (Arc::clone(&present.held), false),
    }
}
