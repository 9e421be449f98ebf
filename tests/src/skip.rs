//! Tests that must be left out on this machine, which is to be seen.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that `test` is left out since `missing` is not installed, also to the file that the variable
/// STEADFAST_SKIPPED names. Panics where CI=true, for there nothing may be left out.
pub fn leave_out(test: &str, missing: &str) {
    let line = format!("{test}: {missing} missing; ./test installs it where it can");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{line}");
    eprintln!("skipped {line}");
    if let Some(path) = std::env::var_os("STEADFAST_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file to append to");
        writeln!(file, "{line}").expect("the file can be written");
    }
}
