//! The program: parse, dispatch, exit codes. The work is the library's.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use steadfast::cli::args::{CheckArgs, Cli, Command, ServeArgs};
use steadfast::cli::commands;
use steadfast::cli::exit::Exit;
use steadfast::cli::profile;
use steadfast::config::{self, ConfigError, Overrides, Settings, Source, secrets};
use steadfast::demo;
use steadfast::server::limits::{Capacity, TooFewDescriptors};
use steadfast::server::listeners::{BindError, Listeners};
use steadfast::server::{self, Reloads, signals};
use steadfast::telemetry::logging;
use steadfast::tls;

/// Sessions are many small pieces of a few sizes; this allocator keeps them closer together than the
/// system's does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Check(args) => check(&args),
        Command::Control(command) => return commands::run(command).into(),
        Command::Profile(command) => return profile::run(&command).into(),
        Command::Completions(args) => {
            say(&args.script());
            Ok(())
        }
        Command::Demo(options) => return demo::run(&options),
        Command::DemoBackend(options) => return demo::backend::run(&options),
        Command::DemoWarden => return demo::warden::run(),
    };
    match done {
        Ok(()) => Exit::Success.into(),
        Err(failure) => failure.report(),
    }
}

fn serve(args: &ServeArgs) -> Result<(), ProgramFailure> {
    let source = Source::new(args.config.clone(), with_token(&args.overrides)?);
    let seen = source.look();
    let mut settings = source.load()?;
    let seen = seen.naming(named_files(&settings));
    secrets::read(&mut settings, source.file())?;
    let tls = tls::load(&settings, source.file(), None)?;
    let (levels, _lines) = logging::init(&settings.log).map_err(ProgramFailure::Running)?;
    tls.log();
    for warning in secrets::warnings(&settings) {
        tracing::warn!("{warning}");
    }
    let capacity = Capacity::measure(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ProgramFailure::running)?;
    runtime.block_on(async {
        // Caught before anybody can know an address: who reads one may send a signal.
        let signals = signals::watch().map_err(ProgramFailure::running)?;
        let listeners = Listeners::bind(&settings)?;
        capacity.log();
        announce(&listeners).map_err(ProgramFailure::running)?;
        let reloads = Reloads { source, levels, seen };
        server::run(listeners, (settings, tls), capacity, reloads, signals)
            .await
            .map_err(ProgramFailure::running)
    })
}

fn check(args: &CheckArgs) -> Result<(), ProgramFailure> {
    let mut settings = config::load(Some(&args.config), &with_token(&args.overrides)?)?;
    secrets::read(&mut settings, Some(&args.config))?;
    let tls = tls::load(&settings, Some(&args.config), None)?;
    for warning in tls.warnings().iter().chain(&secrets::warnings(&settings)) {
        // As with stdout.
        let _ = writeln!(io::stderr(), "steadfast: warning: {warning}");
    }
    for line in profile::of_pools(&settings) {
        say(format!("{}: {line}\n", args.config.display()).as_bytes());
    }
    let Settings { listeners, pools, .. } = settings;
    let backends: usize = pools.iter().map(|pool| pool.backends.len()).sum();
    let (file, listeners, pools) = (args.config.display(), listeners.len(), pools.len());
    say(format!("{file}: ok: {listeners} listeners, {pools} pools, {backends} backends\n").as_bytes());
    Ok(())
}

/// Every file that the configuration names and that is watched with it.
fn named_files(settings: &Settings) -> Vec<PathBuf> {
    [secrets::files(settings), tls::files(settings)].concat()
}

/// The flags, and what only the environment may say.
fn with_token(overrides: &Overrides) -> Result<Overrides, ProgramFailure> {
    let variable = env::var_os(Overrides::TOKEN);
    overrides.clone().with_token(variable.as_deref()).map_err(ProgramFailure::Usage)
}

/// Tells on stdout which addresses were bound, one a line.
fn announce(listeners: &Listeners) -> io::Result<()> {
    let mut lines = String::new();
    for listener in &listeners.clients {
        lines += &format!("listening on {}\n", listener.address);
    }
    if let Some(admin) = &listeners.admin {
        lines += &format!("admin on {}\n", admin.local_addr()?);
    }
    say(lines.as_bytes());
    Ok(())
}

/// A stdout that nobody reads is no reason to end.
fn say(text: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text).and_then(|()| stdout.flush());
}

/// Why the program ends early.
enum ProgramFailure {
    Usage(String),
    Config(ConfigError),
    Descriptors(TooFewDescriptors),
    Bind(BindError),
    Running(Box<dyn Error + Send + Sync>),
}

impl ProgramFailure {
    fn running(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Running(Box::new(error))
    }

    /// One line on stderr for each problem, and the exit code.
    fn report(self) -> ExitCode {
        let (exit, lines) = match self {
            Self::Usage(problem) => (Exit::Usage, vec![problem]),
            Self::Config(error) => (Exit::Config, error.lines().collect()),
            Self::Descriptors(error) => (Exit::Descriptors, vec![error.to_string()]),
            Self::Bind(error) => (Exit::Bind, vec![error.to_string()]),
            Self::Running(error) => (Exit::Failure, vec![format!("ended by a failure: {error}")]),
        };
        for line in lines {
            let _ = writeln!(io::stderr(), "steadfast: {line}");
        }
        exit.into()
    }
}

impl From<ConfigError> for ProgramFailure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<TooFewDescriptors> for ProgramFailure {
    fn from(error: TooFewDescriptors) -> Self {
        Self::Descriptors(error)
    }
}

impl From<BindError> for ProgramFailure {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}
