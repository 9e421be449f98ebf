//! Protocols that rules can tell. A rule says what a message is that fits it; the first one that fits counts.
//!
//! ```text
//!   RuleSource  as written                        source
//!     | compile                                   compile, faults
//!   RuleSet     checked, shared by all sessions   set: places, pattern, template
//!     | new
//!   RuleMachine one session's                     machine, learned, translation
//! ```

mod builtin;
mod compile;
mod faults;
mod hash;
mod json;
mod learned;
mod machine;
mod pattern;
mod places;
mod set;
mod source;
mod template;
mod translation;
mod value;

pub use builtin::BUILTIN;
pub use machine::RuleMachine;
pub use set::RuleSet;
pub use source::{Alias, DownRule, FillInRule, RuleFault, RuleSource, Scalar, UpRule, When};

#[cfg(test)]
mod tests;
