//! A browser that shows a page.

use std::os::unix::process::CommandExt;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use steadfast_tests::pki::shown;
use steadfast_tests::process::Process;
use tempfile::TempDir;

use super::tools::Tool;

/// Chromium, in a group of its own with its helpers.
pub(crate) struct Browser {
    process: Process,
    /// Its user's home.
    _home: TempDir,
}

impl Browser {
    /// Has it open this page, as the user who lives there.
    pub(crate) fn open(home: TempDir, url: &str) -> Browser {
        let mut command = Tool::Chromium.command();
        command.env("HOME", home.path()).args([
            "--headless",
            "--disable-gpu",
            // Root may not use it, and some kernels have none for others. The page is ours.
            "--no-sandbox",
            // It speaks with this machine alone, whatever it would like to look up.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
        ]);
        command.arg(format!("--user-data-dir={}", shown(&home.path().join("profile")))).arg(url);
        command.process_group(0);
        Browser { process: Process::spawn("chromium", &mut command), _home: home }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers would see that they are alone, and go, a second later.
        let group = Pid::from_raw(self.process.id().cast_signed());
        if self.process.exited().is_none() {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
