//! Host names below a domain, as `*.example.com` means them.

/// Whether `name` is below `suffix`, such as `.example.com`, which begins with a dot. The domain
/// itself is not below it. Letter case does not count.
///
/// Only letters, digits, `-` and `_` may stand in front of the suffix, in labels between dots. A user,
/// a path or a space in front of it would be read by others as the end of another host's name.
pub(crate) fn is_below(name: &[u8], suffix: &str) -> bool {
    let Some((front, end)) =
        name.len().checked_sub(suffix.len()).and_then(|middle| name.split_at_checked(middle))
    else {
        return false;
    };
    end.eq_ignore_ascii_case(suffix.as_bytes()) && front.split(|byte| *byte == b'.').all(is_label)
}

fn is_label(label: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn below(name: &str) -> bool {
        is_below(name.as_bytes(), ".example.com")
    }

    #[test]
    fn names_below_fit_at_any_depth() {
        for name in ["a.example.com", "a.b.example.com", "A_1.EXAMPLE.com", "xn--bcher-kva.example.com"] {
            assert!(below(name), "{name}");
        }
    }

    #[test]
    fn the_domain_itself_and_its_lookalikes_do_not_fit() {
        let names = ["", "example.com", ".example.com", "evilexample.com", "evil-example.com"];
        let longer = ["a.example.com.evil.com", "a.example.com.", "a.example.comm", "com", "..example.com"];
        for name in names.into_iter().chain(longer) {
            assert!(!below(name), "{name}");
        }
    }

    #[test]
    fn nothing_but_labels_stands_in_front() {
        for front in ["a..b", ".a", "evil.com/", "evil.com#", "me@a", "evil.com:80", "a b", "a%2e", "\\", "é"]
        {
            assert!(!below(&format!("{front}.example.com")), "{front}");
        }
    }

    proptest! {
        #[test]
        fn any_labels_in_any_case_fit(labels in "[a-z0-9_-]{1,9}(\\.[a-z0-9_-]{1,9}){0,3}") {
            let name = format!("{labels}.example.com");
            prop_assert!(below(&name));
            prop_assert!(below(&name.to_uppercase()));
        }

        #[test]
        fn any_bytes_are_judged(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let fits = is_below(&name, ".a");
            prop_assert!(!fits || name.to_ascii_lowercase().ends_with(b".a"));
        }
    }
}
