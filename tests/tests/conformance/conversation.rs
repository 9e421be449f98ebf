//! One case as a client's conversation with one address.

use std::net::SocketAddr;

use steadfast_tests::frame::{BINARY, End, Frame, TEXT};
use steadfast_tests::{Client, Incoming, Upgrade};

use crate::case::{Case, Step};

/// Has the conversation of `case` with `address`; what differed from it otherwise.
pub(crate) async fn hold(case: Case, address: SocketAddr) -> Result<(), String> {
    let mut upgrade = Upgrade::to(address).path(&format!("/{}", case.id));
    if let Some(offer) = &case.offer {
        upgrade = upgrade.header("Sec-WebSocket-Extensions", offer);
    }
    let client = upgrade.attempt().await.map_err(|response| format!("upgrade: {response:?}"))?;
    Conversation { client, joined: Vec::new(), close_sent: false, close_seen: false }.run(&case.steps).await
}

struct Conversation {
    client: Client,
    joined: Vec<u8>,
    close_sent: bool,
    close_seen: bool,
}

impl Conversation {
    async fn run(mut self, steps: &[Step]) -> Result<(), String> {
        for (at, step) in steps.iter().enumerate() {
            if step.send.is_some() {
                self.send(step).await;
            } else {
                self.see(step).await.map_err(|what| format!("step {}: {what}", at + 1))?;
            }
        }
        self.finish().await
    }

    async fn send(&mut self, step: &Step) {
        self.joined.extend(step.bytes(true));
        self.close_sent |= step.send.as_deref() == Some("close");
        if step.joined {
            return;
        }
        let bytes = std::mem::take(&mut self.joined);
        for piece in bytes.chunks(step.chop.unwrap_or(usize::MAX)) {
            self.client.send_raw(piece.to_vec()).await;
        }
    }

    async fn see(&mut self, step: &Step) -> Result<(), String> {
        let seen = self.client.next_but_pings().await;
        self.close_seen |= matches!(seen, Incoming::Close(..));
        if matches(step, &seen) { Ok(()) } else { Err(format!("expected {}, saw {seen:?}", describe(step))) }
    }

    /// Closes in order, if that has not been done, and sees that nothing else comes.
    async fn finish(mut self) -> Result<(), String> {
        if !self.close_seen && !self.close_sent {
            self.client.send_frame(Frame::close(1000, "")).await;
            self.close_sent = true;
        }
        if !self.close_seen {
            match self.client.next_but_pings().await {
                Incoming::Close(Some(1000), reason) if reason.is_empty() => {}
                other => return Err(format!("at the end: expected Close 1000, saw {other:?}")),
            }
        }
        if !self.close_sent {
            self.client.send_frame(Frame::close_empty()).await;
        }
        match self.client.next_but_pings().await {
            // A server that fails a connection may close it with input unread, which the kernel makes a reset.
            Incoming::End(End::Eof | End::Reset) => Ok(()),
            other => Err(format!("behind the Close: expected the connection's end, saw {other:?}")),
        }
    }
}

fn matches(step: &Step, seen: &Incoming) -> bool {
    match (step.see.as_deref().unwrap_or_default(), seen) {
        (kind @ ("text" | "binary"), Incoming::Message(message)) => {
            message.opcode == if kind == "text" { TEXT } else { BINARY }
                && message.rsv == step.rsv
                && message.bytes == step.payload()
                && step.fragments.as_ref().is_none_or(|fragments| *fragments == message.fragments)
        }
        ("pong", Incoming::Pong(payload)) => *payload == step.payload(),
        ("close", Incoming::Close(code, reason)) => {
            step.close_codes().contains(code) && step.reason().is_none_or(|expected| expected == reason)
        }
        ("text" | "binary" | "pong" | "close", _) => false,
        (unknown, _) => panic!("unknown kind of thing to see: {unknown:?}"),
    }
}

fn describe(step: &Step) -> String {
    let kind = step.see.as_deref().unwrap_or_default();
    match kind {
        "close" => format!("a Close with one of {:?}, reason {:?}", step.close_codes(), step.reason()),
        _ => {
            let payload = step.payload();
            let shown = String::from_utf8_lossy(&payload[..payload.len().min(64)]).into_owned();
            format!("{kind} of {} bytes ({shown:?}), fragments {:?}", payload.len(), step.fragments)
        }
    }
}
