//! A backend for HTTP that writes down each request before it answers it, so that nothing that it has had is forgotten
//! when it is killed. It ends when its standard input does.
//!
//! A request for `/ID` is answered with `NAME METHOD ID`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use steadfast_tests::origin::ok;
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::wire::Wire;
use tokio::net::TcpSocket;
use tokio::time::sleep;

/// Connections that may wait.
const BACKLOG: u32 = 4096;
const DESCRIPTORS: u64 = 4096;

/// The command line.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    address: SocketAddr,
    /// The prefix of answers.
    #[arg(long)]
    name: String,
    /// The file that `METHOD ID` is appended to for each request.
    #[arg(long)]
    log: PathBuf,
    /// Milliseconds until it answers.
    #[arg(long, default_value_t = 0)]
    delay: u64,
}

struct Shared {
    name: String,
    log: File,
    delay: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    raise_descriptor_limit(DESCRIPTORS);
    std::thread::spawn(|| {
        // Whatever comes, until it ends.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let log = OpenOptions::new().append(true).create(true).open(&arguments.log).expect("a log");
    let delay = Duration::from_millis(arguments.delay);
    let shared = Arc::new(Shared { name: arguments.name, log, delay });
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR");
    socket.bind(arguments.address).expect("a free port");
    let listener = socket.listen(BACKLOG).expect("it is bound");
    println!("listening on {}", arguments.address);
    loop {
        let (stream, _) = listener.accept().await.expect("connections can be accepted");
        tokio::spawn(serve(Wire::over(stream), Arc::clone(&shared)));
    }
}

async fn serve(mut wire: Wire, shared: Arc<Shared>) {
    while let Some(request) = wire.idle_request().await {
        let (method, id) = (request.method(), request.target().trim_start_matches('/'));
        // In one piece, which is whole or not there at all.
        (&shared.log).write_all(format!("{method} {id}\n").as_bytes()).expect("a log can be written");
        sleep(shared.delay).await;
        if wire.try_send(ok(format!("{} {method} {id}", shared.name))).await.is_err() {
            return;
        }
    }
}
