//! Plain HTTP beside the WebSocket: what health checks and agents are told.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use steadfast_tests::http::{Head, header};

use crate::answer::{Answer, push_headers};

/// `PATH:STATUS,STATUS...[:BODY]`: each request for the path gets the next status, and the last one stays. In the
/// body `+` stands for a space and `|` for a new line.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    path: String,
    statuses: Vec<u16>,
    body: String,
    requests: Arc<AtomicUsize>,
}

impl FromStr for Page {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let path = parts.next().unwrap_or_default().to_owned();
        let statuses = parts.next().ok_or_else(|| format!("{text:?} has no status"))?;
        let status = |text: &str| text.parse().map_err(|_| format!("{text:?} is no status"));
        let statuses = statuses.split(',').map(status).collect::<Result<_, _>>()?;
        let body = parts.next().unwrap_or_default().replace('+', " ").replace('|', "\n");
        Ok(Self { path, statuses, body, requests: Arc::default() })
    }
}

impl Page {
    fn answer(&self, headers: &[String]) -> Answer {
        let turn = self.requests.fetch_add(1, Ordering::Relaxed).min(self.statuses.len() - 1);
        plain(self.statuses[turn], headers, &self.body)
    }
}

/// Whether `request` wants a page rather than a WebSocket.
pub(crate) fn is_plain(request: &Head) -> bool {
    header(&request.headers, "upgrade").is_none()
}

/// The answer to a plain request, with these headers; 404 for a page that no flag has named.
pub(crate) fn answer(pages: &[Page], headers: &[String], request: &Head) -> Answer {
    let target = request.line.split(' ').nth(1).unwrap_or_default();
    let page = pages.iter().find(|page| page.path == target);
    page.map_or_else(|| plain(404, &[], ""), |page| page.answer(headers))
}

fn plain(status: u16, headers: &[String], body: &str) -> Answer {
    let mut text =
        format!("HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    push_headers(&mut text, headers);
    text += "\r\n";
    Answer { status, bytes: (text + body).into_bytes() }
}
