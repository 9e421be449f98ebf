//! Steadfast itself: where its executable is, and how it is started.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{Control, Placed, Running, find_program};
use crate::door::Door;
use crate::process::{Launch, Process};
use crate::tls::{NAME, Tls};

/// How long Steadfast may take to say where it listens.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// The workspace that this program was built from, unless cargo names another.
const BUILT_FROM: &str = env!("CARGO_MANIFEST_DIR");

/// Starts Steadfast with one worker and acknowledgements by pong, unless `extra` says otherwise.
pub(super) async fn start(
    folder: &Path,
    instance: &str,
    program: &Path,
    extra: &[String],
    backends: &[SocketAddr],
    tls: Tls<'_>,
) -> io::Result<Running> {
    let arguments = arguments(folder, instance, extra, backends, tls)?;
    let mut process = Process::start(folder, Launch { name: instance, program, arguments })?;
    let address = process.listening_line(START_TIME_MAX).await?;
    let control = match gives(extra, "--admin") {
        true => Some(Control::Api(process.address_line("admin on ", START_TIME_MAX).await?)),
        false => None,
    };
    let (door, root) = (Door::new(address, tls), Some(process.id()));
    Ok(Running { door, control, annex: None, root, _process: Some(process) })
}

/// The same with an annex, by a configuration file.
pub(super) async fn start_with(
    folder: &Path,
    instance: &str,
    program: &Path,
    extra: &[String],
    address: SocketAddr,
    backends: &[SocketAddr],
    annex: &Placed<'_>,
) -> io::Result<Running> {
    let file = folder.join(format!("{instance}.toml"));
    fs::write(&file, configuration(address, backends, annex))?;
    let mut arguments: Vec<OsString> = vec!["serve".into(), "--config".into(), file.into()];
    arguments.extend(["--admin".into(), annex.at.admin.to_string().into()]);
    arguments.extend(quiet(extra).into_iter().map(Into::into));
    arguments.extend(extra.iter().map(Into::into));
    let mut process = Process::start(folder, Launch { name: instance, program, arguments })?;
    let address = process.listening_line(START_TIME_MAX).await?;
    let (door, root) = (Door::new(address, Tls::default()), Some(process.id()));
    Ok(Running { door, control: None, annex: None, root, _process: Some(process) })
}

fn configuration(address: SocketAddr, backends: &[SocketAddr], annex: &Placed<'_>) -> String {
    let mut listeners = format!("[[listener]]\naddress = \"{address}\"\npool = \"clients\"\n");
    let mut pools = "[[pool]]\nname = \"clients\"\n".to_owned();
    let backend = |address: &SocketAddr| format!("[[pool.backend]]\nurl = \"ws://{address}\"\n");
    pools.extend(backends.iter().map(backend));
    for (name, listener, address) in annex.pools() {
        listeners += &format!("[[listener]]\naddress = \"{listener}\"\npool = \"{name}\"\n");
        pools += &format!("[[pool]]\nname = \"{name}\"\n{}", backend(&address));
    }
    listeners + &pools
}

/// The command line of such a Steadfast, behind its executable. With TLS, what it takes is in a file in `folder`.
pub(crate) fn arguments(
    folder: &Path,
    instance: &str,
    extra: &[String],
    backends: &[SocketAddr],
    tls: Tls<'_>,
) -> io::Result<Vec<OsString>> {
    let mut arguments: Vec<OsString> = vec!["serve".into()];
    if tls.is_off() {
        arguments.extend(["--listen".into(), "127.0.0.1:0".into()]);
        for backend in backends {
            arguments.extend(["--backend".into(), format!("ws://{backend}").into()]);
        }
    } else {
        let file = folder.join(format!("{instance}.toml"));
        fs::write(&file, secured(backends, tls))?;
        arguments.extend(["--config".into(), file.into()]);
    }
    if !gives(extra, "--ack") {
        arguments.extend(["--ack".into(), "pong".into()]);
    }
    arguments.extend(quiet(extra).into_iter().map(Into::into));
    arguments.extend(extra.iter().map(Into::into));
    Ok(arguments)
}

/// The file of one with TLS.
fn secured(backends: &[SocketAddr], tls: Tls<'_>) -> String {
    let mut text = "[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"clients\"\n".to_owned();
    if let Some(papers) = tls.client {
        text += &format!(
            "[listener.tls]\nmin_version = \"1.3\"\n\
             [[listener.tls.certificate]]\ncert = {:?}\nkey = {:?}\n",
            papers.cert, papers.key
        );
    }
    text += "[[pool]]\nname = \"clients\"\n";
    let scheme = if tls.backend.is_some() { "wss" } else { "ws" };
    if let Some(papers) = tls.backend {
        text +=
            &format!("[pool.tls]\nmin_version = \"1.3\"\nca = {:?}\nserver_name = \"{NAME}\"\n", papers.ca);
    }
    text.extend(backends.iter().map(|backend| format!("[[pool.backend]]\nurl = \"{scheme}://{backend}\"\n")));
    text
}

/// One worker, and no log, unless `extra` says otherwise: the other peers have one and log nothing either.
fn quiet(extra: &[String]) -> Vec<String> {
    let settings = [("--workers", "1"), ("--log-level", "error")];
    let missing = settings.into_iter().filter(|(flag, _)| !gives(extra, flag));
    missing.flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]).collect()
}

fn gives(arguments: &[String], flag: &str) -> bool {
    arguments.iter().any(|given| given == flag || given.starts_with(&format!("{flag}=")))
}

/// The executable that `given` names, or the one beside this program, brought up to date by cargo
/// where there is a cargo: old figures under a new name would be worse than none.
pub(crate) async fn locate(given: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(given) = given {
        return existing(given.to_owned(), "check --steadfast");
    }
    let me = env::current_exe()?;
    let homeless = || io::Error::other("this program is in no folder; name Steadfast with --steadfast");
    let folder = me.parent().ok_or_else(homeless)?;
    if !folder.ends_with("release") {
        eprintln!("note: this is no release build, so neither is the Steadfast that is measured");
    }
    match env::var_os("CARGO").map(PathBuf::from).or_else(|| find_program("cargo")) {
        Some(cargo) => build(&cargo, folder).await?,
        None => eprintln!("note: no cargo here, so Steadfast is measured as it was last built"),
    }
    existing(folder.join("steadfast"), "build it with `cargo build --release -p steadfast`")
}

fn existing(program: PathBuf, advice: &str) -> io::Result<PathBuf> {
    if program.is_file() {
        return Ok(program);
    }
    let missing = format!("there is no executable {}; {advice}", program.display());
    Err(io::Error::new(io::ErrorKind::NotFound, missing))
}

/// Builds Steadfast into `folder`, which is `TARGET/PROFILE`.
async fn build(cargo: &Path, folder: &Path) -> io::Result<()> {
    let target = folder.parent().unwrap_or(folder);
    let profile = folder.file_name().unwrap_or_default();
    let workspace = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| BUILT_FROM.into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "steadfast", "--profile"]);
    // The profile `dev` builds into the folder `debug`.
    command.arg(if profile == "debug" { "dev".as_ref() } else { profile });
    command
        .arg("--target-dir")
        .arg(target)
        .arg("--manifest-path")
        .arg(Path::new(&workspace).join("Cargo.toml"));
    let status = command.stdin(Stdio::null()).kill_on_drop(true).status().await?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other("Steadfast does not build; name a finished one with --steadfast PATH"))
}
