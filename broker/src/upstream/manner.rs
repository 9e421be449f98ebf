//! HTTP/1.1 toward backends. Sessions, checks and agents speak it alike: what serves the one must not be a
//! failure to the other.

use std::error::Error;
use std::io;

use hyper::body::Body;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use steadfast_proxy_protocol::SendProxy;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::config::settings::HeaderCase;
use crate::http::header_case::Spelled;
use crate::net::stream::Stream;

/// The least that hyper takes as the bound of its buffer.
const BUFFER_MIN: usize = 8192;

/// Bytes of an answer's body that are read at once, where so many are there. Each piece takes a turn of two tasks and two
/// system calls, so larger ones cost less processor time; but a client that is slow to take them holds four of them.
const BODY_READ: usize = 32 * 1024;

/// Why an answer was not read that is too large for us: nothing speaks against the backend.
pub(super) const OVER_LIMIT: &str =
    "its answer has more or longer headers than limits.header_lines and limits.header allow; raise them";

/// A connection to a backend, as hyper has it.
type UpstreamWire<S> = TokioIo<Spelled<S>>;

/// How a pool's backends are spoken to, and what of their answers is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// How the names of our headers are spelled.
    pub(super) case: HeaderCase,
    /// Bytes of an answer's status line and headers.
    pub(super) header: usize,
    /// Lines of its headers.
    pub(super) header_lines: usize,
    /// What is said in front of all else.
    pub(super) proxy: SendProxy,
}

impl Manner {
    /// Returns how many bytes of an answer's status line and headers are read.
    pub(super) fn header_max(self) -> usize {
        self.header.max(BUFFER_MIN)
    }

    /// Says in front of all else that a connection is the broker's own, if anything is said there.
    ///
    /// # Errors
    /// Those of send(2).
    pub(super) async fn introduce_own(self, stream: &mut Stream) -> io::Result<()> {
        stream.write_all(&self.proxy.of_own()).await
    }

    /// Makes a connection ready for one request.
    pub(super) async fn handshake<S, B>(
        self,
        stream: S,
    ) -> hyper::Result<(SendRequest<B>, Connection<UpstreamWire<S>, B>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        B: Body + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.builder().handshake(TokioIo::new(Spelled::new(stream, self.case))).await
    }

    /// How connections are made that serve one request after another.
    pub(super) fn keep_alive(self) -> Builder {
        let mut builder = self.builder();
        builder
            .title_case_headers(self.case == HeaderCase::Title)
            .max_header_size(self.header_max())
            .max_buf_size(self.header_max().max(BODY_READ));
        builder
    }

    fn builder(self) -> Builder {
        let mut builder = Builder::new();
        builder
            // RFC 9112, 5.1 and 5.2: a space in front of the colon is taken out, a folded line is put together.
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_headers(self.header_lines)
            .max_buf_size(self.header_max());
        builder
    }
}
