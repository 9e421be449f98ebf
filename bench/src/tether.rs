//! `tether`: becomes another program that ends when this one's parent does, however that ends. A
//! harness that was killed outright cannot end what it had started; the kernel can.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;

/// The arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The process that started this one.
    #[arg(long)]
    parent: u32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the program. Returns only when it could not.
pub(crate) fn run(options: &Options) -> io::Error {
    // SIGTERM and not SIGKILL: nginx's master then ends its workers too.
    if let Err(errno) = prctl::set_pdeathsig(Signal::SIGTERM) {
        return errno.into();
    }
    // The parent may have ended before the kernel was asked to tell.
    if parent_id() != options.parent {
        return io::Error::other("the harness has ended");
    }
    let Some((program, arguments)) = options.command.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no program was named");
    };
    let error = Command::new(program).args(arguments).exec();
    io::Error::new(error.kind(), format!("cannot run {}: {error}", program.display()))
}
