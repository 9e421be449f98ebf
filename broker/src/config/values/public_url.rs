//! How the addresses are written at which clients reach backends by themselves.

use super::network::{Scheme, authority_parts, scheme_and_rest, without_user};
use super::request;
use crate::config::settings::PublicUrl;
use crate::config::text::quoted;

/// What [`public_url`] reads, in words.
pub(in crate::config) const PUBLIC_URL: &str = "a URL of ws, wss, http or https";

/// Where clients reach a backend by themselves.
pub(in crate::config) fn public_url(url: &str) -> Result<PublicUrl, String> {
    let found = quoted(&without_user(url));
    let Some((Scheme { tls, websocket, .. }, rest)) = scheme_and_rest(url) else {
        return Err(format!(r#"expected a URL such as "wss://a.chat.example.com", found {found}"#));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(format!("clients are told no user name; remove it from {found}"));
    }
    if path.contains(['?', '#']) {
        return Err(format!("the client's own query is put behind the path; remove ? and # from {found}"));
    }
    if authority_parts(authority).is_none() {
        return Err(format!(
            r#"expected HOST, HOST:PORT or "[IPv6]:PORT" with a port from 1 to 65535 in {found}"#
        ));
    }
    if !path.is_empty() {
        request::target(path)?;
    }
    let place = format!("{authority}{}", path.trim_end_matches('/'));
    Ok(PublicUrl { tls, websocket, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_urls_are_read() {
        for (url, tls, websocket, place) in [
            ("wss://a.example.com", true, true, "a.example.com"),
            ("WS://a:9001/", false, true, "a:9001"),
            ("https://a.example.com/chat/v2/", true, false, "a.example.com/chat/v2"),
            ("http://[::1]:80//", false, false, "[::1]:80"),
        ] {
            let expected = PublicUrl { tls, websocket, place: place.to_owned() };
            assert_eq!(public_url(url), Ok(expected), "{url}");
        }
        for url in [
            "",
            "a.example.com",
            "//a",
            "unix:/run/a.sock",
            "ftp://a",
            "wss://",
            "wss://:1",
            "wss://a:0",
            "wss://a b",
            "wss://a?x",
            "wss://a/#x",
            "wss://a/b c",
            "wss://a/é",
            "wss://u:secret@a",
        ] {
            let error = public_url(url).expect_err(url);
            assert!(!error.contains('\n') && !error.contains("secret"), "{error}");
        }
    }
}
