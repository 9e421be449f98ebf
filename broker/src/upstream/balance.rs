//! Which backend a session gets, and why. It knows candidates as numbers: what they are, how they are
//! and who may be one is the pool's business.
//!
//! Candidates stand in tiers. The first tier that has one with room is served, and the pool's rule
//! chooses among those of the tier that have room:
//!
//! 1. eligible primaries,
//! 2. eligible backups,
//! 3. suspects, primaries before backups,
//! 4. ejected ones, primaries before backups: a bad backend is better than none,
//! 5. those that seem to leave, which the pool makes candidates only for sessions that have waited.
//!
//! While a primary is eligible, even if it is full, backups are out of the question in each tier: they
//! stand in for broken backends, not for busy ones.

mod affinity;
pub(crate) mod hash;
mod reason;
mod turns;

use std::cmp::Ordering;

use crate::config::settings::Balance;

pub(crate) use affinity::{Affinity, part_of_request};
pub(crate) use reason::ChoiceReason;
pub(crate) use turns::Turns;

use reason::{ChoiceRule, Skipped, Tier};

/// A backend that could take the session.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Its number in its pool.
    pub(crate) id: usize,
    /// In thousandths: 1000 is weight 1. Zero, which the pool leaves out, would count as one.
    pub(crate) weight: u32,
    /// Sessions on it.
    pub(crate) sessions: usize,
    /// Sessions at once; `None`: no limit.
    pub(crate) max_sessions: Option<usize>,
    /// Whether it stands in only when no primary is eligible.
    pub(crate) backup: bool,
    pub(crate) standing: CandidateTrust,
    /// The hash of its name, see [`hash::of`].
    pub(crate) hash: u64,
}

/// How far a candidate is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CandidateTrust {
    /// Nothing speaks against it.
    Eligible,
    /// It is penalised, or this session has just left it.
    Suspect,
    /// Its circuit is open.
    Ejected,
    /// Its Closes let infer that it goes.
    Leaving,
}

/// A choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlacementChoice {
    pub(crate) id: usize,
    /// What it was when it was chosen.
    pub(super) standing: CandidateTrust,
    pub(super) reason: ChoiceReason,
}

/// Why there is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// There are candidates, and all that come into question are at their limit.
    Full,
    /// There is none.
    Nobody,
}

/// Chooses a candidate for a session. `affinity` is what its request is placed by; `random` gives
/// evenly distributed numbers.
pub(crate) fn place(
    candidates: &[Candidate],
    balance: &Balance,
    affinity: Option<Affinity>,
    turns: &mut Turns,
    random: &mut dyn FnMut() -> u64,
) -> Result<PlacementChoice, NoPlace> {
    if candidates.is_empty() {
        return Err(NoPlace::Nobody);
    }
    let (tier, open) = best_tier(candidates).ok_or(NoPlace::Full)?;
    let (rule, chosen) = match (balance, affinity) {
        (Balance::LeastSessions, _) => (ChoiceRule::LeastSessions, least_sessions(&open, turns)),
        (Balance::RoundRobin, _) => (ChoiceRule::RoundRobin, turns.round_robin(candidates, &open)),
        (Balance::PowerOfTwo, _) => (ChoiceRule::PowerOfTwo, power_of_two(&open, random)),
        (Balance::Random, _) => (ChoiceRule::Random, draw(&open, None, random)),
        (Balance::Source, Some(affinity)) => (ChoiceRule::Source, hash::first(open, affinity.hash())),
        (Balance::Hash(_), Some(affinity)) => (ChoiceRule::Hash, hash::first(open, affinity.hash())),
        (Balance::Source | Balance::Hash(_), None) => (ChoiceRule::NoKey, least_sessions(&open, turns)),
    };
    // A tier is never empty.
    let chosen = chosen.ok_or(NoPlace::Full)?;
    let skipped =
        affinity.filter(|_| rule.is_by_key()).and_then(|affinity| skipped(candidates, chosen, affinity));
    Ok(PlacementChoice {
        id: chosen.id,
        standing: chosen.standing,
        reason: ChoiceReason { rule, tier, skipped },
    })
}

/// How many sessions eligible candidates have room for: primaries, or backups when none is eligible.
pub(super) fn room(candidates: &[Candidate]) -> usize {
    let eligible = || candidates.iter().filter(|candidate| candidate.standing == CandidateTrust::Eligible);
    let backup = eligible().all(|candidate| candidate.backup);
    let rooms = eligible().filter(|candidate| candidate.backup == backup).map(Candidate::room);
    rooms.fold(0, usize::saturating_add)
}

