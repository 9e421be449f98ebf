//! Words that stand in logs, in metrics and in the API. Each set of them is one enum, and what says them and what reads
//! them comes of one list.

/// An enum whose variants are words.
pub(crate) trait Word: Copy + 'static {
    /// Every one of them, in the order in which they are defined.
    const ALL: &'static [Self];

    /// How it is written.
    fn word(self) -> &'static str;
}

/// Every word of a set.
pub(crate) fn names<W: Word>() -> Vec<&'static str> {
    W::ALL.iter().map(|word| word.word()).collect()
}

/// Defines an enum and how each of its variants is written: by `name`, and by serde in both directions.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        $visible:vis enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        $visible enum $name {
            $($(#[$of_variant])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The word for logs, metrics and the API.
            $visible const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl $crate::words::Word for $name {
            const ALL: &'static [$name] = &[$($name::$variant),+];

            fn word(self) -> &'static str {
                self.name()
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    words! {
        enum Weather {
            /// With clouds.
            Grey = "grey",
            HalfClear = "half_clear",
        }
    }

    #[test]
    fn a_word_is_written_and_read_as_it_is_listed() {
        assert_eq!(names::<Weather>(), ["grey", "half_clear"]);
        for weather in Weather::ALL {
            assert_eq!(json!(weather), json!(weather.name()));
            assert_eq!(serde_json::from_value::<Weather>(json!(weather.name())).ok(), Some(*weather));
        }
    }

    #[test]
    fn another_word_is_none_of_them() {
        for word in ["Grey", "HalfClear", "half clear", ""] {
            let error = serde_json::from_value::<Weather>(json!(word)).expect_err("no such weather");
            assert!(error.to_string().contains("half_clear"), "{error}");
        }
    }
}
