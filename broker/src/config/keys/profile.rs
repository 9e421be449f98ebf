//! Keys of `[[profile]]`: what the messages of a protocol mean to a session that moves.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use steadfast_profiles::Profile;
use steadfast_profiles::rules::{
    Alias, BUILTIN, DownRule, FillInRule, RuleFault, RuleSet, RuleSource, UpRule,
};
use steadfast_profiles::socket_io::SocketIoSettings;

use super::{DAY, Section, secs};
use crate::config::settings::{ProfileMatch, ProfileSettings};
use crate::config::values::{self, profile, request};

/// Profiles of one file.
const PROFILES_MAX: usize = 64;
/// Rules of one list. Each message is held against one after the other.
const RULES_MAX: usize = 256;
/// A client that hears something more often than this has a flaw.
const FILL_IN_MIN: Duration = Duration::from_millis(100);

/// What is built upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    SocketIo,
}

/// What is built with rules alone.
const OF_RULES: [&str; 3] = ["up", "down", "fill_in"];
/// What only Socket.IO has.
const OF_SOCKET_IO: [&str; 3] = ["second_connect", "keep_events", "recover"];

const SECOND_CONNECT: [(&str, bool); 2] = [("announce", false), ("hide", true)];

/// A template, in words.
const TEMPLATE: &str = "a name, with {/POINTER} for what stands there";

/// The names of built-in ones.
pub(in crate::config) fn built_in_names() -> Vec<&'static str> {
    let of_rules = BUILTIN.iter().map(|(name, _)| *name);
    of_rules.chain(["socket.io"]).collect()
}

/// Reads all of them. Names that are `taken` are those of built-in ones.
pub(in crate::config) fn profiles(root: &mut Section<'_>, taken: &[&str]) -> Vec<ProfileSettings> {
    let mut names = HashSet::new();
    let profiles = root.tables("profile", |section| {
        let read = profile_table(section);
        if let Some(name) = read.as_ref().map(|read| read.name.as_str()) {
            let own = !taken.contains(&name) && !["auto", "none"].contains(&name);
            section.check(&["name"], own, || {
                format!("{name:?} is the name of a built-in profile, or a word; choose another")
            });
            section.check(&["name"], names.insert(name.to_owned()), || {
                format!("{name:?} is taken by an earlier profile; choose another")
            });
        }
        read
    });
    let count = profiles.len();
    root.check(&["profile"], count <= PROFILES_MAX, || {
        format!("{count} tables [[profile]] are too many; allowed are {PROFILES_MAX}")
    });
    profiles.into_iter().flatten().collect()
}

/// `None`: what is wrong with it is in the report.
fn profile_table(section: &mut Section<'_>) -> Option<ProfileSettings> {
    let name = section.required("name", "a name", values::name);
    let known_by = section.section("match", known_by);
    let base = section.text("base", "none", r#""socket.io""#, |text| {
        values::choice(text, &[("socket.io", Base::SocketIo)])
    });
    let settings = SocketIoSettings {
        hide: section.choice("second_connect", false, &SECOND_CONNECT),
        keep: section.texts("keep_events", "an event's name", profile::event),
        recover: section.flag("recover", false),
    };
    let source = RuleSource {
        name: name.clone().unwrap_or_default(),
        up: section.tables("up", up),
        down: section.tables("down", down),
        fill_in: section.optional_section("fill_in", fill_in).flatten(),
    };
    for (list, count) in [("up", source.up.len()), ("down", source.down.len())] {
        section.check(&[list], count <= RULES_MAX, || {
            format!("{count} rules are too many; allowed are {RULES_MAX}")
        });
    }
    let profile = match base {
        Some(Base::SocketIo) => {
            for key in OF_RULES {
                section.refuse(key, || r#"base = "socket.io" has no rules; remove this, or base"#.to_owned());
            }
            Profile::SocketIo(Arc::new(settings))
        }
        None => {
            for key in OF_SOCKET_IO {
                section.refuse(key, || {
                    r#"means nothing without base = "socket.io"; set that, or remove this"#.to_owned()
                });
            }
            section.check(&["name"], !source.up.is_empty() || !source.down.is_empty(), || {
                r#"it has no rules: give up and down, or base = "socket.io""#.to_owned()
            });
            Profile::Rules(Arc::new(compiled(section, &source)?))
        }
    };
    Some(ProfileSettings { name: name?, known_by, profile: Arc::new(profile) })
}

/// Only what is sound so far is compiled.
fn compiled(section: &mut Section<'_>, source: &RuleSource) -> Option<RuleSet> {
    if !section.is_sound() {
        return None;
    }
    let report = |faults: Vec<RuleFault>| {
        for RuleFault { list, index, key, message } in faults {
            section.fault_within(list, index, key, &message);
        }
    };
    RuleSet::compile(source).map_err(report).ok()
}

fn known_by(section: &mut Section<'_>) -> ProfileMatch {
    ProfileMatch {
        subprotocols: section.texts(
            "subprotocol",
            "a subprotocol, or how it begins with a *",
            profile::subprotocol,
        ),
        path: section.text("path", "any", "/PATH, in which * stands for any characters", request::path),
        query: section.text("query", "any", "a parameter's name, or NAME=VALUE", profile::parameter),
    }
}

fn up(section: &mut Section<'_>) -> UpRule {
    UpRule {
        when: section.conditions("when"),
        keep: template(section, "keep"),
        many: section.flag("many", false),
        standing: section.flag("standing", false),
        awaited: section.flag("awaited", false),
        wait: section.optional_flag("wait", "of logins"),
        answer: template(section, "answer"),
        alias: section.optional_section("alias", alias),
        becomes: text(section, "becomes", "a message, with {/POINTER} and {answer:/POINTER}"),
        retire: template(section, "retire"),
        retire_alias: section.text("retire_alias", "none", "a JSON pointer", profile::pointer),
        done: text(section, "done", "a message, with {/POINTER}"),
        ask: template(section, "ask"),
        reply: template(section, "reply"),
        beat: text(section, "beat", "a message, or nothing"),
    }
}

fn down(section: &mut Section<'_>) -> DownRule {
    DownRule {
        when: section.conditions("when"),
        answer: template(section, "answer"),
        refusal: section.flag("refusal", false),
        end: template(section, "end"),
        end_alias: section.text("end_alias", "none", "a JSON pointer", profile::pointer),
        greeting: section.flag("greeting", false),
        pass: section.flag("pass", false),
        asks: template(section, "asks"),
        beat: section.flag("beat", false),
        parting: section.flag("parting", false),
    }
}

fn alias(section: &mut Section<'_>) -> Alias {
    Alias {
        learn: section.required("learn", "a JSON pointer", profile::pointer).unwrap_or_default(),
        up: section.texts("up", "a JSON pointer", profile::pointer),
        down: section.texts("down", "a JSON pointer", profile::pointer),
    }
}

/// `None`: it does not say what, which is in the report.
fn fill_in(section: &mut Section<'_>) -> Option<FillInRule> {
    let every = section.duration("every", secs(25), FILL_IN_MIN..=DAY);
    let say = section.required("say", "a message", profile::message);
    Some(FillInRule { every, say: say? })
}

fn template(section: &mut Section<'_>, name: &'static str) -> Option<String> {
    section.text(name, "none", TEMPLATE, profile::template)
}

fn text(section: &mut Section<'_>, name: &'static str, allowed: &str) -> Option<String> {
    section.text(name, "none", allowed, profile::message)
}
