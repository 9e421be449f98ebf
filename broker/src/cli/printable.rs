//! What a terminal shows of a text, and does not obey.

/// The text with a blank for each control character, and for each that changes the direction of what follows it
/// (Unicode's `Bidi_Control`): names and reasons come from others, and could dress up as something else.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if obeyed(c) { ' ' } else { c }).collect()
}

fn obeyed(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || turns || breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(printable("a\u{1b}[31m\n\u{202e}b\u{2066}\u{200f}\u{2028}c"), "a [31m  b   c");
        assert_eq!(printable("größe – 東京 \u{1f600}"), "größe – 東京 \u{1f600}");
    }
}
