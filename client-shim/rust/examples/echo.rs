//! A service that says what it is told. Each answer is committed with the message that it answers, so a
//! message is answered once, whatever dies.
//!
//! ```text
//! cargo run -p steadfast-shim --example echo -- 127.0.0.1:9001
//! ```

use std::process::ExitCode;

use steadfast_shim::service::{Event, Listener, Options, SendError, Session};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: echo ADDRESS, such as 127.0.0.1:9001");
        return ExitCode::from(2);
    };
    match serve(&address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {address}: {error}");
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
            if let Err(SendError::Misuse(misuse)) = echo(session).await {
                eprintln!("echo: {misuse}");
            }
        });
    }
}

async fn echo(mut session: Session) -> Result<(), SendError> {
    while let Some(event) = session.next().await {
        if let Event::Message { seq, message } = event {
            session.commit(seq).output(message).send().await?;
        }
    }
    Ok(())
}
