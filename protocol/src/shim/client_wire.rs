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

/// Subprotocols of the application's that are looked at; a client that offers more has those in front.
const APPLICATION_MAX: usize = 64;

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
    /// From the header's value (RFC 6455, 11.3.4); several headers are joined with a comma.
    pub fn parse(header: &str) -> Offer {
        let mut offer = Offer::default();
        for name in header.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == PROTOCOL {
                offer.bare = true;
            } else if let Some(application) = name.strip_prefix(PROTOCOL_OF) {
                offer.adds_with(application);
            } else if let Some(resume) = name.strip_prefix(RESUME) {
                offer.resume = Some(parse_resume(resume).ok_or(Unreadable));
            } else if !name.starts_with(RESERVED) {
                offer.adds(name);
            }
        }
        offer
    }

    /// One of the application's that it can do together with ours.
    fn adds_with(&mut self, name: &str) {
        if name.is_empty() || name.starts_with(RESERVED) || self.with.len() >= APPLICATION_MAX {
            return;
        }
        self.with.push(name.to_owned());
        self.adds(name);
    }

    fn adds(&mut self, name: &str) {
        if self.application.len() < APPLICATION_MAX && !self.application.iter().any(|known| known == name) {
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
    Some(Resume { token: Token::parse(token)?, last: number(last)? })
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
        let mut fields = std::str::from_utf8(text).ok()?.split(' ');
        match fields.next()? {
            "a" => Some(FromClient::Ack(number(fields.next()?)?)),
            "q" => Some(FromClient::Query),
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
                window_ms: number(fields.next()?)?,
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

fn watermarks<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Watermarks> {
    Some(Watermarks { received: number(fields.next()?)?, committed: number(fields.next()?)? })
}

/// Decimal digits without a sign or needless zeros, at most [`NUMBER_MAX`].
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|number| plain && *number <= NUMBER_MAX)
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
