//! Agreeing on permessage-deflate (RFC 7692) so that compressed messages pass without inflating and
//! each stands alone, valid on any backend.
//!
//! ```text
//!   client --offer--> broker --offer with both no_context_takeover--> backend
//!   client <--answer, always client_no_context_takeover-- broker <--answer-- backend
//!                                                  redials offer just what was agreed
//! ```

/// A window of 2^15 bytes, what holds when no parameter says otherwise (RFC 7692, 7.1.2).
const WINDOW_MAX: u8 = 15;

/// The extension's name.
const NAME: &str = "permessage-deflate";

/// What a client offered: the first well-formed permessage-deflate of its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateOffer {
    /// The largest window that the server may use, when the client limits it.
    server_max: Option<u8>,
    /// The client can limit its own window; with a value, it hints that it will not use more.
    client_max: Option<Option<u8>>,
}

/// What holds for a session: both sides forget their context after each message, and the windows
/// are these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    server_bits: u8,
    client_bits: u8,
}

/// Why a backend's answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It keeps context from one message to the next; dial again without compression.
    KeepsContext,
    /// It answers what was not offered, or in a way that the RFC does not know.
    Malformed,
    /// Its windows do not fit the session's.
    Windows,
}

impl DeflateOffer {
    /// The first usable offer in a `Sec-WebSocket-Extensions` value. An offer with parameters that
    /// the RFC does not know is passed over (RFC 7692, 5.1 and 7.1).
    pub fn parse(header: &str) -> Option<DeflateOffer> {
        parts(header, b',').find_map(|item| DeflateOffer::from_params(params(item)?))
    }

    fn from_params<'a>(params: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Option<DeflateOffer> {
        let mut seen = SeenParameters::default();
        for (name, value) in params {
            seen.take(name, value, true)?;
        }
        Some(DeflateOffer { server_max: seen.server_bits.flatten(), client_max: seen.client_bits })
    }

    /// The offer to the first backend: both sides without context, and the client's own windows.
    pub fn to_backend(self) -> String {
        let server = self.server_max.map(|bits| format!("; server_max_window_bits={bits}"));
        let client = self.client_max.map(|bits| match bits {
            Some(bits) => format!("; client_max_window_bits={bits}"),
            None => "; client_max_window_bits".to_owned(),
        });
        let [server, client] = [server, client].map(Option::unwrap_or_default);
        format!("{NAME}; server_no_context_takeover; client_no_context_takeover{server}{client}")
    }

    /// Reads a backend's `Sec-WebSocket-Extensions`; `None`: it declines.
    ///
    /// # Errors
    /// What makes the answer unusable.
    pub fn accept(self, answer: &str) -> Result<Option<Agreement>, Mismatch> {
        let Some(seen) = answered(answer)? else { return Ok(None) };
        let server_bits = seen.server_bits.flatten().unwrap_or(WINDOW_MAX);
        if self.server_max.is_some_and(|max| server_bits > max) {
            return Err(Mismatch::Windows);
        }
        // RFC 7692, 7.1.2.2: it must not be answered unless it was offered. What the client has said that it
        // will not use anyway, it is held to, whatever larger window the backend allows for.
        let client_bits = match (seen.client_bits.flatten(), self.client_max) {
            (Some(_), None) => return Err(Mismatch::Malformed),
            (bits, hint) => bits.unwrap_or(WINDOW_MAX).min(hint.flatten().unwrap_or(WINDOW_MAX)),
        };
        Ok(Some(Agreement { server_bits, client_bits }))
    }
}

impl Agreement {
    /// The answer to the client. It may be told to forget its context unasked (RFC 7692, 7.1.1.2).
    pub fn to_client(self) -> String {
        self.written(self.client_bits < WINDOW_MAX)
    }

    /// The offer to the next backend. It says nothing of the client's window, so that no answer may
    /// limit it (RFC 7692, 7.1.2.2): the client has its limit, and one that inflates 15 bits can do
    /// with less.
    pub fn to_backend(self) -> String {
        self.written(false)
    }

