//! Where a client connects to, and how.

use http::HeaderMap;
use steadfast_protocol::steadfast_v1::client::Config;

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Options {
    /// URLs of brokers, `ws:` or `wss:`. A session lives in one broker: while there is one, that broker is
    /// tried three times before the others, which do not know it.
    pub urls: Vec<String>,
    /// Headers of each handshake, such as cookies; those of the WebSocket itself are not to be among them.
    pub headers: HeaderMap,
    /// What the machine is told: subprotocols, limits, waits.
    pub config: Config,
    /// Bytes of events that wait to be taken, from which on the connection is not read.
    pub inbox: usize,
    /// How `wss:` is done; `None`: with the system's trust store.
    #[cfg(feature = "tls")]
    pub tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Options {
    /// The defaults, with these URLs.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Options {
        Options {
            urls: urls.into_iter().map(Into::into).collect(),
            headers: HeaderMap::new(),
            config: Config::default(),
            inbox: 1024 * 1024,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// Options that make no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadOptions {
    /// There is no URL.
    NoUrl,
    /// A URL cannot be read, or is neither `ws:` nor `wss:`.
    Url(String),
    /// A `wss:` URL without the feature `tls`.
    NoTls(String),
    /// The system's trust store cannot be read.
    TrustStore(String),
    /// A subprotocol's name is not a token (RFC 6455, 4.1), or begins with `steadfast.`.
    Protocol(String),
}

impl std::fmt::Display for BadOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadOptions::NoUrl => f.write_str("there is no URL to connect to"),
            BadOptions::Url(url) => write!(f, "{url:?} is no URL of the form ws://HOST/PATH"),
            BadOptions::NoTls(url) => write!(f, "{url:?} needs the feature \"tls\" of steadfast-shim"),
            BadOptions::TrustStore(why) => write!(f, "the system's trust store cannot be read: {why}"),
            BadOptions::Protocol(name) => write!(f, "{name:?} cannot be the name of a subprotocol"),
        }
    }
}

impl std::error::Error for BadOptions {}
