//! Connections: streams of bytes that come in pieces and late, get full, are held up, and break in the
//! middle of anything, which one end, both or none may notice.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_protocol::time::Time;

use crate::random::Random;

/// The number of a connection.
pub(crate) type Conn = usize;

/// One of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Who has dialled.
    Near = 0,
    /// Who was dialled.
    Far = 1,
}

impl End {
    fn other(self) -> usize {
        1 - self as usize
    }
}

/// How a network is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// The shortest and the longest delay, in microseconds.
    pub(crate) delay: (u64, u64),
    /// How many writes of a hundred are delivered in pieces.
    pub(crate) chop: u64,
    /// Bytes that one direction takes before its reader takes them.
    pub(crate) room: usize,
    /// Bytes that a reader gets at once.
    pub(crate) read: usize,
}

/// How a connection breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// After what time each end notices, the near one first; `None`: never.
    pub(crate) notices: [Option<Duration>; 2],
    /// What is under way may be lost.
    pub(crate) loses: bool,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Orderly,
    Reset,
}

/// What a read brings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    End(Ending),
}

#[derive(Debug)]
pub(crate) struct Network {
    /// To clients, and to services.
    styles: [Style; 2],
    dice: Random,
    links: Vec<Link>,
    /// Those that some end still holds.
    open: Vec<Conn>,
}

#[derive(Debug)]
struct Link {
    style: Style,
    /// What each end says.
    pipes: [Pipe; 2],
    /// Each end has let go.
    closed: [bool; 2],
}

#[derive(Debug, Default)]
struct Pipe {
    flying: VecDeque<(Time, Vec<u8>)>,
    arrived: VecDeque<u8>,
    /// Bytes of both.
    held: usize,
    /// Nothing arrives before this.
    latest: Option<Time>,
    end: Option<(Time, Ending)>,
    /// Its time has come.
    ended: bool,
    /// What is written gets nowhere.
    dead: bool,
    /// It breaks after so many bytes more.
    cut: Option<(usize, Outage)>,
    /// Something has changed for its reader; for its writer.
    news: [bool; 2],
}

impl Style {
    fn delay(&self, dice: &mut Random) -> Duration {
        let (least, most) = self.delay;
        Duration::from_micros(dice.between(least, most))
    }
}

impl Network {
    pub(crate) fn new(styles: [Style; 2], dice: Random) -> Network {
        Network { styles, dice, links: Vec::new(), open: Vec::new() }
    }

    /// A client's connection to the broker.
    pub(crate) fn connect(&mut self) -> Conn {
        self.connect_with(self.styles[0])
    }

    /// The broker's to a service.
    pub(crate) fn connect_service(&mut self) -> Conn {
        self.connect_with(self.styles[1])
    }

    fn connect_with(&mut self, style: Style) -> Conn {
        self.links.push(Link { style, pipes: Default::default(), closed: [false; 2] });
        self.open.push(self.links.len() - 1);
        self.links.len() - 1
    }

    /// How many there have been.
    pub(crate) fn count(&self) -> usize {
        self.links.len()
    }

    /// Something goes from a client to the broker, or back.
    pub(crate) fn client_delay(&mut self) -> Duration {
        self.styles[0].delay(&mut self.dice)
    }

    /// The same, between the broker and a service.
    pub(crate) fn service_delay(&mut self) -> Duration {
        self.styles[1].delay(&mut self.dice)
    }

    /// Something apart goes to the near end, in front of what the far one says later. Says when it is there.
    pub(crate) fn announce(&mut self, now: Time, conn: Conn) -> Time {
        let at = now + self.client_delay();
        let latest = &mut self.links[conn].pipes[End::Far as usize].latest;
        *latest = (*latest).max(Some(at));
        at
    }

    /// How many bytes it takes now.
    pub(crate) fn room(&self, conn: Conn, from: End) -> usize {
        let link = &self.links[conn];
        link.style.room.saturating_sub(link.pipes[from as usize].held)
    }

