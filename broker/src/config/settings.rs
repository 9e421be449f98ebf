//! The complete configuration: every value present and checked. What a person writes is in
//! `config/raw.rs`; nothing else of the broker sees that form.

mod profile;
mod public_url;
mod requests;
mod route;
mod sticky;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::header::HeaderName;
use ipnet::IpNet;
use steadfast_protocol::websocket::close_code::CloseCode;

use super::place::{ConfigPlace, NamedFile};
use super::token::AdminToken;
pub use sticky::{
    CookieSecure, LearnFrom, SameSite, StickyCookie, StickyDraining, StickyLearning, StickyMode,
    StickySettings,
};

pub use crate::http::forwarding::ForwardedForm;
pub use crate::http::header_case::HeaderCase;
pub use crate::http::header_rules::HeaderRules;
pub use crate::net::listener::ListenAddress;
pub use profile::{Ack, ProfileChoice, ProfileInForce, ProfileMatch, ProfileSettings};
pub use public_url::PublicUrl;
pub use requests::{HttpSettings, Reuse};
pub use route::{
    HeaderMatch, HostPattern, PathMatch, QueryMatch, RedirectSettings, Route, RouteKind, ValueMatch,
};
pub use steadfast_proxy_protocol::SendProxy;

/// Everything the broker needs to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect. At least one.
    pub listeners: Vec<ListenerSettings>,
    /// Which requests go to which pool; the first that matches wins.
    pub routes: Vec<Route>,
    /// Who may come in, whatever the route.
    pub access: AccessSettings,
    /// Profiles that the file has written itself. Names are unique, and those of no built-in one.
    pub profiles: Vec<ProfileSettings>,
    /// Where sessions go. At least one; names are unique.
    pub pools: Vec<PoolSettings>,
    /// Where operators come in, and what they must show.
    pub admin: AdminSettings,
    /// Worker threads, at least one.
    pub workers: usize,
    /// What is logged, and how.
    pub log: Log,
    /// Counts and sizes that bound memory and descriptors.
    pub limits: LimitSettings,
    /// How long single steps may take.
    pub timeouts: Timeouts,
    /// How a session leaves a failed backend.
    pub failover: FailoverSettings,
    /// How many sessions may move at once.
    pub herd: Herd,
    /// When a message is held to be the killer of its backends.
    pub poison: Poison,
    /// The codes the broker closes clients with.
    pub close_codes: CloseCodes,
    /// How the broker ends.
    pub shutdown: Shutdown,
    /// How sessions are moved off a backend that still works.
    pub drain: DrainSettings,
    /// How backends are found by name.
    pub dns: Dns,
    /// When the file is read again.
    pub reload: Reload,
}

/// One address on which clients connect.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// The address to bind; port 0 lets the system choose.
    pub address: ListenAddress,
    /// Who may use the file of a Unix domain socket.
    pub file: FileAccess,
    /// The name of the pool for requests that no route matches; `None`: they get 404.
    pub pool: Option<String>,
    /// How the names of headers are spelled toward clients.
    pub header_case: HeaderCase,
    /// The proxies in front of it, whose word is taken for who a client is; empty: nobody's.
    pub trusted: Vec<IpNet>,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// The path at which balancers are told whether it takes clients; `None`: they are not.
    pub health: Option<String>,
    /// How it speaks TLS; `None`: it speaks plainly.
    pub tls: Option<ListenerTls>,
    /// Whether requests for pages are sent to `https`. Only of a listener that speaks plainly.
    pub redirect_to_https: bool,
}

/// To whom the file of a Unix domain socket belongs, and who may connect to it (unix(7)). `None`: as the process makes files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileAccess {
    /// Its permissions, such as `0o660`.
    pub mode: Option<u32>,
    /// The id of its user.
    pub user: Option<u32>,
    /// The id of its group.
    pub group: Option<u32>,
}

/// Whether connections begin with a PROXY header. It is never guessed: a client could send one as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None does.
    Off,
    /// Each does, of either version, and comes from a trusted network.
    Required,
}

