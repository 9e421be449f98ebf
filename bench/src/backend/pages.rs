//! Requests that ask for no WebSocket: each is answered with as many bytes as its path says.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::link::Link;
use crate::wire::http::{self, Reader, Request};

/// What was answered last, since the next request mostly asks for the same.
#[derive(Debug, Default)]
pub(super) struct Pages {
    last: RefCell<Option<(usize, Rc<[u8]>)>>,
}

impl Pages {
    /// Answers the requests of a connection, the first of which has begun with `early`, until it ends.
    pub(super) async fn serve(&self, link: &mut Link, early: &[u8]) -> io::Result<()> {
        let mut reader = Reader::requests();
        let mut over = self.feed(&mut reader, early, link.queued());
        while !over {
            let fed = link.exchange(|bytes, answers| self.feed(&mut reader, bytes, answers)).await?;
            over = fed.unwrap_or(true);
        }
        Ok(())
    }

    /// Takes bytes of the client, and queues what it is answered. Says whether nothing comes behind that.
    fn feed(&self, reader: &mut Reader<Request>, mut bytes: &[u8], answers: &mut Vec<u8>) -> bool {
        loop {
            match reader.next(&mut bytes) {
                Ok(None) => return false,
                Ok(Some(request)) => {
                    answers.extend_from_slice(&self.page(request.asks_for));
                    if request.close {
                        return true;
                    }
                }
                Err(error) => {
                    answers.extend_from_slice(&http::refusal(&error));
                    return true;
                }
            }
        }
    }

    fn page(&self, length: usize) -> Rc<[u8]> {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((known, page)) if *known == length => page.clone(),
            _ => last.insert((length, http::answer(length).into())).1.clone(),
        }
    }
}
