//! Many clients of a library, in one process.

use std::collections::HashMap;

use serde_json::Value;
use steadfast_tests::process::Process;
use steadfast_tests::wait::eventually_some;

use crate::peers::tools::Tool;

/// `socketio-client.js` or `sockjs-client.js`.
#[derive(Debug)]
pub(crate) struct Fleet {
    process: Process,
    /// Events of each client that were read.
    seen: HashMap<String, usize>,
}

impl Fleet {
    /// Starts the script of a library.
    pub(crate) fn start(library: Tool) -> Self {
        let script = match library {
            Tool::SockJs => "sockjs-client.js",
            _ => "socketio-client.js",
        };
        let process = Process::spawn(script, library.command().arg(script));
        Self { process, seen: HashMap::new() }
    }

    /// Gives a command.
    pub(crate) fn tell(&mut self, line: &str) {
        self.process.write_line(line);
    }

    /// All that a client has seen.
    fn events(&self, client: &str) -> Vec<Value> {
        let lines = self.process.stdout();
        let events = lines.iter().filter_map(|line| line.strip_prefix("event "));
        let events = events.map(|event| serde_json::from_str::<Value>(event).expect("an event is JSON"));
        events.filter(|event| event["client"] == client).collect()
    }

    /// The next thing that a client sees.
    pub(crate) async fn event(&mut self, client: &str) -> Value {
        let seen = self.seen.get(client).copied().unwrap_or_default();
        let event = eventually_some(&format!("event {seen} of {client}"), || {
            assert!(self.process.exited().is_none(), "the clients have ended");
            self.events(client).into_iter().nth(seen)
        })
        .await;
        self.seen.insert(client.to_owned(), seen + 1);
        event
    }

    /// The next event of this kind that a client sees.
    pub(crate) async fn until(&mut self, client: &str, event: &str) -> Value {
        loop {
            let next = self.event(client).await;
            if next["event"] == event {
                return next;
            }
        }
    }

    /// How many events of this kind a client has seen.
    pub(crate) fn count(&self, client: &str, event: &str) -> usize {
        self.events(client).iter().filter(|own| own["event"] == event).count()
    }

    /// The port of the server that a client hears.
    pub(crate) async fn who(&mut self, client: &str) -> u16 {
        self.tell(&format!("who {client}"));
        port(&self.until(client, "who").await)
    }
}

/// The port in an event.
pub(crate) fn port(event: &Value) -> u16 {
    event["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port")
}
