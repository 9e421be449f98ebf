//! Failures that wait for evidence: what a session, or a request, met at one backend counts when it fares better at
//! the next. The same failure at both speaks of the session. The session itself waits for none of this.
//!
//! ```text
//!                a backend fails it                 the next takes it             messages acknowledged, and lasted
//!   no case -------------------------> searching ----------------------> placed ------------------------------------> counted
//!                                        |  ^                               |
//!                                        |  +-------------------------------+
//!                                        |           that one fails it
//!                                        |
//!                                        |  no other has failed it alike: a second has passed, and nobody takes it
//!                                        +---------------------------------------------------------------------> counted
//!                                        |  another has failed it alike, and both were well a second later
//!                                        +---------------------------------------------------------------------> nobody's,
//!                                        |                                                            the session's own
//!                                           another has failed it alike, and one of them is not well
//!                                        +---------------------------------------------------------------------> counted
//!
//!   Where there is no other backend, it counts at once. A request that one backend takes counts at once against those
//!   that have answered it with a failure. A session that ends at the next backend, with nothing left to acknowledge, has
//!   lasted there; of one that ends before, a failure that no other backend has met is nobody's.
//! ```

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::net::address::Address;

/// How long a session must last at the next backend, and how much later the backends that failed it must be well.
/// `early_death` were ten times longer for a backend that really fails, and it would take as many sessions more.
const SETTLED: Duration = Duration::from_secs(1);

/// Cases at a time. When so many fail at once it is no one session's doing, so that further failures count at once.
const CASES_MAX: usize = 1024;

/// Failures of one case that are remembered.
const FAILURES_MAX: usize = 8;

/// Idle times that differ by less are the same.
const ALIKE: Duration = Duration::from_millis(250);

/// Cases of one pool, by what tells sessions apart.
#[derive(Debug, Default)]
pub(crate) struct Docket(HashMap<u64, Case>);

/// What one session has met.
#[derive(Debug)]
struct Case {
    client: Address,
    /// The oldest first.
    failures: Vec<Heard>,
    stage: Stage,
    /// Two backends have closed it alike for a message, and were well afterwards.
    is_blamed: bool,
}

#[derive(Debug)]
enum Stage {
    /// It looks for a backend.
    Searching,
    /// It has one.
    Placed { since: Time, settled: bool },
    /// Its client has left.
    Over,
}

/// A failure, and what became of it.
#[derive(Debug)]
struct Heard {
    failure: Failing,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// It has counted, or could not.
    Done,
    /// It is the session's own.
    Nobodys,
}

/// A backend has failed a session, or a request.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    /// Its id.
    pub(crate) backend: usize,
    pub(crate) at: Time,
    pub(crate) what: Mishap,
    pub(crate) when: Occasion,
    /// So soon after the link that it may count.
    pub(crate) young: bool,
}

/// How a backend has failed. Two are alike when they are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It has said Close with this code.
    Close(CloseCode),
    /// Its connection has ended.
    End,
    /// It has broken a protocol, or kept a message open.
    Breach,
    /// It was silent, or its host is.
    Silence,
    /// It has answered the request with a server error, or a success that is no upgrade.
    Error,
    /// It has answered that it has enough at the moment.
    Busy,
    /// It has hung up on the request.
    HangUp,
    /// It has made nothing of the request.
    NoAnswer,
}

/// What the session was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// It was given these messages, by their seqs, and had not acknowledged them.
    Messages(RangeInclusive<u64>),
    /// Its request.
    Handshake,
    /// Nothing was under way, so long after the link.
    Idle(Duration),
}

/// A failure that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) backend: usize,
    /// When it happened.
    pub(crate) at: Time,
    pub(crate) what: Mishap,
    /// Who has met it.
    pub(crate) client: Address,
    pub(crate) session: u64,
}

/// What time has decided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// They count, the oldest first.
    pub(crate) charges: Vec<Charge>,
    /// They are nobody's.
    pub(crate) acquitted: Vec<Charge>,
}

