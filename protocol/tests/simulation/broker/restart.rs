//! The broker's process ends in the middle of what it does, and another one goes on with its sessions.

use std::sync::Arc;

use steadfast_protocol::session::{Opening, Session};

use crate::ground::Ground;
use crate::network::End;

use super::Hosted;

impl Hosted {
    /// The process is to end after so many more steps of this session.
    pub(crate) fn end_after(&mut self, steps: u32) {
        self.steps_left = Some(steps);
        self.stirred = true;
    }

    /// A step is done. True: it was the last one of the process, and another has the session now.
    pub(super) fn ends_here(&mut self, ground: &mut Ground) -> bool {
        let ends = self.steps_left == Some(0);
        self.steps_left = self.steps_left.and_then(|left| left.checked_sub(1));
        if ends {
            self.restart(ground);
        }
        ends
    }

    /// Nothing is left but what outlives the process: no connection, no timer, and nothing that was half done.
    fn restart(&mut self, ground: &mut Ground) {
        ground.note(&self.name, || "another process has it now".to_owned());
        ground.count("a session is restored");
        for socket in [self.client.take(), self.link.take()].into_iter().flatten() {
            ground.drop_hard(socket.conn, socket.end);
        }
        self.drop_target(ground);
        if let Some(arrival) = self.arrival.take() {
            ground.drop_hard(arrival.conn, End::Far);
        }
        (self.dialing, self.breach, self.due, self.judged, self.told) = (None, None, None, false, false);
        // What had come to its end stays there.
        let ends = self.is_ending(ground.now);
        self.away_until = Some(ground.now + self.window);
        let truth = ground.truth(self.session);
        truth.over |= ends;
        truth.left();
        let nothing = Session::new(Arc::clone(&self.config), ground.now, Opening::default());
        let state = std::mem::replace(&mut self.machine, nothing).into_state();
        self.machine = Session::restore(state, Arc::clone(&self.config), ground.now);
        self.stirred = true;
    }
}
