//! `steadfast demo-backend`: the service behind the broker in the demo, as plain as services are. It
//! knows nothing of the broker.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::cast::Kind;

/// How long the asynchronous kind works on a message.
const WORK: Duration = Duration::from_millis(20);

/// The most messages that the asynchronous kind works on at once, per connection.
const WORK_ITEMS_MAX: usize = 1024;

/// The command line of `steadfast demo-backend`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The name that stands in each answer
    #[arg(long)]
    name: String,
    /// How it answers
    #[arg(long, value_enum)]
    kind: Kind,
    /// The loopback port to listen on; 0 lets the system choose
    #[arg(long)]
    port: u16,
}

/// Serves until it is killed.
pub fn run(options: &Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve(options)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backend {} cannot serve on port {}: {error}", options.name, options.port);
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &Options) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port))).await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream, options.name.clone(), options.kind));
    }
}

/// One connection. That it ends, in whatever way, is nothing to report.
async fn converse(stream: TcpStream, name: String, kind: Kind) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let socket = tokio_tungstenite::accept_async(stream).await?;
    match kind {
        Kind::Immediate => answer_each(socket, &name).await,
        Kind::Async => read_ahead(socket, &name).await,
    }
}

async fn answer_each(mut socket: WebSocketStream<TcpStream>, name: &str) -> Result<(), Error> {
    while let Some(frame) = socket.next().await {
        if let Message::Text(request) = frame? {
            socket.send(answer(name, &request)).await?;
        }
    }
    Ok(())
}

/// Pings are answered while work goes on: the WebSocket layer has more messages than the service
/// has handled.
async fn read_ahead(mut socket: WebSocketStream<TcpStream>, name: &str) -> Result<(), Error> {
    let mut work: VecDeque<(Instant, Utf8Bytes)> = VecDeque::new();
    loop {
        let due = work.front().map(|(due, _)| *due);
        tokio::select! {
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if let Some((_, request)) = work.pop_front() {
                    socket.send(answer(name, &request)).await?;
                }
            }
            frame = socket.next(), if work.len() < WORK_ITEMS_MAX => match frame {
                Some(frame) => if let Message::Text(request) = frame? {
                    work.push_back((Instant::now() + WORK, request));
                },
                None => return Ok(()),
            },
        }
    }
}

fn answer(name: &str, request: &str) -> Message {
    Message::text(format!("{name}: {request}"))
}
