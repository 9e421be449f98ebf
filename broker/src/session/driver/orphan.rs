//! A session whose backend has failed and whose client is to reconnect: whether somebody could take it by now.

use steadfast_protocol::time::Time;

use crate::session::registry::{Core, Entry};

use super::Io;

impl Io {
    /// Looks for room, as the machine has asked. True: there is some.
    pub(super) fn seek_room(&mut self, entry: &Entry, core: &mut Core, now: Time) -> bool {
        let Some(since) = core.machine.orphaned() else { return false };
        let pool = &entry.binding.pool;
        let left = self.moving.as_ref().and_then(|moving| moving.just_failed.as_ref());
        let beside = pool.room_beside(now, left.map(|backend| backend.id));
        // The one that has failed is believed to be back only when it takes connections.
        let from = || (pool.sources(), pool.snapshot().dialing.connect);
        let back = || left.map_or(0, |backend| backend.room_if_back(from, now, since));
        let invited = pool.invite(now, if beside > 0 { beside } else { back() });
        core.machine.handle_room(now, invited);
        invited
    }
}
