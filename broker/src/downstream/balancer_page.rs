//! What a listener for clients tells balancers that ask whether it takes clients: those that stand in front of it see no
//! other port.

use http::{Response, StatusCode};

use crate::broker::Broker;
use crate::metric::{self, LookWord};
use crate::routing::listener::ListenerId;
use crate::snapshot::Snapshot;

use super::response::{ResponseBody, busy, plain};

/// Answers a request for the listener's `health` path, whoever asks. `None`: it is for something else.
pub(super) fn answer(
    broker: &Broker,
    listener: &ListenerId,
    snapshot: &Snapshot,
    path: &str,
) -> Option<Response<ResponseBody>> {
    let own = snapshot.settings.listeners.get(listener.number)?.health.as_deref()?;
    if path != own {
        return None;
    }
    metric::BALANCER_LOOKS.count(LookWord::Path);
    Some(if !broker.is_ready() {
        busy("ending")
    } else if broker.pauses.is_paused(listener.number) {
        busy("paused")
    } else {
        plain(StatusCode::OK, "ready")
    })
}
