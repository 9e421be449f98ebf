//! What a client offers in its upgrade request: what of that is the broker's and what the backend's, and
//! what the client is answered.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use steadfast_protocol::steadfast_v1::client_wire::{self, Reason, Resume};
use steadfast_protocol::websocket::deflate::DeflateOffer;

use crate::http::token_list::split;
use crate::session::plain_token::PlainToken;
use crate::upstream::dial::{Agreed, DialTerms};

/// A client's subprotocols and extensions.
#[derive(Debug)]
pub(super) struct Offered {
    /// What it says to the broker.
    pub(super) client: client_wire::Offer,
    /// The subprotocols that backends are offered.
    protocols: Option<HeaderValue>,
    /// Nothing, for a client that links the shim, whose frames are the broker's to read, or that may come
    /// back on a connection which agrees on nothing.
    deflate: Option<DeflateOffer>,
    /// What a client that does not link the shim may come back with.
    pub(super) token: Option<PlainToken>,
}

/// What is spoken with a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Nothing of the broker's. With the subprotocol that the backend has chosen.
    Plain(Option<HeaderValue>),
    /// `steadfast.v1`, under this name.
    Shim(HeaderValue),
}

impl Spoken {
    /// The subprotocol to answer.
    pub(super) fn protocol(&self) -> Option<&HeaderValue> {
        match self {
            Spoken::Plain(protocol) => protocol.as_ref(),
            Spoken::Shim(protocol) => Some(protocol),
        }
    }
}

impl Offered {
    /// Reads it from the request's headers.
    pub(super) fn read(headers: &HeaderMap, token: Option<PlainToken>) -> Offered {
        let protocols = joined(headers, &header::SEC_WEBSOCKET_PROTOCOL);
        let client = client_wire::Offer::parse(&protocols.as_ref().map(texts).unwrap_or_default());
        if client.is_shim() {
            let application = HeaderValue::from_str(&client.application.join(", "));
            let protocols = application.ok().filter(|protocols| !protocols.is_empty());
            return Offered { client, protocols, deflate: None, token };
        }
        let extensions = joined(headers, &header::SEC_WEBSOCKET_EXTENSIONS);
        Offered {
            client,
            protocols: protocols.and_then(without_reserved),
            deflate: extensions
                .filter(|_| token.is_none())
                .and_then(|offers| DeflateOffer::parse(&texts(&offers))),
            token,
        }
    }

    /// What the first backend is to agree to. `shim`: it must link that. `understood`: the broker may have to read what is
    /// said, so that nothing is compressed.
    pub(super) fn terms(&self, shim: bool, understood: bool) -> DialTerms {
        DialTerms::first(self.protocols.clone(), self.deflate.filter(|_| !understood), shim)
    }

    /// The subprotocols that backends are offered, as a list; empty: none.
    pub(super) fn protocols(&self) -> &[u8] {
        self.protocols.as_ref().map_or(&[][..], HeaderValue::as_bytes)
    }

    /// The subprotocol that is agreed on; without one, those that are offered.
    pub(super) fn speaks<'a>(&'a self, agreed: &'a Agreed) -> &'a [u8] {
        agreed.protocol.as_deref().unwrap_or(self.protocols())
    }

    /// The session that a client which links the shim wants to go on with.
    ///
    /// # Errors
    /// It names one in a way that cannot be read.
    pub(super) fn resume(&self) -> Result<Option<Resume>, Reason> {
        match self.client.resume.filter(|_| self.client.is_shim()) {
            None => Ok(None),
            Some(resume) => resume.map(Some).map_err(|_| Reason::Unknown),
        }
    }

    /// The subprotocol to answer a client that comes back to a session whose backends speak this one, and
    /// which speaks with clients that link the shim (`shim`) or with others. `None`: it does not offer what
    /// the session began with.
    pub(super) fn spoken_again(&self, application: Option<&[u8]>, shim: bool) -> Option<Option<HeaderValue>> {
        let application = application.map(std::str::from_utf8).transpose().ok()?;
        let name = match (self.client.answer(application), application) {
            (Some(ours), _) if shim => Some(ours),
            (None, Some(name)) if !shim && self.client.application.iter().any(|offer| offer == name) => {
                Some(name.to_owned())
            }
            (None, None) if !shim => None,
            _ => return None,
        };
        Some(name.and_then(|name| HeaderValue::from_str(&name).ok()))
    }

