//! The answer to an upgrade request.

use steadfast_tests::frame::Frame;
use steadfast_tests::http::{Head, header, header_values};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::answer::{Answer, push_headers};
use crate::behaviour::{Behaviour, Spoil};

/// The answer to `request`; none when the request is to be left hanging or the connection to end.
pub(crate) fn answer(behaviour: &Behaviour, request: &Head) -> Option<Answer> {
    match behaviour.spoil_upgrade {
        Some(Spoil::Hang | Spoil::Close) => return None,
        Some(Spoil::Garbage) => {
            return Some(Answer { status: 0, bytes: b"220 mail.example ESMTP\r\n\r\n".to_vec() });
        }
        _ => {}
    }
    let is_redial = header(&request.headers, "steadfast-attempt").is_some_and(|attempt| attempt != "1");
    let path = request.line.split(' ').nth(1);
    let is_meant = behaviour.refuse_path.is_none() || behaviour.refuse_path.as_deref() == path;
    match behaviour.refuse {
        Some(status) if is_meant && (is_redial || !behaviour.refuse_redials) => {
            Some(refusal(behaviour, status))
        }
        _ => Some(acceptance(behaviour, request)),
    }
}

fn refusal(behaviour: &Behaviour, status: u16) -> Answer {
    let body = behaviour.refuse_body.as_deref().unwrap_or_default().replace('+', " ");
    let mut text = format!("HTTP/1.1 {status} Refused\r\nContent-Length: {}\r\n", body.len());
    push_headers(&mut text, &behaviour.answer_header);
    text += "\r\n";
    Answer { status, bytes: (text + &body).into_bytes() }
}

fn acceptance(behaviour: &Behaviour, request: &Head) -> Answer {
    let key = header(&request.headers, "sec-websocket-key").unwrap_or_default();
    let accept = match behaviour.spoil_upgrade {
        Some(Spoil::BadAccept) => derive_accept_key(b"another key"),
        _ => derive_accept_key(key.as_bytes()),
    };
    let mut text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if behaviour.spoil_upgrade == Some(Spoil::BadSubprotocol) {
        text += "Sec-WebSocket-Protocol: never-offered\r\n";
    } else if let Some(subprotocol) = agreed_subprotocol(behaviour, request) {
        text += &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    let offers = header_values(&request.headers, "sec-websocket-extensions").join(",");
    if let Some(extensions) = behaviour.extensions.as_ref().filter(|_| offers.contains("permessage-deflate"))
    {
        text += &format!("Sec-WebSocket-Extensions: {}\r\n", extensions.replace(';', "; "));
    }
    push_headers(&mut text, &behaviour.answer_header);
    let mut bytes = (text + "\r\n").into_bytes();
    if let Some(greeting) = &behaviour.greet {
        bytes.extend(Frame::text(greeting).encode());
    }
    Answer { status: 101, bytes }
}

fn agreed_subprotocol<'a>(behaviour: &'a Behaviour, request: &Head) -> Option<&'a str> {
    let own = behaviour.subprotocol.as_deref()?;
    let offers = header_values(&request.headers, "sec-websocket-protocol").join(",");
    offers.split(',').any(|offer| offer.trim() == own).then_some(own)
}
