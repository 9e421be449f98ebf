//! A pool's balance: which backend should have how many sessions, and which moves bring that about.

use std::cmp::Reverse;

use crate::config::settings::Balance;
use crate::upstream::balance::{self, Affinity, Candidate, CandidateTrust, Turns};

/// A backend with its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) id: usize,
    /// In thousandths; zero: it should have none.
    pub(super) weight: u32,
    pub(super) sessions: usize,
    /// `None`: no limit.
    pub(super) max_sessions: Option<usize>,
}

/// So many sessions of one backend are to go to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) sessions: usize,
}

/// Those who bear the load: primaries, or backups when no primary is eligible. A backup that stands in for
/// nobody should have no session.
pub(super) fn bearers(candidates: &[Candidate]) -> Vec<Bearer> {
    let eligible = || candidates.iter().filter(|candidate| candidate.standing == CandidateTrust::Eligible);
    let backup = eligible().all(|candidate| candidate.backup);
    let bearer = |candidate: &Candidate| Bearer {
        id: candidate.id,
        weight: if candidate.backup == backup { candidate.weight } else { 0 },
        sessions: candidate.sessions,
        max_sessions: candidate.max_sessions,
    };
    eligible().map(bearer).collect()
}

/// How many of all their sessions each should have: by weight, as far as its limit allows.
pub(super) fn shares(bearers: &[Bearer]) -> Vec<usize> {
    let mut shares = vec![0; bearers.len()];
    let mut rest: usize = bearers.iter().map(|bearer| bearer.sessions).sum();
    let mut open: Vec<usize> = (0..bearers.len()).filter(|n| bearers[*n].weight > 0).collect();
    // Who is full gives the rest of its part back, to be shared among the others.
    while rest > 0 && !open.is_empty() {
        let parts = parts(bearers, &open, rest);
        let (full, with_room): (Vec<_>, Vec<_>) =
            open.iter().zip(parts).partition(|(n, part)| *part >= bearers[**n].max());
        let done = if full.is_empty() { with_room } else { full };
        for (n, part) in &done {
            shares[**n] = bearers[**n].max().min(*part);
            rest -= shares[**n];
        }
        let closed: Vec<usize> = done.iter().map(|(n, _)| **n).collect();
        open.retain(|n| !closed.contains(n));
    }
    // All are full, or none may have any: what is too much stays where it is.
    for (share, bearer) in shares.iter_mut().zip(bearers) {
        let more = rest.min(bearer.sessions.saturating_sub(*share));
        (*share, rest) = (*share + more, rest - more);
    }
    shares
}

/// `sessions` in proportion to the weights. What rounding leaves over goes to those whose parts were
/// rounded off most, so that the parts add up.
fn parts(bearers: &[Bearer], open: &[usize], sessions: usize) -> Vec<usize> {
    let weights = || open.iter().map(|n| u128::from(bearers[*n].weight));
    let total: u128 = weights().sum::<u128>().max(1);
    let exact: Vec<u128> = weights().map(|weight| weight * sessions as u128).collect();
    let mut parts: Vec<usize> = exact.iter().map(|exact| (exact / total) as usize).collect();
    let missing = sessions - parts.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..open.len()).collect();
    // Of equals, the one that has more already: that moves fewer.
    order.sort_by_key(|n| Reverse((exact[*n] % total, bearers[open[*n]].sessions)));
    order.into_iter().take(missing).for_each(|n| parts[n] += 1);
    parts
}