impl Docket {
    /// A backend has failed this session. `others`: there are other backends. Returns what counts at once.
    pub(crate) fn failed(
        &mut self,
        (session, client): (u64, Address),
        failure: Failing,
        others: bool,
    ) -> Option<Charge> {
        let full = self.0.len() >= CASES_MAX && !self.0.contains_key(&session);
        let at_once = failure.young && (full || !others);
        let charge = at_once.then(|| failure.charge(session, client));
        if !full {
            let fresh = || Case { client, failures: Vec::new(), stage: Stage::Searching, is_blamed: false };
            self.0.entry(session).or_insert_with(fresh).add(failure, at_once);
        }
        charge
    }

    /// A backend has taken it. Returns what counts for that: those that have made nothing of the same request.
    pub(crate) fn placed(&mut self, now: Time, session: u64) -> Vec<Charge> {
        let Some(case) = self.0.get_mut(&session) else { return Vec::new() };
        case.stage = Stage::Placed { since: now, settled: false };
        let charges = case.close(session, Fate::Done, |_, own| own.when == Occasion::Handshake);
        if case.failures.iter().all(|own| own.failure.when == Occasion::Handshake) {
            self.0.remove(&session);
        }
        charges
    }

    /// That backend has acknowledged what was sent again.
    pub(crate) fn settled(&mut self, session: u64) {
        if let Some(case) = self.0.get_mut(&session)
            && let Stage::Placed { settled, .. } = &mut case.stage
        {
            (*settled, case.is_blamed) = (true, false);
        }
    }

    /// Whether one of its messages is to blame for what it has met, as far as is known.
    pub(crate) fn blames(&self, session: u64) -> bool {
        self.0.get(&session).is_some_and(|case| case.is_blamed)
    }

    /// It has ended. Returns what counts for that: a session that has come to its end at the next backend, with
    /// nothing left to acknowledge, has lasted there.
    pub(crate) fn left(&mut self, session: u64) -> Vec<Charge> {
        let Some(case) = self.0.get_mut(&session) else { return Vec::new() };
        let fared_well = matches!(case.stage, Stage::Placed { settled: true, .. });
        case.stage = Stage::Over;
        case.close(session, Fate::Done, |_, _| fared_well)
    }

