//! One line of the log for each change that was asked for, whatever came of it: who, what, and the outcome.
//! It holds neither the token nor a body.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::guard::changes;

/// The id of the operation that a change has begun or concerns. A handler puts it into its answer's
/// extensions.
#[derive(Debug, Clone)]
pub(super) struct Concerns(pub(super) String);

/// Logs what is no mere look and has reached a handler.
pub(super) async fn record(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if !changes(request.method()) {
        return next.run(request).await;
    }
    // A task of its own: what has begun is done and written down though its client may leave meanwhile.
    let handled = tokio::spawn(async move {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = next.run(request).await;
        write_down(peer, &method, &path, &response);
        response
    });
    handled.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn write_down(peer: SocketAddr, method: &Method, path: &str, response: &Response) {
    let status = response.status();
    // The page is there, and takes another method: no handler has seen it.
    if status != StatusCode::METHOD_NOT_ALLOWED {
        let operation = response.extensions().get().map(|Concerns(id)| id.as_str());
        tracing::info!(target: "audit", %peer, %method, path, status = status.as_u16(), operation, "change");
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::{Notify, mpsc};
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Sends what is logged to a test.
    struct Log(mpsc::Sender<String>);

    impl io::Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.try_send(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_change_is_written_down_though_its_client_has_left() {
        let (log, mut lines) = mpsc::channel(8);
        let subscriber = tracing_subscriber::fmt().with_writer(move || Log(log.clone())).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let (begun, left) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, leaves) = (Arc::clone(&begun), Arc::clone(&left));
        let slow = async move || {
            begins.notify_one();
            leaves.notified().await;
            // Long enough for the server to see that nobody waits for the answer.
            for _ in 0..1000 {
                yield_now().await;
            }
        };
        let router = Router::new().route("/change", post(slow)).route_layer(from_fn(record));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move { axum::serve(listener, service).await });

        let mut client = TcpStream::connect(address).await.expect("it accepts");
        let request = b"POST /change HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        client.write_all(request).await.expect("it reads");
        begun.notified().await;
        drop(client);
        left.notify_one();
        let line = timeout(PATIENCE, lines.recv()).await.expect("a line").expect("it is logged to");
        assert!(line.contains("audit") && line.contains("/change"), "{line}");
        serving.abort();
    }
}
