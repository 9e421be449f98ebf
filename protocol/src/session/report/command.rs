//! What the machine asks of its driver.

use crate::time::Time;

use crate::session::Session;

/// Something that the driver is to do. None is an event: what happened is told by [`Session::poll_event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// A backend is to be dialled. Answer with [`Session::handle_linked`] or [`Session::handle_dial_failed`].
    Dial(Dial),
    /// The next backend of the planned move with this ticket is to be dialled, while the present one still serves.
    /// Answer with [`Session::handle_successor_linked`] or [`Session::handle_successor_failed`].
    DialAhead {
        /// Of the move's order.
        ticket: u64,
    },
    /// The backend owes something and has said nothing for half of `ack_timeout`, or as long again. Answer with
    /// what is known of it: [`Session::handle_evidence`].
    JudgeSilence,
    /// The backend talks and has answered no ping for `stall_timeout`. Answer with whether any of its pool has:
    /// [`Session::set_fit`], [`Session::set_unfit`].
    JudgeFitness,
    /// The client owes an answer. If its connection is known to be dead, answer with
    /// [`Session::handle_client_dead`].
    JudgeClient,
    /// The client is to be closed as soon as another backend has room for it. Answer with
    /// [`Session::handle_room`].
    SeekRoom,
    /// No suspect is left: the turn that [`Dial::suspect`] has asked for may end.
    ReleaseTurn,
}

/// What the driver is to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// 2 for the first dial after the one that began the session, then 3 ...
    pub attempt: u32,
    /// The next backend is connected already ([`Session::handle_successor_linked`]): it is this one.
    pub held: bool,
    /// Some message here may be a killer: few such sessions at a time may use a backend. Tell with
    /// [`Session::handle_turn_awaited`] that the dial waits for that.
    pub suspect: bool,
    /// This message was alone of its session at the last death, and has met as many as convict. Answer with
    /// [`Session::handle_convicted`] if no other session's can have brought them about.
    pub accused: Option<u64>,
}

impl Session {
    /// Returns what the driver is to do next; `None`: nothing more now. Drop first what is not wanted any more
    /// ([`Session::wants_link`], [`Session::wants_successor`]).
    #[inline]
    pub fn poll_command(&mut self, now: Time) -> Option<Command> {
        // As almost always: nothing is under way.
        if self.underway.is_empty() && self.orphaned().is_none() {
            return None;
        }
        self.next_command(now)
    }

    fn next_command(&mut self, now: Time) -> Option<Command> {
        let queued = self.underway.take_command();
        queued
            .or_else(|| self.take_successor().map(|ticket| Command::DialAhead { ticket }))
            .or_else(|| self.take_search(now).then_some(Command::SeekRoom))
            .or_else(|| self.take_dial(now).map(Command::Dial))
    }

    pub(in crate::session) fn ask(&mut self, command: Command) {
        self.underway.ask(command);
    }
}
