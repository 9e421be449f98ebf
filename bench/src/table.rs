//! Plain text in columns.

use crate::stats;

/// Lays rows out in columns: the first to the left, all others to the right, two blanks between. The
/// first row holds the headings.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::from("  ");
    for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
        if at == 0 {
            line.push_str(&format!("{cell:<width$}"));
        } else {
            line.push_str(&format!("  {cell:>width$}"));
        }
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

/// Ratios of several rounds: their median, the lowest and the highest. `None` without any.
pub(crate) fn ratio(ratios: &[f64], decimals: usize) -> Option<String> {
    let (low, high) = (stats::quantile(ratios, 0.0)?, stats::quantile(ratios, 1.0)?);
    let median = stats::median(ratios)?;
    Some(format!("{median:.decimals$} ({low:.decimals$}-{high:.decimals$})"))
}

/// A number with so many decimals and its thousands apart.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(999.96, 1), "1,000.0");
        assert_eq!(number(-1_000.0, 0), "-1,000");
        assert_eq!(number(-100.25, 2), "-100.25");
        assert_eq!(number(0.0, 1), "0.0");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let table = align(&[row(["peer", "µs", "msg/s"]), row(["steadfast", "20.5", "9"])]);
        assert_eq!(table, "  peer         µs  msg/s\n  steadfast  20.5      9\n");
    }
}
