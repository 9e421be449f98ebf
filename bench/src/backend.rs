//! `backend`: a WebSocket echo server that costs as little as one can, the same behind every peer. It
//! links the shim toward brokers that ask for it, and answers requests that ask for no WebSocket.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use crate::link::Link;
use crate::tls::{self, Papers};
use crate::wire::frame;
use crate::wire::handshake::{self, Accepted};
use crate::wire::protocols::Protocol;
use echo::{Echo, Manner};
use pace::Pace;
use pages::Pages;
use tally::Tally;

mod commits;
mod echo;
mod pace;
mod pages;
mod tally;

/// Connections that wait to be accepted; a herd of thousands must not fail here.
const BACKLOG: u32 = 4_096;
/// From accept to the end of the handshake.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// With more than this to be written, the backend stops reading, as any server would.
const QUEUED_MAX: usize = 4 * 1024 * 1024;
/// Pings that one writes at a time who writes without end.
const PINGS_AT_ONCE: usize = 64 * 1024;
/// How long accepting pauses when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The arguments of `backend`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Where to listen; port 0 lets the system choose. The address is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Put in front of every echo, so that a client knows who has answered.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// Answer each message only after this many milliseconds, reading on and answering pings at once,
    /// as an asynchronous server does.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub(crate) delay: u64,
    /// Answer one message in twenty after this many milliseconds instead, and those behind it on its
    /// connection later still, as a server that collects garbage now and then does.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub(crate) stall: u64,
    /// Toward a broker that asks for the shim, which gets commits: make one for each message, and not
    /// for all that are read at once.
    #[arg(long)]
    pub(crate) commit_each: bool,
    /// Speak this protocol: connect clients, and answer them in its words.
    #[arg(long, value_enum)]
    pub(crate) protocol: Option<Protocol>,
    /// Answer no binary message, and every text with the number of binary messages before it on its
    /// connection and their bytes. For brokers that do not ask for the shim.
    #[arg(long, conflicts_with_all = ["name", "delay", "stall", "commit_each", "protocol"])]
    pub(crate) count: bool,
    /// Take connections and never answer.
    #[arg(long, conflicts_with_all = ["name", "delay", "stall", "commit_each", "protocol", "count"])]
    pub(crate) mute: bool,
    /// Send empty pings as fast as they are taken, and nothing else.
    #[arg(long, conflicts_with_all = ["name", "delay", "stall", "commit_each", "protocol", "count", "mute"])]
    pub(crate) pings: bool,
    /// Speak TLS 1.3, and show the certificate in this file (PEM, with those that have signed it behind it).
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with_all = ["mute", "pings"])]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
}

/// The arguments of one that speaks TLS.
pub(crate) fn tls_arguments(papers: &Papers) -> [OsString; 4] {
    ["--cert".into(), papers.cert.clone().into(), "--key".into(), papers.key.clone().into()]
}

/// What every connection is served by.
struct Server {
    service: Service,
    pages: Pages,
    /// With TLS.
    acceptor: Option<TlsAcceptor>,
}

/// What a backend does with messages.
#[derive(Debug)]
enum Service {
    Echo(Manner),
    Count,
    Mute,
    Pings,
}

/// Serves until the process is ended.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    let acceptor = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => Some(tls::acceptor(cert, key)?),
        _ => None,
    };
    let listener = bind(options.listen)?;
    println!("listening on {}", listener.local_addr()?);
    let pace = Pace::new(Duration::from_millis(options.delay), Duration::from_millis(options.stall));
    let service = if options.count {
        Service::Count
    } else if options.mute {
        Service::Mute
    } else if options.pings {
        Service::Pings
    } else {
        Service::Echo(Manner {
            name: options.name.into_bytes(),
            pace,
            commit_each: options.commit_each,
            protocol: options.protocol,
        })
    };
    LocalSet::new()
        .run_until(accept_all(listener, Rc::new(Server { service, pages: Pages::default(), acceptor })))
        .await
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    let bound = socket.bind(address).and_then(|()| socket.listen(BACKLOG));
    bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

