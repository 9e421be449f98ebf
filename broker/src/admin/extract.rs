//! What handlers take from a request. What cannot be read is answered as all other errors are.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::AdminError;
use crate::api::model::errors::ErrorCode;

/// The parts of the path that stand for something, decoded.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, AdminError> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        let axum::extract::Path(value) = read.map_err(|rejection| {
            AdminError::new(rejection.status(), ErrorCode::Invalid, rejection.body_text())
        })?;
        Ok(Path(value))
    }
}

/// A body that may be left out. One that is there must be JSON and be called so: what somebody wants is not
/// to be passed over.
#[derive(Debug)]
pub(super) struct OptionalBody<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = AdminError;

    async fn from_request(request: Request, state: &S) -> Result<OptionalBody<T>, AdminError> {
        let (parts, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await?;
        if bytes.is_empty() {
            return Ok(OptionalBody(T::default()));
        }
        let Json(value) = Json::from_request(Request::from_parts(parts, bytes.into()), state).await?;
        Ok(OptionalBody(value))
    }
}

impl From<BytesRejection> for AdminError {
    fn from(rejection: BytesRejection) -> AdminError {
        AdminError::new(rejection.status(), ErrorCode::Invalid, rejection.body_text())
    }
}

impl From<JsonRejection> for AdminError {
    fn from(rejection: JsonRejection) -> AdminError {
        let status = match rejection {
            // As every other value that is not allowed.
            JsonRejection::JsonDataError(_) => StatusCode::BAD_REQUEST,
            _ => rejection.status(),
        };
        AdminError::new(status, ErrorCode::Invalid, rejection.body_text())
    }
}
