//! A client whose conversation ends with its backend. Its protocol has said who it is and what it wants to hear,
//! and the next backend has heard nothing of that: kept open, the client would wait for ever. So it is closed,
//! once there is somebody for it to reconnect to, and begins anew.
//!
//! ```text
//!              the backend is left                     another has room: after a share of the spread
//!   Linked -----------------------------> Orphaned ----------------------------------------------.
//!     |                                      '------- the wait is over, less the rest of it ----.|
//!     |                                                                                         vv
//!     |  relocate: no next backend is dialled, and nothing is held                            Closed,
//!     '------> Quiescing ----- quiet ---------------------------------------------------> to reconnect
//!                 |                                                                              ^
//!                 | patience is over         between two messages, everything acknowledged       |
//!                 '-----------> Pressing --------------------------------------------------------'
//!                                          or hold is over
//! ```
//!
//! An orphaned client is not read: nobody would get what it says. Its connection ends earlier by itself, or by
//! whatever else ends sessions. The way of a planned move is in `migration`.

use std::time::Duration;

use crate::entropy::Entropy;
use crate::time::Time;
use crate::websocket::close_code::CloseCode;

use super::report::{EndCause, Event, Failure, MoveOutcome};
use super::{BackendPhase, ClientPhase, Session};

/// How soon the driver is asked again whether there is room.
const LOOK: Duration = Duration::from_millis(100);

/// The part of the wait over which closes are spread, so that a thousand clients do not come back at once.
const SPREAD: u32 = 10;

/// And how long that is at the most.
const SPREAD_MAX: Duration = Duration::from_millis(500);

/// A client without a backend, until it is closed.
#[derive(Debug)]
pub(super) struct Orphan {
    since: Time,
    /// How far it stands back among others like it, and when it is closed at the latest; `None` until
    /// `advance` has drawn it.
    turn: Option<(Duration, Time)>,
    /// When the driver is to look for room.
    look_at: Time,
}

impl Session {
    /// The client's conversation ends with its backend, so that it must reconnect.
    pub fn begins_anew(&self) -> bool {
        self.state.begins_anew
    }

    /// The backend is left, and the client's conversation with it. What it has not acknowledged is lost.
    pub(super) fn orphan(&mut self, now: Time, failure: Failure) {
        self.end_move(MoveOutcome::Ended);
        self.backend_over();
        if matches!(self.state.client, ClientPhase::Open) {
            self.note(Event::Orphaned(failure));
            self.exceptions().orphan = Some(Orphan { since: now, turn: None, look_at: now });
        }
    }

    /// Its backend has failed, and it is to be closed when another has room. `None`: it is not so. Else
    /// since when.
    pub fn orphaned(&self) -> Option<Time> {
        if self.backend != BackendPhase::Over || !matches!(self.state.client, ClientPhase::Open) {
            return None;
        }
        self.orphan_state().map(|orphan| orphan.since)
    }

    /// Whether the driver is to see now if another backend has room for the client. It is asked once, and again
    /// some time after its answer.
    pub(super) fn take_search(&mut self, now: Time) -> bool {
        if self.orphaned().is_none() {
            return false;
        }
        let due = |orphan: &&mut Orphan| orphan.turn.is_some() && orphan.look_at <= now;
        let orphan = self.orphan_mut().filter(due);
        orphan.map(|orphan| orphan.look_at = Time::NEVER).is_some()
    }

    /// A backend has room for the client, or none has.
    pub fn handle_room(&mut self, now: Time, room: bool) {
        let Some(orphan) = self.orphan_mut() else { return };
        let Some((share, latest)) = &mut orphan.turn else { return };
        if room {
            *latest = (*latest).min(now + *share);
            orphan.look_at = Time::NEVER;
        } else {
            orphan.look_at = now + LOOK;
        }
    }

    /// Draws the turn of a client that has none yet.
    pub(super) fn draw_turn(&mut self, entropy: &mut Entropy<'_>) {
        let wait = self.config.auto_wait;
        let Some(orphan) = self.orphan_mut().filter(|orphan| orphan.turn.is_none()) else { return };
        let spread = (wait / SPREAD).min(SPREAD_MAX);
        let share = Duration::from_micros(entropy() % (spread.as_micros() as u64 + 1));
        orphan.turn = Some((share, orphan.since + (wait - spread) + share));
    }

    pub(super) fn orphan_at(&self) -> Option<Time> {
        self.orphaned()?;
        let orphan = self.orphan_state()?;
        orphan.turn.map(|(_, latest)| latest.min(orphan.look_at))
    }

    pub(super) fn expire_orphan(&mut self, now: Time) {
        let turn = self.orphan_state().and_then(|orphan| orphan.turn);
        if self.orphaned().is_some() && turn.is_some_and(|(_, latest)| latest <= now) {
            let code = self.config.codes.reconnect;
            self.dismiss(now, code, "the backend failed; connect again", EndCause::Reconnect, false);
        }
    }

    /// The backend is left by plan, and the client, which cannot come along, is closed.
    pub(super) fn send_to_reconnect(&mut self, now: Time) {
        self.exceptions().moves += 1;
        self.end_move(MoveOutcome::Reconnects);
        self.say_closing_with(now, CloseCode::GOING_AWAY);
        let code = self.config.codes.reconnect;
        self.dismiss(now, code, "the backend goes away; connect again", EndCause::Reconnect, false);
    }

    fn orphan_state(&self) -> Option<&Orphan> {
        self.state.exceptions.as_ref().and_then(|e| e.orphan.as_ref())
    }

    fn orphan_mut(&mut self) -> Option<&mut Orphan> {
        self.state.exceptions.as_mut().and_then(|e| e.orphan.as_mut())
    }
}
