//! Those who want too much. Each is bounded in what it sends and how long it lasts, and takes whatever comes of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use steadfast_tests::admin;
use steadfast_tests::broker::Broker;
use steadfast_tests::frame::{BINARY, CONTINUATION, Frame, PING, TEXT};
use steadfast_tests::http::read_response;
use steadfast_tests::upgrade::Upgrade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;

/// Attacks at the same time.
const TOGETHER_MAX: usize = 4;

/// How long one may last.
const LAST_MAX: Duration = Duration::from_secs(10);

/// Frames of a flood, and how many are written at a time.
const FLOOD: usize = 30_000;
const AT_ONCE: usize = 2_000;

/// Connections of a crowd; more than there are places for handshakes.
const CROWD: usize = 80;

/// Bytes of a message that stays open.
const OPEN: usize = 1_500_000;

/// Bytes that are answered and not read.
const UNREAD: usize = 2_000_000;

/// What they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Empty pings.
    Pings,
    /// Messages of one byte.
    OneByte,
    /// One message in fragments of one byte.
    Fragments,
    /// Has much to be answered, and reads nothing.
    Deaf,
    /// Says half a request, or nothing.
    HalfOpen,
    /// Begins sessions of `steadfast.v1` and leaves without a word.
    ConnectAndLeave,
    /// Says most of a message.
    OpenMessage,
    /// Keeps its handler busy.
    SlowHandler,
    /// Has its backend end their connection, in several ways.
    Ended,
    /// Breaks the protocol.
    Violation,
    /// Asks the admin listener for everything, and does not wait for it.
    Admin,
}

const ALL: [Attack; 11] = [
    Attack::Pings,
    Attack::OneByte,
    Attack::Fragments,
    Attack::Deaf,
    Attack::HalfOpen,
    Attack::ConnectAndLeave,
    Attack::OpenMessage,
    Attack::SlowHandler,
    Attack::Ended,
    Attack::Violation,
    Attack::Admin,
];

/// All attacks that go on.
#[derive(Debug)]
pub(crate) struct Attackers {
    pools: [SocketAddr; 2],
    admin: SocketAddr,
    tasks: JoinSet<()>,
}

impl Attackers {
    pub(crate) fn on(broker: &Broker) -> Self {
        let pools = [broker.address_of(0), broker.address_of(1)];
        Self { pools, admin: broker.admin_address(), tasks: JoinSet::new() }
    }

    /// Begins another attack, when there are not too many; says which.
    pub(crate) async fn begin_one(&mut self, chance: &mut Chance) -> String {
        while self.tasks.len() >= TOGETHER_MAX {
            self.end_one().await;
        }
        let attack = *chance.one_of(&ALL);
        let address = match attack {
            Attack::Admin => self.admin,
            // Only test backends obey.
            Attack::SlowHandler | Attack::Ended => self.pools[0],
            _ => *chance.one_of(&self.pools),
        };
        // Several have one address, and their neighbours others.
        let source = Ipv4Addr::new(127, 0, 4, 1 + u8::try_from(chance.below(8)).expect("below 8"));
        let attacker = Attacker { address, source, chance: chance.branch() };
        self.tasks.spawn(async move {
            // Who is kept waiting for so long has got what it deserves.
            let _ = timeout(LAST_MAX, attacker.run(attack)).await;
        });
        format!("attack: {attack:?}")
    }

    /// Waits for the end of all.
    pub(crate) async fn end(mut self) {
        while !self.tasks.is_empty() {
            self.end_one().await;
        }
    }

    async fn end_one(&mut self) {
        if let Some(ended) = self.tasks.join_next().await {
            ended.expect("an attack takes whatever comes of it");
        }
    }
}

struct Attacker {
    address: SocketAddr,
    source: Ipv4Addr,
    chance: Chance,
}

impl Attacker {
    async fn run(mut self, attack: Attack) -> Option<()> {
        match attack {
            Attack::Pings => self.flood(&Frame::new(PING, []), &[]).await,
            Attack::OneByte => self.flood(&Frame::text("x"), &[]).await,
            Attack::Fragments => {
                let first = masked(Frame::new(TEXT, "x").unfinished());
                self.flood(&Frame::new(CONTINUATION, "x").unfinished(), &first).await
            }
            Attack::Deaf => self.deaf().await,
            Attack::HalfOpen => self.half_open(Upgrade::to(self.address)).await,
            Attack::ConnectAndLeave => self.connect_and_leave().await,
            Attack::OpenMessage => self.open_message().await,
            Attack::SlowHandler => self.say(&["!work 400", "behind it"]).await,
            Attack::Ended => {
                let ways =
                    ["!rst", "!eof", "!close 1012 restart", "!close 1011", "!partial", "!bad-frame rsv1"];
                let way = *self.chance.one_of(&ways);
                self.say(&[way]).await
            }
            Attack::Violation => self.violate().await,
            Attack::Admin => self.ask_for_everything().await,
        }
    }

