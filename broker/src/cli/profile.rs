//! `steadfast profile`: the built-in profiles, and what one makes of a conversation that somebody has written down. No
//! broker is asked.

mod simulation;
mod transcript;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::config::settings::{ProfileInForce, ProfileMatch, ProfileSettings, Settings};
use crate::config::{BuiltIn, PROVEN, built_ins, find_profile, load_profiles, quoted};
use simulation::Simulation;
use transcript::{TranscriptLine, TranscriptLineKind};

/// Bytes of a transcript.
const TRANSCRIPT_MAX: u64 = 4 << 20;

/// Above what `show` prints.
const COPY: &str = "# To change it, copy it into the configuration, and give it a name of your own.\n";

/// What can be asked of profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Lists the built-in profiles, and by what their clients are known
    List,
    /// Prints a built-in profile, to be copied and changed
    Show(ShowArguments),
    /// Shows what a profile makes of a conversation
    Test(TestArguments),
}

/// What `show` takes.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The profile's name
    #[arg(value_name = "NAME")]
    name: String,
}

/// What `test` takes.
#[derive(Debug, Args)]
pub struct TestArguments {
    /// A file with profiles, such as a configuration; or the name of a built-in profile
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The conversation: `> text` is the client's, `< text` the backend's, `>b` and `<b` with base64 are binary, `= text` is
    /// what the line above must be said to be, `--- next backend` is where the backend dies, and # begins a comment
    #[arg(value_name = "TRANSCRIPT")]
    transcript: PathBuf,

    /// Which profile, when the file has several
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Why nothing was shown: lines for people, and an exit code for scripts.
type NothingShown = (Exit, Vec<String>);

/// Does what was asked. Results go to stdout; what went wrong, to stderr.
pub fn run(command: &ProfileCommand) -> Exit {
    let done = match command {
        ProfileCommand::List => Ok((Exit::Success, list())),
        ProfileCommand::Show(arguments) => show(&arguments.name).map(|text| (Exit::Success, text)),
        ProfileCommand::Test(arguments) => test(arguments),
    };
    let (exit, text, lines) = match done {
        Ok((exit, text)) => (exit, text, Vec::new()),
        Err((exit, lines)) => (exit, String::new(), lines),
    };
    let mut stdout = io::stdout().lock();
    // A stdout that nobody reads is no reason to fail.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    for line in lines {
        let _ = writeln!(io::stderr(), "steadfast: {line}");
    }
    exit
}

/// Which profile each pool has, a line for each.
pub fn of_pools(settings: &Settings) -> Vec<String> {
    let own = settings.profiles.iter().filter(|profile| !profile.known_by.is_empty());
    let names: Vec<&str> = own.map(|profile| profile.name.as_str()).chain(PROVEN.iter().copied()).collect();
    let line = |what: String, pool: &str| format!("pool {pool:?}: {what}");
    let what = |in_force| match in_force {
        ProfileInForce::Named(name) => format!("profile {name:?}"),
        ProfileInForce::None(None) => "no profile".to_owned(),
        ProfileInForce::None(Some(why)) => format!("no profile, with {why}"),
        ProfileInForce::Auto if names.is_empty() => {
            "profile \"auto\", and none that it could choose".to_owned()
        }
        ProfileInForce::Auto => format!("profile \"auto\", of {}", names.join(", ")),
    };
    settings.pools.iter().map(|pool| line(what(pool.profile_in_force()), &pool.name)).collect()
}

