//! What a session is told that depends on the protocol which its client speaks.

use std::sync::Arc;

use http::{HeaderMap, Uri};
use steadfast_profiles::Profile;
use steadfast_protocol::session::{ClientKind, Config};

use crate::http::backend_headers::supports_failover;
use crate::routing::binding::RouteBinding;
use crate::upstream::conversations::Treatment;
use crate::upstream::dial::Agreed;
use crate::upstream::pool::PoolSnapshot;

/// What it is told: as the pool was when it was dialled, whatever a reload has made of it.
pub(super) struct Terms {
    /// For its machine.
    pub(super) config: Arc<Config>,
    /// The client must reconnect when the backend is left.
    pub(super) begins_anew: bool,
    /// What says how its client's conversation is repeated.
    pub(super) profile: Option<Arc<Profile>>,
}

/// The terms for a client that asks for `target` and speaks these subprotocols, those that are agreed on, or else offered.
/// The backend gave this `answer`, with what is `agreed`. Who links the shim, or may come back, goes on by itself.
pub(super) fn terms(
    binding: &RouteBinding,
    present: &PoolSnapshot,
    target: &Uri,
    (subprotocols, agreed): (&[u8], &Agreed),
    (answer, client): (&HeaderMap, &ClientKind),
) -> Terms {
    let plain = || Terms { config: Arc::clone(&present.session), begins_anew: false, profile: None };
    let conversations = &present.conversations;
    if supports_failover(answer) && !conversations.are_named() {
        return plain();
    }
    let (treatment, told) = conversations.treatment(target, subprotocols);
    if let Some(told) = told {
        binding.pool.announce(&told);
    }
    let alone = !agreed.shim && matches!(client, ClientKind::Plain);
    match treatment {
        Treatment::Plain => plain(),
        Treatment::Hold => Terms { config: Arc::clone(&present.held), ..plain() },
        Treatment::Close => Terms { begins_anew: alone, ..plain() },
        // Nothing is compressed then, since nothing was offered.
        Treatment::Profile(profile) => {
            Terms { profile: Some(profile).filter(|_| alone && agreed.deflate.is_none()), ..plain() }
        }
    }
}