    /// A session, with the subprotocol `protocol` if that is not empty.
    async fn session(&self, protocol: &str) -> Option<TcpStream> {
        let mut upgrade = Upgrade::to(self.address);
        if !protocol.is_empty() {
            upgrade = upgrade.header("Sec-WebSocket-Protocol", protocol);
        }
        let mut stream = self.connect().await?;
        stream.write_all(&upgrade.encode()).await.ok()?;
        let answer = read_response(&mut stream, &mut BytesMut::new()).await?;
        (answer.status == 101).then_some(stream)
    }

    async fn connect(&self) -> Option<TcpStream> {
        Upgrade::to(self.address).from(self.source).dial().await.ok()
    }

    /// Many of these frames behind `first`; reads what comes meanwhile.
    async fn flood(&mut self, frame: &Frame, first: &[u8]) -> Option<()> {
        let (mut reader, mut writer) = self.session("").await?.into_split();
        let frames = masked(frame.clone()).repeat(AT_ONCE);
        let write = async {
            writer.write_all(first).await.ok()?;
            for _ in 0..FLOOD / AT_ONCE {
                writer.write_all(&frames).await.ok()?;
            }
            sleep(self.chance.pause(0, 300)).await;
            Some(())
        };
        let read = async {
            let mut buffer = vec![0; 64 * 1024];
            while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
        };
        tokio::select! {
            written = write => written,
            () = read => None,
        }
    }

    async fn deaf(&mut self) -> Option<()> {
        let mut stream = self.session("").await?;
        let message = masked(Frame::new(BINARY, vec![b'x'; 10_000]));
        let say = async {
            for _ in 0..UNREAD / 10_000 {
                stream.write_all(&message).await.ok()?;
            }
            Some(())
        };
        // When nothing more is taken, it has what it wants.
        let _ = timeout(Duration::from_millis(500), say).await;
        sleep(self.chance.pause(100, 1500)).await;
        Some(())
    }

    async fn half_open(&mut self, upgrade: Upgrade) -> Option<()> {
        let request = upgrade.encode();
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            let mut stream = self.connect().await?;
            let said = *self.chance.one_of(&[0, 20, 60]);
            // Earlier ones may have been driven out, but hardly this one.
            stream.write_all(&request[..said]).await.ok()?;
            crowd.push(stream);
        }
        sleep(self.chance.pause(0, 1000)).await;
        Some(())
    }

    async fn connect_and_leave(&mut self) -> Option<()> {
        for _ in 0..self.chance.between(1, 10) {
            let mut stream = self.session("steadfast.v1").await?;
            if self.chance.below(2) == 0 {
                stream.write_all(&masked(Frame::text("mhello"))).await.ok()?;
            }
        }
        Some(())
    }

    async fn open_message(&mut self) -> Option<()> {
        let mut stream = self.session("").await?;
        stream.write_all(&masked(Frame::new(BINARY, vec![b'x'; OPEN]).unfinished())).await.ok()?;
        sleep(self.chance.pause(100, 1500)).await;
        if self.chance.below(2) == 0 {
            stream.write_all(&masked(Frame::new(CONTINUATION, "end"))).await.ok()?;
            let _ = stream.read(&mut [0; 64]).await;
        }
        Some(())
    }

    /// Says these, and reads until it has been closed, or for a while.
    async fn say(&mut self, texts: &[&str]) -> Option<()> {
        let mut stream = self.session("").await?;
        for text in texts {
            stream.write_all(&masked(Frame::text(text))).await.ok()?;
        }
        let read = async {
            let mut buffer = [0; 1024];
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        };
        let _ = timeout(self.chance.pause(500, 2000), read).await;
        Some(())
    }

    async fn violate(&mut self) -> Option<()> {
        let mut stream = self.session("").await?;
        let bad = [
            // A reserved opcode, a continuation of nothing, a frame without a mask, and a ping that is too long.
            masked(Frame::new(0x3, "x")),
            masked(Frame::new(CONTINUATION, "x")),
            Frame::text("x").encode(),
            masked(Frame::new(PING, [b'x'; 126])),
        ];
        let frame: &Vec<u8> = self.chance.one_of(&bad);
        stream.write_all(frame).await.ok()?;
        let _ = stream.read(&mut [0; 64]).await;
        Some(())
    }

    async fn ask_for_everything(&mut self) -> Option<()> {
        let pages = ["/metrics", "/api/v1/sessions", "/api/v1/backends", "/api/v1/operations"];
        for n in 0..CROWD {
            let mut stream = self.connect().await?;
            let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", pages[n % pages.len()]);
            stream.write_all(request.as_bytes()).await.ok()?;
        }
        // Who waits for its answer gets it.
        assert_eq!(admin::get(self.address, "/healthz").await.status, 200);
        Some(())
    }
}

fn masked(frame: Frame) -> Vec<u8> {
    frame.masked([0x11, 0x22, 0x33, 0x44]).encode()
}
