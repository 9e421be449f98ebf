//! `plots`: pictures of what other runs have measured. Their reports are reduced to the few figures of each chart, which
//! are kept in a file of their own, so that everybody can make the same pictures again.

use std::fs;
use std::io;
use std::path::PathBuf;

use chart::Chart;
use serde_json::Value;

use crate::json;

mod chart;
mod draw;
mod reports;

/// Where charts and their figures are kept.
const FOLDER: &str = "docs/plots";

/// The arguments of `plots`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Reports of `relay`, `failover` and `drain`, as --json has written them. Each chart of which they have figures gets
    /// these, and no others. Without any report, the pictures are made again from the figures that are kept.
    #[arg(value_name = "REPORT")]
    reports: Vec<PathBuf>,
    /// Where the charts' figures are kept.
    #[arg(long, value_name = "FOLDER", default_value = FOLDER)]
    from: PathBuf,
    /// Where the pictures go; beside the figures by default.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// The charts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Processor time of a message by its size.
    Cpu,
    /// Resident memory by the number of sessions.
    Memory,
    /// Processor time of a message by the number of sessions, most of which are silent.
    Crowd,
    /// How many sessions had a pause of so long at the most.
    Pauses,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Crowd, Self::Pauses];

    /// How its files are called.
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Crowd => "crowd",
            Self::Pauses => "pauses",
        }
    }
}

/// Keeps the figures of the reports, and makes the pictures. Says how many could not be made, which is none: the first
/// failure ends it.
pub(crate) fn run(options: &Options) -> io::Result<usize> {
    keep(options)?;
    let into = options.into.as_ref().unwrap_or(&options.from);
    let mut drawn = 0;
    for kind in Kind::ALL {
        if let Some(chart) = Chart::read(&options.from, kind)? {
            let file = into.join(format!("{}.svg", kind.name()));
            fs::write(&file, draw::svg(kind, &chart)?)?;
            println!("{}", file.display());
            drawn += 1;
        }
    }
    if drawn == 0 {
        let from = options.from.display();
        return Err(io::Error::other(format!("{from} has no figures; name reports that --json has written")));
    }
    Ok(0)
}

/// Writes the figures of the reports to where they are kept.
fn keep(options: &Options) -> io::Result<()> {
    let mut reports = Vec::new();
    for file in &options.reports {
        let report: Value = json::read(file)?;
        if !reports::is_known(&report) {
            let file = file.display();
            return Err(io::Error::other(format!("{file}: this is no report of relay, failover or drain")));
        }
        reports.push(report);
    }
    for kind in Kind::ALL {
        if let Some(chart) = reports::chart(kind, &reports) {
            chart.write(&options.from, kind)?;
        }
    }
    Ok(())
}
