//! What is answered to something that was not done.

use serde::{Deserialize, Serialize};

use crate::words::words;

/// An error.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorReply {
    pub(crate) error: ErrorBody,
}

/// What is wrong.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) code: ErrorCode,
    /// A sentence.
    pub(crate) message: String,
    /// The operation that stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
}

words! {
    /// What kind of error it is.
    pub(crate) enum ErrorCode {
        Invalid = "invalid",
        Unauthorized = "unauthorized",
        Forbidden = "forbidden",
        NotFound = "not_found",
        MethodNotAllowed = "method_not_allowed",
        Conflict = "conflict",
        Taken = "taken",
        NotReloaded = "not_reloaded",
        Busy = "busy",
        /// One that this version does not know: its message counts all the same.
        #[serde(other)]
        Other = "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_whatever_its_code() {
        let json = r#"{"error":{"code":"of_tomorrow","message":"not today","operation":"drain-3"}}"#;
        let ErrorReply { error } = serde_json::from_str(json).expect("an error");
        assert_eq!((error.code, &*error.message), (ErrorCode::Other, "not today"));
        assert_eq!(error.operation.as_deref(), Some("drain-3"));
    }
}