fn list() -> String {
    let row = |built_in: &BuiltIn| {
        let ProfileSettings { name, known_by, .. } = &built_in.settings;
        let auto = if PROVEN.contains(&name.as_str()) { "yes" } else { "no" };
        [name.clone(), auto.to_owned(), known(known_by)]
    };
    let head = ["PROFILE", "AUTO", "KNOWN BY"].map(str::to_owned);
    let rows: Vec<[String; 3]> = std::iter::once(head).chain(built_ins().iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    rows.iter().fold(String::new(), |mut text, [name, auto, known]| {
        let _ = writeln!(text, "{name:first$}  {auto:second$}  {known}");
        text
    })
}

/// By what clients are known, in words.
fn known(known_by: &ProfileMatch) -> String {
    let subprotocols = (!known_by.subprotocols.is_empty())
        .then(|| format!("subprotocol {}", known_by.subprotocols.join(" or ")));
    let path = known_by.path.as_ref().map(|path| format!("path {path}"));
    let query = known_by.query.as_ref().map(|(name, value)| match value {
        Some(value) => format!("{name}={value} in the query"),
        None => format!("{name}= in the query"),
    });
    let all: Vec<String> = [subprotocols, path, query].into_iter().flatten().collect();
    if all.is_empty() { "nothing: a pool must name it".to_owned() } else { all.join(", ") }
}

fn show(name: &str) -> Result<String, NothingShown> {
    let found = built_ins().iter().find(|built_in| built_in.settings.name == name);
    let built_in = found.ok_or_else(|| (Exit::NotFound, vec![no_such(name, &[])]))?;
    Ok(format!("{COPY}{}", built_in.text))
}

fn no_such(name: &str, own: &[ProfileSettings]) -> String {
    let built_in = built_ins().iter().map(|built_in| &built_in.settings);
    let names: Vec<&str> = own.iter().chain(built_in).map(|profile| profile.name.as_str()).collect();
    format!("there is no profile {}; the profiles are: {}", quoted(name), names.join(", "))
}

fn test(arguments: &TestArguments) -> Result<(Exit, String), NothingShown> {
    let profile = choose(&arguments.file, arguments.name.as_deref())?;
    let path = &arguments.transcript;
    let text = read(path).map_err(|why| (Exit::Usage, vec![format!("{}: {why}", path.display())]))?;
    let lines = transcript::parse(&text).map_err(|faults| {
        let told = faults.into_iter().map(|(line, fault)| format!("{}:{line}: {fault}", path.display()));
        (Exit::Usage, told.collect())
    })?;
    let (mut text, wrong) = play(&profile, &lines);
    if wrong == 0 {
        return Ok((Exit::Success, text));
    }
    let _ = writeln!(text, "{wrong} of the lines with = do not hold");
    Ok((Exit::Failure, text))
}

/// Plays a transcript, and counts what was expected and did not come.
fn play(profile: &ProfileSettings, lines: &[TranscriptLine]) -> (String, usize) {
    let mut simulation = Simulation::new(&profile.profile, lines);
    let (mut text, mut said, mut wrong) = (String::new(), String::new(), 0);
    for (index, line) in lines.iter().enumerate() {
        match &line.kind {
            TranscriptLineKind::Client(_) | TranscriptLineKind::Backend(_) => {
                said = simulation.hear(index);
                let _ = writeln!(text, "{}  {said}", line.label());
            }
            TranscriptLineKind::Next => {
                said = String::new();
                let _ = writeln!(text, "--- next backend");
                for step in simulation.next_backend() {
                    let _ = writeln!(text, "{step}");
                }
            }
            TranscriptLineKind::Expected(expected) if said.starts_with(expected.as_str()) => {}
            TranscriptLineKind::Expected(expected) => {
                wrong += 1;
                let _ = writeln!(text, "{:>4} = {}", line.number, quoted(expected) + " was expected");
            }
        }
    }
    (text, wrong)
}

/// The profile that is meant: of a file, or built in.
fn choose(file: &Path, name: Option<&str>) -> Result<ProfileSettings, NothingShown> {
    let built_in = file.to_str().and_then(|name| find_profile(&[], name));
    if let Some(built_in) = built_in.filter(|_| name.is_none() && !file.exists()) {
        return Ok(built_in.clone());
    }
    let own = load_profiles(file).map_err(|error| (Exit::Config, error.lines().collect()))?;
    let shown = file.display();
    match (name, &own[..]) {
        (Some(name), _) => find_profile(&own, name).cloned().ok_or_else(|| no_such(name, &own)),
        (None, [only]) => Ok(only.clone()),
        (None, []) => {
            Err(format!("{shown} has no [[profile]]: name another file, or a built-in profile by --name"))
        }
        (None, [..]) => {
            let names: Vec<&str> = own.iter().map(|profile| profile.name.as_str()).collect();
            Err(format!("{shown} has several profiles: choose one by --name, of {}", names.join(", ")))
        }
    }
    .map_err(|line| (Exit::NotFound, vec![line]))
}

fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > TRANSCRIPT_MAX {
        return Err(format!("it is larger than {TRANSCRIPT_MAX} bytes"));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}