    /// Gives it so many of the bytes as it takes, and says how many.
    pub(crate) fn write(&mut self, now: Time, conn: Conn, from: End, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let taken = bytes.len().min(self.room(conn, from));
        let pipe = &mut self.links[conn].pipes[from as usize];
        pipe.held += taken;
        let mut rest = &bytes[..taken];
        let mut broken = None;
        if let Some((left, outage)) = &mut pipe.cut {
            rest = &rest[..rest.len().min(*left)];
            *left -= rest.len();
            broken = (*left == 0).then_some(*outage);
        }
        if !pipe.dead {
            self.launch(now, conn, from, rest);
        }
        if let Some(outage) = broken {
            self.links[conn].pipes[from as usize].cut = None;
            self.break_off(now, conn, outage);
        }
        taken
    }

    fn launch(&mut self, now: Time, conn: Conn, from: End, mut rest: &[u8]) {
        let style = self.links[conn].style;
        let mut pieces = if self.dice.chance(style.chop) { self.dice.size(1, 6) } else { 0 };
        while !rest.is_empty() {
            let len = if pieces > 0 { self.dice.size(1, rest.len().min(60)) } else { rest.len() };
            pieces = pieces.saturating_sub(1);
            let (now_flying, later) = rest.split_at(len);
            let at = now + style.delay(&mut self.dice);
            self.links[conn].pipes[from as usize].fly(at, now_flying);
            rest = later;
        }
    }

    /// Takes what has arrived for this end.
    pub(crate) fn read(&mut self, now: Time, conn: Conn, at: End, most: usize) -> Read {
        let small = self.links[conn].style.read;
        let most = if small < usize::MAX { most.min(self.dice.size(1, small)) } else { most };
        let pipe = &mut self.links[conn].pipes[at.other()];
        let n = pipe.arrived.len().min(most);
        if n > 0 {
            pipe.held -= n;
            pipe.news[1] = true;
            return Read::Bytes(pipe.arrived.drain(..n).collect());
        }
        match pipe.end {
            Some((due, ending)) if due <= now && pipe.arrived.is_empty() && pipe.flying.is_empty() => {
                Read::End(ending)
            }
            _ => Read::Nothing,
        }
    }

    /// Whether something has changed for this end since it was asked last.
    pub(crate) fn take_news(&mut self, conn: Conn, at: End) -> bool {
        let pipes = &mut self.links[conn].pipes;
        let read = std::mem::take(&mut pipes[at.other()].news[0]);
        std::mem::take(&mut pipes[at as usize].news[1]) | read
    }

    // ---- ends ----

    /// This end says nothing more, and still reads.
    pub(crate) fn shut(&mut self, now: Time, conn: Conn, from: End) {
        let link = &mut self.links[conn];
        let at = now + link.style.delay(&mut self.dice);
        link.pipes[from as usize].finish(at, Ending::Orderly);
    }

    /// This end lets go. What it has said still arrives.
    pub(crate) fn close(&mut self, now: Time, conn: Conn, from: End) {
        self.shut(now, conn, from);
        self.let_go(conn, from);
    }

    /// This end lets go, and what it has said may be lost.
    pub(crate) fn reset(&mut self, now: Time, conn: Conn, from: End) {
        let link = &mut self.links[conn];
        let at = now + link.style.delay(&mut self.dice);
        link.pipes[from as usize].lose(&mut self.dice);
        link.pipes[from as usize].finish(at, Ending::Reset);
        self.let_go(conn, from);
    }

    /// This end is gone, and nobody is told.
    pub(crate) fn vanish(&mut self, conn: Conn, from: End) {
        let pipe = &mut self.links[conn].pipes[from as usize];
        pipe.lose(&mut self.dice);
        pipe.dead = true;
        self.let_go(conn, from);
    }

    /// What this end writes is taken by nobody, and nothing more will come: retransmissions would show it.
    pub(crate) fn is_dead(&self, conn: Conn, at: End) -> bool {
        let [out, back] = [at as usize, at.other()].map(|pipe| &self.links[conn].pipes[pipe]);
        out.dead && back.end.is_none() && back.flying.is_empty()
    }