/// How a listener speaks TLS.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    /// The oldest version that it speaks.
    pub min_version: TlsVersion,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Who may have signed those; present unless `client_auth` is off.
    pub client_ca: Option<NamedFile>,
    /// The keys of its tickets, shared with other brokers; `None`: keys of this process.
    pub tickets: Option<NamedFile>,
    /// Whether a client that names no host of a certificate is refused.
    pub strict_sni: bool,
    /// What it shows to clients. At least one; the first is for those that fit none.
    pub certificates: Vec<CertificateFiles>,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, and those between it and the root, in PEM.
    pub cert: NamedFile,
    /// Its private key, in PEM.
    pub key: NamedFile,
    /// An OCSP response for it (RFC 6960), in DER.
    pub ocsp: Option<NamedFile>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    Off,
    /// They are asked, and may have none; a wrong one is refused.
    Optional,
    /// Who has none is refused.
    Required,
}

/// The listener for operators.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// The address to bind; `None` switches it off.
    pub address: Option<SocketAddr>,
    /// What each request to the API must show; `None`: the API is for this machine alone.
    pub token: Option<AdminToken>,
}

/// Who may come in. An address is an IPv4 address or a /64 network of IPv6.
#[derive(Debug, Clone, Default)]
pub struct AccessSettings {
    /// Only from these networks; empty: from all.
    pub allow: Vec<IpNet>,
    /// Not from these; they win over `allow`.
    pub deny: Vec<IpNet>,
    /// Only with one of these in `Origin`; empty: with any, and without one.
    pub origins: Vec<OriginPattern>,
    /// Upgrades per second and address; `None`: no limit.
    pub upgrades_per_second: Option<u32>,
    /// Upgrades of an address at once, when it was quiet before.
    pub upgrades_burst: u32,
    /// Sessions of one address at once; `None`: no limit.
    pub sessions_per_address: Option<u32>,
}

/// An origin as a rule names it (RFC 6454, 6.2), in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OriginPattern {
    /// `https://example.com` or `https://example.com:8443`
    Exact(String),
    /// `https://*.example.com`: scheme `https`, suffix `.example.com`, with the port if one is written.
    Below {
        /// `https`
        scheme: String,
        /// `.example.com` or `.example.com:8443`
        suffix: String,
    },
}

