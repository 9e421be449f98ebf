//! The task that holds a client's connection: hands to the machine what happens, and does what it says.

use std::sync::Arc;

use futures::future::BoxFuture;
use steadfast_protocol::steadfast_v1::client::{Command, Event as Told};
use steadfast_protocol::time::Time;

use crate::Message;
use crate::wire::{self, Close, Heard, Outgoing};

use super::Event;
use super::dial::{BrokerDialer, Dialed, Socket};
use super::shared::{ClientState, SharedClient};

/// Where the one connection is.
enum ConnectionPlace {
    Nowhere,
    Dialing(BoxFuture<'static, Dialed>),
    Connected(Connection),
}

struct Connection {
    socket: Box<Socket>,
    /// A Close that is to be written behind everything else.
    close: Option<Outgoing>,
}

/// What the task wakes up for.
enum Happened {
    Dialed(Dialed),
    Heard(Heard),
    /// The application has done something, or it is time for something.
    Other,
}

/// Runs until the client is over, or nobody holds it any more.
pub(super) async fn drive(shared: Arc<SharedClient>, mut dialer: BrokerDialer) {
    let mut place = ConnectionPlace::Nowhere;
    loop {
        let (command, timeout, reading) = look(&shared, &place);
        shared.wake();
        if let Some(command) = command {
            obey(command, &mut place, &mut dialer);
            continue;
        }
        {
            let state = shared.lock();
            if state.end.is_some() || state.abandoned {
                break;
            }
        }
        let happened = wait(&shared, &mut place, timeout, reading).await;
        handle(happened, &shared, &mut place, &mut dialer);
    }
    shared.wake();
}

/// Lets the machine look at the time. Returns what is to be done, until when it may sleep, and whether the
/// connection is to be read.
fn look(shared: &SharedClient, place: &ConnectionPlace) -> (Option<Command>, Option<Time>, bool) {
    let now = shared.now();
    let state = &mut *shared.lock();
    let reading = state.has_room();
    state.machine.set_reading(now, reading);
    state.machine.advance(now, &mut rand::random);
    pass_on(state, None);
    let timeout = state.machine.poll_timeout();
    // Each attempt has something to tell.
    match place {
        ConnectionPlace::Nowhere if !reading => (None, None, false),
        _ => (state.machine.poll_command(now), timeout, reading),
    }
}

fn obey(command: Command, place: &mut ConnectionPlace, dialer: &mut BrokerDialer) {
    match command {
        Command::Connect { protocols, attempt } => {
            *place = ConnectionPlace::Dialing(Box::pin(dialer.dial(attempt, &protocols)));
        }
        Command::Close { code, reason } => {
            if let ConnectionPlace::Connected(connection) = place {
                connection.close = Some(wire::close(Close { code, reason }));
            }
        }
        Command::Abandon { close } => {
            let left = std::mem::replace(place, ConnectionPlace::Nowhere);
            if let (ConnectionPlace::Connected(connection), Some((code, reason))) = (left, close) {
                tokio::spawn(connection.socket.finish(Some(wire::close(Close { code, reason }))));
            }
        }
    }
}

async fn wait(
    shared: &SharedClient,
    place: &mut ConnectionPlace,
    timeout: Option<Time>,
    reading: bool,
) -> Happened {
    let timer = async {
        match timeout {
            Some(at) => tokio::time::sleep_until(shared.instant(at)).await,
            None => std::future::pending().await,
        }
    };
    let connection = async {
        match place {
            ConnectionPlace::Nowhere => std::future::pending().await,
            ConnectionPlace::Dialing(dial) => Happened::Dialed(dial.await),
            ConnectionPlace::Connected(Connection { socket, close }) => {
                let mut next = || transmit(shared).or_else(|| close.take());
                Happened::Heard(socket.turn(reading, &mut next).await)
            }
        }
    };
    tokio::select! {
        happened = connection => happened,
        () = shared.work.notified() => Happened::Other,
        () = timer => Happened::Other,
    }
}

fn transmit(shared: &SharedClient) -> Option<Outgoing> {
    let now = shared.now();
    let outgoing = shared.lock().machine.poll_transmit(now)?;
    Some(wire::data(outgoing.text, outgoing.message))
}

fn handle(happened: Happened, shared: &SharedClient, place: &mut ConnectionPlace, dialer: &mut BrokerDialer) {
    let now = shared.now();
    let state = &mut *shared.lock();
    match happened {
        Happened::Other => {}
        Happened::Dialed(Dialed::Connected { socket, protocol }) => {
            *place = ConnectionPlace::Connected(Connection { socket, close: None });
            state.machine.handle_connected(now, protocol.as_deref());
        }
        Happened::Dialed(Dialed::Incompatible) => {
            *place = ConnectionPlace::Nowhere;
            state.machine.handle_connected(now, None);
        }
        Happened::Dialed(Dialed::Failed(detail)) => {
            *place = ConnectionPlace::Nowhere;
            state.machine.handle_connect_failed(now);
            pass_on(state, Some(&detail));
        }
        Happened::Heard(heard) => {
            handle_heard(heard, now, state, place);
            if state.machine.is_open() {
                dialer.settle();
            }
        }
    }
}

fn handle_heard(heard: Heard, now: Time, state: &mut ClientState, place: &mut ConnectionPlace) {
    match heard {
        Heard::Message { text, payload } => {
            if let Some(seq) = state.machine.handle_message(now, text, &payload) {
                state.tell(Event::Message { seq, message: Message::from_wire(text, &payload[1..]) });
            }
        }
        Heard::Ping(_) | Heard::Alive => state.machine.handle_alive(now),
        Heard::Closed { code, reason } => {
            if let ConnectionPlace::Connected(connection) = std::mem::replace(place, ConnectionPlace::Nowhere)
            {
                tokio::spawn(connection.socket.finish(None));
            }
            state.machine.handle_disconnected(now, Some((code, &reason)));
        }
        Heard::Ended { error } => {
            *place = ConnectionPlace::Nowhere;
            state.machine.handle_disconnected(now, None);
            pass_on(state, error.map(|error| error.to_string()).as_deref());
        }
    }
}

/// Gives the application what the machine tells; `detail` says more of a loss.
fn pass_on(state: &mut ClientState, detail: Option<&str>) {
    while let Some(told) = state.machine.poll_event() {
        let event = match told {
            Told::Resumed => Event::Resumed,
            Told::Fresh { reason, unknown } => Event::Fresh { reason, unknown },
            Told::Lost(loss) => Event::Lost { loss, detail: detail.map(str::to_owned) },
            Told::Closed(end) => Event::Closed(end),
            // Whoever waits for a receipt looks again.
            Told::Progress { .. } => continue,
        };
        state.tell(event);
    }
}
