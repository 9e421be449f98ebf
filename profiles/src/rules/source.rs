//! Rules as they are written in a file, before they are checked.

use std::time::Duration;

/// A profile's rules, as written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSource {
    /// What the profile is called.
    pub name: String,
    /// For what the client says. The first that fits counts; a message that none fits is told.
    pub up: Vec<UpRule>,
    /// For what a backend says. The first that fits counts; a message that none fits is for the client.
    pub down: Vec<DownRule>,
    /// What the broker says while no backend does.
    pub fill_in: Option<FillInRule>,
}

/// What must stand in a message for a rule to fit. All of it must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct When {
    /// JSON Pointers (RFC 6901) into a text message, each with what may stand there.
    pub values: Vec<(String, Vec<Scalar>)>,
    /// The first bytes of the message, of either kind.
    pub prefix: Option<Vec<u8>>,
}

/// What may stand in a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A text, by a pattern: `*` stands for any characters, `a|b` for either. `*` alone fits numbers, true and false too.
    Text(String),
    /// A number, as it is written.
    Number(i64),
    /// True or false.
    Bool(bool),
}

/// A rule for what the client says. At most one of `keep`, `retire`, `ask`, `reply` and `beat` is given; none: told.
///
/// Names are templates: `op:{/id}` has in it what stands at `/id`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpRule {
    /// When it fits.
    pub when: When,
    /// The message is kept under this name, until it is retired or ended.
    pub keep: Option<String>,
    /// With `keep`: each is kept beside those before it, unless it is the same to the last byte.
    pub many: bool,
    /// With `keep`: said again with the subscriptions, not with the logins.
    pub standing: bool,
    /// With `keep` and `answer`: whether the next backend's answer is waited for. By default of logins, and not of
    /// what is standing.
    pub wait: Option<bool>,
    /// With `keep`: its end is an answer that the client waits for, as that of a query is. A move waits for it, and what
    /// is open when a backend fails is in doubt.
    pub awaited: bool,
    /// With `keep` and `retire`: by what the answer is known.
    pub answer: Option<String>,
    /// With `keep`: what the backend gives it a name of its own by.
    pub alias: Option<Alias>,
    /// With `keep`: after its answer, the next backend is told this template instead. Captures `{/a}` are of
    /// the message, `{answer:/a}` of its answer.
    pub becomes: Option<String>,
    /// What is kept under this name ends.
    pub retire: Option<String>,
    /// With `retire`: the alias at this pointer names what ends; `retire` is then not needed.
    pub retire_alias: Option<String>,
    /// With either: what the client is told where the next backend has never heard of what ends.
    pub done: Option<String>,
    /// It is done when this is answered.
    pub ask: Option<String>,
    /// It replies to what a backend has asked by this name.
    pub reply: Option<String>,
    /// A sign of life, and what the client is told while there is no backend; empty: nothing.
    pub beat: Option<String>,
}

/// What a backend calls a kept record, in the record's answer and in what it says and hears of it later.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alias {
    /// Where it stands in the answer.
    pub learn: String,
    /// Where it may stand in what the client says.
    pub up: Vec<String>,
    /// Where it may stand in what the backend says.
    pub down: Vec<String>,
}

/// A rule for what a backend says. At most one of its words is given; none: it is for the client.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DownRule {
    /// When it fits.
    pub when: When,
    /// It answers an ask, or a kept record.
    pub answer: Option<String>,
    /// With `answer`: it says no.
    pub refusal: bool,
    /// What is kept under this name is over.
    pub end: Option<String>,
    /// The record whose alias stands at this pointer is over.
    pub end_alias: Option<String>,
    /// It is said unasked when a link begins.
    pub greeting: bool,
    /// With `answer` or `greeting`: the client gets each of them, not the first alone.
    pub pass: bool,
    /// The backend asks the client, who will reply with this name.
    pub asks: Option<String>,
    /// A sign of life, or a demand for one.
    pub beat: bool,
    /// It says that it goes away.
    pub parting: bool,
}

/// What the broker says in a backend's place.
#[derive(Debug, Clone, PartialEq)]
pub struct FillInRule {
    /// After so much silence while no backend speaks, or as often as backends have said it, if that is more often. A
    /// client that has had no sign of life gets none.
    pub every: Duration,
    /// A text message.
    pub say: String,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// In which list the rule stands: `up`, `down`, or `fill_in`.
    pub list: &'static str,
    /// Its place in that, from 0 on.
    pub index: usize,
    /// The key of the rule that is at fault.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}