/// The moves after which none is off its share by more than `tolerance` percent, or by one session if
/// that is more; as few as that takes. Nobody overshoots its share.
pub(super) fn shifts(bearers: &[Bearer], tolerance: u32) -> Vec<Shift> {
    let shares = shares(bearers);
    let sides = |surplus: bool| -> Vec<UnevenBackend> {
        let side = |(bearer, share): (&Bearer, &usize)| {
            let (more, less) = if surplus { (bearer.sessions, *share) } else { (*share, bearer.sessions) };
            let off = more.saturating_sub(less);
            UnevenBackend { id: bearer.id, off, must: off.saturating_sub(allowed(bearer, *share, tolerance)) }
        };
        bearers.iter().zip(&shares).map(side).filter(|side| side.off > 0).collect()
    };
    let (mut givers, mut takers) = (sides(true), sides(false));
    let musts = |sides: &[UnevenBackend]| sides.iter().map(|side| side.must).sum::<usize>();
    let moves = musts(&givers).max(musts(&takers));
    fill(&mut givers, moves);
    fill(&mut takers, moves);
    pair(&givers, &takers)
}

/// A backend with too many, or too few.
struct UnevenBackend {
    id: usize,
    /// By so many it is off its share.
    off: usize,
    /// So many it gives, or takes.
    must: usize,
}

fn allowed(bearer: &Bearer, share: usize, tolerance: u32) -> usize {
    if bearer.weight == 0 {
        return 0;
    }
    let part = share as u128 * u128::from(tolerance) / 100;
    usize::try_from(part).unwrap_or(usize::MAX).max(1)
}

/// Those who are within the tolerance help, until it is `moves` in all.
fn fill(sides: &mut [UnevenBackend], moves: usize) {
    let mut missing = moves - sides.iter().map(|side| side.must).sum::<usize>();
    sides.sort_by_key(|side| Reverse(side.off - side.must));
    for side in sides {
        let more = missing.min(side.off - side.must);
        (side.must, missing) = (side.must + more, missing - more);
    }
}

fn pair(givers: &[UnevenBackend], takers: &[UnevenBackend]) -> Vec<Shift> {
    let mut shifts = Vec::new();
    let mut takers = takers.iter().map(|side| (side.id, side.must)).filter(|(_, most)| *most > 0);
    let mut taker = takers.next();
    for giver in givers {
        let mut left = giver.must;
        while left > 0
            && let Some((to, room)) = taker
        {
            let sessions = left.min(room);
            shifts.push(Shift { from: giver.id, to, sessions });
            left -= sessions;
            taker = if room > sessions { Some((to, room - sessions)) } else { takers.next() };
        }
    }
    shifts
}

/// A session that is placed by a key, and the backend that it is on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed {
    pub(super) id: u128,
    pub(super) here: usize,
    pub(super) key: Affinity,
}

/// Which sessions their keys would place elsewhere today, and where. Each is placed anew in its turn, so
/// that limits hold. Nobody goes to a backend that is penalised at the moment, or leaves it for that.
pub(super) fn by_key(
    sessions: impl IntoIterator<Item = Keyed>,
    candidates: &[Candidate],
    balance: &Balance,
) -> Vec<(u128, usize)> {
    let settled =
        |candidate: &Candidate| Candidate { standing: CandidateTrust::Eligible, ..candidate.clone() };
    let mut places: Vec<Candidate> = candidates.iter().map(settled).collect();
    let (mut moves, mut turns) = (Vec::new(), Turns::default());
    for Keyed { id, here, key } in sessions {
        let Some(own) = position(&places, here) else { continue };
        // It takes part in the choice without its own place.
        places[own].sessions = places[own].sessions.saturating_sub(1);
        let placed = balance::place(&places, balance, Some(key), &mut turns, &mut || 0);
        let there = placed
            .ok()
            .and_then(|placed| position(&places, placed.id))
            .filter(|there| candidates[*there].standing == CandidateTrust::Eligible);
        let there = there.unwrap_or(own);
        places[there].sessions += 1;
        if there != own {
            moves.push((id, places[there].id));
        }
    }
    moves
}

fn position(candidates: &[Candidate], id: usize) -> Option<usize> {
    candidates.iter().position(|candidate| candidate.id == id)
}

impl Bearer {
    fn max(&self) -> usize {
        self.max_sessions.unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
