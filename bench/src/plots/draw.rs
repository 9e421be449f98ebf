//! Charts as SVG.

use std::fmt;
use std::io;
use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::Kind;
use super::chart::{Chart, Series};
use crate::table::number;

/// Pixels, across and down.
const SIZE: (u32, u32) = (760, 440);
/// Colours of curves, one after the other: told apart by those who do not see some colours, too.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];
/// Ink of words and frames.
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
/// A curve of more points than this has no dots.
const DOTS_MAX: usize = 20;

/// What stands around the curves of a chart.
struct Words {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// How a place on the horizontal axis is written.
    x_label: fn(&f64) -> String,
    /// How one on the vertical axis is.
    y_label: fn(&f64) -> String,
    legend: SeriesLabelPosition,
}

impl Words {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Cpu => Self {
                title: "Processor time of a message and its answer, by size",
                x: "size of a message",
                y: "µs of the broker's processor time",
                x_label: bytes,
                y_label: plain,
                legend: SeriesLabelPosition::UpperLeft,
            },
            Kind::Memory => Self {
                title: "Resident memory, by number of idle sessions",
                x: "sessions",
                y: "MB",
                x_label: plain,
                y_label: plain,
                legend: SeriesLabelPosition::UpperLeft,
            },
            Kind::Crowd => Self {
                title: "Processor time of a message where one in a hundred sessions talks",
                x: "sessions",
                y: "µs of the broker's processor time",
                x_label: plain,
                y_label: plain,
                legend: SeriesLabelPosition::LowerLeft,
            },
            Kind::Pauses => Self {
                title: "Sessions whose pause was at most so long",
                x: "ms",
                y: "percent of the sessions that had to move",
                x_label: plain,
                y_label: plain,
                legend: SeriesLabelPosition::LowerRight,
            },
        }
    }
}

/// The picture of a chart.
pub(super) fn svg(kind: Kind, chart: &Chart) -> io::Result<String> {
    let words = Words::of(kind);
    let (xs, ys) = (coordinates(chart, |point| point.0), coordinates(chart, |point| point.1));
    if xs.is_empty() {
        return Err(io::Error::other(format!("the figures of {} are none", kind.name())));
    }
    match kind {
        Kind::Cpu => {
            let (x, y) = (around(&xs).log_scale().base(2.0), around(&ys).log_scale().base(2.0));
            draw(&words, chart, x, y)
        }
        Kind::Memory => draw(&words, chart, from_zero(&xs), from_zero(&ys)),
        Kind::Crowd => draw(&words, chart, around(&xs).log_scale(), from_zero(&ys)),
        Kind::Pauses => draw(&words, chart, around(&xs).log_scale().base(2.0), 0.0..100.0),
    }
}

fn coordinates(chart: &Chart, which: fn(&(f64, f64)) -> f64) -> Vec<f64> {
    chart
        .series
        .iter()
        .flat_map(|series| &series.points)
        .map(which)
        .filter(|value| value.is_finite())
        .collect()
}

/// With some room on both sides, on a logarithmic scale.
fn around(values: &[f64]) -> Range<f64> {
    let above_zero = || values.iter().copied().filter(|value| *value > 0.0);
    let (low, high) = (above_zero().fold(f64::MAX, f64::min), above_zero().fold(0.0, f64::max));
    if high > 0.0 { low * 0.8..high * 1.25 } else { 0.1..1.0 }
}

/// With some room above, on a linear one.
fn from_zero(values: &[f64]) -> Range<f64> {
    let high = values.iter().copied().fold(0.0, f64::max);
    0.0..if high > 0.0 { high * 1.05 } else { 1.0 }
}

fn draw<X, Y>(words: &Words, chart: &Chart, x: X, y: Y) -> io::Result<String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let mut plane = ChartBuilder::on(&root)
        .caption(words.title, ("sans-serif", 18, &INK))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    plane
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(INK)
        .label_style(("sans-serif", 13, &INK))
        .x_desc(words.x)
        .y_desc(words.y)
        .x_label_formatter(&words.x_label)
        .y_label_formatter(&words.y_label)
        .draw()
        .map_err(failed)?;
    for (series, colour) in chart.series.iter().zip(COLOURS.iter().cycle()) {
        let line = colour.stroke_width(2);
        plane
            .draw_series(LineSeries::new(series.points.iter().copied(), line))
            .map_err(failed)?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], line));
        plane
            .draw_series(dots(series).map(|point| Circle::new(point, 3, colour.filled())))
            .map_err(failed)?;
    }
    plane
        .configure_series_labels()
        .position(words.legend.clone())
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 13, &INK))
        .draw()
        .map_err(failed)?;
    root.present().map_err(failed)?;
    drop(plane);
    drop(root);
    Ok(svg)
}

fn dots(series: &Series) -> impl Iterator<Item = (f64, f64)> {
    let few = series.points.len() <= DOTS_MAX;
    series.points.iter().copied().filter(move |_| few)
}

fn failed(error: impl fmt::Display) -> io::Error {
    io::Error::other(format!("a chart cannot be drawn: {error}"))
}

fn plain(value: &f64) -> String {
    let text = number(*value, 3);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn bytes(value: &f64) -> String {
    if *value < 1_024.0 { format!("{value:.0} B") } else { format!("{:.0} KiB", value / 1_024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart {
        Chart {
            about: String::new(),
            series: vec![Series { name: "<ours>".to_owned(), points: points.to_vec() }],
        }
    }

    #[test]
    fn every_chart_is_drawn_with_its_words_and_the_names_of_its_curves() {
        let chart = chart(&[(64.0, 7.0), (4_096.0, 9.0)]);
        for kind in Kind::ALL {
            let svg = svg(kind, &chart).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(svg.contains(Words::of(kind).title) && svg.contains("&lt;ours&gt;"), "{svg}");
            assert!(svg.contains("polyline") && svg.contains("circle"), "{svg}");
        }
    }

    #[test]
    fn the_same_figures_make_the_same_picture_and_others_another() {
        let draw = |y| svg(Kind::Cpu, &chart(&[(64.0, 7.0), (4_096.0, y)])).unwrap();
        assert_eq!(draw(9.0), draw(9.0));
        assert_ne!(draw(9.0), draw(90.0));
    }

    #[test]
    fn strange_figures_are_drawn_or_refused() {
        for kind in Kind::ALL {
            assert!(svg(kind, &chart(&[])).is_err());
            assert!(svg(kind, &chart(&[(0.0, 0.0)])).is_ok());
            assert!(svg(kind, &chart(&[(-1.0, -1.0), (1e300, 1.0)])).is_ok());
        }
    }

    #[test]
    fn places_are_written_as_they_are_said() {
        assert_eq!(
            [0.0, 0.25, 1.0, 16.0, 5_000.0].map(|value| plain(&value)),
            ["0", "0.25", "1", "16", "5,000"]
        );
        assert_eq!([16.0, 1_024.0, 262_144.0].map(|value| bytes(&value)), ["16 B", "1 KiB", "256 KiB"]);
    }
}
