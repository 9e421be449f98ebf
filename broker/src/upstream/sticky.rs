//! Clients that come back to the backend that they were at: by a cookie of the broker's own, or by what their backends have
//! given them. Whether that backend may be used is the pool's to say.
//!
//! Whoever sends a request on, an upgrade or another, does this, in this order:
//!
//! 1. [`StickyRequest::find`], of the request as it came: to which backend does its client belong? The answer goes with
//!    the search for a backend ([`StickyRequest::for_session`], [`StickyRequest::for_request`]).
//! 2. [`StickyRequest::strip`], before the headers go to a backend: none sees the broker's cookie.
//! 3. [`StickyRequest::answered`], with the backend that has answered and its headers as they came: what is to be learned
//!    is, and the cookie that the client is to get comes back. When all rules have changed the headers,
//!    [`SetCookie::add_to`].
//! 4. Where [`StickyRequest::learns_of_bodies`], [`StickyRequest::body`] with the first bytes of the answer's body.
//!
//! A session's client is remembered for as long as the session is there ([`Clients::begins`]), so that its cookie, or what
//! was learned, follows when the session moves.

mod cacheable;
mod clients;
mod cookie;
pub(crate) mod engine_io;
mod learned;
mod mac;
mod request;
mod rules;
mod token;

pub(crate) use clients::Clients;
pub(crate) use request::{SetCookie, StickyRequest};
pub(crate) use rules::{Preferred, Sticky};
