//! The 101 that a client gets.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::config::settings::HeaderRules;
use crate::http::header_rules;
use crate::http::hop_by_hop::end_to_end;
use crate::upstream::dial::{Agreed, Link};

use super::offer::Spoken;
use super::{ResponseBody, nothing};

/// The backend's, as the client is to see it.
pub(super) fn switching(
    link: &Link,
    key: Option<&HeaderValue>,
    (agreed, spoken): (&Agreed, &Spoken),
    rules: Option<&HeaderRules>,
) -> Response<ResponseBody> {
    let protocol = match spoken {
        Spoken::Plain(protocol) => protocol.clone(),
        Spoken::Shim(protocol) => Some(protocol.clone()),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in end_to_end(&link.headers) {
        headers.append(name, value.clone());
    }
    let extensions = agreed.deflate.and_then(|deflate| HeaderValue::from_str(&deflate.to_client()).ok());
    let ours = [(header::SEC_WEBSOCKET_PROTOCOL, protocol), (header::SEC_WEBSOCKET_EXTENSIONS, extensions)];
    answer(key, headers, rules, ours)
}

/// For a client that comes back to its session: no backend is asked.
pub(super) fn switching_back(
    key: Option<&HeaderValue>,
    protocol: Option<HeaderValue>,
    rules: Option<&HeaderRules>,
) -> Response<ResponseBody> {
    let none = (header::SEC_WEBSOCKET_EXTENSIONS, None);
    answer(key, HeaderMap::new(), rules, [(header::SEC_WEBSOCKET_PROTOCOL, protocol), none])
}

fn answer(
    key: Option<&HeaderValue>,
    mut headers: HeaderMap,
    rules: Option<&HeaderRules>,
    ours: [(HeaderName, Option<HeaderValue>); 2],
) -> Response<ResponseBody> {
    if let Some(rules) = rules {
        header_rules::apply(rules, &mut headers, |_| false);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = derive_accept_key(key.map_or(b"", HeaderValue::as_bytes));
    let accept = (header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).ok());
    for (name, value) in ours.into_iter().chain([accept]) {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    let mut response = Response::new(nothing());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}
