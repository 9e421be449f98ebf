//! Protocols whose conversation ends with the backend: by what they are known, and what is done for their clients.
//!
//! Their clients have told the backend who they are and what they want to hear. The next one has heard nothing of
//! that: on a socket that stays open such a client would believe all is well, and hear nothing. Where a profile knows
//! the protocol, the next backend is told all that; for the others of the table, with `on_failure = "auto"`, what helps
//! is done instead. The table is in docs/configuration.md too.
//!
//! ```text
//!   profile = NAME   --> that one
//!   profile = "auto" --> one's own that is known by this request
//!                    --> the table --> its built-in profile
//!                                  --> with on_failure = "auto": close, or hold
//! ```

mod marks;

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use steadfast_profiles::Profile;

use crate::config::settings::{OnFailure, PoolSettings, ProfileInForce, ProfileSettings};
use crate::config::{PROVEN, find_profile};
use marks::{has_parameter, holds, lists};

/// One such protocol.
#[derive(Debug)]
pub(crate) struct KnownProtocol {
    /// What people call it.
    name: &'static str,
    mark: ProtocolMark,
    help: Help,
    /// The built-in profile that knows it.
    profile: Option<&'static str>,
}

/// By what a client's request is known.
#[derive(Debug)]
enum ProtocolMark {
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

/// What is done for its clients where they have no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Help {
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

const fn subprotocol(name: &'static str, names: &'static [&'static str]) -> KnownProtocol {
    marked(name, ProtocolMark::Subprotocol(names))
}

const fn marked(name: &'static str, mark: ProtocolMark) -> KnownProtocol {
    KnownProtocol { name, mark, help: Help::Close, profile: None }
}

impl KnownProtocol {
    const fn with(self, profile: &'static str) -> KnownProtocol {
        KnownProtocol { profile: Some(profile), ..self }
    }

    const fn held(self) -> KnownProtocol {
        KnownProtocol { help: Help::Hold, ..self }
    }
}

/// The table. Subprotocols first: they are agreed on, while paths and queries are anybody's.
static CONVERSATIONS: [KnownProtocol; 14] = [
    subprotocol("OCPP", &["ocpp1.*", "ocpp2.*"]).held().with("ocpp"),
    subprotocol("GraphQL over WebSocket", &["graphql-transport-ws"]).with("graphql-transport-ws"),
    subprotocol("GraphQL (subscriptions-transport-ws)", &["graphql-ws"]).with("graphql-ws"),
    subprotocol("MQTT", &["mqtt", "mqttv3.1"]),
    subprotocol("STOMP", &["v10.stomp", "v11.stomp", "v12.stomp"]),
    subprotocol("WAMP", &["wamp.2.*"]),
    subprotocol("ActionCable", &["actioncable-v1-*"]),
    subprotocol("XMPP", &["xmpp"]),
    subprotocol("AMQP", &["amqp"]),
    subprotocol("SIP", &["sip"]),
    subprotocol("Centrifuge", &["centrifuge-json", "centrifuge-protobuf"]),
    marked("Socket.IO", ProtocolMark::Query("EIO", "transport")).with("socket.io"),
    marked("Phoenix", ProtocolMark::QueryAndPath("vsn", "/websocket")),
    marked("SockJS", ProtocolMark::SockJs),
];

/// The protocol that a client speaks, as its request and the subprotocols that are agreed on, or else offered,
/// tell. `None`: none of the table.
fn recognise(target: &Uri, subprotocols: &[u8]) -> Option<&'static KnownProtocol> {
    let (path, query) = (target.path(), target.query().unwrap_or_default());
    if subprotocols.is_empty() && query.is_empty() && !path.ends_with("/websocket") {
        return None;
    }
    CONVERSATIONS.iter().find(|conversation| match conversation.mark {
        ProtocolMark::Subprotocol(_) if subprotocols.is_empty() => false,
        ProtocolMark::Subprotocol(names) => names.iter().any(|name| lists(subprotocols, name)),
        ProtocolMark::Query(one, other) => {
            has_parameter(query, one, None) && has_parameter(query, other, None)
        }
        ProtocolMark::QueryAndPath(parameter, end) => {
            path.ends_with(end) && has_parameter(query, parameter, None)
        }
        ProtocolMark::SockJs => path.ends_with("/websocket") && is_sockjs(path),
    })
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

/// Whether a client's conversation can be repeated by what it asks for: that of Socket.IO only when it is of version 4, and
/// has not begun by polling, where its login was said.
fn is_repeatable(profile: &Profile, target: &Uri) -> bool {
    let query = target.query().unwrap_or_default();
    match profile {
        Profile::Rules(_) => true,
        Profile::SocketIo(_) => has_parameter(query, "EIO", Some("4")) && !has_parameter(query, "sid", None),
    }
}

/// What is done for one client.
#[derive(Debug, Clone)]
pub(crate) enum Treatment {
    /// Nothing more than for any other.
    Plain,
    /// It is closed when its backend is left, and reconnects.
    Close,
    /// It is kept, with an `ack_hold` of [`HOLD`] at least.
    Hold,
    /// It is kept, and the next backend is told what this profile knows.
    Profile(Arc<Profile>),
}

/// Something for the log to tell of a pool's clients once.
#[derive(Debug, Clone)]
pub(crate) struct ProtocolNotice {
    /// The same for the same thing to tell, under [`ProtocolNotice::NUMBERS`].
    pub(super) number: usize,
    /// What the clients speak.
    pub(super) protocol: String,
    /// What becomes of them, and what to write to have it otherwise.
    pub(super) sentence: String,
}

impl ProtocolNotice {
    /// Two for each protocol of the table, and one for each profile of one's own.
    pub(super) const NUMBERS: usize = 128;
    const OWN: usize = 64;
}

/// What a pool does for clients by what they speak.
#[derive(Debug)]
pub(crate) struct Conversations {
    pool: String,
    choice: Choice,
    /// `on_failure = "auto"`.
    helps: bool,
}

#[derive(Debug)]
enum Choice {
    /// With one's own that are known by something.
    Auto(Vec<ProfileSettings>),
    None,
    Named(ProfileSettings),
}

impl Conversations {
    /// Those of a pool, where these profiles are one's own.
    pub(super) fn new(pool: &PoolSettings, own: &[ProfileSettings]) -> Conversations {
        let choice = match pool.profile_in_force() {
            ProfileInForce::None(_) => Choice::None,
            ProfileInForce::Auto => {
                Choice::Auto(own.iter().filter(|profile| !profile.known_by.is_empty()).cloned().collect())
            }
            // A configuration that names one which is not there does not get here.
            ProfileInForce::Named(name) => {
                find_profile(own, name).cloned().map_or(Choice::None, Choice::Named)
            }
        };
        Conversations { pool: pool.name.clone(), choice, helps: pool.on_failure == OnFailure::Auto }
    }

    /// Every client is treated in this way, whatever its backend says of it.
    pub(crate) fn are_named(&self) -> bool {
        matches!(self.choice, Choice::Named(_))
    }

    /// Whether a client that asks for this, and offers these subprotocols, may get a profile.
    pub(crate) fn may_repeat(&self, target: &Uri, offered: &[u8]) -> bool {
        matches!(self.treatment(target, offered).0, Treatment::Profile(_))
    }

    /// What is done for a client that asks for `target`, with the subprotocols that are agreed on, or else offered; and
    /// what the log is to tell of that.
    pub(crate) fn treatment(&self, target: &Uri, subprotocols: &[u8]) -> (Treatment, Option<ProtocolNotice>) {
        let repeated = |profile: &Arc<Profile>| Treatment::Profile(Arc::clone(profile));
        match &self.choice {
            Choice::Named(named) if is_repeatable(&named.profile, target) => (repeated(&named.profile), None),
            Choice::Named(named) => {
                (Treatment::Close, Some(self.polling(ProtocolNotice::OWN, "Socket.IO", &named.name)))
            }
            Choice::Auto(own) => {
                let known = |profile: &ProfileSettings| holds(&profile.known_by, target, subprotocols);
                match own.iter().position(known).and_then(|index| Some((index, own.get(index)?))) {
                    Some((index, own)) if is_repeatable(&own.profile, target) => {
                        let number = ProtocolNotice::OWN + index;
                        (repeated(&own.profile), Some(self.profiled(number, &own.name, &own.name)))
                    }
                    _ => self.by_table(target, subprotocols, PROVEN),
                }
            }
            Choice::None => self.by_table(target, subprotocols, &[]),
        }
    }

    fn by_table(
        &self,
        target: &Uri,
        subprotocols: &[u8],
        proven: &[&str],
    ) -> (Treatment, Option<ProtocolNotice>) {
        let Some(conversation) = recognise(target, subprotocols) else { return (Treatment::Plain, None) };
        let KnownProtocol { name, help, .. } = *conversation;
        let number = 2 * conversation.index();
        let built_in = conversation.profile.filter(|profile| proven.contains(profile));
        let built_in = built_in.and_then(|profile| find_profile(&[], profile));
        if let Some(profile) = built_in.filter(|built_in| is_repeatable(&built_in.profile, target)) {
            let told = self.profiled(number, name, &profile.name);
            return (Treatment::Profile(Arc::clone(&profile.profile)), Some(told));
        }
        match (self.helps, help, built_in) {
            (false, ..) => (Treatment::Plain, None),
            (true, Help::Close, Some(profile)) => {
                (Treatment::Close, Some(self.polling(number + 1, name, &profile.name)))
            }
            (true, Help::Close, None) => (Treatment::Close, Some(self.helped(number + 1, name, CLOSED))),
            (true, Help::Hold, _) => (Treatment::Hold, Some(self.helped(number + 1, name, HELD))),
        }
    }

    fn profiled(&self, number: usize, protocol: &str, profile: &str) -> ProtocolNotice {
        let sentence = format!(
            "clients speak {protocol}, and have the profile {profile:?}: when their backend fails or is drained, the next \
             one is told again what they have said to log in and to subscribe; to switch that off, write \
             profile = \"none\" in [[pool]] {:?}",
            self.pool
        );
        ProtocolNotice { number, protocol: protocol.to_owned(), sentence }
    }

    fn polling(&self, number: usize, protocol: &str, profile: &str) -> ProtocolNotice {
        let sentence = format!(
            "clients speak {protocol} in a way that the profile {profile:?} cannot repeat, since they have begun by \
             polling, or are of another version than 4: when their backend fails or is drained, they are closed so that \
             they reconnect; to change that, have clients set transports: [\"websocket\"], or write \
             profile = \"none\" and on_failure = \"failover\" in [[pool]] {:?}",
            self.pool
        );
        ProtocolNotice { number, protocol: protocol.to_owned(), sentence }
    }

    fn helped(&self, number: usize, protocol: &str, what: &str) -> ProtocolNotice {
        let sentence = format!(
            "clients speak {protocol}{what}; to change that, write on_failure = \"failover\" or \"close\" in \
             [[pool]] {:?}",
            self.pool
        );
        ProtocolNotice { number, protocol: protocol.to_owned(), sentence }
    }
}

const CLOSED: &str = ", and what they have said ends with their backend: when that fails or is drained, they are closed \
                      so that they reconnect";

const HELD: &str = ": they are moved when their backend fails, and an ack_hold of 1s at least sees to it that no answer is lost";

impl KnownProtocol {
    /// Its place in the table.
    fn index(&self) -> usize {
        CONVERSATIONS.iter().position(|other| other.name == self.name).unwrap_or_default()
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
            .filter(|row: &Vec<&str>| row.len() == 3)
            .collect();
        let expected: Vec<[String; 3]> = CONVERSATIONS
            .iter()
            .map(|conversation| {
                [conversation.name.to_owned(), written(&conversation.mark), help(conversation)]
            })
            .collect();
        assert_eq!(rows, expected);
    }

    fn written(mark: &ProtocolMark) -> String {
        let quoted = |name: &&str| format!("`{name}`");
        match mark {
            ProtocolMark::Subprotocol(names) => names.iter().map(quoted).collect::<Vec<_>>().join(", "),
            ProtocolMark::Query(one, other) => format!("`{one}=` and `{other}=` in the query"),
            ProtocolMark::QueryAndPath(parameter, end) => {
                format!("`{parameter}=` in the query, and a path that ends in `{end}`")
            }
            ProtocolMark::SockJs => {
                "a path that ends in `/SERVER/SESSION/websocket`: three digits, and eight characters or more"
                    .to_owned()
            }
        }
    }

    fn help(conversation: &KnownProtocol) -> String {
        let without = match conversation.help {
            Help::Close => "close".to_owned(),
            Help::Hold => format!("failover, with an `ack_hold` of {HOLD:?} at least"),
        };
        match conversation.profile.filter(|profile| PROVEN.contains(profile)) {
            Some("socket.io") => format!("profile `socket.io`; {without}, with `sid=`, or without `EIO=4`"),
            Some(profile) => format!("profile `{profile}`"),
            None => without,
        }
    }

    fn pool(keys: &str, profiles: &str) -> Conversations {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"chat\"\n{keys}\n\
             [[pool.backend]]\nurl = \"ws://127.0.0.1:1\"\n{profiles}"
        );
        let settings = crate::config::parse(&text, &crate::config::Overrides::default()).expect("sound");
        Conversations::new(&settings.pools[0], &settings.profiles)
    }

    /// The treatment in a word, with what the log is told.
    fn treated(conversations: &Conversations, target: &str, subprotocols: &str) -> (&'static str, String) {
        let target: Uri = target.parse().expect("a target");
        let (treatment, told) = conversations.treatment(&target, subprotocols.as_bytes());
        let word = match treatment {
            Treatment::Plain => "plain",
            Treatment::Close => "close",
            Treatment::Hold => "hold",
            Treatment::Profile(_) => "profile",
        };
        assert_eq!(conversations.may_repeat(&target, subprotocols.as_bytes()), word == "profile");
        assert!(told.as_ref().is_none_or(|told| told.number < ProtocolNotice::NUMBERS));
        (word, told.map_or_else(String::new, |told| told.sentence))
    }

    const OWN: &str = "[[profile]]\nname = \"mine\"\nmatch = { subprotocol = \"mine.*\" }\nup = [{ keep = \"a\" }]\n\
                       [[profile]]\nname = \"sockets\"\nbase = \"socket.io\"\nmatch = { query = \"EIO\" }\n\
                       [[profile]]\nname = \"by-name\"\nup = [{ keep = \"a\" }]\n";

    #[test]
    fn ones_own_profiles_come_first() {
        for keys in ["", "on_failure = \"failover\""] {
            let auto = pool(keys, OWN);
            let (word, told) = treated(&auto, "/", "mine.v2");
            assert!(word == "profile" && told.contains("the profile \"mine\""), "{told}");
            assert_eq!(treated(&auto, "/", "other").0, "plain");
            let (word, told) = treated(&auto, "/socket.io/?EIO=4&transport=websocket", "");
            assert!(word == "profile" && told.contains("profile = \"none\" in [[pool]] \"chat\""), "{told}");
        }
    }

    #[test]
    fn a_named_profile_is_for_all_that_can_have_it() {
        let named = pool("profile = \"by-name\"", OWN);
        assert!(named.are_named());
        for (target, subprotocols) in [("/", ""), ("/", "mqtt"), ("/?EIO=4&transport=websocket&sid=1", "")] {
            assert_eq!(treated(&named, target, subprotocols), ("profile", String::new()));
        }
        let sockets = pool("profile = \"sockets\"", OWN);
        assert_eq!(treated(&sockets, "/?EIO=4&transport=websocket", "").0, "profile");
        for target in ["/?EIO=4&transport=websocket&sid=1", "/?EIO=3&transport=websocket", "/"] {
            let (word, told) = treated(&sockets, target, "");
            assert!(word == "close" && told.contains("begun by polling"), "{target}: {told}");
        }
    }

    #[test]
    fn without_a_profile_what_helps_is_done_and_with_close_or_failover_nothing() {
        for keys in ["profile = \"none\"", "ack = \"none\"", "ack = \"shim\""] {
            let none = pool(keys, OWN);
            assert_eq!(treated(&none, "/", "mine.v2"), ("plain", String::new()), "{keys}");
            assert_eq!(treated(&none, "/", "ocpp1.6").0, "hold", "{keys}");
            let (word, told) = treated(&none, "/", "graphql-ws");
            assert!(word == "close" && told.contains("on_failure = \"failover\""), "{told}");
        }
        for keys in ["on_failure = \"close\"", "profile = \"none\"\non_failure = \"failover\""] {
            assert_eq!(treated(&pool(keys, OWN), "/", "graphql-ws"), ("plain", String::new()), "{keys}");
        }
    }

    /// The switch on: what the table would do with each of its profiles.
    #[test]
    fn the_profiles_of_the_table_apply_once_they_are_proven() {
        let all: Vec<&str> = CONVERSATIONS.iter().filter_map(|conversation| conversation.profile).collect();
        let auto = pool("", "");
        let word = |target: &str, subprotocols: &str| {
            let target: Uri = target.parse().expect("a target");
            match auto.by_table(&target, subprotocols.as_bytes(), &all) {
                (Treatment::Profile(_), Some(told)) => (true, told.sentence),
                (_, told) => (false, told.map_or_else(String::new, |told| told.sentence)),
            }
        };
        for name in &all {
            assert!(find_profile(&[], name).is_some(), "{name} is built in");
        }
        for (target, subprotocols, profile) in [
            ("/", "graphql-transport-ws", "graphql-transport-ws"),
            ("/", "ocpp1.6", "ocpp"),
            ("/?EIO=4&transport=websocket", "", "socket.io"),
        ] {
            let (repeated, told) = word(target, subprotocols);
            assert!(repeated && told.contains(&format!("the profile {profile:?}")), "{told}");
        }
        for target in ["/?EIO=4&transport=websocket&sid=1", "/?EIO=3&transport=websocket"] {
            let (repeated, told) = word(target, "");
            assert!(!repeated && told.contains("begun by polling"), "{told}");
        }
        assert!(!word("/", "mqtt").0);
    }
}
