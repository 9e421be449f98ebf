//! What is listed, against what users read of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The rows of the table: name with labels, kind, and what is said of it.
fn rows() -> Vec<[String; 3]> {
    let text = fs::read_to_string(docs().join("configuration.md")).expect("the page");
    let (_, chapter) = text.split_once("\n# Metrics\n").expect("the chapter");
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `steadfast_")?.split_once("` | ")?;
        let (kind, meaning) = rest.split_once(" | ")?;
        Some([format!("steadfast_{name}"), kind.to_owned(), meaning.to_owned()])
    };
    chapter.lines().filter_map(row).collect()
}

/// As a row begins.
fn written(metric: &Metric) -> (String, &'static str) {
    let labels =
        if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
    let kind = match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    };
    (format!("{}{labels}", metric.name), kind)
}

#[test]
fn the_page_has_every_metric_with_its_kind_and_labels() {
    let rows = rows();
    let documented: BTreeMap<&str, &str> = rows.iter().map(|[name, kind, _]| (&**name, &**kind)).collect();
    assert_eq!(documented.len(), rows.len(), "each has one row");
    let listed: Vec<_> = ALL.iter().map(|metric| written(metric)).collect();
    let listed: BTreeMap<&str, &str> = listed.iter().map(|(name, kind)| (&**name, *kind)).collect();
    assert_eq!(documented, listed);
    assert_eq!(listed.len(), ALL.len(), "each has a name of its own");
}

#[test]
fn the_page_has_every_word_of_a_label() {
    let rows = rows();
    let mut words_found = 0;
    for metric in ALL {
        let Start::AtZero(words) = metric.start else { continue };
        let (name, _) = written(metric);
        let [_, _, meaning] = rows.iter().find(|[row, _, _]| *row == name).expect("its row");
        // Close codes are no words.
        for word in words.iter().flat_map(|words| words()).filter(|word| word.parse::<u16>().is_err()) {
            assert!(meaning.contains(&format!("`{word}`")), "{name}: {word} is not in: {meaning}");
            words_found += 1;
        }
    }
    assert!(words_found > 30, "{words_found}");
}

#[test]
fn no_page_names_a_metric_that_is_not_there() {
    let mut named = 0;
    for entry in fs::read_dir(docs()).expect("the pages") {
        let file = entry.expect("an entry").path();
        if file.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a page");
        for code in text.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("steadfast_")) {
            let end = code.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(code.len());
            let name = format!("steadfast_{}", &code[..end]);
            assert!(ALL.iter().any(|metric| metric.name == name), "{}: {name}", file.display());
            named += 1;
        }
    }
    assert!(named > ALL.len(), "{named}");
}

#[test]
fn names_say_what_they_are() {
    for metric in ALL {
        let total = metric.name.ends_with("_total");
        assert_eq!(total, metric.kind == MetricKind::Counter, "{}", metric.name);
        assert!(metric.name.starts_with("steadfast_"), "{}", metric.name);
        assert!(metric.kind == MetricKind::Counter || !metric.starts_at_zero(), "{}", metric.name);
    }
}

#[test]
fn choices_are_made_in_every_way() {
    let numbers: Words = || vec!["1", "2"];
    assert_eq!(every_choice(&[]), [Vec::<&str>::new()]);
    assert_eq!(every_choice(&[numbers]), [["1"], ["2"]]);
    assert_eq!(every_choice(&[numbers, || vec!["a", "b"]]), [["1", "a"], ["1", "b"], ["2", "a"], ["2", "b"]]);
}

/// The counts of a recorder by the lines that show them.
fn shown(count: impl FnOnce()) -> Vec<String> {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, count);
    let text = recorder.handle().render();
    let mut lines: Vec<_> =
        text.lines().filter(|line| line.starts_with("steadfast_")).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_series_counts_as_its_metric_does() {
    let labels = |outcome| ("chat".to_owned(), "a".to_owned(), outcome);
    let lines = shown(|| {
        let series = Series::default();
        series.count(&DIALS, || labels(DialWord::Linked));
        DIALS.count(labels(DialWord::Linked));
        series.count(&DIALS, || panic!("it is known"));
        DIALS.count(labels(DialWord::Failed));
    });
    let line = |outcome, count| {
        format!(r#"steadfast_dials_total{{pool="chat",backend="a",outcome="{outcome}"}} {count}"#)
    };
    assert_eq!(lines, [line("failed", 1), line("linked", 3)]);
}

#[test]
fn words_are_counted_apart_however_many_they_are() {
    let words: Vec<&'static str> = (0..40).map(|n| &*format!("word-{n:02}").leak()).collect();
    let lines = shown(|| {
        let series = SeriesByWord::default();
        for _ in 0..3 {
            words.iter().for_each(|word| series.count(&SESSION_ENDS, word));
        }
    });
    let line = |word: &&str| format!(r#"steadfast_session_ends_total{{cause="{word}"}} 3"#);
    assert_eq!(lines, words.iter().map(line).collect::<Vec<_>>());
}
