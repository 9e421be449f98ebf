//! Which sessions a list is to have: the filters and the page of a query.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use steadfast_protocol::time::Time;

use super::session_id;
use crate::net::listener::ListenAddress;
use crate::session::registry::{Entry, session_name};

/// Sessions of a page, unless the query says otherwise.
const LIMIT: usize = 1000;
/// No page has more.
const LIMIT_MAX: usize = 10_000;

/// What a session is found by. Everything that is given must hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pool: Option<String>,
    backend: Option<String>,
    state: Option<String>,
    client: Option<ClientAddress>,
    listener: Option<ListenAddress>,
}

/// A client's address, with its port or without.
#[derive(Debug, PartialEq, Eq)]
enum ClientAddress {
    Address(IpAddr),
    Socket(SocketAddr),
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Behind this session, which must be there yet.
    Session(u128),
    /// Behind the place that a session had, whether it is there or not.
    Place(PagePosition),
}

/// A session's place in the order of all: by age, and among those of one moment by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PagePosition {
    /// Microseconds since the clock's origin.
    began: u64,
    id: u128,
}

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SessionSearch {
    pub(super) filter: Filter,
    pub(super) limit: usize,
    pub(super) after: Option<After>,
}

impl PagePosition {
    pub(super) fn of(entry: &Entry) -> PagePosition {
        PagePosition::new(entry.began, entry.id)
    }

    fn new(began: Time, id: u128) -> PagePosition {
        PagePosition { began: began.since_origin().as_micros() as u64, id }
    }

    /// As [`After`] is written: `1f3a-` and the id. The id alone is not enough, since the session may have
    /// ended when the next page is asked for.
    pub(super) fn written(self) -> String {
        format!("{:x}-{}", self.began, session_name(self.id))
    }
}

impl SessionSearch {
    /// Reads the query of a request.
    ///
    /// # Errors
    ///
    /// What cannot be understood, and what is expected.
    pub(super) fn parse(query: &str) -> Result<SessionSearch, String> {
        let mut search = SessionSearch { filter: Filter::default(), limit: LIMIT, after: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            search.take(&name, &value)?;
        }
        Ok(search)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let filter = &mut self.filter;
        match name {
            "pool" => filter.pool = Some(value.to_owned()),
            "backend" => filter.backend = Some(value.to_owned()),
            "state" => filter.state = Some(value.to_owned()),
            "client" => filter.client = Some(client(value)?),
            "listener" => filter.listener = Some(value.parse().map_err(|why| format!("{name}: {why}"))?),
            "limit" => self.limit = limit(value)?,
            "after" => self.after = Some(after(value)?),
            _ => {
                let known = "pool, backend, state, client, listener, limit and after";
                return Err(format!("unknown parameter {name:?}; known are {known}"));
            }
        }
        Ok(())
    }
}

impl Filter {
    /// Whether a session is wanted. What is cheap to tell comes first: the rest takes the entry's lock.
    pub(super) fn matches(&self, entry: &Arc<Entry>) -> bool {
        self.pool.as_deref().is_none_or(|pool| *pool == *entry.binding.pool.name)
            && self.listener.as_ref().is_none_or(|listener| *listener == entry.binding.address)
            && self.client.as_ref().is_none_or(|client| client.is(entry.client()))
            && self.matches_core(entry)
    }

    fn matches_core(&self, entry: &Entry) -> bool {
        if self.backend.is_none() && self.state.is_none() {
            return true;
        }
        let core = entry.core();
        let backend = core.lease.as_ref().map(|lease| lease.backend().name.as_str());
        self.state.as_deref().is_none_or(|state| state == core.machine.status().name())
            && self.backend.as_deref().is_none_or(|wanted| backend == Some(wanted))
    }
}

impl ClientAddress {
    fn is(&self, address: SocketAddr) -> bool {
        match self {
            ClientAddress::Address(ip) => ip.to_canonical() == address.ip().to_canonical(),
            ClientAddress::Socket(socket) => *socket == address,
        }
    }
}

fn client(text: &str) -> Result<ClientAddress, String> {
    let address = text.parse().map(ClientAddress::Address);
    address.or_else(|_| text.parse().map(ClientAddress::Socket)).map_err(|_| {
        format!("client: expected an address such as 192.0.2.1 or 192.0.2.1:50000, found {text:?}")
    })
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| format!("limit: expected 1 to {LIMIT_MAX}, found {text:?}"))
}

fn after(text: &str) -> Result<After, String> {
    let place = text.split_once('-').map(|(began, id)| {
        let place = PagePosition { began: u64::from_str_radix(began, 16).ok()?, id: session_id(id)? };
        Some(After::Place(place))
    });
    let read = place.unwrap_or_else(|| session_id(text).map(After::Session));
    read.ok_or_else(|| format!("after: expected what the page before has as \"next\", found {text:?}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn nothing_asked_is_the_first_page_of_all() {
        let all = SessionSearch { filter: Filter::default(), limit: 1000, after: None };
        assert_eq!(SessionSearch::parse(""), Ok(all));
    }

    #[test]
    fn everything_can_be_asked_at_once() {
        let query = "pool=chat&backend=chat.internal%2F10.0.0.1%3A9001&state=relaying&client=192.0.2.1\
                     &listener=127.0.0.1:8080&limit=5";
        let search = SessionSearch::parse(query).expect("a sound query");
        assert_eq!(search.limit, 5);
        let filter = Filter {
            pool: Some("chat".to_owned()),
            backend: Some("chat.internal/10.0.0.1:9001".to_owned()),
            state: Some("relaying".to_owned()),
            client: Some(ClientAddress::Address([192, 0, 2, 1].into())),
            listener: Some(([127, 0, 0, 1], 8080).into()),
        };
        assert_eq!(search.filter, filter);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (query, part) in [
            ("limit=0", "1 to 10000"),
            ("limit=10001", "10001"),
            ("limit=many", "many"),
            ("limit=-1", "-1"),
            ("client=nobody", "nobody"),
            ("listener=8080", "listener"),
            ("after=xyz", "next"),
            ("after=1", "next"),
            ("after=zz-000102030405060708090a0b0c0d0e0f", "next"),
            ("pol=chat", "pol"),
        ] {
            let sentence = SessionSearch::parse(query).expect_err(query);
            assert!(sentence.contains(part), "{query}: {sentence}");
        }
    }

    #[test]
    fn a_client_is_found_with_its_port_and_without() {
        let address: SocketAddr = ([192, 0, 2, 1], 50000).into();
        for (text, found) in [
            ("192.0.2.1", true),
            ("192.0.2.1:50000", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.1:50001", false),
            ("192.0.2.2", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(client(text).expect("an address").is(address), found, "{text}");
        }
    }

    #[test]
    fn a_place_is_written_and_read() {
        let id = session_id(ID).expect("an id");
        let place = PagePosition::new(Time::after_origin(Duration::from_micros(0x1f3a)), id);
        assert_eq!(place.written(), format!("1f3a-{ID}"));
        assert_eq!(after(&place.written()), Ok(After::Place(place)));
        assert_eq!(after(ID), Ok(After::Session(id)));
    }

    #[test]
    fn places_are_in_the_order_of_age() {
        let at = |micros, id| PagePosition::new(Time::after_origin(Duration::from_micros(micros)), id);
        assert!(at(1, 9) < at(2, 1) && at(2, 1) < at(2, 2));
    }
}
