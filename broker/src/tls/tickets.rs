//! Tickets by keys of a file, which several brokers share: a client that was at one resumes at another, and so it does
//! after a restart.
//!
//! The file is that of HAProxy's `tls-ticket-keys`: a line of base64 for each key, 48 or 80 bytes, all alike, the newest
//! last. Tickets are made by the last but one and read by the last three. So a new key that is appended is known to all
//! brokers before the first of them uses it, however far apart they load it. What is in the tickets is each program's own.
//!
//! Of each line a name and a key are derived (HKDF, RFC 5869), others for each set of rules for clients' certificates:
//! who was let in by one is not let in by another for a ticket's sake.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::server::ProducesTickets;

use super::provider::{self, Digest, aead, hkdf};
use crate::clock;

/// How long a ticket holds, as one by keys of the process does.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Clocks of brokers differ by so much.
const CLOCKS: Duration = Duration::from_secs(60);
/// Bytes of a key, as it is written.
const LENGTHS: [usize; 2] = [48, 80];
/// Keys that are used, as HAProxy has it.
const USED: usize = 3;
/// The key that makes tickets, of those.
const MAKES: usize = USED - 2;

const NAME: usize = 16;
const NONCE: usize = aead::NONCE_LEN;
/// When a ticket was made, in seconds since 1970.
const TIME: usize = 8;

/// What is written in a file; [`USED`] of them.
pub(super) struct Secrets(Vec<Vec<u8>>);

/// Reads the last three keys of a file.
///
/// # Errors
///
/// What is wrong with it, as the rest of a sentence about the file, without any of its text.
pub(super) fn secrets(bytes: &[u8]) -> Result<Secrets, String> {
    const ADVICE: &str = "openssl rand -base64 48 | tr -d '\\n' makes one";
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let mut keys = Vec::<Vec<u8>>::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let number = number + 1;
        let key = STANDARD.decode(line).map_err(|_| format!("holds no base64 in line {number}; {ADVICE}"))?;
        if !LENGTHS.contains(&key.len()) {
            return Err(format!(
                "has a key of {} bytes in line {number}; 48 or 80 are wanted: {ADVICE}",
                key.len()
            ));
        }
        if let Some(first) = keys.first().filter(|first| first.len() != key.len()) {
            let (first, this) = (first.len(), key.len());
            return Err(format!(
                "has a key of {this} bytes in line {number} and one of {first} before; all must be alike"
            ));
        }
        keys.push(key);
    }
    let count = keys.len();
    if count < USED {
        return Err(format!(
            "holds {count} keys; {USED} are wanted, of which the last but one makes tickets: {ADVICE}"
        ));
    }
    Ok(Secrets(keys.split_off(count - USED)))
}

/// The keys for one set of rules.
pub(super) struct TicketKeys(Vec<TicketKey>);

struct TicketKey {
    name: [u8; NAME],
    key: aead::LessSafeKey,
}

impl TicketKeys {
    /// Derives them. `rules`: whom they are for.
    pub(super) fn new(secrets: &Secrets, rules: &Digest) -> Option<TicketKeys> {
        secrets.0.iter().map(|secret| TicketKey::new(secret, rules)).collect::<Option<_>>().map(TicketKeys)
    }

    fn encrypt_at(&self, message: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let TicketKey { name, key } = self.0.get(MAKES)?;
        // By chance: a count would tell how many clients there are. A key lasts for some billions of tickets.
        let mut nonce = [0; NONCE];
        provider::random(&mut nonce)?;
        let made = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let mut ticket = Vec::with_capacity(NAME + NONCE + TIME + message.len() + key.algorithm().tag_len());
        ticket.extend_from_slice(name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&made.to_be_bytes());
        ticket.extend_from_slice(message);
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let secret = ticket.get_mut(NAME + NONCE..)?;
        let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(name), secret).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt_at(&self, ticket: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let TicketKey { name, key } = self.0.iter().find(|key| key.name == *name)?;
        let mut secret = rest.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let plain = key.open_in_place(nonce, aead::Aad::from(name), &mut secret).ok()?;
        let (made, message) = plain.split_first_chunk::<TIME>()?;
        let made = UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_be_bytes(*made)))?;
        let holds = match now.duration_since(made) {
            Ok(age) => age <= LIFETIME,
            Err(ahead) => ahead.duration() <= CLOCKS,
        };
        holds.then(|| message.to_vec())
    }
}

