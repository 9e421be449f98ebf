//! A client of a broker's admin API: questions over HTTP/1.1, one connection each. The commands and the demo
//! ask with it.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::model::errors::ErrorReply;
use crate::config::AdminToken;
use crate::net::connect::reason;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, with its body.
const ANSWER: Duration = Duration::from_secs(30);
/// Bytes of an answer. A page of 10 000 sessions has less than a tenth.
const ANSWER_MAX: usize = 64 << 20;

/// No body.
pub(crate) const NOTHING: Option<&()> = None;

/// A broker's admin API.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// HOST:PORT
    address: String,
    authorization: Option<HeaderValue>,
}

/// What the API has answered to something that it did.
#[derive(Debug)]
pub(crate) struct ChangeReply(Bytes);

/// Why there is no answer, or none of use.
#[derive(Debug)]
pub(crate) enum Error {
    /// No connection, or no answer in time.
    Unreachable { address: String, why: String },
    /// The API has not done it. `message`: its sentence, if it has said one; `operation`: what stands in the way,
    /// if one does.
    Refused { address: String, status: StatusCode, message: Option<String>, operation: Option<String> },
    /// The request cannot be written, or the answer not understood: a sentence.
    Malformed(String),
}

impl Api {
    /// `address`: HOST:PORT.
    pub(crate) fn new(address: &str, token: Option<&AdminToken>) -> Api {
        Api { address: address.to_owned(), authorization: token.and_then(AdminToken::bearer) }
    }

    /// Asks for a page.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub(crate) async fn get(&self, path: &str) -> Result<ChangeReply, Error> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Has it do something; without a body when `body` is `None`.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub(crate) async fn post<T: Serialize>(
        &self,
        path: &str,
        body: Option<&T>,
    ) -> Result<ChangeReply, Error> {
        let unfit = |error| Error::Malformed(format!("the request cannot be written: {error}"));
        let body = body.map(serde_json::to_vec).transpose().map_err(unfit)?;
        self.ask(Method::POST, path, body.unwrap_or_default().into()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<ChangeReply, Error> {
        let request = self.request(method, path, body)?;
        let connected = timeout(CONNECT, TcpStream::connect(&self.address)).await;
        let stream = connected
            .map_err(|_| self.unreachable("no connection in 5 seconds"))?
            .map_err(|error| self.unreachable(&reason(&error)))?;
        let answered = timeout(ANSWER, exchange(stream, request)).await;
        let (status, body) = answered
            .map_err(|_| self.unreachable("no answer in 30 seconds"))?
            .map_err(|problem| self.unreachable(&problem))?;
        if status.is_success() { Ok(ChangeReply(body)) } else { Err(self.refused(status, &body)) }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.address);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let unfit = |error| Error::Malformed(format!("{path} cannot be asked for: {error}"));
        request.body(Full::new(body)).map_err(unfit)
    }

    fn unreachable(&self, why: &str) -> Error {
        Error::Unreachable { address: self.address.clone(), why: why.to_owned() }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let said: Option<ErrorReply> = serde_json::from_slice(body).ok();
        let (message, operation) = said.map(|said| (said.error.message, said.error.operation)).unzip();
        Error::Refused { address: self.address.clone(), status, message, operation: operation.flatten() }
    }
}

impl ChangeReply {
    /// The answer as JSON, as it came.
    pub(crate) fn json(&self) -> String {
        String::from_utf8_lossy(&self.0).trim_end().to_owned()
    }

    /// What is in it.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn view<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let foreign = |error| {
            let hint = "are the broker and this program of one version?";
            Error::Malformed(format!("the answer is not understood: {error}; {hint}"))
        };
        serde_json::from_slice(&self.0).map_err(foreign)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { address, why } => {
                write!(f, "cannot reach the admin API at {address}: {why}")
            }
            Error::Refused { message: Some(message), .. } => f.write_str(message),
            Error::Refused { address, status, .. } => write!(
                f,
                "{address} answers {status} without saying why; is it the admin listener of a Steadfast broker?"
            ),
            Error::Malformed(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::other(error)
    }
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
    let lost = |error: hyper::Error| format!("the connection was lost: {error}");
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let reading = async {
        let answer: Response<Incoming> = requests.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| format!("its answer cannot be read: {error}"))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(reading);
    tokio::select! {
        read = &mut reading => read,
        // Whatever ends the connection, the answer knows of it.
        _ = connection => reading.await,
    }
}
