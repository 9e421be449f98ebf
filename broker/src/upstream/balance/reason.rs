//! Why a session is where it is: small enough for each session to keep it, readable for whoever asks
//! the admin API.

use std::fmt;

use super::Standing;

/// The rule that chose, the tier that it chose from, and what became of the key's first choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(super) rule: Rule,
    pub(super) tier: Tier,
    pub(super) skipped: Option<Skipped>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    LeastSessions,
    RoundRobin,
    PowerOfTwo,
    Random,
    Source,
    Hash,
    /// The request has no key to hash by.
    NoKey,
}

/// Candidates that are as good as each other. They are ordered by preference: the standing decides
/// first, then primaries come before backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tier {
    pub(super) standing: Standing,
    pub(super) backup: bool,
}

/// What kept a session from the key's first choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    Full,
    Suspect,
    Ejected,
}

impl Rule {
    /// Whether the same key always has the same order of candidates.
    pub(super) fn is_by_key(self) -> bool {
        matches!(self, Rule::Source | Rule::Hash)
    }

    fn text(self) -> &'static str {
        match self {
            Rule::LeastSessions => "least_sessions",
            Rule::RoundRobin => "round_robin",
            Rule::PowerOfTwo => "power_of_two",
            Rule::Random => "random",
            Rule::Source => "source",
            Rule::Hash => "hash",
            Rule::NoKey => "no key: least_sessions",
        }
    }
}

impl Tier {
    /// Nothing for the tier that needs no word.
    fn text(self) -> &'static str {
        match (self.standing, self.backup) {
            (Standing::Sound, false) => "",
            (Standing::Sound, true) => "; a backup, no primary is sound",
            (Standing::Suspect, false) => "; a suspect, for want of better",
            (Standing::Suspect, true) => "; a suspect backup, for want of better",
            (Standing::Ejected, false) => "; last resort: ejected",
            (Standing::Ejected, true) => "; last resort: an ejected backup",
        }
    }
}

impl Skipped {
    fn text(self) -> &'static str {
        match self {
            Skipped::Full => ", the first choice is full",
            Skipped::Suspect => ", the first choice is suspect",
            Skipped::Ejected => ", the first choice is ejected",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.text())?;
        f.write_str(self.skipped.map_or("", Skipped::text))?;
        f.write_str(self.tier.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Tier = Tier { standing: Standing::Sound, backup: false };

    #[test]
    fn each_session_can_keep_one() {
        assert!(size_of::<Reason>() <= 4);
        assert!(size_of::<Option<Reason>>() <= 4);
    }

    #[test]
    fn says_the_rule_the_first_choice_and_the_tier() {
        let plain = Reason { rule: Rule::RoundRobin, tier: PRIMARY, skipped: None };
        assert_eq!(plain.to_string(), "round_robin");
        let second = Reason { rule: Rule::Hash, tier: PRIMARY, skipped: Some(Skipped::Full) };
        assert_eq!(second.to_string(), "hash, the first choice is full");
        let backup = Tier { standing: Standing::Sound, backup: true };
        let backup = Reason { rule: Rule::NoKey, tier: backup, skipped: None };
        assert_eq!(backup.to_string(), "no key: least_sessions; a backup, no primary is sound");
        let last = Tier { standing: Standing::Ejected, backup: false };
        let last = Reason { rule: Rule::Source, tier: last, skipped: Some(Skipped::Full) };
        assert_eq!(last.to_string(), "source, the first choice is full; last resort: ejected");
    }
}