    /// What to speak with the client, now that a backend has answered with these headers.
    pub(super) fn spoken(&self, answer: &HeaderMap) -> Spoken {
        let chosen = answer.get(header::SEC_WEBSOCKET_PROTOCOL);
        let name = match chosen.map(HeaderValue::to_str).transpose() {
            Ok(chosen) => self.client.answer(chosen),
            // It was not offered.
            Err(_) => None,
        };
        let name = name.and_then(|name| HeaderValue::from_str(&name).ok());
        name.map_or_else(|| Spoken::Plain(chosen.cloned()), Spoken::Shim)
    }
}

/// A list that is spread over several headers is one list (RFC 9110, 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter().filter(|value| !value.is_empty());
    let first = values.next()?;
    let others: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
    if others.is_empty() {
        return Some(first.clone());
    }
    HeaderValue::from_bytes(&[&[first.as_bytes()], &others[..]].concat().join(&b", "[..])).ok()
}

/// Those elements of a list that are text. Others are nothing that the broker could understand.
fn texts(list: &HeaderValue) -> Cow<'_, str> {
    if let Ok(all) = std::str::from_utf8(list.as_bytes()) {
        return all.into();
    }
    let texts: Vec<&str> =
        split(list.as_bytes()).filter_map(|element| std::str::from_utf8(element).ok()).collect();
    texts.join(", ").into()
}

