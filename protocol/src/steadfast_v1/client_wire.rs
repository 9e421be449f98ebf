//! The messages between broker and client: one ASCII byte says of which kind a message is; the
//! application's own follow it, everything else is a short text.
//!
//! ```text
//! either way        m PAYLOAD                                         text or binary, as the application has it
//! client to broker  a SEQ                                             has everything up to this seq
//!                   q                                                 asks for an `a`
//! broker to client  w SESSION TOKEN WINDOW resumed RECEIVED COMMITTED
//!                   w SESSION TOKEN WINDOW fresh REASON
//!                   a RECEIVED COMMITTED
//! ```
//!
//! Fields are parted by one space. More may follow in a later version, and are ignored; so are messages
//! of unknown kinds.

use super::{NUMBER_MAX, SessionId};

/// The kind of a message of the application's.
pub const MESSAGE: u8 = b'm';

/// The longest text of a kind that is known, in bytes.
pub const TEXT_MAX: usize = 512;

/// The subprotocol, without one of the application's.
pub const PROTOCOL: &str = "steadfast.v1";

/// What stands before the application's own subprotocol.
const PROTOCOL_OF: &str = "steadfast.v1+";

/// What stands before a token in the list of subprotocols.
const RESUME: &str = "steadfast.resume.";

/// Every subprotocol that begins with this is the broker's to understand, not a backend's.
pub const RESERVED: &str = "steadfast.";

/// So many entries of an offer are read. It bounds the work of comparing them.
const OFFER_MAX: usize = 64;

/// Digits of [`NUMBER_MAX`].
const NUMBER_DIGITS: usize = 16;

/// Bytes of a token.
pub const TOKEN_LEN: usize = 48;

/// Bytes of a token before its secret: the session's name.
const NAME_LEN: usize = 16;

/// What a client shows to resume a session: the session's name, and 256 secret bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN_LEN]);

impl std::fmt::Debug for Token {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({}, ...)", hex(&self.session()))
    }
}

impl Token {
    /// Of a session, with a secret.
    pub fn new(session: SessionId, secret: [u8; 32]) -> Token {
        let mut bytes = [0; TOKEN_LEN];
        bytes[..NAME_LEN].copy_from_slice(&session);
        bytes[NAME_LEN..].copy_from_slice(&secret);
        Token(bytes)
    }

    /// Of which session.
    pub fn session(&self) -> SessionId {
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&self.0[..NAME_LEN]);
        name
    }

    /// Whether it is this one, in a time that does not tell where they differ.
    pub fn is(&self, other: &Token) -> bool {
        let differs = self.0.iter().zip(&other.0).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differs) == 0
    }

    /// In base64url without padding (RFC 4648, 5): 64 characters.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(TOKEN_LEN / 3 * 4);
        for three in self.0.chunks_exact(3) {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            text.extend([18, 12, 6, 0].map(|by| char::from(DIGITS[(bits >> by & 63) as usize])));
        }
        text
    }

    /// From its text.
    pub fn parse(text: &str) -> Option<Token> {
        let mut bytes = [0; TOKEN_LEN];
        if text.len() != TOKEN_LEN / 3 * 4 {
            return None;
        }
        for (three, four) in bytes.chunks_exact_mut(3).zip(text.as_bytes().chunks_exact(4)) {
            let mut bits = 0;
            for digit in four {
                bits = bits << 6 | DIGITS.iter().position(|known| known == digit)? as u32;
            }
            three.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        Some(Token(bytes))
    }
}

/// The digits of base64url.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A wish to go on with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Of which.
    pub token: Token,
    /// Seq of the last message that the client has.
    pub last: u64,
}

/// What a client offers in `Sec-WebSocket-Protocol`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// It can do without a subprotocol of the application's.
    bare: bool,
    /// The application's subprotocols that it can do together with ours.
    with: Vec<String>,
    /// What a backend is to be offered, in the client's order.
    pub application: Vec<String>,
    /// The session that it wants to go on with. `Some(Err)`: it names one, in a way that cannot be read.
    pub resume: Option<Result<Resume, Unreadable>>,
}

