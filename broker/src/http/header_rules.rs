//! What becomes of headers on their way to backends and to clients.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// What becomes of headers in one direction, in this order: pass, block, set, add.
#[derive(Debug, Clone, Default)]
pub struct HeaderRules {
    /// Only these go on; `None`: all.
    pub pass: Option<Vec<HeaderName>>,
    /// These do not go on.
    pub block: Vec<HeaderName>,
    /// These get this value, whatever came.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// These get this value beside what came.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderRules {
    /// Whether they change nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.pass.is_none() && self.block.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Applies `rules` in their order: pass, block, set, add. The headers that `keep` names are neither
/// blocked nor left behind by `pass`; without the handshake's own there is no session. `set` and `add`
/// do what they say with every header, also with those.
///
/// What stays keeps its order, and so do the values of a header that came several times. `set` puts
/// one value in place of all that came, and `add` puts its value after them.
pub(crate) fn apply(rules: &HeaderRules, headers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    if rules.pass.is_some() || !rules.block.is_empty() {
        let passes = |name: &HeaderName| rules.pass.as_ref().is_none_or(|pass| pass.contains(name));
        retain(headers, |name| keep(name) || (passes(name) && !rules.block.contains(name)));
    }
    // Neither fails below the map's own bound of names, which is far beyond what hyper lets in.
    for (name, value) in &rules.set {
        let _ = headers.try_insert(name, value.clone());
    }
    for (name, value) in &rules.add {
        let _ = headers.try_append(name, value.clone());
    }
}

/// Keeps what `stays`, in its order. The map is made anew, because its own removal puts the last header into the gap.
pub(super) fn retain(headers: &mut HeaderMap, stays: impl Fn(&HeaderName) -> bool) {
    retain_around(headers, 0, stays);
}

/// Keeps what `stays`, in its order but for the last `movable` names, which may come to stand elsewhere: put into gaps they
/// save the map from being made anew.
pub(super) fn retain_around(headers: &mut HeaderMap, movable: usize, stays: impl Fn(&HeaderName) -> bool) {
    let Some(first) = headers.keys().find(|name| !stays(name)).cloned() else { return };
    let others = headers.keys().filter(|name| !stays(name)).skip(1);
    let gone: Vec<_> = others.take(movable).cloned().collect();
    if gone.len() < movable {
        for name in std::iter::once(first).chain(gone) {
            headers.remove(name);
        }
        return;
    }
    let room = HeaderMap::with_capacity(headers.len());
    let mut current = None;
    for (name, value) in std::mem::replace(headers, room) {
        // Only the first value of a header comes with its name.
        if let Some(name) = name {
            current = stays(&name).then_some(name);
        }
        if let Some(name) = &current {
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{self, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 6] = ["cookie", "host", "origin", "x-a", "x-b", "x-c"];

    fn name(name: &str) -> HeaderName {
        HeaderName::from_bytes(name.as_bytes()).expect("a name")
    }

    fn names(names: &[&str]) -> Vec<HeaderName> {
        names.iter().map(|text| name(text)).collect()
    }

    fn pair((key, value): (&str, &str)) -> (HeaderName, HeaderValue) {
        (name(key), HeaderValue::from_str(value).expect("a value"))
    }

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().copied().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    /// The headers in their order, as text.
    fn list(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect()
    }

    fn after<'a>(rules: &HeaderRules, headers: &'a mut HeaderMap) -> Vec<(&'a str, &'a str)> {
        apply(rules, headers, |name| name == header::HOST);
        list(headers)
    }

    #[test]
    fn without_rules_all_goes_on() {
        let mut headers = map(&[("host", "h"), ("cookie", "a"), ("x-a", "1"), ("cookie", "b")]);
        let before = headers.clone();
        apply(&HeaderRules::default(), &mut headers, |_| panic!("nothing is asked"));
        assert_eq!(headers, before);
    }

    #[test]
    fn a_gap_is_filled_with_what_may_stand_elsewhere() {
        let stays = |name: &HeaderName| !["x-a", "x-b"].contains(&name.as_str());
        let lines =
            [("host", "h"), ("x-a", "1"), ("x-a", "2"), ("cookie", "a"), ("cookie", "b"), ("x-c", "3")];
        let mut headers = map(&lines);
        retain_around(&mut headers, 1, stays);
        assert_eq!(list(&headers), [("host", "h"), ("x-c", "3"), ("cookie", "a"), ("cookie", "b")]);
        // There are more gaps than that, so all is put together.
        let mut headers = map(&[("x-b", "0")].iter().chain(&lines).copied().collect::<Vec<_>>());
        retain_around(&mut headers, 1, stays);
        assert_eq!(list(&headers), [("host", "h"), ("cookie", "a"), ("cookie", "b"), ("x-c", "3")]);
    }

    #[test]
    fn only_what_passes_goes_on() {
        let rules = HeaderRules { pass: Some(names(&["Cookie", "x-c"])), ..Default::default() };
        let mut headers =
            map(&[("x-a", "1"), ("cookie", "a"), ("host", "h"), ("x-b", "2"), ("cookie", "b"), ("x-c", "3")]);
        assert_eq!(
            after(&rules, &mut headers),
            [("cookie", "a"), ("cookie", "b"), ("host", "h"), ("x-c", "3")]
        );
        let rules = HeaderRules { pass: Some(Vec::new()), ..Default::default() };
        assert_eq!(after(&rules, &mut headers), [("host", "h")]);
    }

    #[test]
    fn what_is_blocked_stays_behind() {
        let rules = HeaderRules { block: names(&["x-a", "Host"]), ..Default::default() };
        let mut headers = map(&[("x-a", "1"), ("host", "h"), ("x-b", "2"), ("x-a", "3"), ("x-c", "4")]);
        assert_eq!(after(&rules, &mut headers), [("host", "h"), ("x-b", "2"), ("x-c", "4")]);
    }

    #[test]
    fn set_takes_the_place_of_all_values() {
        let set = vec![pair(("x-a", "new")), pair(("x-d", "fresh"))];
        let rules = HeaderRules { set, ..Default::default() };
        let mut headers = map(&[("x-a", "1"), ("x-b", "2"), ("x-a", "3")]);
        assert_eq!(after(&rules, &mut headers), [("x-a", "new"), ("x-b", "2"), ("x-d", "fresh")]);
    }

    #[test]
    fn added_values_come_after_those_that_came() {
        let add = vec![pair(("x-a", "2")), pair(("x-d", "4")), pair(("x-a", "3"))];
        let rules = HeaderRules { add, ..Default::default() };
        let mut headers = map(&[("x-a", "1"), ("x-b", "b")]);
        assert_eq!(
            after(&rules, &mut headers),
            [("x-a", "1"), ("x-a", "2"), ("x-a", "3"), ("x-b", "b"), ("x-d", "4")]
        );
    }

    #[test]
    fn the_order_is_pass_block_set_add() {
        let rules = HeaderRules {
            pass: Some(names(&["x-a", "x-b"])),
            block: names(&["x-a"]),
            set: vec![pair(("x-a", "set")), pair(("x-c", "set"))],
            add: vec![pair(("x-a", "add"))],
        };
        let mut headers = map(&[("x-a", "1"), ("x-b", "2"), ("x-c", "3")]);
        assert_eq!(
            after(&rules, &mut headers),
            [("x-b", "2"), ("x-a", "set"), ("x-a", "add"), ("x-c", "set")]
        );
    }

    #[test]
    fn a_header_that_is_kept_can_still_be_set() {
        let rules = HeaderRules {
            pass: Some(Vec::new()),
            block: names(&["host"]),
            set: vec![pair(("host", "inner"))],
            add: Vec::new(),
        };
        assert_eq!(after(&rules, &mut map(&[("host", "outer"), ("x-a", "1")])), [("host", "inner")]);
    }

    proptest! {
        /// Pass and block leave a part of the headers, in the order in which they came.
        #[test]
        fn what_stays_keeps_its_order(
            came in prop::collection::vec((prop::sample::select(&NAMES[..]), "[a-z]{0,3}"), 0..20),
            pass in prop::option::of(prop::sample::subsequence(&NAMES[..], 0..=6)),
            block in prop::sample::subsequence(&NAMES[..], 0..=6),
        ) {
            let pairs: Vec<_> = came.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut headers = map(&pairs);
            let before = headers.clone();
            let stays = |name: &str| {
                name == "host" || (pass.as_ref().is_none_or(|pass| pass.contains(&name)) && !block.contains(&name))
            };
            let expected: Vec<_> = list(&before).into_iter().filter(|(name, _)| stays(name)).collect();
            let pass = pass.as_deref().map(names);
            let rules = HeaderRules { pass, block: names(&block), ..Default::default() };
            prop_assert_eq!(after(&rules, &mut headers), expected);
        }
    }
}
