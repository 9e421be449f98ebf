//! A client for people: sends each line that it reads, and prints what comes and what happens.
//!
//! ```text
//! cargo run -p steadfast-shim --example client -- ws://127.0.0.1:9000/
//! ```
//!
//! It ends when its input does, once everything is committed.

use std::process::ExitCode;

use futures::StreamExt;
use steadfast_shim::client::{Cause, Client, End, Event, Events, Options, Sender};
use tokio::io::{AsyncBufReadExt, BufReader};

fn main() -> ExitCode {
    let urls: Vec<_> = std::env::args().skip(1).collect();
    if urls.is_empty() {
        eprintln!("usage: client URL..., such as ws://127.0.0.1:9000/");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("client: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(urls));
    // A line that is still being read is not waited for.
    runtime.shutdown_background();
    code
}

async fn run(urls: Vec<String>) -> ExitCode {
    let client = match Client::connect(Options::new(urls)) {
        Ok(client) => client,
        Err(error) => {
            eprintln!("client: {error}");
            return ExitCode::from(2);
        }
    };
    let (sender, events) = client.split();
    tokio::spawn(send_lines(sender));
    match print_events(events).await {
        Some(End { cause: Cause::Asked, unknown: None, unsent: None }) => ExitCode::SUCCESS,
        Some(End { cause, unknown, unsent }) => {
            eprintln!("client: {cause}; unknown: {unknown:?}, not sent: {unsent:?}");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

/// Each line in turn; the last message must be committed before the goodbye.
async fn send_lines(sender: Sender) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut last = None;
    while let Ok(Some(line)) = lines.next_line().await {
        match sender.send(line).await {
            Ok(receipt) => last = Some(receipt),
            Err(error) => {
                eprintln!("client: {error}");
                return;
            }
        }
    }
    if let Some(receipt) = last
        && let Err(error) = receipt.committed().await
    {
        eprintln!("client: message {}: {error}", receipt.id());
    }
    sender.begin_close(1000, "");
}

async fn print_events(mut events: Events) -> Option<End> {
    while let Some(event) = events.next().await {
        match event {
            Event::Message { message, .. } => match message.as_text() {
                Some(text) => println!("{text}"),
                None => println!("{} bytes", message.as_bytes().len()),
            },
            Event::Resumed => eprintln!("client: the session goes on"),
            Event::Fresh { unknown: None, .. } => eprintln!("client: a new session"),
            Event::Fresh { reason, unknown: Some(ids) } => {
                eprintln!("client: a new session ({reason:?}); nobody knows what became of {ids:?}");
            }
            Event::Lost { loss, detail } => {
                eprintln!("client: {loss} {}", detail.map_or(String::new(), |detail| format!("({detail})")));
            }
            Event::Closed(end) => return Some(end),
        }
    }
    None
}
