//! The acceptor of the broker: clients that come, and those that come back.

use std::sync::Arc;

use steadfast_protocol::session::{ClientKind, Config, Opening, Status};
use steadfast_protocol::steadfast_v1::client_wire::{Offer, Reason, Resume};
use steadfast_protocol::time::Time;

use crate::broker::{Arrival, Dialing, Hosted, start};
use crate::ground::{Bounds, Ground};
use crate::hosts::Host;
use crate::network::{Conn, End};
use crate::process::{Habits, Process};
use crate::user::{Answer, Knock};

/// The broker of a schedule.
pub(crate) struct Acceptor {
    config: Arc<Config>,
    habits: Habits,
    bounds: Bounds,
    /// The application's subprotocol that services choose.
    protocol: Option<String>,
    pub(crate) hosted: Vec<Hosted>,
    pub(crate) knocks: Vec<Knock>,
    beginnings: Vec<Beginning>,
}

/// A session whose first service is being dialled.
struct Beginning {
    dialing: Dialing,
    conn: Conn,
    agreed: Option<String>,
    reason: Reason,
}

impl Acceptor {
    pub(crate) fn new(config: Config, habits: Habits, bounds: Bounds, protocol: Option<String>) -> Acceptor {
        Acceptor {
            config: Arc::new(config),
            habits,
            bounds,
            protocol,
            hosted: Vec::new(),
            knocks: Vec::new(),
            beginnings: Vec::new(),
        }
    }

    /// Answers who knocks. True: something has changed.
    pub(crate) fn pump(
        &mut self,
        ground: &mut Ground,
        processes: &mut Vec<Process>,
        answers: &mut Vec<Answer>,
    ) -> bool {
        let now = ground.now;
        let mut moved = false;
        while let Some(due) = self.knocks.iter().position(|knock| knock.at <= now) {
            let knock = self.knocks.remove(due);
            answers.extend(self.answer(ground, &knock));
            moved = true;
        }
        while let Some((due, host)) = self.beginning_over(ground) {
            let beginning = self.beginnings.remove(due);
            answers.push(self.begin(ground, processes, beginning, host));
            moved = true;
        }
        for hosted in &mut self.hosted {
            moved |= hosted.pump(ground, processes);
        }
        moved
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let knocks = self.knocks.iter().map(|knock| knock.at);
        let beginnings = self.beginnings.iter().map(|beginning| beginning.dialing.at);
        let hosted = self.hosted.iter().filter_map(Hosted::next_timeout);
        knocks.chain(beginnings).chain(hosted).min()
    }

    /// A session whose first service is connected, or is not to be had.
    fn beginning_over(&mut self, ground: &mut Ground) -> Option<(usize, Result<Host, ()>)> {
        let mut beginnings = self.beginnings.iter_mut().enumerate();
        beginnings.find_map(|(n, beginning)| Some((n, beginning.dialing.poll(ground)?)))
    }

    /// The answer, if it can be given at once.
    fn answer(&mut self, ground: &mut Ground, knock: &Knock) -> Option<Answer> {
        let conn = knock.conn;
        if Ground::uses_up(&mut ground.luck.upgrades_fail) {
            ground.net.close(ground.now, conn, End::Far);
            return Some(self.answered(ground, conn, Err(())));
        }
        let offer = Offer::parse(&knock.offer);
        assert!(offer.is_shim(), "the client offers {:?}", knock.offer);
        assert!(!offer.application.iter().any(|name| name.starts_with("steadfast.")), "{:?}", knock.offer);
        let agreed = offer.answer(self.protocol.as_deref());
        assert!(agreed.is_some(), "the client offers {:?}", knock.offer);
        match self.find(ground, &offer) {
            Ok((number, resume)) => {
                // Its session's task may have other things to do first.
                let most = ground.dice.pick(&[0, 1, 10, 300]);
                let at = ground.now + ground.dice.millis(0, most);
                self.hosted[number].arrive(ground, Arrival { at, conn, resume });
                Some(self.answered(ground, conn, Ok(agreed)))
            }
            Err(reason) => {
                ground.note("broker", || format!("a new session: {reason:?}"));
                let dialing = Dialing::new(ground, None);
                self.beginnings.push(Beginning { dialing, conn, agreed, reason });
                None
            }
        }
    }

    fn answered(&self, ground: &mut Ground, conn: Conn, agreed: Result<Option<String>, ()>) -> Answer {
        Answer { at: ground.net.announce(ground.now, conn), conn, agreed }
    }

    /// The session to which a client comes back.
    fn find(&self, ground: &mut Ground, offer: &Offer) -> Result<(usize, Resume), Reason> {
        let resume = offer.resume.ok_or(Reason::New)?.expect("the client names sessions legibly");
        let number = Ground::number_of(resume.token.session());
        let by_name = |hosted: &Hosted| Ground::number_of(hosted.session) == number && !hosted.over;
        let found = self.hosted.iter().position(by_name).ok_or(Reason::Unknown)?;
        let machine = &self.hosted[found].machine;
        machine.resumable(&resume).inspect_err(|reason| {
            // One that is not waited for may have been sent away while a service is looked for.
            let away = self.config.resume_window.is_zero()
                && matches!(machine.status(), Status::Waiting | Status::Dialing);
            let truth = &mut ground.truths[number];
            truth.over |= away && *reason == Reason::Unknown;
            let over = machine.status() == Status::Closing || truth.over;
            assert!(*reason != Reason::Unknown || over, "a session that lives is not known");
        })?;
        Ok((found, resume))
    }

    fn begin(
        &mut self,
        ground: &mut Ground,
        processes: &mut Vec<Process>,
        beginning: Beginning,
        host: Result<Host, ()>,
    ) -> Answer {
        let Beginning { conn, agreed, reason, .. } = beginning;
        let Ok(host) = host else {
            ground.net.close(ground.now, conn, End::Far);
            return self.answered(ground, conn, Err(()));
        };
        let (session, epoch) = (ground.begin(), 1);
        let link = start(ground, processes, self.habits, (session, epoch, host));
        let client = ClientKind::Shim { secret: ground.dice.bytes(), reason };
        let opening = Opening { session, epoch, client, ..Opening::default() };
        let answer = self.answered(ground, conn, Ok(agreed));
        let (connections, how) = ((conn, (link, host)), (self.habits, self.bounds));
        self.hosted.push(Hosted::new(ground, &self.config, opening, connections, how));
        answer
    }
}
