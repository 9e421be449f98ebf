//! Clients that belong to one of the pool's backends: who they are, and how they get there.

use std::sync::Arc;

use http::Uri;
use http::header::HeaderMap;
use steadfast_protocol::time::Time;
use tokio::time::{Instant, sleep_until};

use super::{Ask, Pool, PoolSnapshot};
use crate::clock;
use crate::config::settings::QueueSettings;
use crate::upstream::backend::{Backend, BackendLease, NotOwn};
use crate::upstream::queue::LOOK;
use crate::upstream::sticky::{Preferred, Sticky, StickyRequest};

impl PoolSnapshot {
    /// Finds to which backend the client of a request belongs. `over_tls`: so the client has asked.
    pub(crate) fn identify(&self, uri: &Uri, headers: &HeaderMap, over_tls: bool) -> StickyRequest {
        StickyRequest::find(self.sticky.as_ref(), &self.backends, (uri, headers, over_tls))
    }
}

impl Pool {
    /// A session has moved to this backend.
    pub(crate) fn session_moved(&self, session: u128, backend: &Backend) {
        if let Some(sticky) = &self.snapshot().sticky {
            sticky.moved(session, backend);
        }
    }

    /// Where a session goes that leaves its backend, if its client has gone somewhere already.
    pub(crate) fn gone_to(&self, session: u128, left: Option<usize>) -> Option<Preferred> {
        let present = self.snapshot();
        present.sticky.as_ref()?.gone_to(session, &present.backends, left)
    }

    /// A lease on the backend that the client belongs to, without waiting.
    pub(super) fn pick_own(&self, now: Time, ask: &Ask<'_>) -> Result<BackendLease, NotOwn> {
        let preferred = ask.preferred.filter(|own| !ask.tried.contains(&own.backend)).ok_or(NotOwn::Out)?;
        let present = self.snapshot();
        let backend = present.backends.iter().find(|backend| backend.id == preferred.backend);
        backend.ok_or(NotOwn::Out)?.lease_own(now, preferred.reach)
    }

    /// The same, waiting while it is full, for as long as the queue has it. They wait aside: first in the line, they
    /// would keep others from places that they do not want. `waits` is told when that begins.
    pub(super) async fn lease_own(&self, ask: &Ask<'_>, waits: impl Fn()) -> Option<BackendLease> {
        match self.pick_own(clock::now(), ask) {
            Ok(lease) => return Some(lease),
            Err(NotOwn::Out) => return None,
            Err(NotOwn::Full) => {}
        }
        let QueueSettings { max, timeout } = self.snapshot().settings.queue;
        let _place = self.waiting_for_own.join(max)?;
        waits();
        let until = Instant::now() + timeout;
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + LOOK)).await;
            match self.pick_own(clock::now(), ask) {
                Ok(lease) => return Some(lease),
                Err(NotOwn::Out) => return None,
                Err(NotOwn::Full) => {}
            }
        }
        None
    }

    /// The sticky settings of these, for what is known of the clients.
    pub(super) fn with_clients(&self, next: PoolSnapshot) -> PoolSnapshot {
        let sticky = next.settings.sticky.as_ref();
        let sticky = sticky.map(|settings| Arc::new(Sticky::new(&self.name, settings, &self.clients)));
        PoolSnapshot { sticky, ..next }
    }
}
