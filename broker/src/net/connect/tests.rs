//! Ways that work, refuse and swallow what is sent: on loopback, and by a clock of the tests' own.

use std::cell::RefCell;
use std::future::pending;

use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::race::DELAY;
use super::*;

/// So long that only a test that has failed waits for it.
const LONG: Duration = Duration::from_secs(30);

fn ips<const N: usize>(written: [&str; N]) -> [IpAddr; N] {
    written.map(|ip| ip.parse().expect("an address"))
}

fn sockets<const N: usize>(written: [&str; N], port: u16) -> [SocketAddr; N] {
    ips(written).map(|ip| SocketAddr::new(ip, port))
}

fn within(limit: Duration) -> (Duration, Instant) {
    (limit, Instant::now() + limit)
}

/// What becomes of a try.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Connects,
    Fails(Errno),
    /// As when the source cannot be had.
    Lacks(Errno),
    Swallows,
}

use Fate::{Connects, Fails, Lacks, Swallows};

/// Tries the ways to `found` by a clock that jumps, and writes down which ways were tried and when.
struct Trial {
    history: History,
    sources: Vec<IpAddr>,
    tried: RefCell<Vec<(String, u128)>>,
}

impl Trial {
    fn new(sources: &[IpAddr]) -> Trial {
        Trial { history: History::default(), sources: sources.to_vec(), tried: RefCell::default() }
    }

    async fn run<const N: usize>(
        &self,
        found: [&str; N],
        limit: Duration,
        fate: impl Fn(&str) -> Fate,
    ) -> Result<String, Option<io::Error>> {
        let start = Instant::now();
        let open = |way: Way| {
            let source = way.source.map(|source| format!("<{source}")).unwrap_or_default();
            let name = format!("{}{source}", way.target.ip());
            let fate = fate(&name);
            self.tried.borrow_mut().push((name.clone(), start.elapsed().as_millis()));
            async move {
                match fate {
                    Connects => Ok(name),
                    Fails(errno) => Err(ConnectFault::connecting(errno.into())),
                    Lacks(errno) => Err(ConnectFault::before(errno.into())),
                    Swallows => pending().await,
                }
            }
        };
        let ways = Ways::new(&sockets(found, 80), &self.sources, &self.history);
        race(ways, open, start + limit).await.map(|won| self.history.keep(won))
    }

    /// The ways that were tried since the last question, with their milliseconds.
    fn tried(&self) -> Vec<(String, u128)> {
        self.tried.take()
    }
}

