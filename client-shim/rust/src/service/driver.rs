//! The task that holds a session's connection.

use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::steadfast_v1::service::{Attachment, Breach, Input};
use steadfast_protocol::websocket::close_code::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Message;
use crate::wire::{Close, Heard, Wire};

use super::shared::{ServiceState, SharedSession};
use super::{End, Event};

/// How long the broker may take to answer the service's Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for ATTACH. Pings are answered meanwhile.
pub(super) async fn attach<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    shared: &SharedSession,
) -> Result<Attachment, End> {
    loop {
        let heard = wire.turn(true, &mut || None).await;
        let state = &mut *shared.lock();
        match heard {
            Heard::Message { text, payload } => match state.machine.handle_message(text, &payload) {
                Ok(Input::Attached(attachment)) => return Ok(attachment),
                // Nothing else comes before it.
                Ok(Input::Message(_) | Input::Skipped(_)) => {}
                Err(breach) => return Err(End::Breach(breach)),
            },
            heard => handle_heard(heard, state)?,
        }
    }
}

/// Runs until the session has left, or was dropped.
pub(super) async fn drive<S>(mut wire: Wire<S>, shared: Arc<SharedSession>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(end) = serve(&mut wire, &shared).await else {
        // The service has dropped it as if it had died: so does the connection.
        return;
    };
    let close = match &end {
        End::Breach(breach) => Some(close_for(*breach)),
        _ => None,
    };
    {
        let mut state = shared.lock();
        state.end = Some(end.clone());
        state.tell(Event::Ended(end.clone()));
    }
    shared.wake();
    if !matches!(end, End::Lost { .. }) {
        wire.finish(close.map(crate::wire::close)).await;
    }
}

pub(super) fn close_for(breach: Breach) -> Close {
    Close { code: CloseCode::INTERNAL_ERROR, reason: breach.to_string() }
}

/// Until the end; `None`: the session was dropped.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, shared: &SharedSession) -> Option<End> {
    let mut until = None;
    loop {
        let (reading, closing) = {
            let state = shared.lock();
            if state.abandoned {
                return None;
            }
            // After its close_for nobody takes what comes.
            (state.has_room() || state.is_closing(), state.is_closing())
        };
        if closing {
            until.get_or_insert_with(|| tokio::time::Instant::now() + CLOSE_TIMEOUT);
        }
        let timer = async {
            match until {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut next = || {
            let next = shared.lock().next();
            // There is room again.
            next.inspect(|_| shared.wake())
        };
        tokio::select! {
            heard = wire.turn(reading, &mut next) => {
                let ended = handle_heard(heard, &mut shared.lock());
                shared.wake();
                if let Err(end) = ended {
                    return Some(end);
                }
            }
            () = shared.work.notified() => {}
            () = timer => return Some(End::Asked),
        }
    }
}

fn handle_heard(heard: Heard, state: &mut ServiceState) -> Result<(), End> {
    match heard {
        Heard::Message { .. } if state.is_closing() => {}
        Heard::Message { text, payload } => {
            match state.machine.handle_message(text, &payload).map_err(End::Breach)? {
                Input::Message(seq) => {
                    state.tell(Event::Message { seq, message: Message::from_wire(text, &payload) });
                }
                Input::Attached(_) | Input::Skipped(_) => {}
            }
        }
        Heard::Ping(payload) => notice(&payload, state)?,
        Heard::Alive => {}
        Heard::Closed { .. } if state.is_closing() => return Err(End::Asked),
        Heard::Closed { code, reason } => return Err(End::by_close(code, reason)),
        Heard::Ended { error } => return Err(End::Lost { error: error.map(|error| error.to_string()) }),
    }
    Ok(())
}

fn notice(payload: &[u8], state: &mut ServiceState) -> Result<(), End> {
    let (applied, draining) = (state.machine.applied(), state.machine.is_draining());
    state.machine.handle_ping(payload).map_err(End::Breach)?;
    if state.machine.applied() != applied {
        state.tell(Event::Applied(state.machine.applied()));
    }
    if state.machine.is_draining() && !draining {
        state.tell(Event::Draining);
    }
    Ok(())
}
