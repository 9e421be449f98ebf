//! The query parameter by which a client that does not link the shim comes back to its session.

use std::fmt;
use std::ops::RangeInclusive;

use http::uri::PathAndQuery;
use http::{Request, Uri};

/// The parameter's name.
const PARAMETER: &str = "steadfast-resume";

/// Characters of a token: from 128 bits of entropy to what nobody needs.
const LENGTHS: RangeInclusive<usize> = 22..=128;

const FORM: &str = "steadfast-resume must be 22 to 128 characters of base64url: A-Z a-z 0-9 - _";
const TWICE: &str = "the query has more than one steadfast-resume; send one";
const TARGET: &str = "the request's target cannot be read";

/// A secret of the client's own making, one for each of its logical connections: whoever shows it again
/// gets the session.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlainToken(Box<str>);

impl fmt::Debug for PlainToken {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainToken(...)")
    }
}

/// Takes the parameter out of the request's target, so that no backend sees it; everything else of the
/// target stays as it is. `None`: there is none.
///
/// # Errors
///
/// What is wrong with it, for the client. The request is then as it was.
pub(super) fn take<B>(request: &mut Request<B>) -> Result<Option<PlainToken>, &'static str> {
    let uri = request.uri();
    let pairs = uri.query().unwrap_or_default().split('&');
    let (ours, others): (Vec<&str>, Vec<&str>) = pairs.partition(|pair| name_of(pair) == PARAMETER);
    let token = match ours[..] {
        [] => return Ok(None),
        [one] => read(one).ok_or(FORM)?,
        _ => return Err(TWICE),
    };
    *request.uri_mut() = with_query(uri, &others).ok_or(TARGET)?;
    Ok(Some(token))
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn read(pair: &str) -> Option<PlainToken> {
    let (_, token) = pair.split_once('=')?;
    let digits = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (digits && LENGTHS.contains(&token.len())).then(|| PlainToken(token.into()))
}

/// The target with these parameters alone.
fn with_query(uri: &Uri, pairs: &[&str]) -> Option<Uri> {
    let path = uri.path();
    let target = if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 22 characters.
    const TOKEN: &str = "AZaz09-_AZaz09-_AZaz09";

    fn taken(target: &str) -> (Result<Option<PlainToken>, &'static str>, String) {
        let mut request = Request::get(target).body(()).expect("a request");
        let found = take(&mut request);
        (found, request.uri().to_string())
    }

    #[test]
    fn only_the_parameter_is_taken_out() {
        for (target, left) in [
            ("/chat?steadfast-resume=TOKEN", "/chat"),
            ("/?steadfast-resume=TOKEN", "/"),
            ("/chat?steadfast-resume=TOKEN&room=7", "/chat?room=7"),
            ("/chat?room=7&steadfast-resume=TOKEN", "/chat?room=7"),
            ("/%63hat?a=%41+b&steadfast-resume=TOKEN&&c", "/%63hat?a=%41+b&&c"),
            ("/chat?&steadfast-resume=TOKEN", "/chat?"),
            ("/chat?a?b=c?d&steadfast-resume=TOKEN", "/chat?a?b=c?d"),
            ("http://chat.test/chat?steadfast-resume=TOKEN&a", "http://chat.test/chat?a"),
        ] {
            let found = taken(&target.replace("TOKEN", TOKEN));
            assert_eq!(found, (Ok(Some(PlainToken(TOKEN.into()))), left.to_owned()), "{target}");
        }
    }

    #[test]
    fn without_it_the_target_stays() {
        for target in [
            "/chat",
            "/chat?",
            "/chat?room=7",
            "/steadfast-resume=x?",
            "/chat?Steadfast-Resume=x",
            "/chat?steadfast-resume-x=y",
            "/chat?x=steadfast-resume=y",
        ] {
            assert_eq!(taken(target), (Ok(None), target.to_owned()));
        }
    }

    #[test]
    fn a_token_has_its_form() {
        let with = |token: &str| taken(&format!("/chat?steadfast-resume={token}")).0;
        for token in [TOKEN, &"a".repeat(128)] {
            assert_eq!(with(token), Ok(Some(PlainToken(token.into()))));
        }
        let padded = format!("{TOKEN}==");
        let escaped = format!("%41{}", &TOKEN[1..]);
        for token in ["", &TOKEN[1..], &"a".repeat(129), &padded, &escaped, "AZaz09+/AZaz09+/AZaz09"] {
            assert_eq!(with(token), Err(FORM), "{token}");
        }
        assert_eq!(taken("/chat?steadfast-resume").0, Err(FORM));
    }

    #[test]
    fn two_tokens_are_one_too_many() {
        let target = format!("/chat?steadfast-resume={TOKEN}&a&steadfast-resume={TOKEN}");
        assert_eq!(taken(&target), (Err(TWICE), target.clone()), "nothing is taken out");
    }

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", taken(&format!("/?steadfast-resume={TOKEN}")).0);
        assert!(!shown.contains(TOKEN), "{shown}");
    }
}
