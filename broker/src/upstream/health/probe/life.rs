//! The shortest question to a backend of which nobody hears anything: does it answer at all?

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http::{USER_AGENT, authority};
use crate::upstream::approach::Approach;

/// Asks the backend for `/`, without an upgrade, a cookie or a query, and returns whether a byte of an answer
/// has come within `limit`. A connection that it accepts is none: the kernel of a stopped process accepts.
pub(crate) async fn answers((host, port): (&str, u16), approach: Approach<'_>, limit: Duration) -> bool {
    let asked = async {
        let mut stream = approach.connect((host, port), None, limit).await.ok()?;
        let authority = authority(host, port);
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        stream.read_u8().await.ok()
    };
    tokio::time::timeout(limit, asked).await.is_ok_and(|byte| byte.is_some())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::settings::{HeaderCase, SendProxy};
    use crate::net::connect::History;
    use crate::upstream::manner::Manner;

    const MANNER: Manner =
        Manner { case: HeaderCase::Lower, header: 16 << 10, header_lines: 128, proxy: SendProxy::V1 };

    fn approach(history: &History) -> Approach<'_> {
        Approach { sources: &[], history, manner: MANNER, tls: None }
    }

    const LIMIT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn any_byte_will_do_and_an_accepted_connection_will_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        assert!(
            !answers(("127.0.0.1", port), approach(&History::default()), LIMIT).await,
            "the kernel has accepted"
        );
        let answer = tokio::spawn(async move {
            let (_, _) = listener.accept().await.expect("the first question");
            let (mut stream, _) = listener.accept().await.expect("the second");
            let mut request = [0; 1024];
            let n = stream.read(&mut request).await.expect("it asks");
            stream.write_all(b"?").await.expect("it listens");
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        let long = Duration::from_secs(10);
        assert!(answers(("127.0.0.1", port), approach(&History::default()), long).await);
        let request = answer.await.expect("it has answered");
        let said = request.strip_prefix("PROXY UNKNOWN\r\n").expect("as the pool's backends are spoken to");
        assert!(said.starts_with("GET / HTTP/1.1\r\n") && !said.contains("pgrade"), "{request}");
    }
}
