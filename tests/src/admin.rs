//! Questions to the admin listener, and the reading of Prometheus text.

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::{Response, read_response};
use crate::wait::bounded;

/// GETs `path`, on a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, request.as_bytes()).await.unwrap_or_else(|| panic!("no answer to GET {path}"))
}

/// Asks `path` with another method and this body, which is called JSON unless it is empty.
pub async fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Response {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
    );
    exchange(address, request.as_bytes()).await.unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

/// POSTs nothing to `path`, on a connection of its own.
pub async fn post(address: SocketAddr, path: &str) -> Response {
    send(address, "POST", path, "").await
}

/// Sends `request` as it is and reads the answer. `None` when the connection ends without one.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Option<Response> {
    bounded("an HTTP answer", async {
        let mut stream = TcpStream::connect(address).await.expect("the listener accepts");
        stream.write_all(request).await.ok()?;
        read_response(&mut stream, &mut BytesMut::new()).await
    })
    .await
}

/// The sum of the samples called `name` that have all of `labels`, in Prometheus text.
pub fn metric(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    text.lines().filter_map(|line| sample(line, name, labels)).sum()
}

fn sample(line: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (own_labels, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let matches = labels
        .iter()
        .all(|(key, value)| own_labels.split(',').any(|own| own == format!("{key}=\"{value}\"")));
    if matches { value.trim().parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab 7\nb 5\n";

    #[test]
    fn samples_are_found_by_name_and_labels() {
        assert_eq!(metric(TEXT, "a", &[("x", "1")]), 7.0);
        assert_eq!(metric(TEXT, "a", &[("y", "3"), ("x", "1")]), 4.0);
        assert_eq!(metric(TEXT, "b", &[]), 5.0);
        assert_eq!(metric(TEXT, "c", &[]), 0.0);
    }
}
