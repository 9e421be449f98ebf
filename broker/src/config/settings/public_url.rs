//! Where clients reach a backend by themselves.

/// The address of a backend as clients know it: a host, perhaps a port, and perhaps a path in front of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublicUrl {
    /// It is spoken to over TLS.
    pub tls: bool,
    /// It was written as `ws` or `wss`, and not as `http` or `https`.
    pub websocket: bool,
    /// All that stands behind `://`, without a `/` at its end.
    pub place: String,
}

impl PublicUrl {
    /// The same place with this path and query, as `ws` or `wss` if `websocket`, else as `http` or `https`.
    pub(crate) fn with(&self, websocket: bool, path_and_query: &str) -> String {
        let scheme = match (websocket, self.tls) {
            (true, true) => "wss",
            (true, false) => "ws",
            (false, true) => "https",
            (false, false) => "http",
        };
        format!("{scheme}://{}{path_and_query}", self.place)
    }
}
