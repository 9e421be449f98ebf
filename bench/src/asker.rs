//! A client that asks over HTTP/1.1, and checks what it is answered: on one connection, or on one for each request.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use crate::link::{Link, Target};
use crate::wire::http::{Answer, HttpError, Reader, Shape};

/// From an answer to the end of a connection that was to be closed.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// One client.
#[derive(Debug)]
pub(crate) struct Asker {
    target: Target,
    shape: Shape,
    request: Rc<[u8]>,
    /// The connection that is kept.
    link: Option<Link>,
    /// Requests that were answered.
    answered: u64,
}

impl Asker {
    /// Connects when it asks.
    pub(crate) fn new(target: Target, shape: Shape) -> Self {
        let request = shape.request(target.address()).into();
        Self { target, shape, request, link: None, answered: 0 }
    }

    /// Asks, and waits for the whole answer, and for the end of a connection that is not to be kept.
    pub(crate) async fn ask(&mut self) -> io::Result<()> {
        let asked = self.exchange().await;
        let place = |error: io::Error| {
            let (kind, after) = (error.kind(), self.answered);
            io::Error::new(kind, format!("after {after} requests of this client: {error}"))
        };
        asked.map_err(place)?;
        self.answered += 1;
        Ok(())
    }

    async fn exchange(&mut self) -> io::Result<()> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => Link::connect(&self.target).await?,
        };
        link.queued().extend_from_slice(&self.request);
        let answer = answer(&mut link).await?;
        if answer.length != self.shape.answer {
            let (length, asked) = (answer.length, self.shape.answer);
            return Err(io::Error::other(format!("{length} bytes came where {asked} were asked for")));
        }
        if self.shape.close {
            return timeout(CLOSE_TIME_MAX, end(link)).await.map_err(|_| {
                io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the connection was to be closed, and is open after 5 s",
                )
            })?;
        }
        if answer.close {
            return Err(io::Error::other("the peer closes a connection that was to be kept"));
        }
        self.link = Some(link);
        Ok(())
    }
}

/// The one answer that is outstanding.
async fn answer(link: &mut Link) -> io::Result<Answer> {
    let mut reader = Reader::answers();
    loop {
        let read = link.exchange(|bytes, _| alone(&mut reader, bytes)).await?;
        let ended = || {
            io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the peer ended the connection, and has not answered",
            )
        };
        if let Some(answer) = read.ok_or_else(ended)?? {
            return Ok(answer);
        }
    }
}

/// The answer that ends in `bytes`, behind which nothing may come.
fn alone(reader: &mut Reader<Answer>, mut bytes: &[u8]) -> io::Result<Option<Answer>> {
    let answer = reader.next(&mut bytes).map_err(|error: HttpError| io::Error::other(error))?;
    if bytes.is_empty() { Ok(answer) } else { Err(io::Error::other("bytes came that nobody has asked for")) }
}

/// Waits for the peer's end.
async fn end(mut link: Link) -> io::Result<()> {
    match link.exchange(|_, _| ()).await? {
        None => link.end().await,
        Some(()) => Err(io::Error::other("bytes came behind the last answer")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::http;

    const SHAPE: Shape = Shape { upload: 0, answer: 200, close: false };

    /// What comes of asking where a connection is answered with `said` and then ended.
    async fn asking(shape: Shape, said: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut asker = Asker::new(listener.local_addr().unwrap().into(), shape);
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut head).await.unwrap() > 0);
            }
            stream.write_all(&said).await.unwrap();
        };
        let ask = async { (asker.ask().await, asker.answered) };
        let (asked, ()) = tokio::join!(ask, serve);
        match asked {
            (Ok(()), answered) => format!("{answered} answered"),
            (Err(error), _) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn an_answer_is_taken_on_a_kept_connection_and_on_one_that_ends() {
        for close in [false, true] {
            assert_eq!(asking(Shape { close, ..SHAPE }, http::answer(200)).await, "1 answered");
        }
    }

    #[tokio::test]
    async fn what_is_no_such_answer_is_said() {
        let closing =
            String::from_utf8(http::answer(0)).unwrap().replace("no-cache", "x\r\nConnection: close");
        let none = Shape { answer: 0, ..SHAPE };
        let closed = Shape { close: true, ..SHAPE };
        let twice = http::answer(200).repeat(2);
        for (shape, said, error) in [
            (none, closing.into_bytes(), "the peer closes a connection that was to be kept"),
            (SHAPE, http::answer(100), "100 bytes came where 200 were asked for"),
            (SHAPE, Vec::new(), "the peer ended the connection, and has not answered"),
            (SHAPE, twice.clone(), "bytes came that nobody has asked for"),
            (closed, twice, "bytes came that nobody has asked for"),
            (SHAPE, b"HTTP/1.1 426 No\r\n\r\n".to_vec(), "answered with `426 No` and not with 200"),
        ] {
            let heard = asking(shape, said).await;
            assert!(
                heard.starts_with("after 0 requests of this client: ") && heard.ends_with(error),
                "{heard}"
            );
        }
    }
}