impl TicketKey {
    fn new(secret: &[u8], rules: &Digest) -> Option<TicketKey> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"steadfast tickets").extract(secret);
        let mut name = [0; NAME];
        extracted.expand(&[b"name", rules], Length(NAME)).ok()?.fill(&mut name).ok()?;
        let purpose: [&[u8]; 2] = [b"key", rules];
        let key = extracted.expand(&purpose, &aead::CHACHA20_POLY1305).ok()?;
        Some(TicketKey { name, key: aead::LessSafeKey::new(aead::UnboundKey::from(key)) })
    }
}

/// How many bytes are to be derived.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME.as_secs() as u32
    }

    fn encrypt(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(message, clock::wall())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(ticket, clock::wall())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Digest = [1; 32];

    fn line(byte: u8, length: usize) -> String {
        STANDARD.encode(vec![byte; length]) + "\n"
    }

    /// The keys of a file with these.
    fn keys(bytes: &[u8], rules: &Digest) -> TicketKeys {
        let text: String = bytes.iter().map(|byte| line(*byte, 48)).collect();
        TicketKeys::new(&secrets(text.as_bytes()).expect("sound"), rules).expect("derived")
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    #[test]
    fn a_file_has_three_keys_of_one_length() {
        for length in LENGTHS {
            let text =
                format!("\n{}\r\n{}  \n\n{}", line(1, length).trim(), line(2, length), line(3, length));
            assert_eq!(secrets(text.as_bytes()).expect("sound").0, [1, 2, 3].map(|byte| vec![byte; length]));
        }
        let four: String = [1, 2, 3, 4].map(|byte| line(byte, 48)).concat();
        assert_eq!(secrets(four.as_bytes()).expect("sound").0, [2, 3, 4].map(|byte| vec![byte; 48]));
        for (text, fault) in [
            (String::new(), "holds 0 keys; 3 are wanted"),
            (line(1, 48) + &line(2, 48), "holds 2 keys; 3 are wanted"),
            (line(1, 48) + "secret-secret!", "holds no base64 in line 2; "),
            (line(1, 48) + &line(2, 47), "has a key of 47 bytes in line 2; 48 or 80 are wanted"),
            (line(1, 48) + &line(2, 80), "has a key of 80 bytes in line 2 and one of 48 before"),
        ] {
            let found = secrets(text.as_bytes()).err().expect("a fault");
            assert!(found.starts_with(fault) && !found.contains("secret"), "{found}");
        }
    }

    #[test]
    fn the_last_but_one_makes_tickets_and_all_three_read_them() {
        let (old, new) = (keys(&[1, 2, 3], &RULES), keys(&[2, 3, 4], &RULES));
        let (by_old, by_new) = (old.encrypt_at(b"a", now()), new.encrypt_at(b"b", now()));
        let (by_old, by_new) = (by_old.expect("a ticket"), by_new.expect("a ticket"));
        assert_eq!(new.decrypt_at(&by_old, now()).as_deref(), Some(&b"a"[..]), "the key is known still");
        assert_eq!(old.decrypt_at(&by_new, now()).as_deref(), Some(&b"b"[..]), "and was known before");
        assert_eq!(keys(&[3, 4, 5], &RULES).decrypt_at(&by_old, now()), None, "it is gone");
        assert!(keys(&[1, 1, 2], &RULES).decrypt_at(&by_old, now()).is_some());
    }

    #[test]
    fn rules_have_keys_of_their_own() {
        let ticket = keys(&[1, 2, 3], &RULES).encrypt_at(b"a", now()).expect("a ticket");
        assert!(keys(&[1, 2, 3], &RULES).decrypt_at(&ticket, now()).is_some());
        assert_eq!(keys(&[1, 2, 3], &[2; 32]).decrypt_at(&ticket, now()), None);
    }

    #[test]
    fn a_ticket_is_whole_and_of_its_time() {
        let keys = keys(&[1, 2, 3], &RULES);
        let ticket = keys.encrypt_at(b"a session", now()).expect("a ticket");
        for n in 0..ticket.len() {
            assert_eq!(keys.decrypt_at(&ticket[..n], now()), None, "cut at {n}");
            let mut other = ticket.clone();
            other[n] ^= 1;
            assert_eq!(keys.decrypt_at(&other, now()), None, "another bit at {n}");
        }
        for (at, holds) in [
            (now() + LIFETIME, true),
            (now() + LIFETIME + Duration::from_secs(1), false),
            (now() - CLOCKS, true),
            (now() - CLOCKS - Duration::from_secs(1), false),
        ] {
            assert_eq!(keys.decrypt_at(&ticket, at).is_some(), holds, "{at:?}");
        }
        assert_ne!(keys.encrypt_at(b"a session", now()), Some(ticket), "none is like another");
    }
}
