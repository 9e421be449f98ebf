//! Protocols that rules can tell. A rule says what a message is that fits it; the first one that fits counts.

mod source;

use std::sync::Arc;

use crate::{Down, FillIn, Key, Message, Up, Words};

pub use source::{Alias, DownRule, FillInRule, RuleFault, RuleSource, Scalar, UpRule, When};

/// A profile made of rules, ready to be used.
#[derive(Debug)]
pub struct RuleSet {}

impl RuleSet {
    /// Checks rules, and makes them ready.
    ///
    /// # Errors
    /// Each rule that cannot work, and why.
    pub fn compile(_source: &RuleSource) -> Result<RuleSet, Vec<RuleFault>> {
        Ok(RuleSet {})
    }
}

/// One session's part.
#[derive(Debug)]
pub struct RuleMachine {
    rules: Arc<RuleSet>,
}

impl RuleMachine {
    pub(crate) fn new(rules: Arc<RuleSet>) -> RuleMachine {
        RuleMachine { rules }
    }

    pub(crate) fn up(&mut self, _message: Message<'_>, _words: &mut Words) -> Up {
        let _ = &self.rules;
        Up::Tell
    }

    pub(crate) fn down(&mut self, _message: Message<'_>, _words: &mut Words) -> Down {
        Down::Push
    }

    pub(crate) fn linked(&mut self) {}

    pub(crate) fn greets(&self) -> bool {
        false
    }

    pub(crate) fn answered(&mut self, _slot: Key, _message: Message<'_>, _again: bool) {}

    pub(crate) fn repeat(&mut self, _slot: Key, _message: Message<'_>) -> Option<Vec<u8>> {
        None
    }

    pub(crate) fn forget(&mut self, _slot: Key) {}

    pub(crate) fn fill_in(&self) -> Option<FillIn> {
        None
    }

    pub(crate) fn window(&self) -> usize {
        64 * 1024
    }
}