/// An entry that should name a session and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl Offer {
    /// From the header's value (RFC 6455, 11.3.4); several headers are joined with a comma. Entries
    /// behind the 64th do not count.
    pub fn parse(header: &str) -> Offer {
        let mut offer = Offer::default();
        for name in header.split(',').map(str::trim).filter(|name| !name.is_empty()).take(OFFER_MAX) {
            if name == PROTOCOL {
                offer.bare = true;
            } else if let Some(application) = name.strip_prefix(PROTOCOL_OF) {
                // The name of one of ours, or none, is no subprotocol of an application's.
                if !application.is_empty() && !application.starts_with(RESERVED) {
                    offer.with.push(application.to_owned());
                    offer.adds(application);
                }
            } else if let Some(resume) = name.strip_prefix(RESUME) {
                offer.resume = Some(parse_resume(resume).ok_or(Unreadable));
            } else if !name.starts_with(RESERVED) {
                offer.adds(name);
            }
        }
        offer
    }

    fn adds(&mut self, name: &str) {
        if !self.application.iter().any(|known| known == name) {
            self.application.push(name.to_owned());
        }
    }

    /// The client links the shim.
    pub fn is_shim(&self) -> bool {
        self.bare || !self.with.is_empty()
    }

    /// What to answer when the backend has chosen `application`. `None`: the client cannot do that
    /// together with ours, and is a plain one.
    pub fn answer(&self, application: Option<&str>) -> Option<String> {
        match application {
            None => self.bare.then(|| PROTOCOL.to_owned()),
            Some(name) => self.with.iter().any(|with| with == name).then(|| format!("{PROTOCOL_OF}{name}")),
        }
    }

    /// What a client offers: ours with each of the application's subprotocols, and those alone, so that
    /// a server without a broker in front understands it too.
    pub fn entries(application: &[String], resume: Option<&Resume>) -> Vec<String> {
        let mut entries: Vec<_> = application.iter().map(|name| format!("{PROTOCOL_OF}{name}")).collect();
        entries.extend_from_slice(application);
        if application.is_empty() {
            entries.push(PROTOCOL.to_owned());
        }
        entries.extend(resume.map(|resume| format!("{RESUME}{}.{}", resume.token.text(), resume.last)));
        entries
    }
}

fn parse_resume(text: &str) -> Option<Resume> {
    let (token, last) = text.split_once('.')?;
    Some(Resume { token: Token::parse(token)?, last: number(last.as_bytes())? })
}

/// A text of the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromClient {
    /// It has everything up to this seq.
    Ack(u64),
    /// It asks for an `a`.
    Query,
}

impl FromClient {
    /// Whether this kind has a text that is to be read; others are skipped.
    pub fn is_known(kind: u8) -> bool {
        matches!(kind, b'a' | b'q')
    }

    /// From a whole message of a known kind. `None`: it cannot be read.
    pub fn parse(text: &[u8]) -> Option<FromClient> {
        if text.len() > TEXT_MAX {
            return None;
        }
        // Almost every one.
        if let Some(seq) = text.strip_prefix(b"a ").and_then(number) {
            return Some(FromClient::Ack(seq));
        }
        std::str::from_utf8(text).ok()?;
        let mut fields = text.split(|byte| *byte == b' ');
        match fields.next()? {
            b"a" => Some(FromClient::Ack(number(fields.next()?)?)),
            b"q" => Some(FromClient::Query),
            _ => None,
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        match self {
            FromClient::Ack(seq) => format!("a {seq}"),
            FromClient::Query => "q".to_owned(),
        }
    }
}

/// A text of the broker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromBroker {
    /// The first message on each connection.
    Welcome(Welcome),
    /// What the broker, and behind it the service, has.
    Ack(Watermarks),
}

/// How far the client's messages have come, as seqs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// The broker has everything up to here.
    pub received: u64,
    /// The service has committed everything up to here (in a pool that does not link the shim: has
    /// acknowledged it).
    pub committed: u64,
}

/// What a client is told first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The session that it has now.
    pub session: SessionId,
    /// What to resume it with.
    pub token: Token,
    /// How long the session is kept for a client that is away, in milliseconds.
    pub window_ms: u64,
    /// Whether it is the one that the client had.
    pub standing: Standing,
}

/// Whether a session is an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    Resumed(Watermarks),
    /// It is new.
    Fresh(Reason),
}

/// Why a session is a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reason {
    /// The client asked for no other.
    #[default]
    New,
    /// The one it asked for is not here: it has ended, or was never here.
    Unknown,
    /// The token has been replaced by a newer one.
    Stale,
    /// The seq is of a message that the session never had, or does not keep any more.
    Seq,
}

impl Reason {
    const ALL: [Reason; 4] = [Reason::New, Reason::Unknown, Reason::Stale, Reason::Seq];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::New => "new",
            Reason::Unknown => "unknown",
            Reason::Stale => "stale",
            Reason::Seq => "seq",
        }
    }
}

impl FromBroker {
    /// Whether this kind has a text that is to be read; others are skipped.
    pub fn is_known(kind: u8) -> bool {
        matches!(kind, b'w' | b'a')
    }

