//! Reading, writing and ending connections, as sessions do.

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A connection, and its peer's end.
async fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let peer = TcpStream::connect(address).await.expect("it listens");
    let (stream, _) = listener.accept().await.expect("the peer connects");
    (stream.into(), peer)
}

#[tokio::test]
async fn several_pieces_go_out_in_one_write() {
    let (mut stream, mut peer) = pair().await;
    assert!(stream.is_write_vectored());
    let pieces = [IoSlice::new(b"one, "), IoSlice::new(b"two")];
    let written = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &pieces)).await;
    assert_eq!(written.expect("the socket takes it"), 8);
    stream.shutdown().await.expect("it stands");
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).await.expect("an orderly end");
    assert_eq!(heard, b"one, two");
}

/// Waits until tokio says that there is something to read.
async fn news(stream: &Stream) {
    poll_fn(|cx| if stream.listen(cx) { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[tokio::test]
async fn who_has_read_all_that_there_is_asks_again_when_there_is_more() {
    let (mut stream, mut peer) = pair().await;
    let mut buffer = [0; 5];
    assert!(stream.read_now(&mut buffer).is_pending() && !stream.may_be_readable());
    peer.write_all(b"seven..").await.expect("the socket takes it");
    news(&stream).await;
    // As much as there was room for: more may be there, and is.
    assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(5))));
    assert!(stream.may_be_readable());
    assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(2))));
    assert!(!stream.may_be_readable() && stream.read_now(&mut buffer).is_pending());
    // No word of the kernel is lost between the look and the wait.
    peer.write_all(b"more").await.expect("the socket takes it");
    news(&stream).await;
    assert!(stream.may_be_readable());
    assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(4))));
    drop(peer);
    news(&stream).await;
    assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(0))));
    assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(0))), "an end stays one");
}

#[tokio::test]
async fn who_has_filled_the_kernel_waits_for_room() {
    let (mut stream, mut peer) = pair().await;
    let piece = vec![7; 1 << 20];
    let mut written = 0;
    while let Poll::Ready(n) = stream.write_now(&piece) {
        written += n.expect("it stands");
    }
    assert!(poll_fn(|cx| Poll::Ready(stream.await_room(cx))).await, "there is none");
    let mut heard = vec![0; written];
    peer.read_exact(&mut heard).await.expect("all of it comes");
    poll_fn(|cx| if stream.await_room(cx) { Poll::Pending } else { Poll::Ready(()) }).await;
    let pieces = [IoSlice::new(b"one, "), IoSlice::new(b"two")];
    assert!(matches!(stream.write_pieces_now(&pieces), Poll::Ready(Ok(8))));
    peer.read_exact(&mut heard[..8]).await.expect("both pieces come");
    assert_eq!(&heard[..8], b"one, two");
}

#[tokio::test]
async fn what_is_there_is_read_without_a_wait() {
    let (mut stream, mut peer) = pair().await;
    let mut buffer = [0; 8];
    assert!(stream.read_at_once(&mut buffer).is_pending());
    peer.write_all(b"words").await.expect("the socket takes it");
    peer.shutdown().await.expect("it stands");
    for expected in [&b"words"[..], b""] {
        let read = loop {
            match stream.read_at_once(&mut buffer) {
                Poll::Pending => tokio::task::yield_now().await,
                Poll::Ready(read) => break read.expect("no reset"),
            }
        };
        assert_eq!(&buffer[..read], expected);
    }
}

#[tokio::test]
async fn it_is_readable_when_something_is_there() {
    let (mut stream, mut peer) = pair().await;
    let mut readable = Box::pin(stream.readable());
    for _ in 0..100 {
        assert!(futures::poll!(&mut readable).is_pending(), "nothing is there");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    peer.write_all(b"words").await.expect("the socket takes it");
    readable.await.expect("it stands");
    drop(peer);
    stream.readable().await.expect("it has ended");
}

#[tokio::test]
async fn an_end_is_seen_unless_something_stands_before_it() {
    let (mut stream, peer) = pair().await;
    assert!(futures::poll!(Box::pin(stream.ended())).is_pending(), "it stands");
    drop(peer);
    stream.ended().await.expect("an orderly end");

    let (mut stream, mut peer) = pair().await;
    peer.write_all(b"words").await.expect("the socket takes it");
    drop(peer);
    stream.readable().await.expect("something is there");
    for _ in 0..100 {
        assert!(futures::poll!(Box::pin(stream.ended())).is_pending(), "the words are not read");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reset_is_what_the_peer_gets() {
    let (stream, mut peer) = pair().await;
    stream.reset().expect("the kernel lets it be set");
    let read = peer.read(&mut [0; 8]).await;
    assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn options_are_those_of_the_socket() {
    let (stream, _peer) = pair().await;
    let every = Duration::from_secs(7);
    stream.set_nodelay().expect("the kernel lets it be set");
    stream.set_unsent_max(4096).expect("the kernel lets it be set");
    stream.set_keepalive(every).expect("the kernel lets it be set");
    let socket = SockRef::from(stream.socket());
    assert!(socket.tcp_nodelay().expect("it can be asked"));
    assert_eq!(socket.tcp_notsent_lowat().expect("it can be asked"), 4096);
    assert!(socket.keepalive().expect("it can be asked"));
    assert_eq!(socket.tcp_keepalive_time().expect("it can be asked"), every);
    assert!(stream.tcp_state().is_ok());
}
