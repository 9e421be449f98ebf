//! Protocols whose conversation ends with the backend, and by what they are known.
//!
//! Their clients have told the backend who they are and what they want to hear. The next one has heard nothing of
//! that: on a socket that stays open such a client would believe all is well, and hear nothing. With
//! `on_failure = "auto"` what helps is done instead. The table is in docs/configuration.md too.

use std::time::Duration;

use http::Uri;

use crate::http::token_list;

/// One such protocol.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// What people call it.
    pub(super) name: &'static str,
    mark: Mark,
    pub(crate) help: Help,
}

/// By what a client's request is known.
#[derive(Debug)]
enum Mark {
    /// One of these subprotocols is agreed on, or offered where none is agreed on. One that ends in `*` stands
    /// for all that begin so.
    Subprotocol(&'static [&'static str]),
    /// The query has both of these parameters.
    Query(&'static str, &'static str),
    /// The query has this parameter, and the path this end.
    QueryAndPath(&'static str, &'static str),
    /// The path ends in three digits, a session's name, and `websocket`.
    SockJs,
}

/// What is done for its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Help {
    /// They are closed when their backend is left, and reconnect.
    Close,
    /// They are kept, with an `ack_hold` of [`HOLD`] at least: each message is a request or an answer that stands
    /// for itself, and what comes twice is dropped.
    Hold,
}

/// How long messages are held at least for clients that are kept.
pub(super) const HOLD: Duration = Duration::from_secs(1);

/// SockJS clients name their session with 8 characters, Java's with 32.
const SOCKJS_SESSION_MIN: usize = 8;

const fn subprotocol(name: &'static str, names: &'static [&'static str]) -> Conversation {
    Conversation { name, mark: Mark::Subprotocol(names), help: Help::Close }
}

const fn marked(name: &'static str, mark: Mark) -> Conversation {
    Conversation { name, mark, help: Help::Close }
}

/// The table. Subprotocols first: they are agreed on, while paths and queries are anybody's.
pub(super) static CONVERSATIONS: [Conversation; 14] = [
    Conversation { name: "OCPP", mark: Mark::Subprotocol(&["ocpp1.*", "ocpp2.*"]), help: Help::Hold },
    subprotocol("GraphQL over WebSocket", &["graphql-transport-ws"]),
    subprotocol("GraphQL (subscriptions-transport-ws)", &["graphql-ws"]),
    subprotocol("MQTT", &["mqtt", "mqttv3.1"]),
    subprotocol("STOMP", &["v10.stomp", "v11.stomp", "v12.stomp"]),
    subprotocol("WAMP", &["wamp.2.*"]),
    subprotocol("ActionCable", &["actioncable-v1-*"]),
    subprotocol("XMPP", &["xmpp"]),
    subprotocol("AMQP", &["amqp"]),
    subprotocol("SIP", &["sip"]),
    subprotocol("Centrifuge", &["centrifuge-json", "centrifuge-protobuf"]),
    marked("Socket.IO", Mark::Query("EIO", "transport")),
    marked("Phoenix", Mark::QueryAndPath("vsn", "/websocket")),
    marked("SockJS", Mark::SockJs),
];

/// The protocol that a client speaks, as its request and the subprotocols that are agreed on, or else offered,
/// tell. `None`: none of the table.
pub(crate) fn recognise(target: &Uri, subprotocols: &[u8]) -> Option<&'static Conversation> {
    let (path, query) = (target.path(), target.query().unwrap_or_default());
    if subprotocols.is_empty() && query.is_empty() && !path.ends_with("/websocket") {
        return None;
    }
    CONVERSATIONS.iter().find(|conversation| match conversation.mark {
        Mark::Subprotocol(_) if subprotocols.is_empty() => false,
        Mark::Subprotocol(names) => names.iter().any(|name| lists(subprotocols, name)),
        Mark::Query(one, other) => has_parameter(query, one) && has_parameter(query, other),
        Mark::QueryAndPath(parameter, end) => path.ends_with(end) && has_parameter(query, parameter),
        Mark::SockJs => path.ends_with("/websocket") && is_sockjs(path),
    })
}

/// Whether one of the listed subprotocols is `name`. Their case counts (RFC 6455, 11.5).
fn lists(subprotocols: &[u8], name: &str) -> bool {
    token_list::split(subprotocols).any(|entry| match name.strip_suffix('*') {
        Some(begin) => entry.starts_with(begin.as_bytes()),
        None => entry == name.as_bytes(),
    })
}

fn has_parameter(query: &str, name: &str) -> bool {
    // Most have none, and are asked for several.
    !query.is_empty() && query.split('&').any(|pair| pair.split_once('=').is_some_and(|(key, _)| key == name))
}

/// `/PREFIX/SERVER/SESSION/websocket`, as SockJS clients make it up.
fn is_sockjs(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (end, session, server) = (parts.next(), parts.next(), parts.next());
    let is_server = |server: &str| server.len() == 3 && server.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_session = |session: &str| session.len() >= SOCKJS_SESSION_MIN && session.bytes().all(is_name);
    end == Some("websocket") && session.is_some_and(is_session) && server.is_some_and(is_server)
}

impl Conversation {
    /// Its place in the table.
    pub(super) fn index(&self) -> usize {
        CONVERSATIONS.iter().position(|other| other.name == self.name).unwrap_or_default()
    }

