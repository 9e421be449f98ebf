//! Sessions whose protocol is known: what the next backend hears, and what the client does not. The protocol is made up of
//! rules, one for each thing that a profile can say.

mod anything;
mod beats;
mod bounds;
mod doors;
mod moves;
mod replies;
mod socket_io;
mod units;

use std::sync::Arc;

use steadfast_profiles::Profile;
use steadfast_profiles::rules::{DownRule, FillInRule, RuleSet, RuleSource, Scalar, UpRule, When};

use super::rig::{Rig, secs};
use crate::session::{Config, Opening};

/// A message of this kind.
fn kind(word: &str) -> When {
    When { values: vec![("/t".to_owned(), vec![Scalar::Text(word.to_owned())])], prefix: None }
}

/// The made-up protocol. A message is `{"t":"KIND"}`, and names things by `"id"`.
pub(super) fn rules() -> RuleSource {
    let text = |text: &str| Some(text.to_owned());
    let up = |word: &str| UpRule { when: kind(word), ..UpRule::default() };
    let down = |word: &str| DownRule { when: kind(word), ..DownRule::default() };
    RuleSource {
        name: "made-up".to_owned(),
        up: vec![
            UpRule { keep: text("login"), answer: text("login"), ..up("login") },
            UpRule { keep: text("sub:{/id}"), standing: true, ..up("sub") },
            UpRule { retire: text("sub:{/id}"), ..up("unsub") },
            UpRule { ask: text("{/id}"), ..up("ask") },
            UpRule { reply: text("{/id}"), ..up("reply") },
            UpRule { beat: text(r#"{"t":"beaten"}"#), ..up("beat") },
            UpRule { beat: text(""), ..up("tock") },
        ],
        down: vec![
            DownRule { greeting: true, ..down("hello") },
            DownRule { answer: text("login"), ..down("ok") },
            DownRule { answer: text("login"), refusal: true, ..down("no") },
            DownRule { answer: text("{/id}"), ..down("answer") },
            DownRule { end: text("sub:{/id}"), ..down("over") },
            DownRule { asks: text("{/id}"), ..down("asks") },
            DownRule { beat: true, ..down("tick") },
            DownRule { parting: true, ..down("bye") },
        ],
        fill_in: Some(FillInRule { every: secs(20), say: said("tick") }),
    }
}

pub(super) fn profile(change: impl FnOnce(&mut RuleSource)) -> Arc<Profile> {
    let mut source = rules();
    change(&mut source);
    let rules = RuleSet::compile(&source).expect("rules that work");
    Arc::new(Profile::Rules(Arc::new(rules)))
}

fn rig_with(change: impl FnOnce(&mut Config)) -> Rig {
    Rig::open(change, Opening { epoch: 1, profile: Some(profile(|_| {})), ..Opening::default() })
}

fn rig() -> Rig {
    rig_with(|_| {})
}

fn said(word: &str) -> String {
    format!(r#"{{"t":"{word}"}}"#)
}

fn of(word: &str, id: u32) -> String {
    format!(r#"{{"t":"{word}","id":{id}}}"#)
}

/// A client that has logged in.
fn logged_in(mut rig: Rig) -> Rig {
    rig.backend_says(&said("hello"));
    rig.client_says(&said("login"));
    rig.backend_says(&said("ok"));
    rig.backend_pongs();
    assert_eq!(rig.upstream(), [said("login"), "<ping>".to_owned()]);
    assert_eq!(rig.downstream(), [said("hello"), said("ok")]);
    rig
}

/// The next backend is linked, greets and takes the client.
fn taken(rig: &mut Rig) {
    rig.link_next();
    rig.backend_says(&said("hello"));
    rig.backend_says(&said("ok"));
}

/// The backend answers pings until there are none.
fn pongs(rig: &mut Rig) {
    while !rig.link().reader.pings.is_empty() {
        rig.backend_pongs();
    }
}

/// Without the pings.
fn messages(got: Vec<String>) -> Vec<String> {
    got.into_iter().filter(|message| message != "<ping>").collect()
}
