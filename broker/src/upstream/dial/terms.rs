//! What a backend is offered, and whether its answer fits.

use http::header::{self, HeaderMap, HeaderValue};
use steadfast_protocol::websocket::deflate::{Agreement, DeflateOffer, Mismatch};

use crate::http::backend_headers::links_shim;
use crate::http::replay_request::BackendOffer;
use crate::http::token_list::split;

/// What the answer must fit.
#[derive(Debug, Clone)]
pub(crate) enum DialTerms {
    /// The first dial: what the client offers.
    First {
        /// Its `Sec-WebSocket-Protocol`.
        protocols: Option<HeaderValue>,
        /// Its compression offer; `None`: no extension.
        deflate: Option<DeflateOffer>,
        /// The service must link the shim.
        shim: bool,
    },
    /// A later one: what the session has agreed.
    Again(Agreed),
}

/// What a session began with; every later backend must agree to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agreed {
    /// The subprotocol that its backends speak.
    pub(crate) protocol: Option<Box<[u8]>>,
    pub(crate) deflate: Option<Agreement>,
    /// Its services link the shim, whatever the pool says by now.
    pub(crate) shim: bool,
}

/// Why a backend's answer does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// Without compression it may fit.
    Compressed,
    /// It serves, but not this session.
    Incompatible(&'static str),
}

impl Agreed {
    /// A later backend may misfit.
    pub(crate) fn is_something(&self) -> bool {
        self.protocol.is_some() || self.deflate.is_some() || self.shim
    }
}

impl DialTerms {
    /// Of the first dial. What a service with the shim says is for the broker to read, so nothing of it
    /// may be compressed.
    pub(crate) fn first(
        protocols: Option<HeaderValue>,
        deflate: Option<DeflateOffer>,
        shim: bool,
    ) -> DialTerms {
        DialTerms::First { protocols, deflate: deflate.filter(|_| !shim), shim }
    }

    pub(super) fn are_first(&self) -> bool {
        matches!(self, DialTerms::First { .. })
    }

    /// What to say in the upgrade request.
    pub(super) fn offer(&self, compress: bool) -> BackendOffer {
        let shim = self.ask_for_shim();
        match self {
            DialTerms::First { protocols, deflate, .. } => BackendOffer {
                protocols: protocols.clone(),
                extensions: deflate.filter(|_| compress).map(DeflateOffer::to_backend),
                shim,
            },
            DialTerms::Again(agreed) => {
                let protocols =
                    agreed.protocol.as_deref().and_then(|name| HeaderValue::from_bytes(name).ok());
                BackendOffer { protocols, extensions: agreed.deflate.map(Agreement::to_backend), shim }
            }
        }
    }

    /// Judges the headers of a 101. `compress`: as the offer was made. Gives the agreed compression.
    pub(super) fn judge(&self, answer: &HeaderMap, compress: bool) -> Result<Option<Agreement>, Misfit> {
        if self.ask_for_shim() && !links_shim(answer) {
            return Err(Misfit::Incompatible("it does not link the shim"));
        }
        if !self.protocol_fits(answer) {
            return Err(Misfit::Incompatible("another subprotocol"));
        }
        self.agree(answer, compress).map_err(|_| match compress && self.are_first() {
            true => Misfit::Compressed,
            false => Misfit::Incompatible("other compression"),
        })
    }

    fn ask_for_shim(&self) -> bool {
        match self {
            DialTerms::First { shim, .. } => *shim,
            DialTerms::Again(agreed) => agreed.shim,
        }
    }

    /// RFC 6455, 4.1: the answer names one of the offered subprotocols, or none. A session keeps
    /// the one it has.
    fn protocol_fits(&self, answer: &HeaderMap) -> bool {
        let chosen = answer.get(header::SEC_WEBSOCKET_PROTOCOL);
        match (self, chosen) {
            (DialTerms::Again(agreed), chosen) => {
                agreed.protocol.as_deref() == chosen.map(HeaderValue::as_bytes)
            }
            (DialTerms::First { .. }, None) => true,
            (DialTerms::First { protocols, .. }, Some(chosen)) => {
                protocols.iter().flat_map(|offered| split(offered.as_bytes())).any(|offer| offer == chosen)
            }
        }
    }

