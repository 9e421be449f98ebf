//! Connections that are let go with a last word: it is written, what the peer still says is discarded,
//! and after a short time at the latest the connection is closed.

use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::stream::Stream;

/// How long such a connection is kept at the most.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many at once; those beyond are told what their sockets take at once, and not waited for. They are few among the
/// descriptors that are kept aside.
const AT_ONCE: usize = 64;

/// Reads that are done of a connection that is not waited for.
const READS_AT_ONCE: usize = 16;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Lets a connection go with these bytes, which must be whole frames and stand between two.
pub(crate) fn with_last_words(stream: Stream, words: Vec<u8>) {
    let Ok(place) = PLACES.try_acquire() else { return say_at_once(stream, &words) };
    tokio::spawn(async move {
        // Whoever does not listen is not waited for.
        let _ = timeout(PATIENCE, say_close(stream, &words)).await;
        drop(place);
    });
}

/// What has come already is discarded, since a socket that is closed with something unread is reset.
fn say_at_once(mut stream: Stream, words: &[u8]) {
    let mut discarded = [0; 4096];
    for _ in 0..READS_AT_ONCE {
        if !matches!(stream.read_at_once(&mut discarded), Poll::Ready(Ok(1..))) {
            break;
        }
    }
    // Whoever does not take it is gone, or does not listen.
    let _ = stream.write_at_once(words);
}

/// Closes a connection on which everything has been said, in stages (RFC 9112, 9.6), so that what was said
/// arrives.
pub(crate) async fn close(mut stream: Stream) {
    let _ = timeout(PATIENCE, hear_out(&mut stream)).await;
}

async fn say_close(mut stream: Stream, words: &[u8]) -> std::io::Result<()> {
    stream.write_all(words).await?;
    hear_out(&mut stream).await
}

/// Ends our side, and discards what the peer says until it ends its own.
async fn hear_out(stream: &mut Stream) -> std::io::Result<()> {
    stream.shutdown().await?;
    // A socket that is closed with something unread is reset, and the words with it.
    let mut discarded = vec![0; 4096];
    while stream.read(&mut discarded).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection on which the peer has said so much, and its peer's end.
    async fn pair(said: usize) -> (Stream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut peer = TcpStream::connect(address).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("the peer connects");
        peer.write_all(&vec![7; said]).await.expect("the socket takes it");
        (stream.into(), peer)
    }

    #[tokio::test]
    async fn the_words_arrive_though_the_peer_goes_on_talking() {
        let (stream, mut peer) = pair(100_000).await;
        with_last_words(stream, b"goodbye".to_vec());
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).await.expect("no reset");
        assert_eq!(heard, b"goodbye");
    }

    #[tokio::test]
    async fn those_for_whom_there_is_no_place_are_told_at_once() {
        let mut peers = Vec::new();
        for _ in 0..2 * AT_ONCE {
            let (stream, peer) = pair(10_000).await;
            with_last_words(stream, b"goodbye".to_vec());
            peers.push(peer);
        }
        // Nobody has gone until now, so no place was given back.
        for mut peer in peers {
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).await.expect("no reset");
            assert_eq!(heard, b"goodbye");
        }
    }
}