    /// From a whole message of a known kind. `None`: it cannot be read.
    pub fn parse(text: &[u8]) -> Option<FromBroker> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let mut fields = std::str::from_utf8(text).ok()?.split(' ');
        match fields.next()? {
            "w" => Some(FromBroker::Welcome(Welcome {
                session: parse_hex(fields.next()?)?,
                token: Token::parse(fields.next()?)?,
                window_ms: number(fields.next()?.as_bytes())?,
                standing: match fields.next()? {
                    "resumed" => Standing::Resumed(watermarks(&mut fields)?),
                    "fresh" => {
                        let name = fields.next()?;
                        // A later version may know more of them.
                        let known = Reason::ALL.into_iter().find(|reason| reason.name() == name);
                        Standing::Fresh(known.unwrap_or(Reason::Unknown))
                    }
                    _ => return None,
                },
            })),
            "a" => Some(FromBroker::Ack(watermarks(&mut fields)?)),
            _ => None,
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        match self {
            FromBroker::Welcome(Welcome { session, token, window_ms, standing }) => {
                let standing = match standing {
                    Standing::Resumed(Watermarks { received, committed }) => {
                        format!("resumed {received} {committed}")
                    }
                    Standing::Fresh(reason) => format!("fresh {}", reason.name()),
                };
                format!("w {} {} {window_ms} {standing}", hex(session), token.text())
            }
            FromBroker::Ack(Watermarks { received, committed }) => format!("a {received} {committed}"),
        }
    }
}

/// Bytes of the longest acknowledgement: of its header, its kind and two numbers with blanks before them.
const ACK_FRAME_MAX: usize = ACK_HEAD.len() + 2 * (1 + NUMBER_DIGITS);

/// An acknowledgement up to its first number. Its length is one of 7 bits (RFC 6455, 5.2).
const ACK_HEAD: [u8; 3] = [0x81, 0, b'a'];

/// An acknowledgement as a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AckFrame {
    bytes: [u8; ACK_FRAME_MAX],
    start: usize,
}

impl AckFrame {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Puts this in front.
    fn put(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    /// Puts a blank and this in front.
    fn put_number(&mut self, number: u64) {
        let mut rest = number.min(NUMBER_MAX);
        loop {
            self.put(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                return self.put(b' ');
            }
        }
    }
}

impl Watermarks {
    /// As the frame of a [`FromBroker::Ack`]. No other text is made as often.
    pub(crate) fn frame(&self) -> AckFrame {
        let mut frame = AckFrame { bytes: [0; ACK_FRAME_MAX], start: ACK_FRAME_MAX };
        frame.put_number(self.committed);
        frame.put_number(self.received);
        let [first, _, kind] = ACK_HEAD;
        let payload = frame.bytes().len() + 1;
        frame.put(kind);
        frame.put(payload as u8);
        frame.put(first);
        frame
    }
}

fn watermarks<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Watermarks> {
    let mut number = || number(fields.next()?.as_bytes());
    Some(Watermarks { received: number()?, committed: number()? })
}

/// Decimal digits without a sign or needless zeros, at most [`NUMBER_MAX`].
fn number(digits: &[u8]) -> Option<u64> {
    let plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= NUMBER_DIGITS;
    let value = digits.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'9' if plain => Some(value * 10 + u64::from(digit - b'0')),
        _ => None,
    });
    value.filter(|value| plain && *value <= NUMBER_MAX)
}

/// 32 digits, in lower case.
fn hex(id: &SessionId) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