/// A named set of backends.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Unique among pools.
    pub name: String,
    /// How the broker learns that a backend has a message.
    pub ack: Ack,
    /// How long a message stays in the ring after its pong. Zero: it leaves with the pong.
    pub ack_hold: Duration,
    /// How long a backend may owe a sign of life, and give none to anybody, before it counts as failed.
    pub ack_timeout: Duration,
    /// How long one that lives may owe it to a session. Zero: for ever.
    pub stall_timeout: Duration,
    /// Whether several processes answer at one address, so that the life of one says nothing of another.
    pub shared_address: bool,
    /// Whether a backend of which nobody hears anything is asked for a sign of life.
    pub probe: bool,
    /// Bytes of the state that a service which links the shim may leave with a commit.
    pub capsule: usize,
    /// Whether a session outlives its backend.
    pub on_failure: OnFailure,
    /// What is known of the protocol that its clients speak.
    pub profile: ProfileChoice,
    /// How long a message may wait for its answer and still be said again to the next backend.
    pub reply_timeout: Duration,
    /// How long a backend may take to let a session in, without a step forward.
    pub prologue_timeout: Duration,
    /// Bytes of what one session keeps to say it again.
    pub profile_records: usize,
    /// The codes its clients are closed with, where they are others than the broker's.
    pub close_codes: PoolCloseCodes,
    /// How long a client that is to reconnect is kept for a backend to have room for it.
    pub auto_wait: Duration,
    /// How long a session is kept for a client that can come back. Zero: not at all.
    pub resume_window: Duration,
    /// Whether a client that does not link the shim may come back too.
    pub plain_resume: bool,
    /// How a backend is chosen for a session.
    pub balance: Balance,
    /// How clients come back to the backend that they were at; `None`: they do not.
    pub sticky: Option<StickySettings>,
    /// Sessions that wait for a place when every backend is full.
    pub queue: QueueSettings,
    /// How long a backend that has recovered takes to get its whole share. Zero: none.
    pub slow_start: Duration,
    /// Addresses of this machine from which backends are dialled, in turn; empty: the system's choice.
    pub sources: Vec<IpAddr>,
    /// How the names of headers are spelled toward backends.
    pub header_case: HeaderCase,
    /// In which form backends are told for whom a request is.
    pub forwarded: ForwardedForm,
    /// Whether connections to backends begin with a PROXY header.
    pub send_proxy: SendProxy,
    /// How requests that are no WebSocket upgrades are passed on.
    pub http: HttpSettings,
    /// How TLS is spoken to its backends; `None`: none of them speaks it.
    pub tls: Option<PoolTlsSettings>,
    /// How backends are probed; `None`: they are not.
    pub health: Option<Health>,
    /// How backends tell their own score; `None`: they are not asked.
    pub agent: Option<Agent>,
    /// When a backend is ejected for what happens to its sessions.
    pub outlier: Outlier,
    /// Names under which more backends are found.
    pub discoveries: Vec<Discovery>,
    /// A planned move dials the next backend first of all; else only when the session is ready to go there.
    pub dial_ahead: bool,
    /// A planned move closes the old backend before it dials the next, for services that must not see
    /// one client twice.
    pub break_before_make: bool,
    /// When the pool's sessions are spread anew without being asked; `None`: never.
    pub rebalance: Option<RebalanceSettings>,
    /// Names are unique in the pool. One at least, unless something is discovered.
    pub backends: Vec<BackendSettings>,
}

/// How TLS is spoken to the backends of a pool.
#[derive(Debug, Clone)]
pub struct PoolTlsSettings {
    /// Its table, or what has made it necessary.
    pub place: ConfigPlace,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Who may have signed their certificates; `None`: whom the system trusts.
    pub ca: Option<NamedFile>,
    /// The name, or address, that their certificates must have; `None`: the host of each one's URL.
    pub server_name: Option<String>,
    /// Whether their certificates are looked at at all.
    pub verify: bool,
    /// What the broker shows to them.
    pub client: Option<CertificateFiles>,
}

/// When a pool's sessions are spread anew without being asked. Shares are judged by what a backend's
/// weight gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebalanceSettings {
    /// A backend that is off its share by more than this begins it, in percent of the share.
    pub start: u32,
    /// It ends when none is off by more than this, in percent; less than `start`.
    pub tolerance: u32,
    /// From one look to the next. Two in a row must find the pool out of balance.
    pub interval: Duration,
}

impl RebalanceSettings {
    /// What `tolerance` may be, and what it is unless somebody says so; the same of one that the API is asked for.
    pub const TOLERANCE: RangeInclusive<u32> = 0..=10_000;
    /// See [`RebalanceSettings::TOLERANCE`].
    pub const TOLERANCE_DEFAULT: u32 = 10;
}

/// How a backend is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest sessions for its weight.
    LeastSessions,
    /// Each in turn, by weight.
    RoundRobin,
    /// The less busy of two that chance has chosen.
    PowerOfTwo,
    /// Chance alone, by weight.
    Random,
    /// By the client's address, so that it comes to the same one again.
    Source,
    /// By something in the request, so that its like comes to the same one.
    Hash(HashKey),
}

impl Balance {
    /// The word for it in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Balance::LeastSessions => "least_sessions",
            Balance::RoundRobin => "round_robin",
            Balance::PowerOfTwo => "power_of_two",
            Balance::Random => "random",
            Balance::Source => "source",
            Balance::Hash(_) => "hash",
        }
    }
}

/// What a request is hashed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The first value of a header.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// A query parameter's value.
    Query(String),
    /// A segment of the path, counted from 1.
    Path(usize),
}

