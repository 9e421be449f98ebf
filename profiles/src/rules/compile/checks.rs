//! Rules that need one another, and rules that stand in each other's way.

use crate::rules::faults::{Faults, Spot};
use crate::rules::set::{DownStep, DownVerb, Fit, Retired, UpStep, UpVerb};
use crate::rules::source::RuleSource;
use crate::rules::template::Name;

const NO_ALIAS: &str = "no rule of `up` learns an alias: give one with `keep` and `alias`, or take this out";

/// Checks whatever needs more than one rule. A rule with a fault of its own is `None`.
pub(super) fn check(
    source: &RuleSource,
    up: &[Option<UpStep>],
    down: &[Option<DownStep>],
    faults: &mut Faults,
) {
    let fits: Vec<_> = up.iter().map(|step| step.as_ref().map(UpStep::fit)).collect();
    check_order("up", &fits, faults);
    let fits: Vec<_> = down.iter().map(|step| step.as_ref().map(DownStep::fit)).collect();
    check_order("down", &fits, faults);
    // What a faulty rule would have said is not known.
    if up.iter().any(Option::is_none) || down.iter().any(Option::is_none) {
        return;
    }
    let names = Names::of(source, up, down);
    for (index, step) in up.iter().flatten().enumerate() {
        names.check_up(Spot { list: "up", index }, &step.verb, source, faults);
    }
    for (index, step) in down.iter().flatten().enumerate() {
        names.check_down(Spot { list: "down", index }, &step.verb, faults);
    }
}

/// Rules behind one that fits whatever they fit.
fn check_order(list: &'static str, fits: &[Option<(&Fit, bool)>], faults: &mut Faults) {
    let mut before: Vec<(usize, &Fit)> = Vec::new();
    for (index, step) in fits.iter().enumerate() {
        let Some((fit, settles)) = *step else { continue };
        if let Some((first, _)) = before.iter().find(|(_, earlier)| earlier.covers(fit)) {
            let message = format!(
                "this rule is never reached: rule {first} of the list, counted from 0, fits whatever it fits. Put it before that one, or take it out"
            );
            faults.add(Spot { list, index }, "when", message);
        }
        if settles {
            before.push((index, fit));
        }
    }
}

impl UpStep {
    /// With whether nothing but that decides.
    fn fit(&self) -> (&Fit, bool) {
        (&self.fit, !matches!(self.verb, UpVerb::Retire { slot: Retired::Alias(_), .. }))
    }
}

impl DownStep {
    fn fit(&self) -> (&Fit, bool) {
        (&self.fit, !matches!(self.verb, DownVerb::EndAlias(_)))
    }
}

/// The names of all rules, without their pointers.
#[derive(Default)]
struct Names<'a> {
    kept: Vec<&'a str>,
    kept_many: Vec<&'a str>,
    awaited: Vec<&'a str>,
    answers: Vec<&'a str>,
    asks: Vec<&'a str>,
    replies: Vec<&'a str>,
    /// Some record has an alias.
    aliases: bool,
    /// Something ends by its alias.
    ends_by_alias: bool,
}

