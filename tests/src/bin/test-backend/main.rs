//! A WebSocket backend that does what its flags and its masters say, right or wrong, and writes down what it
//! sees. It ends when its standard input does, so that it never outlives the test that started it.

mod answer;
mod behaviour;
mod command;
mod connection;
mod misdeed;
mod outbox;
mod pace;
mod page;
mod upgrade;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Parser;
use socket2::Socket;
use steadfast_tests::journal::{Event, JournalWriter};
use steadfast_tests::network::swallow;
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::stream::{Stream, socket_of};
use steadfast_tests::tls::server;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::broadcast;
use tokio_rustls::rustls::ServerConfig;

use behaviour::Behaviour;
use command::Order;

/// The command line.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// The file that observations are appended to.
    #[arg(long)]
    journal: PathBuf,
    /// The prefix of answers.
    #[arg(long, default_value = "backend")]
    name: String,
    /// Accepted connections that may wait.
    #[arg(long, default_value_t = 4096)]
    backlog: u32,
    /// Descriptors that it must be able to open; two for each connection.
    #[arg(long, default_value_t = 1024)]
    descriptors: u64,
    /// The kernel's buffer for what is not read yet, in bytes; it takes twice as much.
    #[arg(long)]
    receive_buffer: Option<u32>,
    /// Shares its address with other processes, as the workers of one server do.
    #[arg(long)]
    reuse_port: bool,
    /// The file of a Unix domain socket, where it listens instead.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Its certificate, in PEM: then it speaks TLS.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// The key of that.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Takes what any backend with this flag has given for resumption.
    #[arg(long)]
    shared_tickets: bool,
    #[command(flatten)]
    behaviour: Behaviour,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) journal: JournalWriter,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    behaviour: Mutex<Arc<Behaviour>>,
    pub(crate) commands: broadcast::Sender<Order>,
    /// The listening socket, for its options.
    listener: Socket,
    /// Those of the connections that are open, by their numbers.
    open: Mutex<BTreeMap<u32, Socket>>,
    /// Held from before an order is in the journal until all connections have it.
    giving: Mutex<()>,
}

impl Shared {
    /// The behaviour of this moment.
    pub(crate) fn behaviour(&self) -> Arc<Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The sockets of the connections that are open.
    pub(crate) fn open(&self) -> MutexGuard<'_, BTreeMap<u32, Socket>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until an order that the journal tells of has reached all connections.
    pub(crate) fn wait_given(&self) {
        drop(self.giving.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Obeys a line of standard input: `NUMBER all COMMAND`, `NUMBER some COUNT COMMAND`, `NUMBER swallow COUNT`,
    /// `NUMBER vanish` or
    /// `NUMBER set FLAGS`.
    fn obey(&self, line: &str) {
        let mut words = line.splitn(3, ' ').skip(1);
        let (verb, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let order = match verb {
            "all" => Some(Order::new(rest, usize::MAX)),
            "some" => {
                let (count, command) = rest.split_once(' ').unwrap_or_default();
                let count = count.parse().unwrap_or_else(|_| panic!("{line:?} has no count"));
                Some(Order::new(command, count))
            }
            _ => None,
        };
        if let "swallow" | "vanish" = verb {
            let count = if verb == "vanish" { usize::MAX } else { rest.parse().unwrap_or(usize::MAX) };
            self.open().values().take(count).for_each(swallow);
            if verb == "vanish" {
                swallow(&self.listener);
            }
            self.journal.write(0, Event::Applied { line: line.to_owned() });
        } else if let Some(order) = order {
            let _giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
            // Before they obey, for that may be the end of this process.
            self.journal.write(0, Event::Applied { line: line.to_owned() });
            // Without connections there is nobody to obey.
            let _ = self.commands.send(order);
        } else {
            let behaviour = Behaviour::from_flags(rest).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(behaviour);
            self.journal.write(0, Event::Applied { line: line.to_owned() });
        }
    }
}

/// Where connections come from.
enum Door {
    Port(TcpListener),
    File(UnixListener),
}

impl Door {
    fn open(arguments: &Arguments) -> std::io::Result<Door> {
        if let Some(file) = &arguments.file {
            // That of an earlier life.
            let _ = std::fs::remove_file(file);
            return UnixListener::bind(file).map(Door::File);
        }
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(arguments.reuse_port)?;
        if let Some(bytes) = arguments.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(arguments.address)?;
        socket.listen(arguments.backlog).map(Door::Port)
    }

    fn socket(&self) -> Socket {
        match self {
            Door::Port(listener) => socket_of(listener),
            Door::File(listener) => socket_of(listener),
        }
    }

    fn place(&self) -> std::io::Result<String> {
        match self {
            Door::Port(listener) => listener.local_addr().map(|address| address.to_string()),
            Door::File(listener) => listener.local_addr().map(|address| format!("{address:?}")),
        }
    }

    /// The next connection, its socket, and whose it is: of a file, nobody's.
    async fn accept(&self) -> std::io::Result<(Stream, Socket, IpAddr)> {
        match self {
            Door::Port(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Only speed depends on it.
                let _ = stream.set_nodelay(true);
                let socket = socket_of(&stream);
                Ok((Box::new(stream), socket, peer.ip()))
            }
            Door::File(listener) => {
                let (stream, _) = listener.accept().await?;
                let socket = socket_of(&stream);
                Ok((Box::new(stream), socket, Ipv4Addr::UNSPECIFIED.into()))
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    raise_descriptor_limit(arguments.descriptors);
    let door = Door::open(&arguments)?;
    let tls = arguments.cert.as_ref().zip(arguments.key.as_ref());
    let tls = tls.map(|(cert, key)| server(cert, key, arguments.shared_tickets));
    let shared = Arc::new(Shared {
        name: arguments.name,
        journal: JournalWriter::open(&arguments.journal)?,
        tls,
        behaviour: Mutex::new(Arc::new(arguments.behaviour)),
        commands: broadcast::channel(64).0,
        listener: door.socket(),
        open: Mutex::default(),
        giving: Mutex::default(),
    });
    println!("listening on {}", door.place()?);
    listen_to_master(shared.clone());
    let mut conn = 0;
    loop {
        let (stream, socket, peer) = door.accept().await?;
        conn += 1;
        tokio::spawn(connection::serve(shared.clone(), conn, (stream, socket), peer));
    }
}

fn listen_to_master(shared: Arc<Shared>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            shared.obey(&line);
        }
        std::process::exit(0);
    });
}
