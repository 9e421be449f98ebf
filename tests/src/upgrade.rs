//! A client's upgrade request, as a browser would send it or as a test bends it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::Socket;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client::Client;
use crate::http::{Response, read_response};
use crate::stream::{Stream, socket_of};
use crate::tls::ClientTls;
use crate::wait::bounded;

/// The key that every test client sends; RFC 6455 section 1.3 uses it too.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An upgrade request to be sent.
#[derive(Debug, Clone)]
pub struct Upgrade {
    address: SocketAddr,
    source: Option<IpAddr>,
    /// The file of a Unix domain socket, in place of the address.
    file: Option<PathBuf>,
    tls: Option<ClientTls>,
    path: String,
    headers: Vec<(String, String)>,
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl Upgrade {
    /// A correct request to `address` for `/`, without extensions and subprotocols.
    pub fn to(address: SocketAddr) -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let headers = [
            ("Host", address.to_string().as_str()),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ]
        .map(own)
        .to_vec();
        let [before, behind] = [const { Vec::new() }; 2];
        Self { address, source: None, file: None, tls: None, path: "/".to_owned(), headers, before, behind }
    }

    /// The same to a listener that is a file.
    pub fn to_file(path: &Path) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self { file: Some(path.to_owned()), ..Self::to(nowhere) }.replace("Host", "localhost")
    }

    /// Speaks TLS.
    pub fn tls(mut self, tls: &ClientTls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Comes from this address of this machine; all of 127.0.0.0/8 are.
    pub fn from(mut self, source: impl Into<IpAddr>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Asks for this path and query.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces a header.
    pub fn replace(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    /// Sends these bytes in the same write, in front of the request, as a PROXY header.
    pub fn before(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.before);
        self
    }

    /// Sends these bytes in the same write, behind the request.
    pub fn behind(mut self, bytes: Vec<u8>) -> Self {
        self.behind = bytes;
        self
    }

    /// The request's bytes, and those around it.
    pub fn encode(&self) -> Vec<u8> {
        [self.before.clone(), self.request()].concat()
    }

    fn request(&self) -> Vec<u8> {
        let mut text = format!("GET {} HTTP/1.1\r\n", self.path);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        [text.as_bytes(), b"\r\n", &self.behind].concat()
    }

    /// Sends it; a client when it was accepted, else the answer.
    pub async fn attempt(&self) -> Result<Client, Response> {
        let (stream, socket) = self.ask().await;
        bounded("the answer to an upgrade", complete_over(stream, socket)).await
    }

    /// Sends it over whatever it is to go.
    async fn ask(&self) -> (Stream, Socket) {
        if let Some(file) = &self.file {
            let mut stream = UnixStream::connect(file).await.expect("somebody listens there");
            stream.write_all(&self.encode()).await.expect("the request can be written");
            let socket = socket_of(&stream);
            return (Box::new(stream), socket);
        }
        let Some(tls) = &self.tls else {
            let stream = self.open().await;
            let socket = socket_of(&stream);
            return (Box::new(stream), socket);
        };
        let mut stream = self.dial().await.expect("the listener accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.write_all(&self.before).await.expect("what is in front can be written");
        let socket = socket_of(&stream);
        let mut stream = bounded("a handshake", tls.connect(stream)).await.expect("the handshake succeeds");
        stream.write_all(&self.request()).await.expect("the request can be written");
        stream.flush().await.expect("the request can be written");
        (Box::new(stream), socket)
    }

    /// Sends it. Panics when it is not accepted.
    pub async fn connect(&self) -> Client {
        self.attempt().await.unwrap_or_else(|response| panic!("the upgrade was refused: {response:?}"))
    }

    /// Sends it. Panics when it is accepted.
    pub async fn refused(&self) -> Response {
        match self.attempt().await {
            Ok(client) => panic!("the upgrade was accepted: {:?}", client.response()),
            Err(response) => response,
        }
    }

    /// Sends it and leaves the answer unread.
    pub async fn open(&self) -> TcpStream {
        self.begin(usize::MAX).await
    }

    /// Connects, and sends nothing.
    ///
    /// # Errors
    /// The system's.
    pub async fn dial(&self) -> std::io::Result<TcpStream> {
        match self.source {
            None => TcpStream::connect(self.address).await,
            Some(source) => bound(source).connect(self.address).await,
        }
    }

    /// Sends its first `bytes` alone.
    pub async fn begin(&self, bytes: usize) -> TcpStream {
        let mut stream = self.dial().await.expect("the listener accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let request = self.encode();
        stream.write_all(&request[..bytes.min(request.len())]).await.expect("the request can be written");
        stream
    }
}

impl Client {
    /// Connects to `address` with an ordinary request for `/`.
    pub async fn connect(address: SocketAddr) -> Self {
        Upgrade::to(address).connect().await
    }
}

/// A socket with an address whose port is chosen when it connects: chosen at once, nobody else could use that port
/// of any address.
pub(crate) fn bound(source: IpAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    setsockopt(&socket, IpBindAddressNoPort, &true).expect("IP_BIND_ADDRESS_NO_PORT");
    socket.bind(SocketAddr::new(source, 0)).expect("an address of this machine");
    socket
}

/// Reads the answer on a stream that has sent the request. An ended connection gives the status 0.
pub async fn complete(stream: TcpStream) -> Result<Client, Response> {
    let socket = socket_of(&stream);
    complete_over(Box::new(stream), socket).await
}

/// As [`complete`], over a connection of any kind with this socket.
pub async fn complete_over(mut stream: Stream, socket: Socket) -> Result<Client, Response> {
    let mut buffer = BytesMut::new();
    let response = read_response(&mut stream, &mut buffer).await.unwrap_or_default();
    if response.status != 101 {
        return Err(response);
    }
    let accept = derive_accept_key(KEY.as_bytes());
    assert_eq!(response.header("sec-websocket-accept"), Some(accept.as_str()), "RFC 6455 4.2.2");
    Ok(Client::new(stream, socket, buffer, response))
}
