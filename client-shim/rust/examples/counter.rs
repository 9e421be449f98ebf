//! A service with a state: each message adds one, and is answered with the new count. The count is the
//! session's capsule, so it goes on at another counter when this one dies, and no message counts twice.
//!
//! ```text
//! cargo run -p steadfast-shim --example counter -- 127.0.0.1:9001
//! ```

use std::process::ExitCode;

use steadfast_shim::service::{Event, Listener, Options, SendError, Session};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: counter ADDRESS, such as 127.0.0.1:9001");
        return ExitCode::from(2);
    };
    match serve(&address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("counter: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: &str) -> std::io::Result<()> {
    let mut listener = Listener::bind(address, Options::default()).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let session = listener.accept().await?;
        tokio::spawn(async {
            if let Err(SendError::Misuse(misuse)) = count(session).await {
                eprintln!("counter: {misuse}");
            }
        });
    }
}

async fn count(mut session: Session) -> Result<(), SendError> {
    let mut count = match session.capsule().map(<[u8; 8]>::try_from) {
        None => 0,
        Some(Ok(bytes)) => u64::from_be_bytes(bytes),
        Some(Err(_)) => {
            eprintln!("counter: the capsule of a session is not a counter's; the session is closed");
            session.close(4000, "the session's state is not a counter's").await;
            return Ok(());
        }
    };
    while let Some(event) = session.next().await {
        if let Event::Message { seq, .. } = event {
            count += 1;
            let capsule = count.to_be_bytes();
            session.commit(seq).capsule(capsule).output(count.to_string()).send().await?;
        }
    }
    Ok(())
}