fn parse_hex(text: &str) -> Option<SessionId> {
    let digits =
        text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    u128::from_str_radix(text, 16).ok().filter(|_| digits).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::websocket::frame::{Opcode, data_frame};

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..=5u64, 0..=NUMBER_MAX, Just(NUMBER_MAX)]
    }

    fn token() -> impl Strategy<Value = Token> {
        any::<(SessionId, [u8; 32])>().prop_map(|(session, secret)| Token::new(session, secret))
    }

    fn from_broker() -> impl Strategy<Value = FromBroker> {
        let marks =
            || (number(), number()).prop_map(|(received, committed)| Watermarks { received, committed });
        let standing = prop_oneof![
            marks().prop_map(Standing::Resumed),
            prop::sample::select(Reason::ALL.to_vec()).prop_map(Standing::Fresh),
        ];
        let welcome = (any::<SessionId>(), token(), number(), standing).prop_map(
            |(session, token, window_ms, standing)| {
                FromBroker::Welcome(Welcome { session, token, window_ms, standing })
            },
        );
        prop_oneof![welcome, marks().prop_map(FromBroker::Ack)]
    }

    /// Texts that are nearly right.
    fn likely() -> impl Strategy<Value = String> {
        let field = prop_oneof![
            "[waq]",
            "(0|[1-9][0-9]{0,19})",
            "[0-9a-f]{32}",
            "[A-Za-z0-9_-]{64}",
            "(resumed|fresh|new|seq)",
            "\\PC{0,3}",
        ];
        proptest::collection::vec(field, 0..8).prop_map(|fields| fields.join(" "))
    }

    /// Entries that are nearly right.
    fn entry() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(PROTOCOL.to_owned()),
            "steadfast\\.v1\\+(|chat|log|steadfast\\.v1)",
            "steadfast\\.resume\\.[A-Za-z0-9_-]{63,65}\\.[0-9]{0,17}",
            "steadfast\\.[a-z]{0,3}",
            "[ \t]?(chat|log)[ \t]?",
            "\\PC{0,4}",
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_mean_something(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            likely().prop_map(String::into_bytes),
        ]) {
            if let Some(text) = FromClient::parse(&bytes) {
                prop_assert_eq!(FromClient::parse(text.text().as_bytes()), Some(text));
                prop_assert!(FromClient::is_known(bytes[0]));
            }
            if let Some(text) = FromBroker::parse(&bytes) {
                prop_assert_eq!(FromBroker::parse(text.text().as_bytes()), Some(text));
                prop_assert!(FromBroker::is_known(bytes[0]));
            }
        }

        #[test]
        fn an_acknowledgement_is_the_frame_of_its_text(received in number(), committed in number()) {
            let marks = Watermarks { received, committed };
            let text = FromBroker::Ack(marks).text();
            let (frame, made) = (data_frame(Opcode::Text, text.as_bytes(), None), marks.frame());
            prop_assert_eq!(made.bytes(), frame);
        }

        #[test]
        fn what_is_said_is_understood(broker in from_broker(), seq in number()) {
            prop_assert_eq!(FromBroker::parse(broker.text().as_bytes()), Some(broker));
            prop_assert!(broker.text().len() <= TEXT_MAX);
            let ack = FromClient::Ack(seq);
            prop_assert_eq!(FromClient::parse(ack.text().as_bytes()), Some(ack));
        }

        #[test]
        fn no_entry_of_ours_reaches_a_backend_and_what_is_answered_was_offered(
            entries in proptest::collection::vec(entry(), 0..8),
        ) {
            let offer = Offer::parse(&entries.join(","));
            for name in &offer.application {
                prop_assert!(!name.is_empty() && !name.starts_with(RESERVED));
                prop_assert_eq!(offer.application.iter().filter(|other| *other == name).count(), 1);
            }
            let chosen = offer.application.iter().map(|name| Some(name.as_str())).chain([None]);
            for answer in chosen.filter_map(|name| offer.answer(name)) {
                prop_assert!(entries.iter().any(|entry| entry.split(',').any(|one| one.trim() == answer)));
                prop_assert!(offer.is_shim());
            }
        }

        #[test]
        fn what_a_client_offers_is_understood(
            application in proptest::collection::btree_set("[a-z]{1,3}", 0..4),
            resume in proptest::option::of((token(), number())),
        ) {
            let application: Vec<_> = application.into_iter().collect();
            let resume = resume.map(|(token, last)| Resume { token, last });
            let offer = Offer::parse(&Offer::entries(&application, resume.as_ref()).join(", "));
            prop_assert!(offer.is_shim());
            prop_assert_eq!(offer.resume, resume.map(Ok));
            prop_assert_eq!(offer.answer(None).is_some(), application.is_empty());
            prop_assert_eq!(offer.application, application);
        }

        #[test]
        fn a_token_is_itself_and_no_other(one in token(), bit in 0..TOKEN_LEN * 8) {
            prop_assert_eq!(Token::parse(&one.text()), Some(one));
            let mut other = one;
            other.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(one.is(&one) && !one.is(&other));
        }
    }

    #[test]
    fn what_is_printed_for_people_has_no_secret() {
        let (session, secret) = ([0x5e; 16], [0xa7; 32]);
        let token = Token::new(session, secret);
        let resume = Resume { token, last: 3 };
        let welcome = FromBroker::Welcome(Welcome {
            session,
            token,
            window_ms: 1,
            standing: Standing::Fresh(Reason::New),
        });
        let offer = Offer::parse(&Offer::entries(&[], Some(&resume)).join(","));
        for printed in
            [format!("{token:?}"), format!("{resume:?}"), format!("{welcome:?}"), format!("{offer:?}")]
        {
            assert!(printed.contains(&"5e".repeat(16)), "{printed}");
            let secret = &token.text()[24..];
            let shown = [secret, "a7a7", "167, 167"].into_iter().any(|form| printed.contains(form));
            assert!(!shown, "{printed}");
        }
    }

    #[test]
    fn an_offer_of_very_many_entries_is_read_in_part() {
        let header: Vec<_> = (0..100_000).map(|entry| format!("p{entry}")).collect();
        let offer = Offer::parse(&header.join(","));
        assert_eq!(offer.application, header[..OFFER_MAX]);
    }
}
