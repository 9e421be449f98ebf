//! What a session holds for as long as it lasts: its place among all, and with it what all share, its address's places,
//! and the name by which its client comes back. All of it is given back when dropped.

use std::sync::Arc;

use crate::routing::admission::{AddressPermit, AddressPermits};

use super::context::{SessionContext, SessionPermit};
use super::resumption::Claimed;

/// A session's places.
#[derive(Debug)]
pub(crate) struct SessionPermits {
    session: SessionPermit,
    _rare: Option<Box<RarePermits>>,
}

/// What few sessions hold.
#[derive(Debug)]
struct RarePermits {
    _address: Option<[Option<AddressPermit>; 2]>,
    _claimed: Option<Claimed>,
}

impl SessionPermits {
    /// `claimed`: what a plain client that may come back is known by.
    pub(crate) fn new(
        session: SessionPermit,
        address: AddressPermits,
        claimed: Option<Claimed>,
    ) -> SessionPermits {
        let rare = address.is_some() || claimed.is_some();
        let rare = rare
            .then(|| Box::new(RarePermits { _address: address.map(|address| *address), _claimed: claimed }));
        SessionPermits { session, _rare: rare }
    }

    /// What all sessions share.
    #[inline]
    pub(super) fn context(&self) -> &Arc<SessionContext> {
        self.session.context()
    }
}
