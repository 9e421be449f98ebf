//! A connection that is TCP alone or has TLS on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::Target;
use crate::tls::{Agreed, NAME};

/// rustls asks for 4 KiB at a time, which would be a system call each.
const READ_BYTES: usize = 32 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
}

impl Stream {
    /// Does a client's handshake, if the target has TLS.
    pub(super) async fn connect(stream: TcpStream, target: &Target) -> io::Result<Self> {
        let Some(config) = &target.config else { return Ok(Self::Plain(stream)) };
        let name = NAME.try_into().map_err(io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let tls = connector.connect(name, BufReader::with_capacity(READ_BYTES, stream)).await?;
        Ok(Self::Tls(Box::new(tls.into())))
    }

    /// Does a server's.
    pub(super) async fn accept(stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<Self> {
        let tls = acceptor.accept(BufReader::with_capacity(READ_BYTES, stream)).await?;
        Ok(Self::Tls(Box::new(tls.into())))
    }

    /// What was agreed, if it has TLS.
    pub(super) fn agreed(&self) -> Option<Agreed> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(Agreed::of(tls.get_ref().1)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