    /// What becomes of its clients, and what to write to have it otherwise, for the log.
    pub(super) fn sentence(&self, pool: &str) -> String {
        let name = self.name;
        let other =
            format!("to change that, write on_failure = \"failover\" or \"close\" in [[pool]] {pool:?}");
        match self.help {
            Help::Close => format!(
                "clients speak {name}, and what they have said ends with their backend: when that fails or is \
                 drained, they are closed so that they reconnect; {other}"
            ),
            Help::Hold => format!(
                "clients speak {name}: they are moved when their backend fails, and an ack_hold of {HOLD:?} at \
                 least sees to it that no answer is lost; {other}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn name(target: &str, subprotocols: &str) -> Option<&'static str> {
        let target: Uri = target.parse().expect("a request's target");
        recognise(&target, subprotocols.as_bytes()).map(|conversation| conversation.name)
    }

    #[test]
    fn each_protocol_is_known_by_its_marks() {
        for (target, subprotocols, expected) in [
            ("/socket.io/?EIO=4&transport=websocket", "", "Socket.IO"),
            ("/any/path?token=1&transport=websocket&EIO=3&sid=abc", "", "Socket.IO"),
            ("/sockjs/123/abcdefgh/websocket", "", "SockJS"),
            ("/a/b/c/000/0123456789abcdef0123456789abcdef/websocket?x=1", "", "SockJS"),
            ("/socket/websocket?vsn=2.0.0", "", "Phoenix"),
            ("/live/websocket?token=1&vsn=2.0.0", "", "Phoenix"),
            ("/", "graphql-transport-ws", "GraphQL over WebSocket"),
            ("/", "graphql-ws", "GraphQL (subscriptions-transport-ws)"),
            ("/", "mqtt", "MQTT"),
            ("/", "mqttv3.1", "MQTT"),
            ("/", "v10.stomp, v11.stomp,v12.stomp", "STOMP"),
            ("/", "wamp.2.msgpack", "WAMP"),
            ("/cable", "actioncable-v1-json, actioncable-unsupported", "ActionCable"),
            ("/", "xmpp", "XMPP"),
            ("/", "amqp", "AMQP"),
            ("/", "sip", "SIP"),
            ("/", "centrifuge-protobuf", "Centrifuge"),
            ("/CP-17", "ocpp1.6", "OCPP"),
            ("/CP-17", "ocpp2.0.1, ocpp1.6", "OCPP"),
        ] {
            assert_eq!(name(target, subprotocols), Some(expected), "{target} {subprotocols:?}");
        }
        assert!(CONVERSATIONS.iter().enumerate().all(|(index, conversation)| conversation.index() == index));
    }

    #[test]
    fn half_a_mark_is_none() {
        for (target, subprotocols) in [
            ("/", ""),
            ("/chat?room=1", "chat"),
            ("/socket.io/?EIO=4", ""),
            ("/socket.io/?transport=websocket", ""),
            ("/socket.io/?notEIO=4&transport=websocket", ""),
            ("/EIO=4/transport=websocket", ""),
            ("/socket/websocket", ""),
            ("/socket?vsn=2.0.0", ""),
            ("/websocket", ""),
            ("/12/abcdefgh/websocket", ""),
            ("/1234/abcdefgh/websocket", ""),
            ("/12a/abcdefgh/websocket", ""),
            ("/123/abcdefg/websocket", ""),
            ("/123/abcd.efgh/websocket", ""),
            ("/123/abcdefgh/websocket/", ""),
            ("/123/abcdefgh/xhr", ""),
            ("/", "MQTT"),
            ("/", "mqtt5"),
            ("/", "wamp"),
            ("/", "xgraphql-ws"),
            ("/mqtt", "chat"),
        ] {
            assert_eq!(name(target, subprotocols), None, "{target} {subprotocols:?}");
        }
    }

    #[test]
    fn the_page_has_the_table() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let page = fs::read_to_string(page).expect("the page");
        let part = page.split("## Protocols with a conversation").nth(1).expect("the chapter");
        let part = part.split("\n# ").next().unwrap_or(part).split("\n## ").next().unwrap_or_default();
        let rows: Vec<Vec<&str>> = part
            .lines()
            .filter(|line| {
                line.starts_with("| ") && !line.starts_with("| protocol") && !line.starts_with("| ---")
            })
            .map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        let expected: Vec<[String; 3]> = CONVERSATIONS
            .iter()
            .map(|conversation| {
                [conversation.name.to_owned(), marks(&conversation.mark), help(conversation.help)]
            })
            .collect();
        assert_eq!(rows, expected);
    }

    fn marks(mark: &Mark) -> String {
        let quoted = |name: &&str| format!("`{name}`");
        match mark {
            Mark::Subprotocol(names) => names.iter().map(quoted).collect::<Vec<_>>().join(", "),
            Mark::Query(one, other) => format!("`{one}=` and `{other}=` in the query"),
            Mark::QueryAndPath(parameter, end) => {
                format!("`{parameter}=` in the query, and a path that ends in `{end}`")
            }
            Mark::SockJs => {
                "a path that ends in `/SERVER/SESSION/websocket`: three digits, and eight characters or more"
                    .to_owned()
            }
        }
    }

    fn help(help: Help) -> String {
        match help {
            Help::Close => "close".to_owned(),
            Help::Hold => format!("failover, with an `ack_hold` of {HOLD:?} at least"),
        }
    }
}
