//! What a session holds for as long as it lasts: its place among all, its address's places, and the name by which its
//! client comes back. All of it is given back when dropped.

use crate::routing::admission::AddressPermits;

use super::registry::SessionPermit;
use super::resumption::Claimed;

/// A session's places.
#[derive(Debug)]
pub(crate) struct SessionPermits {
    _session: SessionPermit,
    _address: AddressPermits,
    _claimed: Option<Box<Claimed>>,
}

impl SessionPermits {
    /// `claimed`: what a plain client that may come back is known by.
    pub(crate) fn new(
        session: SessionPermit,
        address: AddressPermits,
        claimed: Option<Claimed>,
    ) -> SessionPermits {
        SessionPermits { _session: session, _address: address, _claimed: claimed.map(Box::new) }
    }
}
