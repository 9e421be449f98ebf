//! What a session with a profile would make of a conversation: which messages it keeps, what answers what, and what the next
//! backend is told. Every message of the client's counts as read by its backend: what is not is sent again in any case.

use steadfast_profiles::{Down, Keep, Key, Machine, Phase, Profile, Up, Words};

use super::transcript::{TranscriptLine, TranscriptLineKind, TranscriptMessage, made};

/// A session as far as it matters.
#[derive(Debug)]
pub(super) struct Simulation<'a> {
    machine: Machine,
    lines: &'a [TranscriptLine],
    /// In the order in which they were said.
    open: Vec<OpenMessage>,
    /// What backends have asked: by which key, in which line, at which backend.
    owed: Vec<(Key, usize, u32)>,
    /// The first one is 1.
    backend: u32,
}

/// A message of the client's that is not over.
#[derive(Debug, Clone)]
struct OpenMessage {
    /// By its place among the lines.
    line: usize,
    kind: OpenKind,
}

#[derive(Debug, Clone)]
enum OpenKind {
    Ask(Key),
    /// `answered`: the client has had an answer. `awaits`: the present backend owes one.
    Record {
        keep: Keep,
        answered: bool,
        awaits: bool,
    },
    /// It ends a record, and waits for its answer.
    Retirement {
        slot: Key,
        answer: Key,
        done: Option<Vec<u8>>,
    },
}