    /// Time alone. `patience`: how long nobody needs to have heard of a backend. `well`: whether others have fared well
    /// at a backend since then; `None`: nobody has said anything.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        patience: Duration,
        well: impl Fn(usize, Time) -> Option<bool>,
    ) -> Ruling {
        let (mut ruling, patience) = (Ruling::default(), patience.max(SETTLED));
        self.0.retain(|session, case| {
            case.advance(*session, now, patience, &well, &mut ruling);
            !case.is_over(now, patience)
        });
        ruling.charges.sort_by_key(|charge| charge.at);
        ruling
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Case {
    fn add(&mut self, failure: Failing, counted: bool) {
        self.stage = Stage::Searching;
        // Of a session that meets the same again and again the first time is judged.
        let is_same = |own: &Heard| own.failure.backend == failure.backend && own.failure.is_like(&failure);
        if self.failures.iter().any(|own| own.fate != Fate::Done && is_same(own)) {
            return;
        }
        if self.failures.len() >= FAILURES_MAX {
            self.failures.remove(0);
        }
        let fate = if failure.young && !counted { Fate::Open } else { Fate::Done };
        self.failures.push(Heard { failure, fate });
    }

    fn advance(
        &mut self,
        session: u64,
        now: Time,
        patience: Duration,
        well: &impl Fn(usize, Time) -> Option<bool>,
        ruling: &mut Ruling,
    ) {
        let charges = match self.stage {
            Stage::Placed { since, settled } => {
                let lasts = if settled { SETTLED } else { patience };
                let lasted = now.since(since) >= lasts;
                self.close(session, Fate::Done, |_, _| lasted)
            }
            Stage::Searching | Stage::Over => {
                // What two backends have met alike is nobody's, when both were well afterwards.
                let acquitted = self.close(session, Fate::Nobodys, |met, own| met.acquits(own, now, well));
                self.is_blamed |= !acquitted.is_empty() && self.was_closed_for_messages();
                ruling.acquitted.extend(acquitted);
                let over = matches!(self.stage, Stage::Over);
                self.close(session, Fate::Done, |met, own| match met.is_met_alike(own) {
                    true => met.convicts(own, now, patience, well),
                    false => !over && now.since(own.at) >= SETTLED,
                })
            }
        };
        ruling.charges.extend(charges);
    }

    /// Closes those that are decided.
    fn close(&mut self, session: u64, fate: Fate, decided: impl Fn(&Met, &Failing) -> bool) -> Vec<Charge> {
        if !self.failures.iter().any(|own| own.fate == Fate::Open) {
            return Vec::new();
        }
        let met = Met(self.failures.iter().map(|own| own.failure.clone()).collect());
        let client = self.client;
        let open = self.failures.iter_mut().filter(|own| own.fate == Fate::Open);
        let closed = open.filter(|own| decided(&met, &own.failure)).map(|own| {
            own.fate = fate;
            own.failure.charge(session, client)
        });
        closed.collect()
    }

    /// The last backend has said so itself. One whose process has ended may have been restarted, and is well at once: who
    /// kills backends, the poison guard finds out.
    fn was_closed_for_messages(&self) -> bool {
        let closed =
            |own: &Failing| matches!((&own.when, own.what), (Occasion::Messages(_), Mishap::Close(_)));
        self.failures.last().is_some_and(|own| closed(&own.failure))
    }

    /// Nothing can come of it any more, not even as one of two.
    fn is_over(&self, now: Time, patience: Duration) -> bool {
        let open = self.failures.iter().any(|own| own.fate == Fate::Open);
        let single = self.failures.len() < 2;
        match self.stage {
            Stage::Placed { since, settled } => {
                !open && now.since(since) >= if settled { SETTLED } else { patience }
            }
            Stage::Over if single => true,
            Stage::Searching | Stage::Over => {
                let last = self.failures.last().map(|own| own.failure.at);
                !open && last.is_none_or(|last| now.since(last) >= patience)
            }
        }
    }
}

/// All that one session has met.
struct Met(Vec<Failing>);

impl Met {
    /// Another backend has failed it alike.
    fn is_met_alike(&self, own: &Failing) -> bool {
        self.others(own).next().is_some()
    }

    /// What was met alike at other backends.
    fn others(&self, own: &Failing) -> impl Iterator<Item = &Failing> {
        self.0.iter().filter(move |other| other.backend != own.backend && other.is_like(own))
    }

    /// It was well later, and so was another that has failed the session alike.
    fn acquits(&self, own: &Failing, now: Time, well: &impl Fn(usize, Time) -> Option<bool>) -> bool {
        let is_well = |other: &Failing| other.fared(now, well) == Some(true);
        is_well(own) && self.others(own).any(is_well)
    }

    /// It was not well, or none of the others; or nobody has heard of them for too long.
    fn convicts(
        &self,
        own: &Failing,
        now: Time,
        patience: Duration,
        well: &impl Fn(usize, Time) -> Option<bool>,
    ) -> bool {
        let is_ill = |other: &Failing| other.fared(now, well) == Some(false);
        is_ill(own) || self.others(own).all(is_ill) || now.since(own.at) >= patience
    }
}

impl Failing {
    /// Whether its backend was well later. `None`: that is not known yet.
    fn fared(&self, now: Time, well: &impl Fn(usize, Time) -> Option<bool>) -> Option<bool> {
        let later = self.at + SETTLED;
        if now >= later { well(self.backend, later) } else { None }
    }

    fn charge(&self, session: u64, client: Address) -> Charge {
        Charge { backend: self.backend, at: self.at, what: self.what, client, session }
    }

    /// Whether both may be the session's doing.
    fn is_like(&self, other: &Failing) -> bool {
        let alike = match (&self.when, &other.when) {
            (Occasion::Messages(one), Occasion::Messages(other)) => {
                one.start() <= other.end() && other.start() <= one.end()
            }
            (Occasion::Handshake, Occasion::Handshake) => true,
            (Occasion::Idle(one), Occasion::Idle(other)) => {
                let apart = one.abs_diff(*other);
                !self.what.is_passing() && (apart <= ALIKE || apart <= *one.max(other) / 10)
            }
            _ => false,
        };
        self.what == other.what && alike
    }
}

impl Mishap {
    /// A drain, a deploy or overload: whoever is idle meets it at one backend after the other.
    fn is_passing(self) -> bool {
        let codes = [CloseCode::GOING_AWAY, CloseCode::SERVICE_RESTART, CloseCode::TRY_AGAIN_LATER];
        matches!(self, Mishap::Close(code) if codes.contains(&code))
    }
}

#[cfg(test)]
mod tests;
