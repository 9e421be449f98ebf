//! Why a session is where it is: small enough for each session to keep it, readable for whoever asks
//! the admin API.

use std::fmt;

use super::CandidateTrust;

/// The rule that chose, the tier that it chose from, and what became of the key's first choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChoiceReason {
    pub(super) rule: ChoiceRule,
    pub(super) tier: Tier,
    pub(super) skipped: Option<Skipped>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChoiceRule {
    LeastSessions,
    RoundRobin,
    PowerOfTwo,
    Random,
    Source,
    Hash,
    /// The request has no key to hash by.
    NoKey,
    /// Its client belongs there.
    Own,
}

/// Candidates that are as good as each other. They are ordered by preference: the standing decides
/// first, then primaries come before backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tier {
    pub(super) standing: CandidateTrust,
    pub(super) backup: bool,
}

/// What kept a session from the key's first choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    Full,
    Suspect,
    Ejected,
}

impl ChoiceReason {
    /// The session's client belongs there, in whatever tier that is.
    pub(crate) const OWN: ChoiceReason = ChoiceReason {
        rule: ChoiceRule::Own,
        tier: Tier { standing: CandidateTrust::Eligible, backup: false },
        skipped: None,
    };
}

impl ChoiceRule {
    /// Whether the same key always has the same order of candidates.
    pub(super) fn is_by_key(self) -> bool {
        matches!(self, ChoiceRule::Source | ChoiceRule::Hash)
    }

    fn text(self) -> &'static str {
        match self {
            ChoiceRule::LeastSessions => "least_sessions",
            ChoiceRule::RoundRobin => "round_robin",
            ChoiceRule::PowerOfTwo => "power_of_two",
            ChoiceRule::Random => "random",
            ChoiceRule::Source => "source",
            ChoiceRule::Hash => "hash",
            ChoiceRule::NoKey => "no key: least_sessions",
            ChoiceRule::Own => "sticky",
        }
    }
}

impl Tier {
    /// Nothing for the tier that needs no word.
    fn text(self) -> &'static str {
        match (self.standing, self.backup) {
            (CandidateTrust::Eligible, false) => "",
            (CandidateTrust::Eligible, true) => "; a backup, no primary is eligible",
            (CandidateTrust::Suspect, false) => "; a suspect, for want of better",
            (CandidateTrust::Suspect, true) => "; a suspect backup, for want of better",
            (CandidateTrust::Ejected, false) => "; last resort: ejected",
            (CandidateTrust::Ejected, true) => "; last resort: an ejected backup",
            (CandidateTrust::Leaving, false) => "; last resort: it seems to leave",
            (CandidateTrust::Leaving, true) => "; last resort: a backup that seems to leave",
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

impl fmt::Display for ChoiceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.text())?;
        f.write_str(self.skipped.map_or("", Skipped::text))?;
        f.write_str(self.tier.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Tier = Tier { standing: CandidateTrust::Eligible, backup: false };

    #[test]
    fn each_session_can_keep_one() {
        assert!(size_of::<ChoiceReason>() <= 4);
        assert!(size_of::<Option<ChoiceReason>>() <= 4);
    }

    #[test]
    fn says_the_rule_the_first_choice_and_the_tier() {
        let plain = ChoiceReason { rule: ChoiceRule::RoundRobin, tier: PRIMARY, skipped: None };
        assert_eq!(plain.to_string(), "round_robin");
        let second = ChoiceReason { rule: ChoiceRule::Hash, tier: PRIMARY, skipped: Some(Skipped::Full) };
        assert_eq!(second.to_string(), "hash, the first choice is full");
        let backup = Tier { standing: CandidateTrust::Eligible, backup: true };
        let backup = ChoiceReason { rule: ChoiceRule::NoKey, tier: backup, skipped: None };
        assert_eq!(backup.to_string(), "no key: least_sessions; a backup, no primary is eligible");
        let last = Tier { standing: CandidateTrust::Ejected, backup: false };
        let last = ChoiceReason { rule: ChoiceRule::Source, tier: last, skipped: Some(Skipped::Full) };
        assert_eq!(last.to_string(), "source, the first choice is full; last resort: ejected");
    }
}
