//! Events of several messages, cut anywhere: each backend and the client hear whole ones, or nothing of them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use steadfast_profiles::socket_io::SocketIoSettings;

use super::socket_io::{HELLO, connected_with};
use super::*;
use crate::session::conversation::Fault;
use crate::session::tests::wire::{BINARY, PONG, TEXT, masked, plain};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// The client says the next message of its event, or the first of one with so many attachments.
    Up(u32),
    /// The backend does.
    Down(u32),
    Pong,
    /// The backend dies, and the next one takes the client.
    Kill,
    /// From now on so many bytes are read at once.
    Portion(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4u32).prop_map(Step::Up),
        6 => (0..4u32).prop_map(Step::Down),
        2 => Just(Step::Pong),
        1 => Just(Step::Kill),
        1 => prop_oneof![1..60usize, Just(1 << 20)].prop_map(Step::Portion),
    ]
}

/// Someone who speaks in events.
#[derive(Debug, Default)]
struct Speaker {
    event: u32,
    left: u32,
    said: BTreeSet<u32>,
}

impl Speaker {
    /// The opcode and the payload of its next message.
    fn next(&mut self, attachments: u32) -> (u8, String) {
        if self.left > 0 {
            self.left -= 1;
            if self.left == 0 {
                self.said.insert(self.event);
            }
            return (BINARY, format!("part of {}.", self.event));
        }
        (self.event, self.left) = (self.event + 1, attachments);
        if attachments > 0 {
            return (TEXT, format!(r#"45{attachments}-["event {}.",{attachments}]"#, self.event));
        }
        self.said.insert(self.event);
        (TEXT, format!(r#"42["event {}.",0]"#, self.event))
    }
}

/// Someone who hears events, and nothing that is not one.
#[derive(Debug, Default)]
struct Listener {
    open: Option<(u32, u32)>,
    whole: BTreeSet<u32>,
}

impl Listener {
    fn hear(&mut self, message: &str) {
        let number = |word: &str| {
            let rest = message.split(word).nth(1)?;
            rest.split('.').next()?.parse::<u32>().ok()
        };
        if let Some(event) = number("event ") {
            assert_eq!(self.open, None, "{message} within another");
            let left = message.rsplit(',').next().and_then(|end| end.trim_end_matches(']').parse().ok());
            self.open = Some((event, left.expect("how many attachments it has")));
        } else if let Some(event) = number("part of ") {
            let (of, left) = self.open.take().expect("a part is of an event");
            assert_eq!(of, event, "a part of another");
            self.open = Some((of, left - 1));
        } else {
            return;
        }
        if let Some((event, 0)) = self.open {
            self.open = None;
            assert!(self.whole.insert(event), "{event} twice");
        }
    }
}

fn run(steps: &[Step], fault: Option<Fault>) {
    let mut rig = connected_with(SocketIoSettings::default(), |config| {
        (config.deadline, config.longest) = (secs(100_000), secs(100_000));
        config.poison_deaths = 100_000;
    });
    rig.session.state.conversation.as_mut().expect("a conversation").fault = fault;
    let (mut client, mut server) = (Speaker::default(), Speaker::default());
    let (mut at_client, mut at_server) = (Listener::default(), Listener::default());
    let mut heard = BTreeSet::new();
    let (mut up, mut down, mut portion) = (Vec::new(), Vec::new(), usize::MAX);
    let last = [Step::Portion(usize::MAX), Step::Up(0), Step::Up(0), Step::Up(0), Step::Up(0), Step::Pong];
    let ends = [Step::Down(0), Step::Down(0), Step::Down(0), Step::Down(0)];
    for step in steps.iter().chain(&last).chain(&ends) {
        match step {
            Step::Up(attachments) => {
                let (opcode, payload) = client.next(*attachments);
                up.extend(masked(true, opcode, payload.as_bytes()));
            }
            Step::Down(attachments) => {
                let (opcode, payload) = server.next(*attachments);
                down.extend(plain(true, opcode, payload.as_bytes()));
            }
            Step::Pong => {
                let pings = std::mem::take(&mut rig.link().reader.pings);
                down.extend(pings.iter().flat_map(|nonce| plain(true, PONG, nonce)));
            }
            Step::Kill => {
                rig.backend_dies();
                heard.append(&mut at_server.whole);
                (at_server, server.left) = (Listener::default(), 0);
                down.clear();
                rig.link_next();
                rig.backend_says(HELLO);
                rig.backend_says(r#"40{"sid":"B"}"#);
            }
            Step::Portion(bytes) => portion = *bytes,
        }
        rig.client_sends(&up.drain(..portion.min(up.len())).collect::<Vec<u8>>());
        rig.backend_sends(&down.drain(..portion.min(down.len())).collect::<Vec<u8>>());
        rig.upstream().iter().for_each(|message| at_server.hear(message));
        rig.downstream().iter().for_each(|message| at_client.hear(message));
    }
    heard.append(&mut at_server.whole);
    assert_eq!(heard, client.said, "each event of the client's was heard");
    assert!(at_client.whole.is_subset(&server.said), "nobody said that");
    assert!(at_client.whole.contains(&server.event) || server.left > 0, "the last backend is heard");
    assert_eq!(at_client.open, None, "half an event");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn are_heard_whole_or_not_at_all(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps, None);
    }
}

#[test]
fn events_in_pieces_are_noticed() {
    let config = ProptestConfig {
        cases: 2000,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(&prop::collection::vec(step(), 1..120), |steps| {
        run(&steps, Some(Fault::NoUnits));
        Ok(())
    });
    assert!(matches!(result, Err(TestError::Fail(..))), "nobody notices");
}
