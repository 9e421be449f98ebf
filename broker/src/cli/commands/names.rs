//! Which backend a name means, and where the API has backends and sessions.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::trouble::Trouble;
use crate::api::model::backends::BackendReply;
use crate::cli::exit::Exit;
use crate::upstream::backend::BackendState;

/// How alike two names are (Jaro-Winkler, 0 to 1) before one is offered for the other. `b1` and `b9` are.
const ALIKE_MIN: f64 = 0.65;
/// Names that one error offers.
const OFFERED_MAX: usize = 5;
/// What stands for itself in a segment of a path (RFC 3986, 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The backend that is called `name`, or `POOL/NAME`. One that was taken away is not meant.
pub(super) fn find(name: &str, backends: &[BackendReply]) -> Result<BackendReply, Trouble> {
    let there = || backends.iter().filter(|backend| backend.state != BackendState::Removed);
    let called: Vec<&BackendReply> =
        there().filter(|backend| backend.name == name || backend.full_name() == name).collect();
    match called[..] {
        [one] => Ok(one.clone()),
        [] => Err(unknown(name, there())),
        _ => Err(ambiguous(name, &called)),
    }
}

/// The path of a backend in the API.
pub(super) fn path(backend: &BackendReply) -> String {
    format!("/api/v1/pools/{}/backends/{}", segment(&backend.pool), segment(&backend.name))
}

/// Where the API counts a backend's sessions.
pub(super) fn sessions_of(backend: &BackendReply) -> String {
    format!("/api/v1/sessions?pool={}&backend={}&limit=1", segment(&backend.pool), segment(&backend.name))
}

/// The path of a session in the API.
pub(super) fn session(id: &str) -> String {
    format!("/api/v1/sessions/{}", segment(id))
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn unknown<'a>(name: &str, backends: impl Iterator<Item = &'a BackendReply>) -> Trouble {
    let mut alike: Vec<(f64, String)> = backends
        .map(|backend| {
            let full = backend.full_name();
            (strsim::jaro_winkler(name, &backend.name).max(strsim::jaro_winkler(name, &full)), full)
        })
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .collect();
    alike.sort_by(|one, other| other.0.total_cmp(&one.0));
    let offered: Vec<String> = alike.into_iter().take(OFFERED_MAX).map(|(_, name)| name).collect();
    let hint = match offered.is_empty() {
        true => "steadfast backends lists them".to_owned(),
        false => format!("did you mean {}?", offered.join(" or ")),
    };
    Trouble::new(Exit::NotFound, format!("no pool has a backend named {name:?}; {hint}"))
}

fn ambiguous(name: &str, called: &[&BackendReply]) -> Trouble {
    let mut names: Vec<String> = called.iter().map(|backend| backend.full_name()).collect();
    let more = names.len().saturating_sub(OFFERED_MAX);
    names.truncate(OFFERED_MAX);
    let more = if more > 0 { format!(" or one of {more} more") } else { String::new() };
    let message = format!("{name:?} means several backends; say which: {}{more}", names.join(" or "));
    Trouble::new(Exit::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::samples;

    fn backend(pool: &str, name: &str, state: BackendState) -> BackendReply {
        BackendReply { pool: pool.to_owned(), name: name.to_owned(), state, ..samples::backend() }
    }

    fn all() -> Vec<BackendReply> {
        vec![
            backend("chat", "b1", BackendState::Up),
            backend("chat", "b2", BackendState::Up),
            backend("news", "b2", BackendState::Down),
            backend("news", "old", BackendState::Removed),
            backend("dns", "chat.internal/10.0.0.1:9001", BackendState::Up),
        ]
    }

    fn found(name: &str) -> Result<String, (Exit, String)> {
        let found = find(name, &all());
        found.map(|one| one.full_name()).map_err(|trouble| (trouble.exit, trouble.to_string()))
    }

    #[test]
    fn a_name_means_the_only_backend_that_has_it() {
        assert_eq!(found("b1").as_deref(), Ok("chat/b1"));
        assert_eq!(found("news/b2").as_deref(), Ok("news/b2"));
        let discovered = "dns/chat.internal/10.0.0.1:9001";
        assert_eq!(found("chat.internal/10.0.0.1:9001").as_deref(), Ok(discovered));
        assert_eq!(found(discovered).as_deref(), Ok(discovered));
    }

    #[test]
    fn of_several_the_choices_are_listed() {
        let expected = r#""b2" means several backends; say which: chat/b2 or news/b2"#;
        assert_eq!(found("b2"), Err((Exit::Usage, expected.to_owned())));
    }

    #[test]
    fn for_an_unknown_one_the_nearest_are_offered() {
        let (exit, message) = found("chat/b3").expect_err("there is none");
        assert_eq!(exit, Exit::NotFound);
        assert!(message.contains("did you mean chat/b1 or chat/b2"), "{message}");
        let (_, message) = found("xyz").expect_err("there is none");
        assert!(message.ends_with("steadfast backends lists them"), "{message}");
    }

    #[test]
    fn one_that_was_taken_away_is_not_meant() {
        assert_eq!(found("old").expect_err("it is gone").0, Exit::NotFound);
    }

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        let path = path(&backend("chat", "chat.internal/10.0.0.1:9001", BackendState::Up));
        assert_eq!(path, "/api/v1/pools/chat/backends/chat.internal%2F10.0.0.1%3A9001");
        assert_eq!(segment("[::1]:80"), "%5B%3A%3A1%5D%3A80");
    }
}
