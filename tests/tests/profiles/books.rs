//! What all programs have told, joined.

use std::collections::HashMap;

use serde_json::Value;

use crate::lines::{is, text};
use crate::world::World;

/// What a client whose connection has not ended does not see.
const ENDS: [&str; 4] = ["gone", "refused", "failed", "bad"];

/// What has become of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Books {
    /// Of the clients.
    pub(crate) requests: usize,
    /// How many more times than that servers have handled one.
    pub(crate) doubles: usize,
}

impl Books {
    /// Joins what was told. Panics unless no client has noticed anything, each request was answered once with its own
    /// answer, and no server has met what its protocol does not allow.
    pub(crate) fn of(world: &World) -> Self {
        let seen = world.crew.events();
        for event in &seen {
            assert!(!ENDS.iter().any(|end| is(event, end)), "a client has noticed: {event}");
            assert!(!is(event, "complete") || event["feed"] == "spare", "a feed has ended: {event}");
        }
        Self::joined(world, &seen)
    }

    /// As [`Books::of`], of clients that may have seen their connections end.
    pub(crate) fn of_all(world: &World) -> Self {
        Self::joined(world, &world.crew.events())
    }

    fn joined(world: &World, seen: &[Value]) -> Self {
        let mut answers: HashMap<&str, usize> = HashMap::new();
        for event in seen.iter().filter(|event| is(event, "sent")) {
            assert_eq!(answers.insert(text(event, "id"), 0), None, "said twice: {event}");
        }
        for event in seen.iter().filter(|event| is(event, "answer")) {
            assert!(event["of"] == event["id"] && event["whole"] == true, "not its own answer: {event}");
            *answers.get_mut(text(event, "id")).expect("an answer has a request") += 1;
        }
        let wrong: Vec<_> = answers.iter().filter(|(_, count)| **count != 1).collect();
        assert!(wrong.is_empty(), "not answered once: {wrong:?}");

        let mut handled: HashMap<String, usize> = HashMap::new();
        for event in world.servers.iter().flat_map(|server| server.all()) {
            assert!(!is(&event, "bad"), "against the protocol: {event}");
            if is(&event, "ran") {
                *handled.entry(text(&event, "id").to_owned()).or_default() += 1;
            }
        }
        for id in answers.keys() {
            assert!(handled.contains_key(*id), "{id} was handled nowhere");
        }
        let requests = answers.len();
        assert_eq!(handled.len(), requests, "handled was what was said");
        Books { requests, doubles: handled.values().sum::<usize>() - requests }
    }
}
