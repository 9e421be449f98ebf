//! Questions to a broker's admin listener over HTTP/1.1, one connection each.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::trouble::Trouble;
use crate::cli::Exit;
use crate::config::Token;
use crate::connect::reason;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, with its body.
const ANSWER: Duration = Duration::from_secs(30);
/// Bytes of an answer. A page of 10 000 sessions has less than a tenth.
const ANSWER_MAX: usize = 64 << 20;

/// A broker's admin API.
#[derive(Debug)]
pub(super) struct Api {
    /// HOST:PORT
    address: String,
    authorization: Option<HeaderValue>,
}

/// What the API has answered to something that it did.
#[derive(Debug)]
pub(super) struct Answer(Bytes);

/// What it answers to something that it did not do.
#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
    /// The operation that stands in the way.
    operation: Option<String>,
}

impl Api {
    pub(super) fn new(address: &str, token: Option<&Token>) -> Api {
        Api { address: address.to_owned(), authorization: token.and_then(Token::bearer) }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, Trouble> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Without a body when `body` is `None`.
    pub(super) async fn post<T: Serialize>(&self, path: &str, body: Option<&T>) -> Result<Answer, Trouble> {
        let unfit = |error| Trouble::new(Exit::Failure, format!("the request cannot be written: {error}"));
        let body = body.map(serde_json::to_vec).transpose().map_err(unfit)?;
        self.ask(Method::POST, path, body.unwrap_or_default().into()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, Trouble> {
        let request = self.request(method, path, body)?;
        let connected = timeout(CONNECT, TcpStream::connect(&self.address)).await;
        let stream = connected
            .map_err(|_| self.unreachable("no connection in 5 seconds"))?
            .map_err(|error| self.unreachable(&reason(&error)))?;
        let answered = timeout(ANSWER, exchange(stream, request)).await;
        let (status, body) = answered
            .map_err(|_| self.unreachable("no answer in 30 seconds"))?
            .map_err(|problem| self.unreachable(&problem))?;
        if status.is_success() { Ok(Answer(body)) } else { Err(self.refused(status, &body)) }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.address);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let unfit = |error| Trouble::new(Exit::Usage, format!("{path} cannot be asked for: {error}"));
        request.body(Full::new(body)).map_err(unfit)
    }

    fn unreachable(&self, why: &str) -> Trouble {
        let message = format!(
            "cannot reach the admin API at {}: {why}; is a broker with this admin.address running? \
             another address is given by --admin or STEADFAST_ADMIN",
            self.address
        );
        Trouble::new(Exit::Unreachable, message)
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Trouble {
        let address = &self.address;
        let Ok(Refusal { error: Reason { message, operation } }) = serde_json::from_slice(body) else {
            let what = "without saying why; is it the admin listener of a Steadfast broker?";
            return Trouble::new(exit_of(status), format!("{address} answers {status} {what}"));
        };
        let message = match status {
            StatusCode::UNAUTHORIZED => format!(
                "the admin API at {address} wants another token: set STEADFAST_TOKEN to that of the broker's \
                 [admin] table"
            ),
            StatusCode::FORBIDDEN => format!("the admin API at {address} is closed: {message}"),
            _ => message,
        };
        Trouble::new(exit_of(status), message).caused_by(operation)
    }
}

impl Answer {
    /// The answer as JSON, as it came.
    pub(super) fn json(&self) -> String {
        String::from_utf8_lossy(&self.0).trim_end().to_owned()
    }

    /// What is in it.
    pub(super) fn view<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        serde_json::from_slice(&self.0).map_err(|error| {
            let message = format!(
                "the answer is not understood: {error}; are the broker and this program of one version?"
            );
            Trouble::new(Exit::Failure, message)
        })
    }
}

fn exit_of(status: StatusCode) -> Exit {
    match status {
        StatusCode::BAD_REQUEST => Exit::Usage,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Refused,
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::CONFLICT => Exit::Conflict,
        _ => Exit::Failure,
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
