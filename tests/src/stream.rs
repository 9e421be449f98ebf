//! A connection of any kind: TCP, a file's, with TLS inside or without.

use std::fmt::Debug;
use std::os::fd::AsFd;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite};

/// What is read and written.
pub trait Duplex: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Duplex for T {}

/// A connection whose kind does not matter.
pub type Stream = Box<dyn Duplex>;

/// The same socket, for its options.
pub fn socket_of(stream: &impl AsFd) -> Socket {
    SockRef::from(stream).try_clone().expect("a descriptor can be copied")
}