/// Who waits for a place.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// New sessions that wait at once; zero: none waits.
    pub max: usize,
    /// How long one waits.
    pub timeout: Duration,
}

/// How backends are probed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Health {
    /// What is done.
    pub check: Check,
    /// The port to probe; `None`: the backend's own.
    pub port: Option<u16>,
    /// From one probe to the next.
    pub interval: Duration,
    /// Each interval is longer by a random part of this.
    pub jitter: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Good probes in a row after which a backend that was down is up.
    pub rise: u32,
    /// Bad probes in a row after which a backend that was up is down.
    pub fall: u32,
}

/// One kind of probe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Check {
    /// A connection.
    Tcp,
    /// A request and the status of its answer.
    Http {
        /// `GET`, `HEAD` or another.
        method: String,
        /// With the query, if any.
        path: String,
        /// The Host header; `None`: the backend's host and port.
        host: Option<String>,
        /// Statuses that are good.
        expect: Vec<RangeInclusive<u16>>,
    },
    /// An upgrade, a ping, its pong, and a Close.
    WebSocket {
        /// With the query, if any.
        path: String,
        /// The Host header; `None`: the backend's host and port.
        host: Option<String>,
        /// Says that it comes from a broker, since the pool's services link the shim and take nobody
        /// else.
        shim: bool,
    },
}

/// How backends tell their own score.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    /// What is requested with GET.
    pub path: String,
    /// The port; `None`: the backend's own.
    pub port: Option<u16>,
    /// From one request to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
}

/// When a backend is ejected for what happens to its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlier {
    /// Failures in a row, of dials and early deaths, that eject it; zero: never.
    pub failures: u32,
    /// A session that fails so soon after it was linked is an early death.
    pub early_death: Duration,
    /// The first ejection lasts so long. Each further one in a row twice as long as the one before.
    pub ejection_min: Duration,
    /// No ejection lasts longer.
    pub ejection_max: Duration,
    /// At most this part of a pool's backends is ejected at once, in percent.
    pub max_ejected: u32,
}

/// A name under which backends are found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Discovery {
    /// What is asked for.
    pub query: Query,
    /// Whether TLS is spoken to what is found.
    pub tls: bool,
    /// Of each backend that is found, 0 to [`WEIGHT_MAX`]; SRV records' own weights win.
    pub weight: u32,
    /// Of each backend that is found.
    pub max_sessions: Option<usize>,
    /// Whether what is found stands in only when no other is up. Of SRV records, those with another
    /// priority than the lowest are backups in any case.
    pub backup: bool,
}

/// What is asked of the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Query {
    /// The addresses of a name; each is a backend.
    Address {
        /// The name.
        host: String,
        /// Every backend's port.
        port: u16,
    },
    /// The SRV records of a name (RFC 2782); each address of each target is a backend.
    Srv {
        /// Such as `_ws._tcp.chat.internal`.
        name: String,
    },
}

/// The largest weight of a backend, whoever says it: the file, the API, its agent or its SRV record. As HAProxy has
/// it, so that weights can be taken over.
pub const WEIGHT_MAX: u32 = 256;

/// One service behind the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSettings {
    /// Unique in its pool; `host:port` unless the file names it.
    pub name: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken to it.
    pub tls: bool,
    /// Its share beside the others', 0 to [`WEIGHT_MAX`]; zero: it gets no session.
    pub weight: u32,
    /// It stands in only when no other is up.
    pub backup: bool,
    /// Sessions at once; `None`: no limit of its own.
    pub max_sessions: Option<usize>,
    /// Where clients reach it by themselves, if they are told.
    pub public_url: Option<PublicUrl>,
}