fn tries(expected: &[(&str, u128)]) -> Vec<(String, u128)> {
    expected.iter().map(|(way, at)| ((*way).to_owned(), *at)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_is_overtaken_and_the_good_one_remembered() {
    let trial = Trial::new(&[]);
    let found = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let fate = |way: &str| if way == "10.0.0.3" { Connects } else { Swallows };
    assert_eq!(trial.run(found, LONG, fate).await.ok().as_deref(), Some("10.0.0.3"));
    assert_eq!(trial.tried(), tries(&[("10.0.0.1", 0), ("10.0.0.2", 250), ("10.0.0.3", 500)]));
    assert_eq!(trial.run(found, LONG, fate).await.ok().as_deref(), Some("10.0.0.3"));
    assert_eq!(trial.tried(), tries(&[("10.0.0.3", 0)]));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_followed_at_once() {
    let trial = Trial::new(&[]);
    let fate = |way: &str| if way == "10.0.0.3" { Connects } else { Fails(Errno::ECONNREFUSED) };
    let won = trial.run(["10.0.0.1", "10.0.0.2", "10.0.0.3"], LONG, fate).await;
    assert_eq!(won.ok().as_deref(), Some("10.0.0.3"));
    assert_eq!(trial.tried(), tries(&[("10.0.0.1", 0), ("10.0.0.2", 0), ("10.0.0.3", 0)]));
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_may_still_win() {
    let trial = Trial::new(&[]);
    let slow = |way: Way| async move {
        tokio::time::sleep(DELAY * 2).await;
        if way.target.ip() == ips(["10.0.0.1"])[0] {
            Ok(way)
        } else {
            Err(ConnectFault::connecting(Errno::EHOSTUNREACH.into()))
        }
    };
    let ways = Ways::new(&sockets(["10.0.0.1", "10.0.0.2"], 80), &[], &trial.history);
    let won = race(ways, slow, Instant::now() + LONG).await.expect("the first");
    assert_eq!((won.way.target.ip(), won.overtaken), (ips(["10.0.0.1"])[0], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn one_limit_stands_around_all() {
    let trial = Trial::new(&[]);
    let begun = Instant::now();
    let lost = trial.run(["10.0.0.1", "10.0.0.2", "10.0.0.3"], DELAY * 2, |_| Swallows).await;
    assert!(matches!(lost, Err(None)), "{lost:?}");
    assert_eq!((trial.tried().len(), begun.elapsed()), (2, DELAY * 2));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_reach_the_target_keeps_no_other_from_it() {
    let sources = ips(["10.1.0.1", "10.1.0.2"]);
    for fate in
        [Swallows, Lacks(Errno::EADDRNOTAVAIL), Fails(Errno::EADDRNOTAVAIL), Fails(Errno::ENETUNREACH)]
    {
        let trial = Trial::new(&sources);
        let won = trial
            .run(["10.0.0.1"], LONG, |way| if way.ends_with("10.1.0.2") { Connects } else { fate })
            .await;
        assert_eq!(won.ok().as_deref(), Some("10.0.0.1<10.1.0.2"), "{fate:?}");
        let silence = if matches!(fate, Swallows) { 250 } else { 0 };
        assert_eq!(trial.tried(), tries(&[("10.0.0.1<10.1.0.1", 0), ("10.0.0.1<10.1.0.2", silence)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_comes_last_for_a_while() {
    let trial = Trial::new(&ips(["10.1.0.1", "10.1.0.2"]));
    let fate = |way: &str| if way.ends_with("10.1.0.2") { Connects } else { Swallows };
    let first = async || {
        trial.run(["10.0.0.1"], LONG, fate).await.expect("the second source");
        trial.tried()[0].0.clone()
    };
    assert_eq!(first().await, "10.0.0.1<10.1.0.1");
    assert_eq!(first().await, "10.0.0.1<10.1.0.2");
    tokio::time::advance(LONG).await;
    assert_eq!(first().await, "10.0.0.1<10.1.0.1", "it may be well again");
    trial
        .run(["10.0.0.1"], LONG, |way| if way.ends_with("10.1.0.1") { Connects } else { Swallows })
        .await
        .expect("the first source");
    trial.tried();
    assert_eq!(first().await, "10.0.0.1<10.1.0.1", "it has connected since");
}

/// Whose fault it is, of a name with two addresses or a pool with two sources.
#[tokio::test(start_paused = true)]
async fn the_clearest_word_counts() {
    let (absent, no_port) = (Lacks(Errno::EADDRNOTAVAIL), Fails(Errno::EADDRNOTAVAIL));
    let (refused, unreachable) = (Fails(Errno::ECONNREFUSED), Fails(Errno::ENETUNREACH));
    // `known`: the first address has worked before.
    for (fates, known, local) in [
        ([refused, absent], false, false),
        ([no_port, refused], true, false),
        ([no_port, no_port], false, true),
        ([no_port, unreachable], false, true),
        ([unreachable, no_port], false, true),
        ([no_port, Swallows], true, true),
        ([no_port, Swallows], false, false),
        ([absent, Swallows], true, false),
        ([Lacks(Errno::EMFILE), Lacks(Errno::EMFILE)], false, true),
        ([Swallows, Lacks(Errno::EMFILE)], false, true),
        ([Swallows, no_port], false, false),
        ([unreachable, unreachable], false, false),
    ] {
        let trial = Trial::new(&[]);
        if known {
            trial.run(["10.0.0.1"], LONG, |_| Connects).await.expect("it works");
        }
        let fate = |way: &str| fates[usize::from(way != "10.0.0.1")];
        let lost = trial.run(["10.0.0.1", "10.0.0.2"], LONG, fate).await.expect_err("no way works");
        assert_eq!(lost.as_ref().is_some_and(is_local), local, "{fates:?}, known: {known}: {lost:?}");
    }
}

#[tokio::test]
async fn a_source_that_this_machine_has_not_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    // The first is for documentation (RFC 5737), and so nobody's.
    let sources = ips(["192.0.2.1", "127.0.0.3"]);
    let history = History::default();
    let _stream = connect("127.0.0.1", port, &sources, &history, LONG).await.expect("the second can be used");
    let (_, from) = listener.accept().await.expect("it is connected");
    assert_eq!(from.ip(), sources[1]);
    let error =
        connect("127.0.0.1", port, &sources[..1], &history, LONG).await.expect_err("none can be used");
    assert!(is_local(&error));
}

/// A listener whose queue is full: the kernel drops every SYN to it.
async fn black_hole(address: SocketAddr) -> (TcpListener, TcpStream) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(address).expect("a free port");
    let listener = socket.listen(0).expect("it is bound");
    let address = listener.local_addr().expect("it is bound");
    let only = TcpStream::connect(address).await.expect("one fits");
    (listener, only)
}

#[tokio::test]
async fn behind_an_address_that_swallows_syns_the_next_one_is_reached() {
    let (hole, _fills) = black_hole("127.0.0.2:0".parse().expect("an address")).await;
    let port = hole.local_addr().expect("it is bound").port();
    let found = sockets(["127.0.0.2", "127.0.0.3"], port);
    let good = TcpListener::bind(found[1]).await.expect("a free port");
    let history = History::default();
    let mut stream = connect_to(&found, &[], &history, within(LONG)).await.expect("the second");
    let (mut reached, _) = good.accept().await.expect("it is connected");
    reached.write_all(b"!").await.expect("the socket takes it");
    assert_eq!(stream.read_u8().await.expect("it is the other end"), b'!');
    assert_eq!(history.reached(), Some(found[1]));

    let error = connect_to(&found[..1], &[], &history, within(DELAY)).await.expect_err("nobody answers");
    assert_eq!((error.kind(), is_local(&error)), (io::ErrorKind::TimedOut, false));
    assert_eq!(reason(&error), "no connection within 250ms");
}
