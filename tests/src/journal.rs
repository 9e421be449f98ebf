//! What a test backend saw, one JSON object a line, written before it acts on it: the file tells the truth
//! also after SIGKILL.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::http::{header, header_values};
use crate::payload::Payload;

/// One line: which process, which of its connections (from 1; 0 is the process itself), what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The backend's process id, so that its lives can be told apart.
    pub pid: u32,
    /// The connection.
    pub conn: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a backend can see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A line of standard input has been obeyed.
    Applied {
        /// The line.
        line: String,
    },
    /// A TCP connection.
    Accepted {
        /// The address that it comes from.
        peer: IpAddr,
    },
    /// The handshake of TLS is done.
    Secured {
        /// By what an earlier connection was given.
        resumed: bool,
        /// The name that was asked for.
        name: Option<String>,
    },
    /// It has failed.
    Unsecured {
        /// Why.
        why: String,
    },
    /// A request's head.
    Request {
        /// The request line.
        line: String,
        /// Names in lower case.
        headers: Vec<(String, String)>,
    },
    /// The request has been answered.
    Answered {
        /// The status.
        status: u16,
    },
    /// A frame that does not end its message.
    Fragment {
        /// Its payload's bytes.
        len: usize,
    },
    /// A whole message.
    Message {
        /// 1 text, 2 binary.
        opcode: u8,
        /// The content of all fragments.
        payload: Payload,
        /// The bytes of each fragment.
        fragments: Vec<usize>,
        /// The first frame's reserved bits.
        rsv: u8,
        /// The masking key of the first frame, in hex.
        key: String,
    },
    /// A ping.
    Ping {
        /// Its payload in hex.
        payload: String,
    },
    /// A pong.
    Pong {
        /// Its payload in hex.
        payload: String,
    },
    /// A Close.
    Close {
        /// None when it was empty.
        code: Option<u16>,
        /// The reason.
        reason: String,
    },
    /// The connection's end as the peer made it.
    End {
        /// `Eof`, `EofInFrame` or `Reset`.
        how: String,
    },
    /// A frame that RFC 6455 does not allow a client.
    Violation {
        /// What was wrong.
        what: String,
    },
}

/// Appends entries to a journal's file.
#[derive(Debug)]
pub struct JournalWriter {
    file: Mutex<File>,
}

impl JournalWriter {
    /// Opens `path` for appending.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Writes one line, with one system call.
    pub fn write(&self, conn: u32, event: Event) {
        let entry = Entry { pid: std::process::id(), conn, event };
        let mut line = serde_json::to_vec(&entry).expect("an entry is plain data");
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).expect("the journal can be written");
    }
}

/// Reads a journal while it grows.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    file: File,
    unfinished: Vec<u8>,
    entries: Vec<Entry>,
}

impl Journal {
    /// Makes an empty journal at `path`.
    pub fn create(path: PathBuf) -> Self {
        File::create(&path).expect("a journal can be made");
        let file = File::open(&path).expect("a journal can be read");
        Self { path, progress: Mutex::new(Progress { file, unfinished: Vec::new(), entries: Vec::new() }) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All entries so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.view(<[Entry]>::to_vec)
    }

    /// Looks at all entries so far without copying them.
    pub fn view<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        let mut progress = self.lock();
        progress.read_on();
        look(&progress.entries)
    }

    /// The connections that sent a request, in order.
    pub fn connections(&self) -> Vec<Connection> {
        self.view(connections)
    }

    /// Where each TCP connection came from, in order; those that never sent a request too.
    pub fn peers(&self) -> Vec<IpAddr> {
        let peer = |entry: &Entry| match entry.event {
            Event::Accepted { peer } => Some(peer),
            _ => None,
        };
        self.view(|entries| entries.iter().filter_map(peer).collect())
    }

    /// How many handshakes of TLS were full, and how many resumed an earlier connection.
    pub fn secured(&self) -> (usize, usize) {
        let of = |kind: bool| {
            let is_one =
                |entry: &&Entry| matches!(&entry.event, Event::Secured { resumed, .. } if *resumed == kind);
            self.view(|entries| entries.iter().filter(is_one).count())
        };
        (of(false), of(true))
    }

