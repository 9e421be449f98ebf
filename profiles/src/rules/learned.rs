//! What a session has learned from the answers of its records: how each backend calls them, and what the records are
//! told as from then on.

use std::collections::BTreeMap;

use super::value::Value;
use crate::Key;

/// Records that something is learned of.
const RECORDS_MAX: usize = 1_024;
/// Bytes of one record's values.
const RECORD_BYTES_MAX: usize = 4 * 1024;
/// Bytes of all values together.
const BYTES_MAX: usize = 128 * 1024;

/// Of all records of a session.
#[derive(Debug, Default)]
pub(super) struct Learned {
    records: BTreeMap<Key, Record>,
    /// By the fingerprint of the client's name.
    by_client: BTreeMap<u64, Key>,
    /// By the fingerprint of the backend's name.
    by_backend: BTreeMap<u64, Key>,
    /// By what their answers are known by.
    by_answer: BTreeMap<Key, Key>,
    /// Records whose two names differ.
    differing: usize,
    bytes: usize,
}

/// Of one record.
#[derive(Debug)]
struct Record {
    lesson: usize,
    answer: Option<Key>,
    /// All of `captures` that its last answer had is here.
    answered: bool,
    /// What the client calls it.
    client: Option<Secret>,
    /// What this backend calls it.
    backend: Option<Secret>,
    /// Values of its answer.
    captures: Vec<(u8, Secret)>,
}

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Learned {
    /// A record is kept whose answer teaches something.
    pub(super) fn begin(&mut self, slot: Key, lesson: usize, answer: Option<Key>) -> Result<(), Full> {
        self.forget(slot);
        if self.records.len() == RECORDS_MAX {
            return Err(Full);
        }
        let record =
            Record { lesson, answer, answered: false, client: None, backend: None, captures: Vec::new() };
        self.records.insert(slot, record);
        if let Some(answer) = answer {
            self.by_answer.insert(answer, slot);
        }
        Ok(())
    }

    /// Not a byte of any record is left.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.by_client.is_empty()
            && self.by_backend.is_empty()
            && self.by_answer.is_empty()
            && (self.differing, self.bytes) == (0, 0)
    }

    pub(super) fn lesson(&self, slot: Key) -> Option<usize> {
        self.records.get(&slot).map(|record| record.lesson)
    }

    /// The record that waits for an answer of this key.
    pub(super) fn awaiting(&self, answer: Key) -> Option<Key> {
        self.by_answer.get(&answer).copied()
    }

    /// A record is gone.
    pub(super) fn forget(&mut self, slot: Key) {
        let Some(record) = self.records.remove(&slot) else { return };
        self.differing -= usize::from(record.differs());
        self.bytes -= record.bytes();
        for (names, name) in [(&mut self.by_client, &record.client), (&mut self.by_backend, &record.backend)]
        {
            if let Some(name) = name {
                remove(names, name.value().fingerprint(), slot);
            }
        }
        if let Some(answer) = record.answer {
            remove(&mut self.by_answer, answer, slot);
        }
    }

    /// Another backend: it has given no names.
    pub(super) fn linked(&mut self) {
        for record in self.records.values_mut() {
            self.bytes -= record.backend.take().map_or(0, |name| name.0.len());
        }
        self.by_backend.clear();
        self.differing = 0;
    }

    /// Some record is called one thing by the client, and another by the backend.
    pub(super) fn translates(&self) -> bool {
        self.differing > 0
    }

    /// The client has names for something.
    pub(super) fn has_names(&self) -> bool {
        !self.by_client.is_empty()
    }

    /// Whether the client calls something so.
    pub(super) fn is_taken(&self, name: Value<'_>) -> bool {
        self.by_client.contains_key(&name.fingerprint())
    }

    /// A backend has named a record. `client`: what the client heard, when it was the first to.
    pub(super) fn name(&mut self, slot: Key, backend: &[u8], client: Option<&[u8]>) -> Result<(), Full> {
        let Some(record) = self.records.get_mut(&slot) else { return Ok(()) };
        self.differing -= usize::from(record.differs());
        let (bytes, others) = (record.bytes(), self.bytes - record.bytes());
        let room = RECORD_BYTES_MAX.min(BYTES_MAX.saturating_sub(others));
        let new = backend.len() + client.map_or(0, <[u8]>::len);
        if bytes + new > room {
            self.differing += usize::from(record.differs());
            return Err(Full);
        }
        if let Some(old) = record.backend.replace(Secret::of(backend)) {
            remove(&mut self.by_backend, old.value().fingerprint(), slot);
        }
        self.by_backend.insert(Value::of_raw(backend).fingerprint(), slot);
        if let Some(client) = client {
            if let Some(old) = record.client.replace(Secret::of(client)) {
                remove(&mut self.by_client, old.value().fingerprint(), slot);
            }
            self.by_client.insert(Value::of_raw(client).fingerprint(), slot);
        }
        self.bytes = others + record.bytes();
        self.differing += usize::from(record.differs());
        Ok(())
    }

    /// Values of a record's answer take the place of those before.
    pub(super) fn capture<'a>(
        &mut self,
        slot: Key,
        values: impl Iterator<Item = (u8, &'a [u8])>,
    ) -> Result<(), Full> {
        let Some(record) = self.records.get_mut(&slot) else { return Ok(()) };
        let others = self.bytes - record.bytes();
        record.captures.clear();
        let room = RECORD_BYTES_MAX.min(BYTES_MAX.saturating_sub(others)).saturating_sub(record.bytes());
        let values: Vec<_> = values.collect();
        let fits = values.iter().map(|(_, value)| value.len()).sum::<usize>() <= room;
        if fits {
            record.captures = values.iter().map(|(place, value)| (*place, Secret::of(value))).collect();
        }
        record.answered = fits;
        self.bytes = others + record.bytes();
        if fits { Ok(()) } else { Err(Full) }
    }

    /// A record was answered, and what that said is here.
    pub(super) fn is_answered(&self, slot: Key) -> bool {
        self.records.get(&slot).is_some_and(|record| record.answered)
    }

    /// A value of a record's answer.
    pub(super) fn captured(&self, slot: Key, place: u8) -> Option<&[u8]> {
        let captures = &self.records.get(&slot)?.captures;
        captures.iter().find(|(other, _)| *other == place).map(|(_, value)| value.0.as_slice())
    }

    /// What the client calls so: its slot, its lesson, and how the backend calls it if that is known.
    pub(super) fn of_client(&self, name: Value<'_>) -> Option<(Key, usize, Option<&[u8]>)> {
        let slot = *self.by_client.get(&name.fingerprint())?;
        let record = self.records.get(&slot)?;
        Some((slot, record.lesson, record.backend.as_ref().map(|name| name.0.as_slice())))
    }

    /// What the backend calls so: its slot, its lesson, and how the client calls it.
    pub(super) fn of_backend(&self, name: Value<'_>) -> Option<(Key, usize, &[u8])> {
        let slot = *self.by_backend.get(&name.fingerprint())?;
        let record = self.records.get(&slot)?;
        Some((slot, record.lesson, record.client.as_ref()?.0.as_slice()))
    }

    /// The client calls a record something.
    pub(super) fn has_client_name(&self, slot: Key) -> bool {
        self.records.get(&slot).is_some_and(|record| record.client.is_some())
    }
}

impl Record {
    fn differs(&self) -> bool {
        match (&self.client, &self.backend) {
            (Some(client), Some(backend)) => client.value().fingerprint() != backend.value().fingerprint(),
            _ => false,
        }
    }

    fn bytes(&self) -> usize {
        let names = [&self.client, &self.backend].into_iter().flatten();
        let captures = self.captures.iter().map(|(_, value)| value);
        names.chain(captures).map(|value| value.0.len()).sum()
    }
}

/// Takes a name out, unless it has come to stand for something else.
fn remove<N: Ord>(names: &mut BTreeMap<N, Key>, name: N, slot: Key) {
    if names.get(&name) == Some(&slot) {
        names.remove(&name);
    }
}

/// A value that may be a password. It is not shown, and not left in memory.
struct Secret(Vec<u8>);

impl Secret {
    fn of(raw: &[u8]) -> Secret {
        Secret(raw.to_vec())
    }

    fn value(&self) -> Value<'_> {
        Value::of_raw(&self.0)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Else the compiler sees that nobody reads them.
        std::hint::black_box(&mut self.0);
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
