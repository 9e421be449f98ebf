//! An upgrade that is turned away: why, and with which answer.

use http::StatusCode;

use crate::metric::DenialReason;

/// Why a client may not come in, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) reason: DenialReason,
    /// 403 for what stays so, 429 for what passes (RFC 6585, 4).
    pub(crate) status: StatusCode,
    /// When to try again, in seconds; at least 1.
    pub(crate) retry_after: Option<u32>,
    /// For the person who reads the answer.
    pub(crate) sentence: &'static str,
}