    /// The connections of the session `id`, in order.
    pub fn connections_of(&self, id: &str) -> Vec<Connection> {
        self.connections().into_iter().filter(|connection| connection.session() == id).collect()
    }

    /// The connections whose request line is that of `GET /health`, say, in order.
    pub fn asked(&self, request: &str) -> Vec<Connection> {
        let line = format!("{request} HTTP/1.1");
        self.connections().into_iter().filter(|connection| connection.line == line).collect()
    }

    /// The connections of sessions, without checks, in order.
    pub fn sessions(&self) -> Vec<Connection> {
        self.connections().into_iter().filter(|connection| !connection.session().is_empty()).collect()
    }

    /// The short texts of all messages on all connections, in order of arrival.
    pub fn texts(&self) -> Vec<String> {
        self.view(|entries| entries.iter().filter_map(|entry| message_text(&entry.event)).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn read_on(&mut self) {
        self.file.read_to_end(&mut self.unfinished).expect("a journal can be read");
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.unfinished.split_off(end + 1);
        let lines = std::mem::replace(&mut self.unfinished, rest);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.entries.push(serde_json::from_slice(line).expect("a journal's line is an entry"));
        }
    }
}

/// All that happened on one connection that sent a request.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The backend's process.
    pub pid: u32,
    /// The request line.
    pub line: String,
    /// The request's headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What followed.
    pub events: Vec<Event>,
}

impl Connection {
    /// The first value of the request header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// All values of the request header `name`.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        header_values(&self.headers, name)
    }

    /// The session's id as the broker gave it, or an empty string.
    pub fn session(&self) -> &str {
        self.header("steadfast-session").unwrap_or_default()
    }

    /// The session's dial as the broker counted it; 0 when it did not.
    pub fn attempt(&self) -> u32 {
        self.header("steadfast-attempt").and_then(|attempt| attempt.parse().ok()).unwrap_or_default()
    }

    /// The status it was answered with, if it was.
    pub fn status(&self) -> Option<u16> {
        self.events.iter().find_map(|event| match event {
            Event::Answered { status } => Some(*status),
            _ => None,
        })
    }

    /// The messages, in order.
    pub fn payloads(&self) -> Vec<Payload> {
        let payload = |event: &Event| match event {
            Event::Message { payload, .. } => Some(payload.clone()),
            _ => None,
        };
        self.events.iter().filter_map(payload).collect()
    }

    /// The messages' short texts, in order.
    pub fn texts(&self) -> Vec<String> {
        self.events.iter().filter_map(message_text).collect()
    }

    /// Code and reason of the Close that came, if one did.
    pub fn close(&self) -> Option<(Option<u16>, String)> {
        self.events.iter().find_map(|event| match event {
            Event::Close { code, reason } => Some((*code, reason.clone())),
            _ => None,
        })
    }

    /// How the peer ended it, if it has: `Eof`, `EofInFrame` or `Reset`.
    pub fn end(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            Event::End { how } => Some(how.as_str()),
            _ => None,
        })
    }

    /// The payloads of the pings, in hex.
    pub fn pings(&self) -> Vec<&str> {
        self.events.iter().filter_map(ping_payload).collect()
    }

    /// What the broker did wrong here.
    pub fn violations(&self) -> Vec<&str> {
        self.events.iter().filter_map(violation).collect()
    }
}

fn ping_payload(event: &Event) -> Option<&str> {
    match event {
        Event::Ping { payload } => Some(payload),
        _ => None,
    }
}

fn violation(event: &Event) -> Option<&str> {
    match event {
        Event::Violation { what } => Some(what),
        _ => None,
    }
}

fn message_text(event: &Event) -> Option<String> {
    match event {
        Event::Message { payload, .. } => Some(payload.as_text().to_owned()),
        _ => None,
    }
}

fn connections(entries: &[Entry]) -> Vec<Connection> {
    let mut connections: Vec<Connection> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for Entry { pid, conn, event } in entries {
        if let Event::Request { line, headers } = event {
            places.insert((*pid, *conn), connections.len());
            let (line, headers) = (line.clone(), headers.clone());
            connections.push(Connection { pid: *pid, line, headers, events: Vec::new() });
        } else if let Some(place) = places.get(&(*pid, *conn)) {
            connections[*place].events.push(event.clone());
        }
    }
    connections
}