async fn accept_all(listener: TcpListener, server: Rc<Server>) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A connection's failure is its client's to report.
                spawn_local(serve(stream, server.clone()));
            }
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, server: Rc<Server>) -> io::Result<()> {
    if let Service::Mute = server.service {
        return read_to_end(&mut stream).await;
    }
    let greeting = async {
        let mut link = match &server.acceptor {
            Some(acceptor) => Link::accept(stream, acceptor, QUEUED_MAX).await?,
            None => Link::new(stream, QUEUED_MAX)?,
        };
        let greeted = greet(&mut link, &server.service).await?;
        io::Result::Ok((link, greeted))
    };
    let (mut link, greeted) = timeout(HANDSHAKE_TIME_MAX, greeting).await??;
    let (early, shim) = match greeted {
        Greeted::Session { early, shim } => (early, shim),
        Greeted::Request { early } => {
            server.pages.serve(&mut link, &early).await?;
            return link.end().await;
        }
    };
    match &server.service {
        Service::Echo(manner) => echo(&mut link, &early, Echo::new(manner, shim)).await?,
        Service::Count => count(&mut link, &early).await?,
        Service::Mute => {}
        Service::Pings => {
            link.flush().await?;
            return ping(link.into_socket()?).await;
        }
    }
    link.end().await
}

async fn echo(link: &mut Link, early: &[u8], mut echo: Echo<'_>) -> io::Result<()> {
    echo.greet(link.queued());
    echo.feed(early, Instant::now(), link.queued()).map_err(io::Error::other)?;
    while !echo.is_closed() {
        relay_once(link, &mut echo).await?;
    }
    Ok(())
}

async fn count(link: &mut Link, early: &[u8]) -> io::Result<()> {
    let mut tally = Tally::default();
    tally.feed(early, link.queued()).map_err(io::Error::other)?;
    while !tally.is_closed() {
        let read = link.exchange(|bytes, answers| tally.feed(bytes, answers)).await?;
        read.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
    }
    Ok(())
}

/// Pings without end; what comes meanwhile is read and dropped.
async fn ping(stream: TcpStream) -> io::Result<()> {
    let mut ping = Vec::new();
    frame::put_frame(&mut ping, frame::PING, None, b"");
    let pings = ping.repeat(PINGS_AT_ONCE);
    let (mut reader, mut writer) = stream.into_split();
    let write = async {
        loop {
            writer.write_all(&pings).await?;
        }
    };
    tokio::select! {
        ended = write => ended,
        ended = read_to_end(&mut reader) => ended,
    }
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// What a client has begun with.
enum Greeted {
    /// A handshake, which is answered; with what came behind it, and whether the shim was promised.
    Session { early: Vec<u8>, shim: bool },
    /// A request that asks for no WebSocket, with what came behind its head.
    Request { early: Vec<u8> },
}

/// Reads the first head of a client, and answers it if it is a handshake.
async fn greet(link: &mut Link, service: &Service) -> io::Result<Greeted> {
    let (head, early) = link.read_head().await?;
    match handshake::accept(&head) {
        Ok(mut accepted) => {
            if let Some(agreed) = link.agreed() {
                accepted.tell(&agreed);
            }
            let Accepted { answer, shim } = accepted;
            link.queued().extend_from_slice(&answer);
            Ok(Greeted::Session { early, shim })
        }
        Err(_) if matches!(service, Service::Echo(_)) => {
            Ok(Greeted::Request { early: [head, early].concat() })
        }
        Err(error) => {
            link.queued().extend_from_slice(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            link.flush().await?;
            Err(io::Error::other(error))
        }
    }
}

/// Waits for bytes of the client or for an answer that is due, and queues what follows from it.
async fn relay_once(link: &mut Link, echo: &mut Echo<'_>) -> io::Result<()> {
    let due = echo.next_due();
    tokio::select! {
        read = link.exchange(|bytes, answers| echo.feed(bytes, Instant::now(), answers)) => {
            read?.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
        }
        () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
            echo.release(Instant::now(), link.queued());
        }
    }
    Ok(())
}
