//! How a pool's clients come back to the backend that they were at.

use std::time::Duration;

use http::header::HeaderName;

use super::HashKey;
use crate::config::cookie_secrets::CookieSecrets;
use crate::config::place::NamedFile;

/// How a pool's clients come back to the backend that they were at.
#[derive(Debug, Clone)]
pub struct StickySettings {
    /// What a client is known by.
    pub mode: StickyMode,
    /// What becomes of a client whose backend is drained, or has a weight of zero.
    pub draining: StickyDraining,
}

/// What a client is known by.
#[derive(Debug, Clone)]
pub enum StickyMode {
    /// A cookie of the broker's own.
    Insert(StickyCookie),
    /// What its backend gives it.
    Learn(StickyLearning),
}

/// What becomes of a client whose backend is drained, or has a weight of zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StickyDraining {
    /// Its requests still go there. A session never goes to a backend that is drained, which it would have to leave
    /// at once.
    Follow,
    /// It goes elsewhere.
    Leave,
}

/// The broker's own cookie (RFC 6265).
#[derive(Debug, Clone)]
pub struct StickyCookie {
    /// Its name.
    pub name: String,
    /// Where the keys are that sign it; `None`: a key of this process.
    pub secret_file: Option<NamedFile>,
    /// What is in that file, see [`crate::config::secrets::read`].
    pub secrets: CookieSecrets,
    /// Its `SameSite`.
    pub same_site: SameSite,
    /// When it is `Secure`.
    pub secure: CookieSecure,
    /// Whether it is `HttpOnly`: no script sees it.
    pub http_only: bool,
    /// Whether it is `Partitioned`: each site that embeds the service has one of its own.
    pub partitioned: bool,
    /// Its `Domain`; `None`: the host that was asked alone.
    pub domain: Option<String>,
    /// Its `Path`.
    pub path: String,
    /// It counts for so long after it was last shown. Zero: for ever.
    pub max_idle: Duration,
    /// It counts for so long in all. Zero: for ever.
    pub max_life: Duration,
    /// Whether a backend may set a cookie of this name, which then goes to the client in place of the broker's own.
    pub preserve: bool,
}

/// Who sends a cookie (RFC 6265bis, 5.4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Pages of the same site, and links to it.
    Lax,
    /// Pages of the same site.
    Strict,
    /// All pages.
    None,
}

/// When a cookie is `Secure`: sent over TLS alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieSecure {
    /// If the request came over TLS, to the broker or to a proxy that it trusts.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What is learned of the answers of backends, and where it is looked for in requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickyLearning {
    /// Where it stands in answers.
    pub from: LearnFrom,
    /// Where it stands in requests.
    pub lookup: HashKey,
    /// So many values are known at once; then the one goes that was not used for longest.
    pub entries: usize,
    /// A value is known for so long after it was last used.
    pub timeout: Duration,
}

/// Where a value stands in answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LearnFrom {
    /// The first value of a header.
    Header(HeaderName),
    /// A cookie that is set.
    Cookie(String),
    /// The `sid` of Engine.IO, at the beginning of a polling answer's body.
    EngineIo,
}
