//! What is counted and measured, each under one name with the labels that it has. Whoever counts names an item of the
//! list, with labels of its types, so that a name or a label that nobody knows does not compile.
//!
//! This stands below everything that counts. Where the words of a label belong to something further up, they come as
//! text.

#![allow(clippy::disallowed_macros, reason = "what everybody else is told to use comes down to them")]

mod labels;
mod list;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::OnceLock;

use metrics::{Label, SharedString, Unit};

pub(crate) use labels::{
    AnswerOutcome, CheckOutcome, DenialReason, DialWord, Flow, HangUpWord, HeaderWord, Limit, LookWord,
    PressWord, ReloadOutcome, Side, StickyWord, TlsWord, VerdictWord,
};
pub(crate) use list::*;

use labels::Labels;

/// A metric as it is listed.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: MetricKind,
    pub(crate) unit: Option<Unit>,
    /// What it counts or measures, for Prometheus.
    pub(crate) help: &'static str,
    /// The names of its labels.
    pub(crate) labels: &'static [&'static str],
    pub(crate) start: Start,
}

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    /// It only grows.
    Counter,
    Gauge,
    Histogram,
}

/// When a counter is first to be seen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// When it is first counted.
    Counted,
    /// From the beginning, at zero, with each of the words that each of its labels can have. So a rise from nothing is
    /// seen as one.
    AtZero(&'static [Words]),
    /// The same, with words that belong to something further up.
    AtZeroByWords,
}

/// Every word of a label.
type Words = fn() -> Vec<&'static str>;

/// A counter with these labels.
#[derive(Debug)]
pub(crate) struct Counter<L>(Metric, PhantomData<fn(L)>);

/// A gauge with these labels.
#[derive(Debug)]
pub(crate) struct Gauge<L>(Metric, PhantomData<fn(L)>);

/// A histogram. None has labels.
#[derive(Debug)]
pub(crate) struct Histogram(Metric);

impl Metric {
    const fn new(
        name: &'static str,
        kind: MetricKind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Metric {
        Metric { name, kind, unit: None, help, labels, start: Start::Counted }
    }

    const fn in_unit(self, unit: Unit) -> Metric {
        Metric { unit: Some(unit), ..self }
    }

    /// Whether it is there from the beginning.
    #[cfg(test)]
    pub(crate) fn starts_at_zero(&self) -> bool {
        !matches!(self.start, Start::Counted)
    }

    /// Makes it be there from the beginning, if it is to be and its words are known here.
    pub(crate) fn begin(&self) {
        if let Start::AtZero(words) = self.start {
            for values in every_choice(words) {
                let labels = self.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value));
                metrics::counter!(self.name, labels.collect::<Vec<_>>()).absolute(0);
            }
        }
    }

    fn labelled<L: Labels>(&self, labels: L) -> Vec<Label> {
        let mut values: Vec<SharedString> = Vec::with_capacity(L::COUNT);
        labels.add_to(&mut values);
        self.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value)).collect()
    }
}

/// One word of each label, in every way.
fn every_choice(words: &[Words]) -> Vec<Vec<&'static str>> {
    words.iter().fold(vec![Vec::new()], |choices, words| {
        let with_each = |choice: Vec<&'static str>| {
            words().into_iter().map(move |word| choice.iter().copied().chain([word]).collect::<Vec<_>>())
        };
        choices.into_iter().flat_map(with_each).collect()
    })
}

/// One counter of those that a metric has, which is looked up when it is first counted: for what has the same labels for
/// as long as it lives, and is counted often.
#[derive(Debug, Default)]
pub(crate) struct Series(OnceLock<metrics::Counter>);

impl Series {
    /// Counts one. `metric` and `labels`: the same each time.
    pub(crate) fn count<L: Labels>(&self, metric: &Counter<L>, labels: impl FnOnce() -> L) {
        self.0.get_or_init(|| metric.of(labels())).increment(1);
    }
}

/// The counters of a metric with one label, likewise: of those words of it that are counted, up to so many.
#[derive(Debug, Default)]
pub(crate) struct SeriesByWord([OnceLock<(&'static str, metrics::Counter)>; 16]);

impl SeriesByWord {
    /// Counts one. `metric`: the same each time.
    pub(crate) fn count(&self, metric: &Counter<&'static str>, word: &'static str) {
        for series in &self.0 {
            let (known, counter) = series.get_or_init(|| (word, metric.of(word)));
            if *known == word {
                return counter.increment(1);
            }
        }
        metric.count(word);
    }
}

impl<L: Labels> Counter<L> {
    const fn new(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Counter<L> {
        assert!(labels.len() == L::COUNT, "each label has a name");
        Counter(Metric::new(name, MetricKind::Counter, labels, help), PhantomData)
    }

    const fn at_zero(self, words: &'static [Words]) -> Counter<L> {
        assert!(words.len() == L::COUNT, "each label has its words");
        Counter(Metric { start: Start::AtZero(words), ..self.0 }, PhantomData)
    }

    const fn at_zero_by_words(self) -> Counter<L> {
        Counter(Metric { start: Start::AtZeroByWords, ..self.0 }, PhantomData)
    }

    /// The one with these values.
    pub(crate) fn of(&self, labels: L) -> metrics::Counter {
        metrics::counter!(self.0.name, self.0.labelled(labels))
    }

    /// Counts one with these values.
    pub(crate) fn count(&self, labels: L) {
        self.of(labels).increment(1);
    }
}

impl<L: Labels> Gauge<L> {
    const fn new(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Gauge<L> {
        assert!(labels.len() == L::COUNT, "each label has a name");
        Gauge(Metric::new(name, MetricKind::Gauge, labels, help), PhantomData)
    }

    const fn in_unit(self, unit: Unit) -> Gauge<L> {
        Gauge(self.0.in_unit(unit), PhantomData)
    }

    /// Sets the one with these values.
    pub(crate) fn set(&self, labels: L, value: f64) {
        metrics::gauge!(self.0.name, self.0.labelled(labels)).set(value);
    }
}

impl Histogram {
    const fn new(name: &'static str, unit: Unit, help: &'static str) -> Histogram {
        Histogram(Metric::new(name, MetricKind::Histogram, &[], help).in_unit(unit))
    }

    pub(crate) fn name(&self) -> &'static str {
        self.0.name
    }

    pub(crate) fn record(&self, value: f64) {
        metrics::histogram!(self.0.name).record(value);
    }
}
