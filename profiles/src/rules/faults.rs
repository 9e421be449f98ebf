//! What is found to be wrong with rules.

use super::source::RuleFault;

/// All that was found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<RuleFault>);

/// Where a rule stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// `up`, `down` or `fill_in`.
    pub(super) list: &'static str,
    pub(super) index: usize,
}

impl Faults {
    pub(super) fn add(&mut self, spot: Spot, key: &'static str, message: impl Into<String>) {
        self.0.push(RuleFault { list: spot.list, index: spot.index, key, message: message.into() });
    }

    /// What there is, if it is no fault.
    pub(super) fn take<T>(&mut self, spot: Spot, key: &'static str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(spot, key, message)).ok()
    }

    /// A word of a rule that says nothing without another.
    pub(super) fn alone(&mut self, spot: Spot, key: &'static str, given: bool, with: &str, there: bool) {
        if given && !there {
            self.add(spot, key, format!("`{key}` says nothing here: give {with} as well, or take it out"));
        }
    }

    /// Of the words of which a rule may have one, two are given.
    pub(super) fn one_of(&mut self, spot: Spot, words: &[(&'static str, bool)]) {
        let mut given = words.iter().filter(|(_, given)| *given);
        let Some((first, _)) = given.next() else { return };
        for (other, _) in given {
            self.add(
                spot,
                other,
                format!("a rule is either `{first}` or `{other}`: make two rules of it, or take one out"),
            );
        }
    }

    /// All, if there are any, in the order of the rules.
    pub(super) fn end(mut self) -> Result<(), Vec<RuleFault>> {
        let place = |list| ["up", "down", "fill_in"].iter().position(|name| *name == list);
        self.0.sort_by_key(|fault| (place(fault.list), fault.index));
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
