//! What a chart shows: curves of points, and where they are from. One small file each, which stands beside the picture.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::json;

/// The figures of one chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Chart {
    /// The machine, or what else a reader needs to know of the figures.
    pub(super) about: String,
    /// The curves, in the order of the legend.
    pub(super) series: Vec<Series>,
}

/// One curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Series {
    /// What the legend calls it.
    pub(super) name: String,
    /// The points by their first coordinate; units are those of the chart's axes.
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    /// Whether anything was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

impl Chart {
    /// Reads a chart's file in `folder`. `None` where there is none.
    pub(super) fn read(folder: &Path, kind: Kind) -> io::Result<Option<Self>> {
        match json::read(&file(folder, kind)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Writes it, a line for each curve.
    pub(super) fn write(&self, folder: &Path, kind: Kind) -> io::Result<()> {
        let lines: Vec<String> = self.series.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let about = serde_json::to_string(&self.about)?;
        let series = lines.join(",\n    ");
        fs::write(
            file(folder, kind),
            format!("{{\n  \"about\": {about},\n  \"series\": [\n    {series}\n  ]\n}}\n"),
        )
    }
}

fn file(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(format!("{}.json", kind.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_small_and_read_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let series =
            |name: &str| Series { name: name.to_owned(), points: vec![(64.0, 7.25), (4_096.0, 9.0)] };
        let chart = Chart { about: "a \"machine\"".to_owned(), series: vec![series("a"), series("b")] };
        assert_eq!(Chart::read(folder.path(), Kind::Cpu).unwrap(), None);
        chart.write(folder.path(), Kind::Cpu).unwrap();
        assert_eq!(Chart::read(folder.path(), Kind::Cpu).unwrap(), Some(chart));
        let text = fs::read_to_string(file(folder.path(), Kind::Cpu)).unwrap();
        assert!(text.contains("    {\"name\":\"a\",\"points\":[[64.0,7.25],[4096.0,9.0]]},\n"), "{text}");
        fs::write(file(folder.path(), Kind::Cpu), "{}").unwrap();
        assert!(Chart::read(folder.path(), Kind::Cpu).unwrap_err().to_string().contains("cpu.json: missing"));
    }
}
