//! How what a person has written is repeated in errors.

/// Characters of a wrong value that its error repeats.
const QUOTED_MAX: usize = 80;

/// The text as it is repeated in errors: quoted, control characters escaped, cut when it is long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{:?} ...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_one_line_and_short() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"é".repeat(QUOTED_MAX)).chars().count(), QUOTED_MAX + 2);
        assert_eq!(quoted(&"é".repeat(QUOTED_MAX + 1)), format!("\"{}\" ...", "é".repeat(QUOTED_MAX)));
    }
}