impl<'a> Names<'a> {
    fn of(source: &RuleSource, up: &'a [Option<UpStep>], down: &'a [Option<DownStep>]) -> Names<'a> {
        let mut names =
            Names { aliases: source.up.iter().any(|rule| rule.alias.is_some()), ..Names::default() };
        for step in up.iter().flatten() {
            names.add_up(&step.verb);
        }
        for step in down.iter().flatten() {
            match &step.verb {
                DownVerb::Answer { name, .. } | DownVerb::Refusal(name) => names.answers.push(name.shape()),
                DownVerb::Asks(name) => names.asks.push(name.shape()),
                DownVerb::EndAlias(_) => names.ends_by_alias = true,
                _ => {}
            }
        }
        names
    }

    fn add_up(&mut self, verb: &'a UpVerb) {
        match verb {
            UpVerb::Keep { slot, many, answer, .. } => {
                if *many { &mut self.kept_many } else { &mut self.kept }.push(slot.shape());
                self.awaited.extend(answer.as_ref().map(Name::shape));
            }
            UpVerb::Retire { slot, answer, .. } => {
                self.awaited.extend(answer.as_ref().map(Name::shape));
                self.ends_by_alias |= matches!(slot, Retired::Alias(_));
            }
            UpVerb::Ask(name) => self.awaited.push(name.shape()),
            UpVerb::Reply(name) => self.replies.push(name.shape()),
            UpVerb::Tell | UpVerb::Beat(_) => {}
        }
    }

    fn check_up(&self, spot: Spot, verb: &UpVerb, source: &RuleSource, faults: &mut Faults) {
        match verb {
            UpVerb::Keep { answer, .. } => {
                self.check_awaited(spot, "answer", answer.as_ref(), faults);
                let alias = source.up.get(spot.index).and_then(|rule| rule.alias.as_ref());
                let unused = alias.is_some_and(|alias| alias.up.is_empty() && alias.down.is_empty());
                if unused && !self.ends_by_alias {
                    faults.add(
                        spot,
                        "alias",
                        "the alias is used nowhere: say in `up` and `down` where it may stand, or take it out",
                    );
                }
            }
            UpVerb::Retire { slot, answer, .. } => {
                self.check_awaited(spot, "answer", answer.as_ref(), faults);
                match slot {
                    Retired::Named(name) => self.check_kept(spot, "retire", name, faults),
                    Retired::Alias(_) if !self.aliases => faults.add(spot, "retire_alias", NO_ALIAS),
                    Retired::Alias(_) => {}
                }
            }
            UpVerb::Ask(name) => self.check_awaited(spot, "ask", Some(name), faults),
            UpVerb::Reply(name) => {
                check_met(spot, "reply", name, &self.asks, "no rule of `down` asks by", "`asks`", faults);
            }
            UpVerb::Tell | UpVerb::Beat(_) => {}
        }
    }

    fn check_down(&self, spot: Spot, verb: &DownVerb, faults: &mut Faults) {
        match verb {
            DownVerb::Answer { name, .. } | DownVerb::Refusal(name) => {
                let missing = "no rule of `up` waits for";
                check_met(spot, "answer", name, &self.awaited, missing, "`ask` or `answer`", faults);
            }
            DownVerb::End(name) => self.check_kept(spot, "end", name, faults),
            DownVerb::EndAlias(_) if !self.aliases => faults.add(spot, "end_alias", NO_ALIAS),
            DownVerb::Asks(name) => {
                check_met(spot, "asks", name, &self.replies, "no rule of `up` replies by", "`reply`", faults);
            }
            _ => {}
        }
    }

    fn check_awaited(&self, spot: Spot, key: &'static str, name: Option<&Name>, faults: &mut Faults) {
        if let Some(name) = name {
            check_met(spot, key, name, &self.answers, "no rule of `down` answers by", "`answer`", faults);
        }
    }

    fn check_kept(&self, spot: Spot, key: &'static str, name: &Name, faults: &mut Faults) {
        if self.kept_many.contains(&name.shape()) && !self.kept.contains(&name.shape()) {
            let message = format!(
                "{:?} is kept with `many`, so no single record has this name: keep it without, under a name that tells one from another",
                name.shape()
            );
            faults.add(spot, key, message);
        } else {
            check_met(spot, key, name, &self.kept, "no rule of `up` keeps anything under", "`keep`", faults);
        }
    }
}

/// A name that means nothing unless another rule has it too.
fn check_met(
    spot: Spot,
    key: &'static str,
    name: &Name,
    others: &[&str],
    missing: &str,
    word: &str,
    faults: &mut Faults,
) {
    if !others.contains(&name.shape()) {
        let message =
            format!("{missing} the name {:?}: give one with {word}, or take this out", name.shape());
        faults.add(spot, key, message);
    }
}