/// What happens to a session when its backend fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is moved to another backend, unless its client speaks a protocol whose conversation ends with the
    /// backend: such a client is closed, and reconnects.
    Auto,
    /// It is moved to another backend.
    Failover,
    /// It is closed, and the client reconnects.
    Close,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// Text for people, JSON for machines.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `steadfast=debug`.
    pub level: String,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// Counts and sizes that bound memory and descriptors.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// Sessions at once; `None` computes it from the descriptors.
    pub max_sessions: Option<usize>,
    /// Connections at once whose upgrade request has not come yet; `None` computes it from the descriptors.
    pub max_handshakes: Option<usize>,
    /// Bytes of one message, all fragments, as they are on the wire.
    pub message: usize,
    /// Bytes of one session's unacknowledged messages. At least `message`.
    pub ring: usize,
    /// Bytes that all sessions together may hold; `None` computes it from the memory.
    pub buffers: Option<usize>,
    /// Bytes of a client's request line and headers, and of a backend's answer.
    pub header: usize,
    /// Lines of headers in either.
    pub header_lines: usize,
}

/// How long single steps may take.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From accept until the client's upgrade request is complete.
    pub handshake: Duration,
    /// A TCP connection to a backend.
    pub connect: Duration,
    /// A backend's answer to the upgrade, after the connection.
    pub upgrade: Duration,
    /// From our Close to the peer's.
    pub close: Duration,
    /// A client that reads nothing while data for it waits.
    pub client_stall: Duration,
    /// One message from its first byte to its last.
    pub message: Duration,
    /// Silence after which a peer is pinged. Zero switches keepalive off.
    pub keepalive: Duration,
    /// A client that owes a pong for this long is gone.
    pub client_pong: Duration,
    /// How long a client's connection may wait for its next request.
    pub http_idle: Duration,
}

/// How a session leaves a failed backend.
#[derive(Debug, Clone)]
pub struct FailoverSettings {
    /// How long nothing may move after a failure until the session is stable again.
    pub deadline: Duration,
    /// From the first failure until the session is stable again, whatever moves.
    pub longest: Duration,
    /// How long a new backend must last before the failover counts as over.
    pub stable: Duration,
    /// The shortest wait before a redial that follows a failed one.
    pub backoff_min: Duration,
    /// The longest.
    pub backoff_max: Duration,
    /// A backend's Close with one of these codes is its failure, not the application's decision.
    pub close_codes: Vec<CloseCode>,
    /// How long a backend that failed is tried last. Doubles with each failure in a row.
    pub penalty_min: Duration,
    /// The longest penalty.
    pub penalty_max: Duration,
}

/// How many sessions may move at once.
#[derive(Debug, Clone)]
pub struct Herd {
    /// Dials in flight to one backend.
    pub dials_per_backend: usize,
    /// Dials in flight in all.
    pub dials: usize,
    /// Each session of a herd waits a random part of this before it dials.
    pub jitter: Duration,
    /// Planned moves under way in all, each with one connection more than its session has otherwise.
    pub moves: usize,
}

/// When a message is held to be the killer of its backends.
#[derive(Debug, Clone)]
pub struct Poison {
    /// Deaths count together when they are this close.
    pub window: Duration,
    /// Deaths with suspects in the window after which a session replays one message at a time.
    pub deaths: u32,
    /// Deaths with one message alone in flight after which its session ends.
    pub convictions: u32,
}

/// The codes the broker closes clients with.
#[derive(Debug, Clone, Copy)]
pub struct CloseCodes {
    /// `failover.deadline` has passed.
    pub deadline: CloseCode,
    /// `failover.longest` has passed.
    pub longest: CloseCode,
    /// The client takes nothing of what waits for it, or misses a pong.
    pub slow_client: CloseCode,
    /// Every backend has refused the session.
    pub refused: CloseCode,
    /// A poison message.
    pub poison: CloseCode,
    /// The backend failed and `on_failure` is `close`.
    pub on_failure: CloseCode,
    /// The client is to reconnect, since its conversation ends with its backend.
    pub reconnect: CloseCode,
    /// The broker ends.
    pub shutdown: CloseCode,
    /// A message took longer than `timeouts.message`.
    pub slow_message: CloseCode,
}