    fn written(self, client_bits: bool) -> String {
        let server =
            (self.server_bits < WINDOW_MAX).then(|| format!("; server_max_window_bits={}", self.server_bits));
        let client = client_bits.then(|| format!("; client_max_window_bits={}", self.client_bits));
        let [server, client] = [server, client].map(Option::unwrap_or_default);
        format!("{NAME}; server_no_context_takeover; client_no_context_takeover{server}{client}")
    }

    /// Whether a backend that answers `answer` can serve this session: it must inflate what the
    /// client may send, and the client what it may send.
    ///
    /// # Errors
    /// What makes the answer unusable.
    pub fn check(self, answer: &str) -> Result<(), Mismatch> {
        let Some(seen) = answered(answer)? else { return Err(Mismatch::Windows) };
        let server_bits = seen.server_bits.flatten().unwrap_or(WINDOW_MAX);
        let client_bits = seen.client_bits.flatten().unwrap_or(WINDOW_MAX);
        let fits = server_bits <= self.server_bits && client_bits >= self.client_bits;
        if fits { Ok(()) } else { Err(Mismatch::Windows) }
    }
}

/// The parameters of one extension, each at most once (RFC 7692, 7.1).
#[derive(Debug, Default)]
struct SeenParameters {
    server_no_context: bool,
    client_no_context: bool,
    server_bits: Option<Option<u8>>,
    client_bits: Option<Option<u8>>,
}

impl SeenParameters {
    /// `None` when the parameter is unknown, repeated or malformed.
    fn take(&mut self, name: &str, value: Option<&str>, offer: bool) -> Option<()> {
        match (name, value) {
            ("server_no_context_takeover", None) if !self.server_no_context => self.server_no_context = true,
            ("client_no_context_takeover", None) if !self.client_no_context => self.client_no_context = true,
            ("server_max_window_bits", Some(value)) if self.server_bits.is_none() => {
                self.server_bits = Some(Some(bits(value)?));
            }
            ("client_max_window_bits", Some(value)) if self.client_bits.is_none() => {
                self.client_bits = Some(Some(bits(value)?));
            }
            ("client_max_window_bits", None) if offer && self.client_bits.is_none() => {
                self.client_bits = Some(None)
            }
            _ => return None,
        }
        Some(())
    }
}

/// A backend's answer: nothing, or permessage-deflate without context.
fn answered(answer: &str) -> Result<Option<SeenParameters>, Mismatch> {
    if answer.trim().is_empty() {
        return Ok(None);
    }
    let mut seen = SeenParameters::default();
    for (name, value) in params(answer).filter(|_| !answer.contains(',')).ok_or(Mismatch::Malformed)? {
        seen.take(name, value, false).ok_or(Mismatch::Malformed)?;
    }
    if seen.server_no_context { Ok(Some(seen)) } else { Err(Mismatch::KeepsContext) }
}

/// The parameters of `item`, if it is permessage-deflate. Values may be quoted (RFC 6455, 9.1).
fn params(item: &str) -> Option<impl Iterator<Item = (&str, Option<&str>)>> {
    let mut parts = parts(item, b';').map(str::trim);
    let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    named.then(|| {
        parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        })
    })
}

/// What stands between the signs of this kind, which is ASCII. In a list as short as an offer, to look at each byte takes
/// less than to search for the next sign.
fn parts(list: &str, sign: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = all.bytes().position(|byte| byte == sign);
        rest = end.and_then(|end| all.get(end + 1..));
        all.get(..end.unwrap_or(all.len()))
    })
}

