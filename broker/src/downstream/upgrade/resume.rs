//! The query parameter by which a client that does not link the shim comes back to its session.

use http::uri::PathAndQuery;
use http::{Request, Uri};

use crate::session::plain_token::PlainToken;

/// The parameter's name.
const PARAMETER: &str = "steadfast-resume";

const FORM: &str = "steadfast-resume must be 22 to 128 characters of base64url: A-Z a-z 0-9 - _";
const TWICE: &str = "the query has more than one steadfast-resume; send one";
const TARGET: &str = "the request's target cannot be read";

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
    PlainToken::new(token)
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

    fn token(text: &str) -> PlainToken {
        PlainToken::new(text).expect("it has the form")
    }

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
            assert_eq!(found, (Ok(Some(token(TOKEN))), left.to_owned()), "{target}");
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
        for text in [TOKEN, &"a".repeat(128)] {
            assert_eq!(with(text), Ok(Some(token(text))));
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