impl Candidate {
    fn share(&self) -> u32 {
        self.weight.max(1)
    }

    /// How many more sessions it may have.
    pub(super) fn room(&self) -> usize {
        self.max_sessions.map_or(usize::MAX, |max| max.saturating_sub(self.sessions))
    }

    fn has_room(&self) -> bool {
        self.room() > 0
    }

    fn tier(&self) -> Tier {
        Tier { standing: self.standing, backup: self.backup }
    }

    /// Compares what they would bear for their weight with one session more. The fractions are
    /// multiplied crosswise, so that no rounding decides.
    fn cmp_load(&self, other: &Candidate) -> Ordering {
        let cross =
            |one: &Candidate, other: &Candidate| (one.sessions as u128 + 1) * u128::from(other.share());
        cross(self, other).cmp(&cross(other, self))
    }
}

/// The first tier in which somebody has room, and who has.
fn best_tier(candidates: &[Candidate]) -> Option<(Tier, Vec<&Candidate>)> {
    let eligible = Tier { standing: CandidateTrust::Eligible, backup: false };
    let primary_is_sound = candidates.iter().any(|candidate| candidate.tier() == eligible);
    let all_are_out = candidates.iter().all(|candidate| candidate.standing >= CandidateTrust::Ejected);
    let counts = |candidate: &Candidate| match candidate.standing {
        // It fails its sessions: to wait for room elsewhere is better.
        CandidateTrust::Ejected | CandidateTrust::Leaving => all_are_out,
        CandidateTrust::Eligible | CandidateTrust::Suspect => !(candidate.backup && primary_is_sound),
    };
    let usable = |candidate: &&Candidate| candidate.has_room() && counts(candidate);
    let tier = candidates.iter().filter(usable).map(Candidate::tier).min()?;
    let open = candidates.iter().filter(usable).filter(|candidate| candidate.tier() == tier);
    Some((tier, open.collect()))
}

fn least_sessions<'a>(open: &[&'a Candidate], turns: &mut Turns) -> Option<&'a Candidate> {
    let least = open.iter().copied().min_by(|one, other| one.cmp_load(other))?;
    turns.rotate(open.iter().copied().filter(|candidate| candidate.cmp_load(least).is_eq()))
}

/// Draws two by weight and takes the less loaded; of equals the first, so that weights count then too.
fn power_of_two<'a>(open: &[&'a Candidate], random: &mut dyn FnMut() -> u64) -> Option<&'a Candidate> {
    let first = draw(open, None, random)?;
    let Some(second) = draw(open, Some(first.id), random) else { return Some(first) };
    Some(if second.cmp_load(first).is_lt() { second } else { first })
}

/// One by weight, but not `except`.
fn draw<'a>(
    open: &[&'a Candidate],
    except: Option<usize>,
    random: &mut dyn FnMut() -> u64,
) -> Option<&'a Candidate> {
    let urn = || open.iter().copied().filter(|candidate| Some(candidate.id) != except);
    let total: u128 = urn().map(|candidate| u128::from(candidate.share())).sum();
    // The high half of the product is evenly distributed below `total`, up to one part in 2^64 for each.
    let mut ticket = (u128::from(random()) * total) >> 64;
    urn().find(|candidate| {
        let share = u128::from(candidate.share());
        let is_drawn = ticket < share;
        ticket = ticket.saturating_sub(share);
        is_drawn
    })
}

/// Why the key's first choice was skipped; `None` when `chosen` is it. The first choice is the one that
/// the key has among all primaries, or among all backups when a backup was chosen.
fn skipped(candidates: &[Candidate], chosen: &Candidate, affinity: Affinity) -> Option<Skipped> {
    let first = hash::first(
        candidates.iter().filter(|candidate| candidate.backup == chosen.backup),
        affinity.hash(),
    )?;
    match first.standing {
        _ if first.id == chosen.id => None,
        CandidateTrust::Ejected if chosen.standing < CandidateTrust::Ejected => Some(Skipped::Ejected),
        CandidateTrust::Suspect if chosen.standing < CandidateTrust::Suspect => Some(Skipped::Suspect),
        _ => Some(Skipped::Full),
    }
}

#[cfg(test)]
mod tests;
