//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::commands;
use crate::cli::profile::ProfileCommand;
use crate::config::Overrides;
use crate::demo;

/// `steadfast` and its arguments.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the broker until SIGTERM or SIGINT
    Serve(ServeArgs),
    /// Checks a configuration without starting
    Check(CheckArgs),
    /// What a running broker is asked.
    #[command(flatten)]
    Control(commands::Command),
    /// Shows built-in profiles, and what a profile makes of a conversation
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Prints completions for a shell
    Completions(CompletionsArgs),
    /// Shows on loopback what happens when backends are drained and die, in about 25 seconds
    Demo(demo::Options),
    /// A backend of the demo
    #[command(hide = true)]
    DemoBackend(demo::backend::Options),
    /// Ends the demo's processes when the demo has ended
    #[command(hide = true)]
    DemoWarden,
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Configuration file (TOML); flags and environment win over it
    #[arg(long, env = "STEADFAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What wins over the file.
    #[command(flatten)]
    pub overrides: Overrides,
}

/// What `check` takes: as `serve`, and the file must be given.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration file (TOML)
    #[arg(long, env = "STEADFAST_CONFIG", value_name = "FILE")]
    pub config: PathBuf,

    /// Judged together with the file, as `serve` would.
    #[command(flatten)]
    pub overrides: Overrides,
}

/// What `completions` takes.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

impl CompletionsArgs {
    /// The script that the shell is to read.
    pub fn script(&self) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "steadfast", &mut script);
        script
    }
}
