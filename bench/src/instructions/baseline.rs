//! Counts that are kept in a file, and whether new ones have become worse.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::json;

/// A figure may be this many times that of the baseline.
const RATIO_MAX: f64 = 1.05;
/// One that is below this has become so much better that a baseline of the time before guards little.
const RATIO_MIN: f64 = 0.95;
/// What compilers write in front of their version into what they make (section `.comment` of ELF files). The version
/// ends with a bracket: `1.95.0 (59807616e 2026-04-14)`.
const COMPILER: &[u8] = b"rustc version ";

/// The figures of some rows, and what they depend on beside Steadfast's sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    /// Where they are from.
    pub(super) conditions: Conditions,
    /// By the row's name on the command line.
    pub(super) rows: BTreeMap<String, Figure>,
}

/// One row's figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    /// Messages, or sessions, that were counted: so many are counted again.
    pub(super) counted: usize,
    /// Instructions for each.
    pub(super) instructions_each: f64,
}

/// What makes counts differ that are of the same sources: they are compared only where all of it is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Conditions {
    /// The compiler's version, as the executable has it.
    rustc: String,
    /// The architecture, and the widest of the vector instructions that libraries choose their functions by.
    cpu: String,
    /// The version of the C library, whose functions copy.
    libc: String,
}

impl Conditions {
    /// Of the executable `program`, here.
    pub(super) fn here(program: &Path) -> io::Result<Self> {
        let unknown = || "unknown".to_owned();
        let rustc = compiler(&fs::read(program)?).unwrap_or_else(unknown);
        Ok(Self { rustc, cpu: cpu(), libc: libc().unwrap_or_else(unknown) })
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustc {}, {}, {}", self.rustc, self.cpu, self.libc)
    }
}

impl Baseline {
    /// Reads a file that [`Self::write`] has written.
    pub(super) fn read(file: &Path) -> io::Result<Self> {
        json::read(file)
    }

    /// Writes it, for the next comparison.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        fs::write(file, serde_json::to_string_pretty(self)? + "\n")
    }

    /// What new figures are beside this, row by row.
    pub(super) fn compare(&self, new: &BTreeMap<String, Figure>) -> Vec<Comparison> {
        let pairs = self.rows.iter().filter_map(|(row, old)| Some((row, old, new.get(row)?)));
        let compared = pairs.map(|(row, old, new)| Comparison {
            row: row.clone(),
            before: old.instructions_each,
            now: new.instructions_each,
        });
        compared.collect()
    }
}

/// A row's figure beside that of the baseline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Comparison {
    row: String,
    before: f64,
    now: f64,
}

impl Comparison {
    fn ratio(&self) -> f64 {
        self.now / self.before
    }

    /// It has become worse than may be.
    pub(super) fn is_over(&self) -> bool {
        self.ratio() > RATIO_MAX
    }

    /// It has become so much better that the baseline should follow.
    pub(super) fn is_far_under(&self) -> bool {
        self.ratio() < RATIO_MIN
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, before, now } = self;
        write!(
            f,
            "{row}: {now:.0} instructions each, {:.3} of the baseline's {before:.0} (at most {RATIO_MAX})",
            self.ratio()
        )
    }
}

/// The version that stands in an executable, which the compiler of its own crate has written.
fn compiler(program: &[u8]) -> Option<String> {
    let at = program.windows(COMPILER.len()).rposition(|window| window == COMPILER)?;
    let text = program.get(at + COMPILER.len()..)?;
    let version = text.split(|byte| *byte == 0).next()?;
    let end = version.iter().position(|byte| *byte == b')')?;
    String::from_utf8(version.get(..=end)?.to_vec()).ok()
}

/// As a program under valgrind sees it: that offers AVX2 where the machine has it, and nothing wider.
fn cpu() -> String {
    let features = if has_avx2() { "with AVX2" } else { "without AVX2" };
    format!("{} {features}", std::env::consts::ARCH)
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

fn libc() -> Option<String> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    Some(said.trim().to_owned()).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(figures: &[(&str, f64)]) -> BTreeMap<String, Figure> {
        let figure = |each| Figure { counted: 1_000, instructions_each: each };
        figures.iter().map(|(row, each)| ((*row).to_owned(), figure(*each))).collect()
    }

    fn baseline(figures: &[(&str, f64)]) -> Baseline {
        let [rustc, cpu, libc] = ["1.95.0", "x86_64 with AVX2", "glibc 2.36"].map(str::to_owned);
        Baseline { conditions: Conditions { rustc, cpu, libc }, rows: rows(figures) }
    }

    /// What is said of one row.
    fn compared(before: f64, now: f64) -> Comparison {
        let found = baseline(&[("64x1", before)]).compare(&rows(&[("64x1", now)]));
        assert_eq!(found.len(), 1);
        found.into_iter().next().unwrap()
    }

    #[test]
    fn six_in_a_hundred_more_is_too_much_and_four_is_not() {
        assert!(compared(10_000.0, 10_600.0).is_over());
        assert!(!compared(10_000.0, 10_400.0).is_over());
        assert!(!compared(10_000.0, 10_000.0).is_over());
        assert!(compared(10_000.0, f64::INFINITY).is_over());
    }

    #[test]
    fn a_baseline_that_guards_little_is_noticed() {
        assert!(compared(10_000.0, 9_400.0).is_far_under());
        assert!(!compared(10_000.0, 9_600.0).is_far_under() && !compared(10_000.0, 9_400.0).is_over());
    }

    #[test]
    fn a_comparison_says_both_figures() {
        let said = compared(10_000.0, 10_600.0).to_string();
        assert_eq!(said, "64x1: 10600 instructions each, 1.060 of the baseline's 10000 (at most 1.05)");
    }

    #[test]
    fn each_row_is_compared_with_its_own() {
        let found = baseline(&[("64x1", 9_000.0), ("64x16", 900.0), ("4k", 1.0)])
            .compare(&rows(&[("64x16", 1_000.0), ("64x1", 9_000.0)]));
        let over: Vec<(&str, bool)> = found.iter().map(|row| (&*row.row, row.is_over())).collect();
        assert_eq!(over, [("64x1", false), ("64x16", true)]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("baseline.json");
        let written = baseline(&[("64x1", 8_967.25)]);
        written.write(&file).unwrap();
        assert_eq!(Baseline::read(&file).unwrap(), written);
        fs::write(&file, "{}").unwrap();
        assert!(Baseline::read(&file).unwrap_err().to_string().contains("baseline.json: missing field"));
    }

    #[test]
    fn an_executable_says_which_compiler_has_made_it() {
        let program =
            b"\x7fELF rustc version 1.90.0 (older std)\0Linker: x\0rustc version 1.95.0 (5 2026-04-14)\0GCC";
        assert_eq!(compiler(program).as_deref(), Some("1.95.0 (5 2026-04-14)"));
        let in_a_sentence = b"clang LLVM (rustc version 1.95.0 (5 2026-04-14))\0";
        assert_eq!(compiler(in_a_sentence).as_deref(), Some("1.95.0 (5 2026-04-14)"));
        assert_eq!(compiler(b"rustc version 1.95.0\0(x)"), None);
        assert_eq!(compiler(b"GCC: 12\0"), None);
    }

    #[test]
    fn this_program_is_of_some_compiler() {
        let here = Conditions::here(&std::env::current_exe().unwrap()).unwrap();
        assert!(here.rustc.starts_with("1."), "{here}");
    }
}
