//! Keys of `[[route]]`: which requests go to which pool, and with which headers.

use std::collections::HashSet;

use http::header::{HeaderName, HeaderValue};

use super::access::access;
use super::{DAY, DraftRoute, Section, ZERO, secs};
use crate::config::place::ValueOrigin;
use crate::config::settings::{
    HeaderMatch, HeaderRules, PathMatch, QueryMatch, RedirectSettings, Route, RouteKind, ValueMatch,
};
use crate::config::values::{self, request};

const PATH: &str = "/PATH";
/// Whether clients are sent to the backend.
const ANSWERS: [(&str, bool); 2] = [("relay", false), ("redirect", true)];
const REGEX: &str = "a regular expression";

pub(super) fn routes(root: &mut Section<'_>) -> Vec<DraftRoute> {
    let mut names = HashSet::new();
    let mut number = 0;
    let read = |section: &mut Section<'_>| {
        number += 1;
        let route = route(section, number);
        section.check(&["name"], names.insert(route.name.clone()), || {
            format!("{:?} is taken by an earlier route; choose another", route.name)
        });
        DraftRoute { origin: ValueOrigin::Line(section.line()), route }
    };
    root.tables("route", read)
}

fn route(section: &mut Section<'_>, number: usize) -> Route {
    let name = section.text("name", "route-1, route-2 ...", "a name", values::name);
    let route = Route {
        name: name.unwrap_or_else(|| format!("route-{number}")),
        hosts: section.texts("host", request::HOST_PATTERN, request::host_pattern),
        path: path(section),
        headers: section.tables("header", header).into_iter().flatten().collect(),
        queries: section.tables("query", query).into_iter().flatten().collect(),
        kind: section.choice("kind", RouteKind::Any, &values::ROUTE_KIND),
        pool: section.required("pool", "a pool's name", values::name).unwrap_or_default(),
        redirect: redirect(section),
        request_headers: section
            .section("request_headers", |section| header_rules(section, request::settable_header)),
        response_headers: section
            .section("response_headers", |section| header_rules(section, request::relayed_header)),
        access: section.section("access", access),
    };
    let to_backends = route.redirect.is_none() || route.request_headers.is_empty();
    section.check(&["request_headers"], to_backends, || {
        r#"means nothing with answer = "redirect", since no request goes to a backend; remove it"#.to_owned()
    });
    route
}

/// `None`: the broker relays.
fn redirect(section: &mut Section<'_>) -> Option<RedirectSettings> {
    let redirects = section.choice("answer", false, &ANSWERS);
    let mut settings = None;
    let own = section.optional_section("redirect", |section| {
        settings = Some(RedirectSettings { reserve: section.duration("reserve", secs(5), ZERO..=DAY) });
    });
    section.check(&["redirect"], redirects || own.is_none(), || {
        r#"means nothing without answer = "redirect"; set that, or remove this"#.to_owned()
    });
    settings.filter(|_| redirects)
}

fn path(section: &mut Section<'_>) -> Option<PathMatch> {
    let exact = section.text("path", "any", PATH, request::path).map(PathMatch::Exact);
    let prefix = section.text("path_prefix", "any", PATH, request::path).map(PathMatch::Prefix);
    let regex = section.text("path_regex", "any", REGEX, request::regex).map(PathMatch::Regex);
    let mut given = [exact, prefix, regex].into_iter().flatten();
    let first = given.next();
    section.check(&["path_regex", "path_prefix", "path"], given.next().is_none(), || {
        "only one of path, path_prefix and path_regex may be given; remove the others".to_owned()
    });
    first
}

fn header(section: &mut Section<'_>) -> Option<HeaderMatch> {
    let name = section.required("name", "a header's name", request::header_name);
    let value = value(section, request::header_text);
    Some(HeaderMatch { name: name?, value })
}

fn query(section: &mut Section<'_>) -> Option<QueryMatch> {
    let name = section.required("name", "a parameter's name", request::parameter);
    let value = value(section, request::parameter_text);
    Some(QueryMatch { name: name?, value })
}

/// What something with a name must be; `None`: it need only be there.
fn value(section: &mut Section<'_>, text: fn(&str) -> Result<String, String>) -> Option<ValueMatch> {
    let exact = section.text("value", "any", "text", text).map(ValueMatch::Exact);
    let regex = section.text("regex", "any", REGEX, request::regex).map(ValueMatch::Regex);
    section.check(&["regex"], exact.is_none() || regex.is_none(), || {
        "only one of value and regex may be given; remove one".to_owned()
    });
    exact.or(regex)
}

/// How a header's name is checked.
type CheckName = fn(&str) -> Result<HeaderName, String>;

fn header_rules(section: &mut Section<'_>, settable: CheckName) -> HeaderRules {
    let name = "a header's name";
    HeaderRules {
        pass: section.optional_texts("pass", "all", name, request::relayed_header),
        block: section.texts("block", name, request::relayed_header),
        set: header_values(section, "set", settable),
        add: header_values(section, "add", request::relayed_header),
    }
}

fn header_values(
    section: &mut Section<'_>,
    key: &'static str,
    name: CheckName,
) -> Vec<(HeaderName, HeaderValue)> {
    section.pairs(key, r#"a table of NAME = "value""#, name, request::header_value)
}