/// A plain client's subprotocols, as they came unless one of them is the broker's to understand. They need
/// not be text.
fn without_reserved(protocols: HeaderValue) -> Option<HeaderValue> {
    let is_reserved = |entry: &[u8]| entry.starts_with(client_wire::RESERVED.as_bytes());
    if !split(protocols.as_bytes()).any(is_reserved) {
        return Some(protocols);
    }
    let others: Vec<_> = split(protocols.as_bytes()).filter(|entry| !is_reserved(entry)).collect();
    if others.is_empty() { None } else { HeaderValue::from_bytes(&others.join(&b", "[..])).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFLATE: &str = "permessage-deflate";

    /// Headers of subprotocols, in a request that offers compression too.
    fn offered(protocols: &[&[u8]]) -> Offered {
        let mut headers = HeaderMap::new();
        for protocols in protocols {
            let value = HeaderValue::from_bytes(protocols).expect("a header's value");
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(DEFLATE));
        Offered::read(&headers, None)
    }

    /// What backends are offered, and whether compression is.
    fn to_backend(offered: &Offered) -> (Option<Vec<u8>>, bool) {
        let DialTerms::First { protocols, deflate, .. } = offered.terms(false, false) else {
            panic!("a first dial")
        };
        (protocols.map(|protocols| protocols.as_bytes().to_vec()), deflate.is_some())
    }

    fn spoken(offered: &Offered, chosen: Option<&'static str>) -> Spoken {
        let mut answer = HeaderMap::new();
        if let Some(chosen) = chosen {
            answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
        }
        offered.spoken(&answer)
    }

    fn plain(name: &'static str) -> Spoken {
        Spoken::Plain(Some(HeaderValue::from_static(name)))
    }

    fn shim(name: &'static str) -> Spoken {
        Spoken::Shim(HeaderValue::from_static(name))
    }

    #[test]
    fn what_a_plain_client_offers_goes_on_as_it_came() {
        assert_eq!(to_backend(&offered(&[])), (None, true));
        for protocols in [&b"chat"[..], b"chat,superchat ,, x", b"steadfast", b"mysteadfast.v1", b"ch\xe4t"] {
            assert_eq!(to_backend(&offered(&[protocols])), (Some(protocols.to_vec()), true));
        }
        let two = offered(&[b"chat", b"superchat"]);
        assert_eq!(to_backend(&two), (Some(b"chat, superchat".to_vec()), true));
        assert_eq!(spoken(&two, Some("chat")), plain("chat"));
        assert_eq!(spoken(&two, None), Spoken::Plain(None));
    }

    #[test]
    fn what_begins_with_steadfast_never_reaches_a_backend() {
        for (protocols, left) in [
            (&b"steadfast.v2"[..], None),
            (b"steadfast.v1", None),
            (b"steadfast.", None),
            (b"steadfast.resume.TOKEN.7", None),
            (b"steadfast.v2, chat", Some(&b"chat"[..])),
            (b"chat,steadfast.v2 , superchat,", Some(b"chat, superchat")),
            (b"ch\xe4t, steadfast.v2", Some(b"ch\xe4t")),
            (b"steadfast.v1, chat", Some(b"chat")),
            (b"steadfast.v1+chat, steadfast.resume.TOKEN.7", Some(b"chat")),
            (b"steadfast.v1+chat, chat, superchat", Some(b"chat, superchat")),
            (b"steadfast.v1+steadfast.v1, steadfast.v1+, steadfast.v1+steadfast.resume.T.7", None),
        ] {
            let found = to_backend(&offered(&[protocols])).0;
            assert_eq!(found.as_deref(), left, "{}", protocols.escape_ascii());
        }
    }

    #[test]
    fn nothing_is_compressed_that_may_have_to_be_understood() {
        let offer = |understood| match offered(&[b"chat"]).terms(false, understood) {
            DialTerms::First { deflate, .. } => deflate.is_some(),
            DialTerms::Again(_) => panic!("a first dial"),
        };
        assert!(offer(false) && !offer(true));
    }

    #[test]
    fn no_extension_is_agreed_on_with_a_client_that_links_the_shim() {
        assert_eq!(to_backend(&offered(&[b"steadfast.v1"])), (None, false));
        assert_eq!(to_backend(&offered(&[b"steadfast.v1+chat"])), (Some(b"chat".to_vec()), false));
        assert!(to_backend(&offered(&[b"steadfast.v2"])).1, "that one is a plain client");
    }

    #[test]
    fn what_is_no_text_hides_nothing_beside_it() {
        let both = offered(&[b"ch\xe4t, steadfast.v1, chat"]);
        assert_eq!(to_backend(&both), (Some(b"chat".to_vec()), false));
        assert_eq!(spoken(&both, None), shim("steadfast.v1"));

        let mut headers = HeaderMap::new();
        for extensions in [&b"x-\xe4; y"[..], b"permessage-deflate"] {
            let value = HeaderValue::from_bytes(extensions).expect("a value");
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, value);
        }
        assert!(to_backend(&Offered::read(&headers, None)).1);
    }

    #[test]
    fn a_line_without_a_name_offers_nothing() {
        assert_eq!(to_backend(&offered(&[b""])), (None, true));
        assert_eq!(to_backend(&offered(&[b"", b"chat", b""])), (Some(b"chat".to_vec()), true));
    }

    #[test]
    fn the_answer_is_what_the_backend_has_chosen_together_with_ours() {
        let bare = offered(&[b"steadfast.v1"]);
        assert_eq!(spoken(&bare, None), shim("steadfast.v1"));

        let both = offered(&[b"steadfast.v1+chat", b"chat"]);
        assert_eq!(spoken(&both, Some("chat")), shim("steadfast.v1+chat"));
        assert_eq!(spoken(&both, None), Spoken::Plain(None), "it cannot do without a subprotocol");

        let other = offered(&[b"steadfast.v1, steadfast.v1+chat, superchat"]);
        assert_eq!(spoken(&other, Some("superchat")), plain("superchat"));
        assert_eq!(spoken(&other, None), shim("steadfast.v1"));
    }

    #[test]
    fn a_client_that_comes_back_is_answered_as_its_session_speaks() {
        let again = |offer: &str, application: Option<&str>, shim| {
            let answer = offered(&[offer.as_bytes()]).spoken_again(application.map(str::as_bytes), shim);
            answer.map(|name| name.map(|name| name.to_str().expect("text").to_owned()))
        };
        let named = |name: &str| Some(Some(name.to_owned()));
        assert_eq!(again("steadfast.v1", None, true), named("steadfast.v1"));
        assert_eq!(again("steadfast.v1+chat, chat", Some("chat"), true), named("steadfast.v1+chat"));
        assert_eq!(again("steadfast.v1+chat, chat", None, true), None);
        assert_eq!(again("chat", Some("chat"), true), None);

        assert_eq!(again("", None, false), Some(None));
        assert_eq!(again("chat", None, false), Some(None));
        assert_eq!(again("chat, superchat", Some("superchat"), false), named("superchat"));
        assert_eq!(again("chat", Some("superchat"), false), None);
        assert_eq!(again("steadfast.v1+chat, chat", None, false), Some(None), "it began as a plain one");
        assert_eq!(again("steadfast.v1", None, false), None, "it would take the session for one of ours");
        assert_eq!(again("steadfast.v1+chat, chat", Some("chat"), false), None);
    }

    #[test]
    fn a_wish_to_resume_is_read() {
        let token = client_wire::Token::new([7; 16], [9; 32]);
        let entry = format!("steadfast.v1, steadfast.resume.{}.12", token.text());
        let resume = client_wire::Resume { token, last: 12 };
        assert_eq!(offered(&[entry.as_bytes()]).client.resume, Some(Ok(resume)));
        let unreadable = offered(&[b"steadfast.v1, steadfast.resume.TOKEN.12"]);
        assert_eq!(unreadable.client.resume, Some(Err(client_wire::Unreadable)));
        assert_eq!(offered(&[b"steadfast.v1"]).client.resume, None);
    }
}
