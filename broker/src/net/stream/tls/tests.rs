//! Both ends of a connection with TLS, over real sockets; and one end before a peer that means ill.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, ContentType, HandshakeKind, ProtocolVersion, RootCertStore,
    ServerConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::net::stream::{Carrier, Stream};

use super::*;

const NAME: &str = "service.test";

/// What both ends need; the client believes this server alone.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([NAME.to_owned()]).expect("it can be made");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("it is a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("both are known")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("they fit");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("it may sign itself");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("both are known")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn name(name: &'static str) -> ServerName<'static> {
    name.try_into().expect("it is one")
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
    (accepted.expect("one connects").0, connected.expect("it listens"))
}

/// A server's end and a client's.
async fn pair() -> (Stream, Stream) {
    let (accepted, connected) = sockets().await;
    let (server, client) = configs();
    let (server, client) = tokio::join!(
        Stream::from(accepted).accept_tls(server),
        Stream::from(connected).connect_tls(client, name(NAME))
    );
    (server.expect("a handshake"), client.expect("a handshake"))
}

/// Bytes that are not all the same.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 / 7) as u8).collect()
}

async fn read_now(stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| {
        loop {
            match stream.read_now(buffer) {
                Poll::Pending if stream.listen(cx) => return Poll::Pending,
                Poll::Pending => {}
                read => return read,
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_one_end_writes_the_other_reads_and_an_idle_connection_holds_nothing() {
    let (mut server, mut client) = pair().await;
    for length in [1, 64, 16_384, 16_385, 300_000] {
        let sent = pattern(length);
        let mut heard = vec![0; length];
        let both = async {
            tokio::join!(
                async {
                    client.write_all(&sent).await.expect("it stands");
                    client.flush().await.expect("it stands");
                },
                async { server.read_exact(&mut heard).await.expect("it comes") }
            )
        };
        both.await;
        assert_eq!(heard, sent);
        // The client has read the server's tickets by then.
        server.write_all(b"!").await.expect("it stands");
        assert_eq!(client.read_u8().await.expect("it comes"), b'!');
        assert_eq!((server.held(), client.held()), (0, 0));
    }
}

#[tokio::test]
async fn a_record_is_read_by_small_pieces_without_a_word_of_the_kernel() {
    let (mut server, mut client) = pair().await;
    let sent = pattern(16_384);
    client.write_all(&sent).await.expect("it stands");
    let mut heard = Vec::new();
    let mut buffer = [0; 7];
    let n = read_now(&mut server, &mut buffer).await.expect("it comes");
    heard.extend_from_slice(&buffer[..n]);
    while heard.len() < sent.len() {
        assert!(server.may_be_readable() && poll_fn(|cx| Poll::Ready(!server.listen(cx))).await);
        let Poll::Ready(n) = server.read_now(&mut buffer) else { panic!("a record is there as a whole") };
        heard.extend_from_slice(&buffer[..n.expect("it stands")]);
    }
    assert_eq!(heard, sent);
    assert!(server.read_now(&mut buffer).is_pending() && server.held() == 0);
}

#[tokio::test]
async fn what_the_kernel_does_not_take_is_kept_once_and_goes_out_in_order() {
    let (mut server, mut client) = pair().await;
    let piece = pattern(1 << 20);
    let mut written = Vec::new();
    while let Poll::Ready(n) = client.write_now(&piece) {
        written.extend_from_slice(&piece[..n.expect("it stands")]);
    }
    assert!(client.has_unsent() && client.held() <= SEND_ROOM, "{} bytes are held", client.held());
    let pieces = [io::IoSlice::new(b"one, "), io::IoSlice::new(b"two")];
    assert!(client.write_pieces_now(&pieces).is_pending(), "nothing is encrypted in advance");
    let mut heard = vec![0; written.len()];
    tokio::join!(async { client.flush().await.expect("it is read") }, async {
        server.read_exact(&mut heard).await.expect("all of it comes")
    });
    assert!(heard == written && !client.has_unsent() && client.held() == 0);
    assert!(matches!(client.write_pieces_now(&pieces), Poll::Ready(Ok(8))));
    let mut last = [0; 8];
    server.read_exact(&mut last).await.expect("both pieces come");
    assert_eq!(&last, b"one, two");
}

#[tokio::test]
async fn an_end_is_one_with_and_without_its_word() {
    let (mut server, mut client) = pair().await;
    client.write_all(b"last").await.expect("it stands");
    client.shutdown().await.expect("it stands");
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.expect("an orderly end");
    assert_eq!(heard, b"last");
    // The other direction stands.
    server.write_all(b"words").await.expect("it stands");
    server.shutdown().await.expect("it stands");
    heard.clear();
    client.read_to_end(&mut heard).await.expect("an orderly end");
    assert_eq!(heard, b"words");

    let (server, mut client) = pair().await;
    drop(server);
    assert_eq!(client.peek(&mut [0]).await.expect("close_notify is said by whoever is dropped"), 0);

    let (mut server, client) = pair().await;
    let Carrier::Tls(tls) = &client.carrier else { unreachable!() };
    tls.socket().shut_write().expect("it stands");
    assert_eq!(server.read(&mut [0; 8]).await.expect("a FIN alone is an end"), 0);
}

/// A connection of which the client's bytes come to the server one by one, and end after `most` of them.
async fn by_bytes(most: u64) -> (TcpStream, TcpStream, tokio::task::JoinHandle<()>) {
    let ((server, mut near), (mut far, client)) = (sockets().await, sockets().await);
    near.set_nodelay(true).expect("the kernel lets it be set");
    let between = tokio::spawn(async move {
        let (mut from_server, mut to_server) = near.split();
        let (mut from_client, mut to_client) = far.split();
        let up = async {
            let mut left = most;
            while left > 0 {
                let Ok(byte) = from_client.read_u8().await else { break };
                if to_server.write_all(&[byte]).await.is_err() {
                    break;
                }
                left -= 1;
                // Each is looked at before the next one comes.
                tokio::task::yield_now().await;
            }
            let _ = to_server.shutdown().await;
        };
        tokio::join!(up, async { drop(copy(&mut from_server, &mut to_client).await) });
    });
    (server, client, between)
}

#[tokio::test]
async fn it_may_come_byte_by_byte_and_a_record_that_is_cut_is_no_end() {
    let (server, client, between) = by_bytes(u64::MAX).await;
    let (server_config, client_config) = configs();
    let (server, client) = tokio::join!(
        Stream::from(server).accept_tls(server_config),
        Stream::from(client).connect_tls(client_config, name(NAME))
    );
    let (mut server, mut client) = (server.expect("a handshake"), client.expect("a handshake"));
    client.write_all(&pattern(3_000)).await.expect("it stands");
    client.flush().await.expect("it stands");
    let mut heard = vec![0; 3_000];
    server.read_exact(&mut heard).await.expect("it comes");
    assert_eq!(heard, pattern(3_000));
    // A record of which the end is missing.
    let Carrier::Tls(tls) = &client.carrier else { unreachable!() };
    assert!(tls.socket().write_at_once(&[23, 3, 3, 0, 100, 1, 2, 3]).is_ok());
    tls.socket().shut_write().expect("it stands");
    let end = server.read(&mut [0; 8]).await.expect_err("it is cut");
    assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    drop((server, client));
    between.await.expect("both ends are gone");
}

#[tokio::test]
async fn who_leaves_in_the_handshake_or_speaks_something_else_is_an_error() {
    for (said, why) in [
        (&b""[..], "it ended in the middle of the TLS handshake"),
        (b"\x16\x03\x01\x02\x00\x01", "it ended in the middle of the TLS handshake"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "received corrupt message of type InvalidContentType"),
        // A record of 2^14 + 2049 bytes, which is longer than one may be.
        (b"\x16\x03\x01\x48\x01\x01\x00\x00\x00", "received corrupt message of type MessageTooLarge"),
    ] {
        let (accepted, mut client) = sockets().await;
        client.write_all(said).await.expect("the socket takes it");
        client.shutdown().await.expect("it stands");
        let error = Stream::from(accepted).accept_tls(configs().0).await.expect_err("no handshake");
        assert_eq!(error.to_string(), why);
        let mut heard = Vec::new();
        let _ = client.read_to_end(&mut heard).await;
        let told = !said.is_empty() && !why.contains("ended");
        assert_eq!(heard.first() == Some(&21), told, "an alert tells it: {heard:?}");
    }
}

#[tokio::test]
async fn a_record_that_was_tampered_with_ends_it_behind_what_came_before() {
    let (mut server, mut client) = pair().await;
    client.write_all(b"good").await.expect("it stands");
    let Carrier::Tls(tls) = &client.carrier else { unreachable!() };
    let mut forged = vec![23, 3, 3, 0, 40];
    forged.extend(pattern(40));
    tls.socket().write_at_once(&forged).expect("the socket takes it");
    let mut heard = [0; 4];
    server.read_exact(&mut heard).await.expect("what came before is good");
    assert_eq!(&heard, b"good");
    let error = server.read(&mut [0; 8]).await.expect_err("nobody with the key has written it");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (io::ErrorKind::InvalidData, "cannot decrypt peer's message")
    );
    assert!(matches!(server.write_now(b"more"), Poll::Ready(Err(_))), "nothing more is said");
    let error = client.read(&mut [0; 8]).await.expect_err("it is told");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

#[tokio::test]
async fn who_is_not_the_one_that_was_asked_for_is_told_so() {
    let (accepted, connected) = sockets().await;
    let (server, client) = configs();
    let (server, client) = tokio::join!(
        Stream::from(accepted).accept_tls(server),
        Stream::from(connected).connect_tls(client, name("other.test"))
    );
    let error = client.expect_err("it has another name").to_string();
    assert!(error.contains("certificate not valid for name \"other.test\""), "{error}");
    let told = match server {
        Err(error) => error,
        Ok(mut server) => server.read(&mut [0; 8]).await.expect_err("it is told"),
    };
    assert!(told.to_string().contains("BadCertificate"), "{told}");
}

#[tokio::test]
async fn a_second_connection_resumes_the_first() {
    let (server, client) = configs();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (accepted, connected) = sockets().await;
        let (server, client) = tokio::join!(
            Stream::from(accepted).accept_tls(Arc::clone(&server)),
            Stream::from(connected).connect_tls(Arc::clone(&client), name(NAME))
        );
        let (mut server, mut client) = (server.expect("a handshake"), client.expect("a handshake"));
        server.write_all(b"!").await.expect("it stands");
        client.read_u8().await.expect("it comes, behind the ticket");
        kinds.push(client.tls().and_then(CommonState::handshake_kind));
    }
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

/// An end of rustls' own, with its buffers, in a thread: says whether it has gone well.
fn other_end<End: Send + 'static>(
    socket: TcpStream,
    mut end: End,
    talk: impl FnOnce(&mut End, &mut std::net::TcpStream) -> io::Result<()> + Send + 'static,
) -> std::thread::JoinHandle<io::Result<()>> {
    let mut socket = socket.into_std().expect("it is one");
    socket.set_nonblocking(false).expect("the kernel lets it be set");
    std::thread::spawn(move || talk(&mut end, &mut socket))
}

#[tokio::test]
async fn keys_may_change_while_messages_pass() {
    const ROUNDS: usize = 100;
    let ((accepted, connected), (server, client)) = (sockets().await, configs());
    let end = rustls::ClientConnection::new(client, name(NAME)).expect("a sound configuration");
    let client = other_end(connected, end, |end, socket| {
        for round in 0..ROUNDS {
            let (sent, mut heard) = (pattern(round * 37 + 1), vec![0; round * 37 + 1]);
            let mut stream = rustls::Stream::new(end, socket);
            io::Write::write_all(&mut stream, &sent)?;
            io::Read::read_exact(&mut stream, &mut heard)?;
            assert_eq!(heard, sent);
            // The server is asked to change its own, too.
            end.refresh_traffic_keys().map_err(io::Error::other)?;
        }
        Ok(())
    });
    let mut server = Stream::from(accepted).accept_tls(server).await.expect("a handshake");
    for round in 0..ROUNDS {
        let mut heard = vec![0; round * 37 + 1];
        server.read_exact(&mut heard).await.expect("it comes");
        server.write_all(&heard).await.expect("it stands");
        server.flush().await.expect("it stands");
    }
    client.join().expect("all of it comes back").expect("no end before");
    assert_eq!(server.held(), 0);
}

/// While a part of a message of the handshake is there, and the rest is not, there may be something to say.
#[tokio::test]
async fn who_talks_while_a_ticket_comes_in_pieces_is_heard() {
    let (ours, theirs, between) = by_bytes(u64::MAX).await;
    let (server, client) = configs();
    let mut config = Arc::unwrap_or_clone(server);
    // Each ticket is some 250 bytes.
    (config.max_fragment_size, config.send_tls13_tickets) = (Some(64), 4);
    let end = rustls::ServerConnection::new(Arc::new(config)).expect("a sound configuration");
    let server = other_end(theirs, end, |end, socket| {
        let mut stream = rustls::Stream::new(end, socket);
        io::Write::write_all(&mut stream, b"!")?;
        let mut heard = Vec::new();
        // The last word is there when nothing else is.
        while heard.last() != Some(&b'.') {
            let mut byte = [0];
            io::Read::read_exact(&mut stream, &mut byte)?;
            heard.push(byte[0]);
        }
        assert!(heard.len() > 8 && heard[..heard.len() - 1].iter().all(|byte| *byte == b'x'), "{heard:?}");
        Ok(())
    });
    let mut client = Stream::from(ours).connect_tls(client, name(NAME)).await.expect("a handshake");
    let mut buffer = [0; 8];
    let mut said_in_between = 0;
    while client.read_now(&mut buffer).is_pending() {
        if client.held() > 0 {
            assert!(matches!(client.write_now(b"x"), Poll::Ready(Ok(1))));
            said_in_between += 1;
        }
        poll_fn(|cx| if client.listen(cx) { Poll::Pending } else { Poll::Ready(()) }).await;
    }
    assert!(said_in_between > 8, "something was said {said_in_between} times while a part was there");
    assert_eq!(buffer[0], b'!');
    client.write_all(b".").await.expect("it stands");
    client.flush().await.expect("it stands");
    drop(client);
    // What is between passes the last word on, in this thread.
    between.await.expect("both ends are gone");
    server.join().expect("it is as it was said").expect("no end before");
}

/// Tickets of some 250 bytes each, whose records have parts of several: what is kept of them has a bound.
#[tokio::test]
async fn a_few_tickets_are_taken_and_a_megabyte_of_them_ends_the_connection() {
    for (count, word) in [(20, Some(b'!')), (4_000, None)] {
        let ((accepted, connected), (server, client)) = (sockets().await, configs());
        let mut config = Arc::unwrap_or_clone(server);
        config.send_tls13_tickets = count;
        let end = rustls::ServerConnection::new(Arc::new(config)).expect("a sound configuration");
        let server = other_end(accepted, end, |end, socket| {
            let mut stream = rustls::Stream::new(end, socket);
            // As long as it can.
            let _ =
                io::Write::write_all(&mut stream, b"!").and_then(|()| io::Read::read(&mut stream, &mut [0]));
            Ok(())
        });
        let mut client = Stream::from(connected).connect_tls(client, name(NAME)).await.expect("a handshake");
        let mut buffer = [0; 8];
        match (read_now(&mut client, &mut buffer).await, word) {
            (Ok(1), Some(word)) => assert_eq!(buffer[0], word),
            (Err(error), None) => assert!(error.to_string().contains(ENDLESS), "{error}"),
            (read, _) => panic!("{count} tickets: {read:?}"),
        }
        drop(client);
        server.join().expect("it does not panic").expect("it says nothing of its own");
    }
}

/// A server that says by hand what it likes once its handshake is done.
struct ByHand {
    socket: std::net::TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    next: u64,
}

impl ByHand {
    /// It, and the client's end of its connection.
    async fn start() -> (ByHand, Box<TlsStream>) {
        let ((accepted, connected), (server, client)) = (sockets().await, configs());
        let mut config = Arc::unwrap_or_clone(server);
        (config.enable_secret_extraction, config.send_tls13_tickets) = (true, 0);
        let mut socket = accepted.into_std().expect("it is one");
        socket.set_nonblocking(false).expect("the kernel lets it be set");
        let by_hand = std::thread::spawn(move || {
            let mut end = rustls::ServerConnection::new(Arc::new(config)).expect("a sound configuration");
            while end.is_handshaking() {
                end.complete_io(&mut socket).expect("a handshake");
            }
            let secrets = end.dangerous_extract_secrets().expect("they may be had");
            let (next, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets.tx else {
                panic!("it is the first that both know")
            };
            let suite = TLS13_AES_256_GCM_SHA384.tls13().expect("it is one of TLS 1.3");
            ByHand { socket, encrypter: suite.aead_alg.encrypter(key, iv), next }
        });
        let client = Stream::from(connected).connect_tls(client, name(NAME)).await.expect("a handshake");
        let Carrier::Tls(client) = client.carrier else { unreachable!() };
        (by_hand.join().expect("it does not panic"), client)
    }

    fn record(&mut self, typ: ContentType, content: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(content);
        let plain = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload };
        let sealed = self.encrypter.encrypt(plain, self.next).expect("it can be sealed");
        self.next += 1;
        sealed.encode()
    }

    /// A ticket (RFC 8446, 4.6.1) that says nothing.
    fn ticket(&mut self) -> Vec<u8> {
        let fields = [&[0, 0, 0, 60][..], &[0; 4], &[1, 0], &[0, 1, b't'], &[0, 0]].concat();
        self.record(ContentType::Handshake, &[&[4, 0, 0, fields.len() as u8][..], &fields].concat())
    }

    /// A record of nobody's data (RFC 8446, 5.1), of which rustls takes a few dozen in a row.
    fn empty(&mut self) -> Vec<u8> {
        self.record(ContentType::ApplicationData, b"")
    }
}

/// A read comes back after four that have brought nothing, and the ones after that bring what was said. If it went on until
/// something is there, none would be pending here, and a peer that says nothing without end would keep the thread.
#[tokio::test]
async fn what_brings_nothing_is_read_four_times_before_it_is_the_others_turn() {
    for fruitless in 0..=3 * FRUITLESS {
        let (mut by_hand, mut tls) = ByHand::start().await;
        let mut records: Vec<_> =
            (0..fruitless).map(|n| if n % 2 == 0 { by_hand.ticket() } else { by_hand.empty() }).collect();
        records.push(by_hand.record(ContentType::ApplicationData, b"word"));
        let read = Cell::new(0);
        let next = |_: &RawSocket, room: &mut [u8]| {
            let record = &records[read.replace(read.get() + 1)];
            room[..record.len()].copy_from_slice(record);
            Poll::Ready(Ok(record.len()))
        };
        let mut word = [0; 8];
        for turn in 1..=fruitless / FRUITLESS {
            assert!(tls.read(&mut word, next).is_pending(), "{fruitless} in front: turn {turn}");
            assert_eq!(read.get(), turn * FRUITLESS);
        }
        assert!(matches!(tls.read(&mut word, next), Poll::Ready(Ok(4))), "{fruitless} in front");
        assert_eq!((&word[..4], read.get()), (&b"word"[..], fruitless + 1));
        assert_eq!(tls.held(), 0);
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// As many bytes of tickets as the two sockets take.
fn fill(by_hand: &mut ByHand) -> usize {
    by_hand.socket.set_nonblocking(true).expect("the kernel lets it be set");
    let mut filled = 0;
    loop {
        let records: Vec<u8> = (0..1000).flat_map(|_| by_hand.ticket()).collect();
        match io::Write::write(&mut by_hand.socket, &records) {
            Ok(n) if n == records.len() => filled += n,
            _ => return filled,
        }
    }
}

/// Whoever waits for the first byte is not kept by what brings none: if all that is there were read in one turn, nothing
/// would be left of it.
#[tokio::test]
async fn who_waits_for_the_first_byte_lets_others_have_their_turn() {
    let (mut by_hand, mut tls) = ByHand::start().await;
    let filled = fill(&mut by_hand);
    assert!(filled > 8 * FRUITLESS * READ, "only {filled} bytes are there");
    poll_fn(|cx| tls.socket().poll_read_ready(cx)).await.expect("it stands");
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(tls.poll_fill(&mut Context::from_waker(&waker)).is_pending());
    assert!(tls.over.is_none() && tls.socket().has_something_to_read(), "there is more than one turn reads");
    assert_eq!(wakes.0.load(Relaxed), 1, "it has another turn soon");
}

/// One thread for all: others get their turns, and what the peer has to say comes behind all that brings nothing. That each
/// turn has an end the two tests above show, and would fail without it; here it is seen that the next one comes.
#[tokio::test]
async fn who_sends_tickets_without_end_keeps_nobody_from_their_work() {
    const TURNS: usize = 500;
    let (mut by_hand, tls) = ByHand::start().await;
    let (sent, is_enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, stops) = (Arc::clone(&sent), Arc::clone(&is_enough));
    let peer = std::thread::spawn(move || {
        while !stops.load(Relaxed) {
            let records: Vec<u8> = (0..1000).flat_map(|_| by_hand.ticket()).collect();
            io::Write::write_all(&mut by_hand.socket, &records)?;
            counted.fetch_add(records.len(), Relaxed);
        }
        let word = by_hand.record(ContentType::ApplicationData, b"word");
        io::Write::write_all(&mut by_hand.socket, &word)
    });
    let reader = tokio::spawn(async move {
        let (mut stream, mut word) = (Stream { carrier: Carrier::Tls(tls) }, [0; 4]);
        stream.read_exact(&mut word).await.map(|_| word)
    });
    let (mut one, mut other) = sockets().await;
    let mut turns = 0;
    while turns < TURNS || sent.load(Relaxed) < 1 << 20 {
        one.write_all(b"x").await.expect("it stands");
        other.read_u8().await.expect("it comes");
        turns += 1;
    }
    assert!(!reader.is_finished(), "it has read nothing but tickets meanwhile");
    is_enough.store(true, Relaxed);
    assert_eq!(reader.await.expect("it does not panic").expect("no end before"), *b"word");
    peer.join().expect("it does not panic").expect("all was taken");
}

#[tokio::test]
async fn a_reset_says_nothing() {
    let (server, mut client) = pair().await;
    server.reset().expect("the kernel lets it be set");
    let error = client.read(&mut [0; 8]).await.expect_err("no end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
