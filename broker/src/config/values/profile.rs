//! How rules for the messages of a protocol are written.

use crate::config::text::quoted;

/// Bytes of a template, of a message, or of a name in either.
const LENGTH_MAX: usize = 4096;

/// The name of something in a session. What stands in braces is judged with the rule.
pub(in crate::config) fn template(text: &str) -> Result<String, String> {
    bounded(text, "a name of 1", 1)
}

/// A message that the broker says.
pub(in crate::config) fn message(text: &str) -> Result<String, String> {
    bounded(text, "a message of 0", 0)
}

/// The name of an event.
pub(in crate::config) fn event(text: &str) -> Result<String, String> {
    bounded(text, "an event's name of 1", 1)
}

/// A place in a JSON document (RFC 6901).
pub(in crate::config) fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.len() <= LENGTH_MAX {
        return Ok(text.to_owned());
    }
    Err(format!(r#"expected a JSON pointer such as "/params/subscription", found {}"#, quoted(text)))
}

/// A subprotocol (RFC 6455, 4.1), or how it begins, with a `*` at the end.
pub(in crate::config) fn subprotocol(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('*').unwrap_or(text);
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    if !name.is_empty() && name.len() <= LENGTH_MAX && name.bytes().all(is_token) {
        return Ok(text.to_owned());
    }
    Err(format!(r#"expected a subprotocol such as "my.v1", or "my.v*", found {}"#, quoted(text)))
}

/// A parameter of a query, with its value if that counts.
pub(in crate::config) fn parameter(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if !name.is_empty() && text.len() <= LENGTH_MAX && !text.contains(['&', '#', '?']) {
        return Ok((name.to_owned(), value));
    }
    Err(format!(r#"expected a parameter's name such as "v", or "v=2", found {}"#, quoted(text)))
}

fn bounded(text: &str, what: &str, min: usize) -> Result<String, String> {
    if (min..=LENGTH_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("expected {what} to {LENGTH_MAX} bytes, found {}", quoted(text)))
}