/// A pool's own codes; `None`: the broker's.
#[derive(Debug, Clone, Copy, Default)]
pub struct PoolCloseCodes {
    /// As in [`CloseCodes`], and so are the others.
    pub deadline: Option<CloseCode>,
    /// See there.
    pub longest: Option<CloseCode>,
    /// See there.
    pub slow_client: Option<CloseCode>,
    /// See there.
    pub refused: Option<CloseCode>,
    /// See there.
    pub poison: Option<CloseCode>,
    /// See there.
    pub on_failure: Option<CloseCode>,
    /// See there.
    pub reconnect: Option<CloseCode>,
    /// See there.
    pub shutdown: Option<CloseCode>,
    /// See there.
    pub slow_message: Option<CloseCode>,
}

impl PoolCloseCodes {
    /// These, and the broker's where there are none.
    pub fn or(self, broker: CloseCodes) -> CloseCodes {
        CloseCodes {
            deadline: self.deadline.unwrap_or(broker.deadline),
            longest: self.longest.unwrap_or(broker.longest),
            slow_client: self.slow_client.unwrap_or(broker.slow_client),
            refused: self.refused.unwrap_or(broker.refused),
            poison: self.poison.unwrap_or(broker.poison),
            on_failure: self.on_failure.unwrap_or(broker.on_failure),
            reconnect: self.reconnect.unwrap_or(broker.reconnect),
            shutdown: self.shutdown.unwrap_or(broker.shutdown),
            slow_message: self.slow_message.unwrap_or(broker.slow_message),
        }
    }
}

/// How the broker ends.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// How long it accepts sessions after SIGTERM, so that balancers see `/readyz` first.
    pub delay: Duration,
    /// How long sessions may go on after that.
    pub grace: Duration,
}

/// How sessions are moved off a backend that still works.
#[derive(Debug, Clone)]
pub struct DrainSettings {
    /// A session is moved when nothing has passed for so long, either way. One whose backend has been
    /// slower to answer waits longer.
    pub quiet: Duration,
    /// The longest that such a one waits.
    pub quiet_max: Duration,
    /// How long a quiet moment is waited for while everything flows; then the client's messages are
    /// held until one comes.
    pub patience: Duration,
    /// How long they are held at the most. A session that is not quiet then stays.
    pub hold: Duration,
    /// A session that cannot leave a backend that is down is moved after this, as in a failover.
    pub deadline: Duration,
    /// Sessions that an operation moves per second, unless it is told otherwise.
    pub rate: u32,
    /// Sessions that an operation moves at once, unless it is told otherwise.
    pub concurrency: usize,
    /// Moves that became failovers, or ended their session, after which an operation stops, unless it
    /// is told otherwise.
    pub errors: usize,
    /// How long an operation may take, unless it is told otherwise.
    pub time_limit: Duration,
    /// How long a backend without sessions counts as asking for a drain after it has asked last in a
    /// session's connection.
    pub ask_timeout: Duration,
    /// How long requests may go on that a drained backend is answering.
    pub requests: Duration,
}

/// What may be asked for of an operation, by the file and by the API.
impl DrainSettings {
    /// Of `rate`: sessions per second.
    pub const RATE: RangeInclusive<u32> = 1..=1_000_000;
    /// Of `concurrency`.
    pub const CONCURRENCY: RangeInclusive<usize> = 1..=1_000_000;
    /// Of `errors`.
    pub const ERRORS: RangeInclusive<usize> = 0..=1_000_000;
    /// Of `time_limit`.
    pub const TIME_LIMIT: RangeInclusive<Duration> =
        Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
}

/// How backends are found by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dns {
    /// Who is asked; empty: the system's resolvers.
    pub servers: Vec<SocketAddr>,
    /// How long a query may take, all tries together.
    pub timeout: Duration,
    /// Answers are asked for again after their TTL, but not sooner than this.
    pub ttl_min: Duration,
    /// And not later than this.
    pub ttl_max: Duration,
    /// A name that has vanished keeps its last backends for so long.
    pub hold: Duration,
}

/// When the file is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// How often the file is looked at for a change; zero: only SIGHUP reloads it.
    pub watch: Duration,
}