/// 8 to 15, without leading zeros (RFC 7692, 7.1.2.1).
fn bits(value: &str) -> Option<u8> {
    let plain = !value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|bits| plain && (8..=WINDOW_MAX).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn a_browsers_offer_gains_both_no_context_parameters() {
        let offer = DeflateOffer::parse("permessage-deflate; client_max_window_bits").expect("an offer");
        assert_eq!(offer.to_backend(), format!("{BOTH}; client_max_window_bits"));
    }

    #[test]
    fn the_clients_own_limits_are_kept() {
        let offer = DeflateOffer::parse(
            "x-other, permessage-deflate; server_max_window_bits=10; client_max_window_bits=\"12\"",
        );
        let offer = offer.expect("an offer");
        assert_eq!(
            offer.to_backend(),
            format!("{BOTH}; server_max_window_bits=10; client_max_window_bits=12")
        );
        assert_eq!(offer.accept(BOTH), Err(Mismatch::Windows), "15 bits are more than 10");
    }

    #[test]
    fn unusable_offers_are_passed_over() {
        for header in [
            "",
            "x",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; new",
            "permessage-deflate; server_max_window_bits",
        ] {
            assert_eq!(DeflateOffer::parse(header), None, "{header}");
        }
        let second = DeflateOffer::parse("permessage-deflate; new, permessage-deflate");
        assert_eq!(second, Some(DeflateOffer { server_max: None, client_max: None }));
    }

    #[test]
    fn a_backends_answer() {
        let offer = DeflateOffer::parse("permessage-deflate; client_max_window_bits").expect("an offer");
        assert_eq!(offer.accept(""), Ok(None));
        assert_eq!(
            offer.accept("permessage-deflate; client_no_context_takeover"),
            Err(Mismatch::KeepsContext)
        );
        assert_eq!(offer.accept("x-webkit-deflate-frame"), Err(Mismatch::Malformed));
        let agreed =
            offer.accept(&format!("{BOTH}; client_max_window_bits=11")).expect("usable").expect("agreed");
        assert_eq!(agreed.to_client(), format!("{BOTH}; client_max_window_bits=11"));
        let plain = DeflateOffer::parse("permessage-deflate").expect("an offer");
        assert_eq!(plain.accept(&format!("{BOTH}; client_max_window_bits=11")), Err(Mismatch::Malformed));
        assert_eq!(plain.accept(BOTH).expect("usable").expect("agreed").to_client(), BOTH);
    }

    #[test]
    fn the_client_is_told_no_larger_window_than_it_offered() {
        for (offered, answered, told) in [
            (Some(10), Some(12), Some(10)),
            (Some(10), Some(10), Some(10)),
            (Some(10), Some(9), Some(9)),
            (Some(10), None, Some(10)),
            (Some(15), None, None),
            (Some(15), Some(15), None),
            (None, Some(12), Some(12)),
            (None, None, None),
        ] {
            let parameter = |bits: Option<u8>| bits.map(|bits| format!("={bits}")).unwrap_or_default();
            let offer = format!("permessage-deflate; client_max_window_bits{}", parameter(offered));
            let written = |bits: Option<u8>| match bits {
                Some(bits) => format!("{BOTH}; client_max_window_bits={bits}"),
                None => BOTH.to_owned(),
            };
            let offer = DeflateOffer::parse(&offer).expect("an offer");
            let agreed = offer.accept(&written(answered)).expect("usable").expect("agreed");
            assert_eq!(agreed.to_client(), written(told), "{offered:?} {answered:?}");
            // A next backend need not allow for more than the client will use.
            for bits in told.unwrap_or(WINDOW_MAX)..WINDOW_MAX {
                assert_eq!(agreed.check(&written(Some(bits))), Ok(()), "{offered:?} {answered:?} {bits}");
            }
        }
    }

    #[test]
    fn the_client_always_forgets_its_context() {
        let offer = DeflateOffer::parse("permessage-deflate").expect("an offer");
        let agreed =
            offer.accept("permessage-deflate; server_no_context_takeover").expect("usable").expect("agreed");
        assert!(agreed.to_client().contains("client_no_context_takeover"));
    }

    #[test]
    fn the_next_backend_must_fit() {
        let offer = DeflateOffer::parse("permessage-deflate; client_max_window_bits").expect("an offer");
        let first = format!("{BOTH}; server_max_window_bits=12; client_max_window_bits=11");
        let agreed = offer.accept(&first).expect("usable").expect("agreed");
        assert_eq!(agreed.to_backend(), format!("{BOTH}; server_max_window_bits=12"));
        assert_eq!(agreed.check(&first), Ok(()));
        assert_eq!(agreed.check(&format!("{BOTH}; server_max_window_bits=9")), Ok(()));
        assert_eq!(agreed.check(BOTH), Err(Mismatch::Windows), "a window of 15 bits for the client");
        let small = format!("{BOTH}; server_max_window_bits=12; client_max_window_bits=10");
        assert_eq!(agreed.check(&small), Err(Mismatch::Windows), "it inflates 10 bits, the client uses 11");
        assert_eq!(agreed.check(""), Err(Mismatch::Windows));
    }
}
