//! Where the programs under test lie: beside the test executable's own directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

static BUILDING: Mutex<()> = Mutex::new(());

/// The path of the workspace's program `name`, built by `cargo build -p package` when it is not there yet.
///
/// A test executable is `target/<profile>/deps/x`; programs are `target/<profile>/name`.
pub fn locate(package: &str, name: &str) -> PathBuf {
    present(package, profile_directory().join(name), &[])
}

/// As [`locate`], for the example `name` of a package.
pub fn locate_example(package: &str, name: &str) -> PathBuf {
    present(package, profile_directory().join("examples").join(name), &["--example", name])
}

fn present(package: &str, path: PathBuf, target: &[&str]) -> PathBuf {
    let _guard = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !path.exists() {
        build(package, target, &path);
    }
    path
}

fn profile_directory() -> PathBuf {
    let executable = std::env::current_exe().expect("a running program has a path");
    let directory = executable.parent().expect("a program lies in a directory");
    let is_deps = directory.ends_with("deps");
    if is_deps { directory.parent().expect("deps lies in a profile's directory") } else { directory }
        .to_owned()
}

fn build(package: &str, wanted: &[&str], path: &Path) {
    let directory = profile_directory();
    let profile = directory.file_name().and_then(|name| name.to_str());
    let target = directory.parent().expect("a profile lies in a target directory");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "-p", package]).args(wanted).arg("--target-dir").arg(target);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile == Some("release") {
        command.arg("--release");
    }
    let status = command.status().expect("cargo can be started");
    let built = status.success() && path.exists();
    assert!(built, "{} is missing and `cargo build -p {package}` did not make it ({status})", path.display());
}
