//! `openssl s_client` as a client.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use steadfast_tests::pki::{Authority, shown};
use steadfast_tests::skipped::leave_out;

/// Seconds after which it is stuck.
const PATIENCE: &str = "20";

/// Whether a test must be left out, and is, because there is none.
pub(crate) fn left_out(test: &str) -> bool {
    let is_there =
        Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok_and(|it| it.success());
    if !is_there {
        leave_out(&format!("{test}: openssl is missing; ./test installs it where it can"));
    }
    !is_there
}

/// The command, which trusts this authority and ends by itself.
pub(crate) fn s_client(authority: &Authority, address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args([PATIENCE, "openssl", "s_client", "-connect", &address.to_string()]);
    command.args(["-CAfile", shown(&authority.ca())]).args(arguments);
    command
}

/// What it says of a handshake, after which it ends the connection.
pub(crate) async fn asked(authority: &Authority, address: SocketAddr, arguments: &[&str]) -> String {
    output(s_client(authority, address, arguments), "Q\n").await
}

/// What a command says to `input`, on both outputs.
pub(crate) async fn output(mut command: Command, input: &'static str) -> String {
    let run = move || {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have ended by now.
            let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        }
        child.wait_with_output()
    };
    let done = tokio::task::spawn_blocking(run).await.expect("it does not panic").expect("it runs");
    [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n")
}
