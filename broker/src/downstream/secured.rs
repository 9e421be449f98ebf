//! TLS with a client, before its first request.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use rustls::{HandshakeKind, ServerConfig};
use tokio::time::{Instant, timeout_at};

use super::connection::{ClientConnection, FailedRequest};
use super::keep_alive::NOT_PLAIN;
use super::response::plain;
use crate::http::client_cert;
use crate::metric::{self, TlsWord};
use crate::net::stream::Stream;

impl ClientConnection {
    /// Does the handshake of TLS, and waits for what is said inside. All of it must be there by `until`.
    pub(super) async fn secured(
        &self,
        (mut stream, tls): (Stream, Arc<ServerConfig>),
        until: Instant,
    ) -> Result<Stream, FailedRequest> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            // Nothing was begun, and it ends as a plain one does.
            Ok(0) => return Ok(stream),
            Err(_) if self.is_own => return Ok(stream),
            came => came?,
        };
        if first[0].is_ascii_alphabetic() {
            metric::TLS_HANDSHAKES.count(TlsWord::Plain);
            // A request, and no handshake, which begins with a number. It is answered as it was asked.
            let refusal = Some(plain(StatusCode::BAD_REQUEST, NOT_PLAIN));
            let answered = self.converse_by_hyper((stream, Bytes::new()), refusal, until).await?;
            return Err(FailedRequest { why: NOT_PLAIN.to_owned(), told: Some(answered.stream) });
        }
        let handshake = timeout_at(until, stream.accept_tls(tls)).await;
        let handshake = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut stream = handshake.map_err(|error| {
            metric::TLS_HANDSHAKES.count(TlsWord::Failed);
            FailedRequest { why: format!("no TLS: {error}"), told: None }
        })?;
        if let Some(agreed) = stream.tls() {
            let resumed = agreed.handshake_kind() == Some(HandshakeKind::Resumed);
            metric::TLS_HANDSHAKES.count(if resumed { TlsWord::Resumed } else { TlsWord::Full });
            let shown = agreed.peer_certificates().and_then(|chain| chain.first());
            let _ = self.secured.set(shown.and_then(|leaf| client_cert::value(leaf)));
        }
        match timeout_at(until, stream.readable()).await {
            Ok(Err(error)) if !self.is_own => Err(error.into()),
            Ok(_) => Ok(stream),
            Err(_) => Err(FailedRequest { why: "it said nothing".to_owned(), told: None }),
        }
    }
}