impl<'a> Simulation<'a> {
    pub(super) fn new(profile: &Profile, lines: &'a [TranscriptLine]) -> Simulation<'a> {
        Simulation { machine: profile.begin(), lines, open: Vec::new(), owed: Vec::new(), backend: 1 }
    }

    /// What becomes of the message in this place among the lines, in words.
    pub(super) fn hear(&mut self, index: usize) -> String {
        let lines = self.lines;
        let mut words = Words::default();
        let said = match lines.get(index).map(|line| &line.kind) {
            Some(TranscriptLineKind::Client(said)) => {
                let verdict = self.machine.up(said.message(self.machine.window()), &mut words);
                self.client(index, verdict, &mut words)
            }
            Some(TranscriptLineKind::Backend(said)) => {
                let verdict = self.machine.down(said.message(self.machine.window()), &mut words);
                self.heard(index, said, verdict)
            }
            _ => String::new(),
        };
        match words.instead {
            Some(instead) => format!("{said}; as {}", made(&instead)),
            None => said,
        }
    }

    fn client(&mut self, index: usize, verdict: Up, words: &mut Words) -> String {
        match verdict {
            Up::Tell => "told".to_owned(),
            Up::More => "a part of what follows".to_owned(),
            Up::Unsaveable(why) => {
                format!("cannot be repeated: {why}; the client is closed at the next failure")
            }
            Up::Ask(key) => {
                self.open.push(OpenMessage { line: index, kind: OpenKind::Ask(key) });
                "asks, and is said again until it is answered".to_owned()
            }
            Up::Keep(keep) => self.keep(index, keep),
            Up::Retire { slot, answer } => self.retire(index, (slot, answer), words.answer.take()),
            Up::Reply(key) => match self.owed.iter().position(|(owed, ..)| *owed == key) {
                Some(place) => {
                    let (_, line, backend) = self.owed.remove(place);
                    let asked = self.number(line);
                    match backend == self.backend {
                        true => format!("replies to line {asked}"),
                        false => format!("dropped: replies to line {asked}, of a backend that is gone"),
                    }
                }
                None => "replies to nothing that was asked, passed on".to_owned(),
            },
            Up::Beat => match words.answer.take() {
                Some(answer) => format!("beat; without a backend the client is told {}", made(&answer)),
                None => "beat".to_owned(),
            },
        }
    }

    fn keep(&mut self, index: usize, keep: Keep) -> String {
        let before = self.record(keep.slot).map(|place| self.open.remove(place).line);
        let (answered, awaits) = (false, keep.answer.is_some());
        self.open.push(OpenMessage { line: index, kind: OpenKind::Record { keep, answered, awaits } });
        let phase = match keep.phase {
            Phase::Door => "kept, as a login",
            Phase::Standing => "kept, as a subscription",
        };
        let replaces =
            before.map(|line| format!(", in place of line {}", self.number(line))).unwrap_or_default();
        let waits = match (keep.answer, keep.waits) {
            (Some(_), true) => ", whose answer is waited for",
            (Some(_), false) => ", which is answered",
            (None, _) => "",
        };
        format!("{phase}{replaces}{waits}")
    }

    fn retire(&mut self, index: usize, (slot, answer): (Key, Option<Key>), done: Option<Vec<u8>>) -> String {
        let ended = self.record(slot).map(|place| self.number(self.open[place].line));
        if let Some(answer) = answer {
            let kind = OpenKind::Retirement { slot, answer, done };
            self.open.push(OpenMessage { line: index, kind });
        } else {
            self.finish(slot);
        }
        match (ended, answer) {
            (Some(line), None) => format!("ends line {line}"),
            (Some(line), Some(_)) => format!("ends line {line}, once it is answered"),
            (None, _) => "ends nothing that is kept".to_owned(),
        }
    }

    fn heard(&mut self, index: usize, said: &TranscriptMessage, verdict: Down) -> String {
        match verdict {
            Down::Push => "passed on".to_owned(),
            Down::More => "a part of what follows".to_owned(),
            Down::Beat => "beat".to_owned(),
            Down::Parting => "swallowed: says that it goes away".to_owned(),
            Down::Greeting { pass } if pass || self.backend == 1 => "greeting, passed on".to_owned(),
            Down::Greeting { .. } => "swallowed: greeting".to_owned(),
            Down::Asks(key) => {
                self.owed.push((key, index, self.backend));
                "asks the client".to_owned()
            }
            Down::End(slot) => match self.finish(slot) {
                Some(line) => format!("ends line {line}, passed on"),
                None => "ends nothing that is kept, passed on".to_owned(),
            },
            Down::Answer { key, pass } => self.answer(said, key, pass),
            Down::Refusal(key) => self.refuse(key),
        }
    }

    fn answer(&mut self, said: &TranscriptMessage, key: Key, pass: bool) -> String {
        let Some(place) = self.awaiting(key) else {
            return "answers nothing that waits for it, passed on".to_owned();
        };
        let number = self.number(self.open[place].line);
        match &mut self.open[place].kind {
            OpenKind::Ask(_) => {
                self.open.remove(place);
                format!("answers line {number}")
            }
            OpenKind::Retirement { slot, .. } => {
                let slot = *slot;
                self.open.remove(place);
                match self.finish(slot) {
                    Some(ended) => format!("answers line {number}, and line {ended} is over"),
                    None => format!("answers line {number}"),
                }
            }
            OpenKind::Record { keep, answered, awaits } => {
                let (slot, again) = (keep.slot, std::mem::replace(answered, true));
                *awaits = false;
                self.machine.answered(slot, said.message(self.machine.window()), again);
                match (again, pass) {
                    (false, _) => format!("answers line {number}"),
                    (true, true) => format!("answers line {number} again, passed on"),
                    (true, false) => format!("swallowed: answers line {number} again"),
                }
            }
        }
    }

    fn refuse(&mut self, key: Key) -> String {
        let Some(place) = self.awaiting(key) else {
            return "refuses nothing that waits for it, passed on".to_owned();
        };
        let OpenMessage { line, kind } = self.open[place].clone();
        let number = self.number(line);
        match kind {
            OpenKind::Record { answered: true, .. } => {
                format!(
                    "swallowed: refuses line {number}; another backend is tried, then the client is closed"
                )
            }
            OpenKind::Record { keep, .. } => {
                self.finish(keep.slot);
                format!("refuses line {number}, passed on")
            }
            OpenKind::Ask(_) | OpenKind::Retirement { .. } => {
                self.open.remove(place);
                format!("refuses line {number}, passed on")
            }
        }
    }

    /// The backend has died: what the next one is told, in words, a line for each step.
    pub(super) fn next_backend(&mut self) -> Vec<String> {
        let mut steps = Vec::new();
        if let Some(fill_in) = self.machine.fill_in() {
            let (every, say) = (humantime::format_duration(fill_in.every), made(&fill_in.payload));
            steps.push(format!("     meanwhile the client is told, each {every}: {say}"));
        }
        self.end_what_is_over(&mut steps);
        self.backend += 1;
        self.machine.left();
        if self.machine.greets() {
            steps.push("     waits for the greeting".to_owned());
        }
        let lines = self.lines;
        let window = self.machine.window();
        let before = steps.len();
        for open in &mut self.open {
            let Some(line) = lines.get(open.line) else { continue };
            let TranscriptLineKind::Client(said) = &line.kind else { continue };
            let (mut how, mut instead) = ("said again, since it is not answered", None);
            if let OpenKind::Record { keep, awaits, .. } = &mut open.kind {
                *awaits = keep.answer.is_some();
                instead = self.machine.repeat(keep.slot, said.message(window));
                how = if *awaits && keep.waits { "said again; waits for its answer" } else { "said again" };
            }
            let instead = instead.map(|instead| format!("; as {}", made(&instead))).unwrap_or_default();
            steps.push(format!("{}  {how}{instead}", line.label()));
        }
        if steps.len() == before {
            steps.push("     is told nothing of before".to_owned());
        }
        steps
    }

    /// What the client has ended, and the next backend has never heard of: neither is said again.
    fn end_what_is_over(&mut self, steps: &mut Vec<String>) {
        let over = |open: &OpenMessage| match &open.kind {
            OpenKind::Retirement { slot, done: Some(done), .. } => Some((*slot, done.clone())),
            _ => None,
        };
        for (slot, done) in self.open.iter().filter_map(over).collect::<Vec<_>>() {
            steps.push(format!("     the client is told {}", made(&done)));
            self.finish(slot);
            self.open.retain(|open| !matches!(&open.kind, OpenKind::Retirement { slot: ended, done: Some(_), .. } if *ended == slot));
        }
    }

    /// What stands in this slot is over. Returns the number of its line.
    fn finish(&mut self, slot: Key) -> Option<usize> {
        let place = self.record(slot)?;
        let record = self.open.remove(place);
        self.machine.forget(slot);
        Some(self.number(record.line))
    }

    fn record(&self, wanted: Key) -> Option<usize> {
        let fits =
            |open: &OpenMessage| matches!(&open.kind, OpenKind::Record { keep, .. } if keep.slot == wanted);
        self.open.iter().rposition(fits)
    }

    fn awaiting(&self, key: Key) -> Option<usize> {
        self.open.iter().position(|open| match &open.kind {
            OpenKind::Ask(asked) => *asked == key,
            OpenKind::Record { keep, awaits, .. } => *awaits && keep.answer == Some(key),
            OpenKind::Retirement { answer, .. } => *answer == key,
        })
    }

    fn number(&self, index: usize) -> usize {
        self.lines.get(index).map_or(0, |line| line.number)
    }
}
