//! What a request asks for (RFC 9112, 3.2), in the one form that routes and backends know.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::turns::RequestTurns;
use crate::http::hostname::is_authority;
use crate::net::stream::Stream;

/// Of absolute targets. What they say of TLS is not judged: whoever wrote them asked somebody in front.
const SCHEMES: [&str; 4] = ["http", "ws", "https", "wss"];

const FORM: &str = "the request's target must be a path, or a URL with http, https, ws or wss";
const AUTHORITY: &str = "the URL in the request line must name a host, and no user";

/// Brings a target into origin-form. The host of an absolute one takes the place of the Host header
/// (RFC 9112, 3.2.2): whoever judged the request by its line alone must not be told otherwise here.
///
/// # Errors
///
/// Why there is none: the sentence for the client.
pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    let uri = request.uri();
    let (authority, target) = match (uri.scheme_str(), uri.authority()) {
        (None, None) if uri.path().starts_with('/') => return Ok(()),
        (Some(scheme), Some(authority)) if SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            (host(authority).ok_or(AUTHORITY)?, uri.path_and_query().and_then(origin_form).ok_or(FORM)?)
        }
        _ => return Err(FORM),
    };
    *request.uri_mut() = target;
    request.headers_mut().insert(header::HOST, authority);
    Ok(())
}

/// An `http` URL without a host is none (RFC 9110, 4.2.1), and one with a user is a trap (4.2.4).
fn host(authority: &Authority) -> Option<HeaderValue> {
    let sound = !authority.host().is_empty() && is_authority(authority.as_str().as_bytes());
    HeaderValue::from_str(authority.as_str()).ok().filter(|_| sound)
}

/// `?query` right behind a host has an empty path, which is written `/` (RFC 9112, 3.2.1).
fn origin_form(target: &PathAndQuery) -> Option<Uri> {
    Uri::try_from(target.to_string()).ok()
}

/// A client's connection that looks at the request line before the parser does, which drops fragments.
pub(super) struct FirstLine<'a> {
    stream: Stream,
    /// What was read from it before, and is read once more.
    came: Bytes,
    place: LinePlace,
    /// Whether the line has a `#`: in a target it can begin nothing but a fragment, and no method of ours
    /// has one.
    fragment: &'a AtomicBool,
    /// When the next line comes.
    turns: &'a RequestTurns,
}

/// Where in the request the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinePlace {
    /// In front of the line: empty lines are passed over (RFC 9112, 2.2).
    Before,
    Within,
    Behind,
}

impl<'a> FirstLine<'a> {
    /// A connection from which `came` was read before.
    pub(super) fn new(
        stream: Stream,
        came: Bytes,
        fragment: &'a AtomicBool,
        turns: &'a RequestTurns,
    ) -> FirstLine<'a> {
        FirstLine { stream, came, place: LinePlace::Before, fragment, turns }
    }

    /// Returns the connection, and what of that is still to be read before it.
    pub(super) fn into_inner(self) -> (Stream, Bytes) {
        (self.stream, self.came)
    }

    fn see(&mut self, bytes: &[u8]) {
        if self.turns.came(bytes) {
            self.place = LinePlace::Before;
            self.fragment.store(false, Relaxed);
        }
        for byte in bytes {
            self.place = match (self.place, byte) {
                (LinePlace::Behind, _) => return,
                (LinePlace::Before, b'\r' | b'\n') => LinePlace::Before,
                (LinePlace::Within, b'\n') => LinePlace::Behind,
                (_, b'#') => {
                    self.fragment.store(true, Relaxed);
                    LinePlace::Within
                }
                _ => LinePlace::Within,
            };
        }
    }
}

impl AsyncRead for FirstLine<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let done = if self.came.is_empty() {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        } else {
            let length = self.came.len().min(buffer.remaining());
            buffer.put_slice(&self.came.split_to(length));
            Poll::Ready(Ok(()))
        };
        self.see(buffer.filled().get(before..).unwrap_or_default());
        done
    }
}

impl AsyncWrite for FirstLine<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::*;
    use crate::net::address::Address;
    use crate::net::places::Places;

    const LONG: Duration = Duration::from_secs(60);

    fn settled(target: &str) -> Result<(String, String), &'static str> {
        let uri = Uri::try_from(target).expect("what the parser lets in");
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("a.test"));
        settle(&mut request)?;
        let host = request.headers()[header::HOST].to_str().expect("text").to_owned();
        Ok((host, request.uri().path_and_query().expect("a path").as_str().to_owned()))
    }

    #[test]
    fn a_path_stays_and_leaves_the_host_alone() {
        for target in ["/", "/chat?room=7", "//x/y", "/http://b.test/", "/?", "/*", "/%23", "/a:b@c"] {
            assert_eq!(settled(target), Ok(("a.test".to_owned(), target.to_owned())));
        }
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        for (target, host, path) in [
            ("http://b.test/x", "b.test", "/x"),
            ("http://b.test", "b.test", "/"),
            ("http://b.test:8080/", "b.test:8080", "/"),
            ("HTTP://B.test/x?y=http://c.test", "B.test", "/x?y=http://c.test"),
            ("ws://b.test//x", "b.test", "//x"),
            ("wss://[::1]:7/x", "[::1]:7", "/x"),
            ("https://b.test?x=1", "b.test", "/?x=1"),
            ("http://b.test?", "b.test", "/?"),
            ("http://b.test?/x//y", "b.test", "/?/x//y"),
        ] {
            assert_eq!(settled(target), Ok((host.to_owned(), path.to_owned())), "{target}");
        }
    }

    #[test]
    fn other_forms_are_none_of_ours() {
        for target in ["*", "h", "h:80", "h.test:443", "ftp://b.test/x", "foo://b.test"] {
            assert_eq!(settled(target), Err(FORM), "{target}");
        }
        for target in ["http://u@b.test/", "http://u:p@b.test/", "http://:80/", "http://b.test:x/"] {
            if Uri::try_from(target).is_ok() {
                assert_eq!(settled(target), Err(AUTHORITY), "{target}");
            }
        }
        assert!(Uri::try_from("http://u@b.test/").is_ok(), "the parser leaves users to us");
    }

    #[tokio::test]
    async fn a_fragment_is_seen_in_the_line_and_nowhere_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        for (request, expected) in [
            (&b"GET /a#b?c=d HTTP/1.1\r\nHost: x\r\n\r\n"[..], true),
            (b"\r\n\r\nGET /# HTTP/1.1\r\n\r\n", true),
            (b"GET http://h#f HTTP/1.1\n\n", true),
            (b"GET /a%23b HTTP/1.1\r\nX: #\r\n\r\n# behind", false),
            (b"\nGET / HTTP/1.1\nX: #\n\n", false),
        ] {
            // Whole, and byte by byte.
            for size in [request.len(), 1] {
                let address = listener.local_addr().expect("it is bound");
                let stream = TcpStream::connect(address).await.expect("it listens");
                let fragment = AtomicBool::new(false);
                let place = Places::new(1).take(Address::of([127, 0, 0, 1].into()), || ()).await;
                let turns = RequestTurns::new(place.expect("it is free"), Instant::now(), LONG, LONG);
                let mut line = FirstLine::new(stream.into(), Bytes::new(), &fragment, &turns);
                request.chunks(size).for_each(|bytes| line.see(bytes));
                assert_eq!(fragment.load(Relaxed), expected, "{}", request.escape_ascii());
            }
        }
    }
}