    fn let_go(&mut self, conn: Conn, from: End) {
        let link = &mut self.links[conn];
        link.closed[from as usize] = true;
        let unheard = &mut link.pipes[from.other()];
        (unheard.dead, unheard.cut, unheard.end) = (true, None, None);
        (unheard.flying, unheard.arrived) = (VecDeque::new(), VecDeque::new());
        if link.closed == [true; 2] {
            self.open.retain(|open| *open != conn);
        }
    }

    // ---- what goes wrong ----

    pub(crate) fn break_off(&mut self, now: Time, conn: Conn, outage: Outage) {
        for (end, notice) in [(End::Near, outage.notices[0]), (End::Far, outage.notices[1])] {
            let pipe = &mut self.links[conn].pipes[end.other()];
            if pipe.dead || pipe.end.is_some() {
                continue;
            }
            if outage.loses {
                pipe.lose(&mut self.dice);
            }
            if let Some(delay) = notice {
                pipe.finish(now + delay, Ending::Reset);
            }
            (pipe.dead, pipe.cut) = (true, None);
        }
    }

    /// It breaks when `from` has said so many bytes more.
    pub(crate) fn cut(&mut self, conn: Conn, from: End, after: usize, outage: Outage) {
        self.links[conn].pipes[from as usize].cut = Some((after.max(1), outage));
    }

    /// Nothing arrives before `until`.
    pub(crate) fn hold_up(&mut self, conn: Conn, until: Time) {
        self.hold_up_from(conn, End::Near, until);
        self.hold_up_from(conn, End::Far, until);
    }

    /// Nothing that this end says arrives before `until`.
    pub(crate) fn hold_up_from(&mut self, conn: Conn, from: End, until: Time) {
        let pipe = &mut self.links[conn].pipes[from as usize];
        pipe.latest = pipe.latest.max(Some(until));
        for (at, _) in &mut pipe.flying {
            *at = until.max(*at);
        }
    }

    /// No outage is to come any more.
    pub(crate) fn calm(&mut self) {
        for conn in &self.open {
            for pipe in &mut self.links[*conn].pipes {
                pipe.cut = None;
            }
        }
    }

    // ---- time ----

    /// Lets arrive what is due.
    pub(crate) fn arrive(&mut self, now: Time) {
        for conn in &self.open {
            for pipe in &mut self.links[*conn].pipes {
                pipe.arrive(now);
            }
        }
    }

    /// When something arrives next.
    pub(crate) fn next(&self) -> Option<Time> {
        let pipes = self.open.iter().flat_map(|conn| &self.links[*conn].pipes);
        pipes.filter_map(|pipe| pipe.next()).min()
    }
}

impl Pipe {
    fn fly(&mut self, at: Time, bytes: &[u8]) {
        let at = self.latest.map_or(at, |latest| latest.max(at));
        self.latest = Some(at);
        match self.flying.back_mut() {
            Some((last, flying)) if *last == at => flying.extend_from_slice(bytes),
            _ => self.flying.push_back((at, bytes.to_vec())),
        }
    }

    fn finish(&mut self, at: Time, ending: Ending) {
        if !self.dead && self.end.is_none() {
            let at = self.latest.map_or(at, |latest| latest.max(at));
            self.end = Some((at, ending));
        }
        self.dead = true;
    }

    /// Of what is under way only a part arrives.
    fn lose(&mut self, dice: &mut Random) {
        let all: usize = self.flying.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut kept = dice.size(0, all);
        for (_, bytes) in &mut self.flying {
            bytes.truncate(kept);
            kept -= bytes.len();
        }
        self.flying.retain(|(_, bytes)| !bytes.is_empty());
    }

    fn arrive(&mut self, now: Time) {
        while let Some((_, bytes)) = self.flying.pop_front_if(|(at, _)| *at <= now) {
            self.arrived.extend(bytes);
            self.news[0] = true;
        }
        if !self.ended && self.end.is_some_and(|(at, _)| at <= now) {
            (self.ended, self.news[0]) = (true, true);
        }
    }

    fn next(&self) -> Option<Time> {
        let end = self.end.map(|(at, _)| at).filter(|_| !self.ended);
        self.flying.front().map(|(at, _)| *at).into_iter().chain(end).min()
    }
}