    fn agree(&self, answer: &HeaderMap, compress: bool) -> Result<Option<Agreement>, Mismatch> {
        let values: Vec<_> =
            answer.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().map(HeaderValue::to_str).collect();
        let values: Result<Vec<_>, _> = values.into_iter().collect();
        let extensions = values.map_err(|_| Mismatch::Malformed)?.join(",");
        let nothing = || if extensions.is_empty() { Ok(None) } else { Err(Mismatch::Malformed) };
        match self {
            DialTerms::First { deflate: Some(offer), .. } if compress => offer.accept(&extensions),
            DialTerms::First { .. } => nothing(),
            DialTerms::Again(Agreed { deflate: Some(agreed), .. }) => {
                agreed.check(&extensions).map(|()| Some(*agreed))
            }
            DialTerms::Again(_) => nothing(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    /// With every parameter that a backend may be asked for.
    const DEFLATE: &str = "permessage-deflate; client_max_window_bits";

    /// As a backend answers that keeps no context.
    const MOVABLE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn first(protocols: &'static str, shim: bool) -> DialTerms {
        DialTerms::first(Some(HeaderValue::from_static(protocols)), DeflateOffer::parse(DEFLATE), shim)
    }

    fn again(protocol: Option<&str>, shim: bool) -> DialTerms {
        let protocol = protocol.map(|name| name.as_bytes().into());
        DialTerms::Again(Agreed { protocol, deflate: None, shim })
    }

    fn answer(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = headers.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_service_must_say_that_it_links_the_shim() {
        let refused = Err(Misfit::Incompatible("it does not link the shim"));
        for terms in [first("chat", true), again(None, true)] {
            assert!(terms.offer(true).shim);
            assert_eq!(terms.judge(&answer(&[]), true), refused);
            assert_eq!(terms.judge(&answer(&[("steadfast-shim", "2")]), true), refused);
            assert_eq!(terms.judge(&answer(&[("steadfast-shim", "1")]), true), Ok(None));
        }
    }

    #[test]
    fn elsewhere_nobody_asks_for_the_shim() {
        for terms in [first("chat", false), again(None, false)] {
            assert!(!terms.offer(true).shim);
            assert_eq!(terms.judge(&answer(&[]), true), Ok(None));
            assert_eq!(terms.judge(&answer(&[("steadfast-shim", "1")]), true), Ok(None));
        }
    }

    #[test]
    fn nothing_is_compressed_between_broker_and_shim() {
        let compressed = answer(&[("steadfast-shim", "1"), ("sec-websocket-extensions", MOVABLE)]);
        let terms = first("chat", true);
        assert_eq!(terms.offer(true).extensions, None);
        assert_eq!(
            terms.judge(&compressed, false),
            Err(Misfit::Incompatible("other compression")),
            "it was not offered"
        );
        let later = again(None, true);
        assert_eq!(later.offer(true).extensions, None);
        assert_eq!(later.judge(&compressed, true), Err(Misfit::Incompatible("other compression")));
    }

    #[test]
    fn compression_that_cannot_be_moved_is_left_out_at_a_second_dial() {
        let terms = first("chat", false);
        assert!(terms.offer(true).extensions.is_some_and(|offer| offer.starts_with("permessage-deflate; ")));
        assert!(matches!(terms.judge(&answer(&[("sec-websocket-extensions", MOVABLE)]), true), Ok(Some(_))));
        let keeping = answer(&[("sec-websocket-extensions", "permessage-deflate")]);
        assert_eq!(terms.judge(&keeping, true), Err(Misfit::Compressed));
        assert_eq!(terms.offer(false).extensions, None);
        assert_eq!(terms.judge(&answer(&[]), false), Ok(None));
    }

    #[test]
    fn subprotocols_are_compared_as_bytes() {
        let value = |bytes: &'static [u8]| HeaderValue::from_bytes(bytes).expect("a value");
        let terms = DialTerms::first(Some(value(b"chat, ch\xe4t,superchat")), None, false);
        let chooses = |bytes| HeaderMap::from_iter([(header::SEC_WEBSOCKET_PROTOCOL, value(bytes))]);
        for chosen in [&b"chat"[..], b"superchat", b"ch\xe4t"] {
            assert_eq!(terms.judge(&chooses(chosen), true), Ok(None), "{}", chosen.escape_ascii());
        }
        for chosen in [&b"ch\xc3\xa4t"[..], b"Chat", b"chat, superchat", b""] {
            let found = terms.judge(&chooses(chosen), true);
            assert_eq!(found, Err(Misfit::Incompatible("another subprotocol")), "{}", chosen.escape_ascii());
        }
    }

    #[test]
    fn a_backend_chooses_what_was_offered_and_later_ones_the_same() {
        let chooses = |name| answer(&[("sec-websocket-protocol", name)]);
        let other = Err(Misfit::Incompatible("another subprotocol"));
        for (terms, name, expected) in [
            (first("chat, superchat", false), "superchat", Ok(None)),
            (first("chat, superchat", false), "super", other),
            (DialTerms::first(None, None, false), "chat", other),
            (again(Some("chat"), false), "chat", Ok(None)),
            (again(Some("chat"), false), "superchat", other),
            (again(None, false), "chat", other),
        ] {
            assert_eq!(terms.judge(&chooses(name), true), expected, "{name}: {terms:?}");
        }
        assert_eq!(again(Some("chat"), false).judge(&answer(&[]), true), other);
    }
}
