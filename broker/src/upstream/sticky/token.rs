//! What the broker's cookie says: to which backend a client belongs, by the hash of its name, since when, and which client
//! it is, by a number. It is signed, and nobody else can make one; no name and no address stands in it.
//!
//! It is `1`, the version, and base64url (RFC 4648, 5) of 40 bytes: the backend (8), the times of its first and of its
//! last issue in seconds since 1970 (4 each), the client (8), and the code of these and of the pool's name (16).

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::mac::{self, MacKey};
use crate::config::CookieSecrets;

const VERSION: u8 = b'1';
const SAID: usize = 8 + 4 + 4 + 8;
const WHOLE: usize = SAID + mac::LENGTH;
/// Characters behind the version.
const TEXT: usize = (WHOLE * 8).div_ceil(6);

/// What the code is of, besides: another use of the same key has other codes.
const PURPOSE: &[u8] = b"steadfast sticky 1";

/// Clocks of brokers differ. What was issued further ahead was issued by a clock that is wrong.
const AHEAD_MAX: u32 = 24 * 60 * 60;

/// Whom files give no key.
static OF_THIS_PROCESS: LazyLock<MacKey> = LazyLock::new(|| MacKey::new(&rand::random::<[u8; 32]>()));

/// What a cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StickyToken {
    /// The hash of the backend's name.
    pub(super) backend: u64,
    /// When the client got its first, in seconds since 1970.
    pub(super) first: u32,
    /// When it got this one.
    pub(super) last: u32,
    /// The client's number.
    pub(super) client: u64,
}

/// How long a token counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    /// Since the last issue; zero: for ever.
    pub(super) max_idle: Duration,
    /// Since the first; zero: for ever.
    pub(super) max_life: Duration,
}

/// The keys of one pool, the one that signs first.
#[derive(Debug, Clone)]
pub(super) struct TokenKeys {
    keys: Vec<MacKey>,
    pool: Box<[u8]>,
}

impl TokenKeys {
    /// Those of a file, or the one of this process.
    pub(super) fn new(secrets: &CookieSecrets, pool: &str) -> TokenKeys {
        let mut keys: Vec<_> = secrets.keys().map(MacKey::new).collect();
        if keys.is_empty() {
            keys.push(OF_THIS_PROCESS.clone());
        }
        TokenKeys { keys, pool: pool.as_bytes().into() }
    }

    /// Signs it, with the first key.
    pub(super) fn sign(&self, token: &StickyToken) -> String {
        let said = token.bytes();
        let code = self.keys.first().map(|key| key.code(&self.parts(&said))).unwrap_or_default();
        let mut text = String::with_capacity(1 + TEXT);
        text.push(char::from(VERSION));
        URL_SAFE_NO_PAD.encode_string([said.as_slice(), &code].concat(), &mut text);
        text
    }

    /// Reads it; `None`: it is none of this pool's. With whether the first key has signed it.
    pub(super) fn verify(&self, text: &[u8]) -> Option<(StickyToken, bool)> {
        let text = text.strip_prefix(&[VERSION]).filter(|text| text.len() == TEXT)?;
        let mut whole = [0; WHOLE];
        // Bits behind the last byte must be zero, so that a token has one spelling.
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut whole).ok()?;
        let (said, code) = whole.get(..length)?.split_first_chunk::<SAID>()?;
        let code = code.first_chunk::<{ mac::LENGTH }>()?;
        let by = self.keys.iter().position(|key| key.is_code(code, &self.parts(said)))?;
        Some((StickyToken::read(said)?, by == 0))
    }

    fn parts<'a>(&'a self, said: &'a [u8]) -> [&'a [u8]; 3] {
        [PURPOSE, &self.pool, said]
    }
}

impl StickyToken {
    fn bytes(&self) -> [u8; SAID] {
        let mut bytes = [0; SAID];
        let parts: [&[u8]; 4] = [
            &self.backend.to_be_bytes(),
            &self.first.to_be_bytes(),
            &self.last.to_be_bytes(),
            &self.client.to_be_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    fn read(bytes: &[u8; SAID]) -> Option<StickyToken> {
        let (backend, rest) = bytes.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (client, _) = rest.split_first_chunk()?;
        Some(StickyToken {
            backend: u64::from_be_bytes(*backend),
            first: u32::from_be_bytes(*first),
            last: u32::from_be_bytes(*last),
            client: u64::from_be_bytes(*client),
        })
    }

    /// Whether it counts still. `now`: in seconds since 1970.
    pub(super) fn counts(&self, now: u32, Lifetime { max_idle, max_life }: Lifetime) -> bool {
        let within = |since: u32, most: Duration| {
            most.is_zero() || (age(now, since) <= most && since.saturating_sub(now) <= AHEAD_MAX)
        };
        within(self.last, max_idle) && within(self.first, max_life)
    }

    /// Whether it is time for another one, so that a client which comes in time keeps it: a tenth of `max_idle` is over.
    pub(super) fn is_to_be_renewed(&self, now: u32, Lifetime { max_idle, .. }: Lifetime) -> bool {
        !max_idle.is_zero() && age(now, self.last) * 10 > max_idle
    }
}

fn age(now: u32, since: u32) -> Duration {
    Duration::from_secs(now.saturating_sub(since).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FOR_EVER: Lifetime = Lifetime { max_idle: Duration::ZERO, max_life: Duration::ZERO };

    /// The keys of a file with these.
    fn keys(bytes: &[u8], pool: &str) -> TokenKeys {
        let line = |byte: &u8| base64::engine::general_purpose::STANDARD.encode([*byte; 32]) + "\n";
        let text: String = bytes.iter().map(line).collect();
        TokenKeys::new(&CookieSecrets::new(text.as_bytes()).expect("sound"), pool)
    }

    fn token() -> StickyToken {
        StickyToken { backend: 0x0123_4567_89ab_cdef, first: 1_900_000_000, last: 1_900_000_100, client: 7 }
    }

    #[test]
    fn what_is_signed_is_read() {
        let keys = keys(&[1], "chat");
        let text = keys.sign(&token());
        assert_eq!(text.len(), 55);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
        assert_eq!(keys.verify(text.as_bytes()), Some((token(), true)));
    }

    #[test]
    fn each_bit_counts() {
        let keys = keys(&[1, 2], "chat");
        let text = keys.sign(&token()).into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut other = text.clone();
                other[at] ^= 1 << bit;
                assert_eq!(keys.verify(&other), None, "bit {bit} of character {at}");
            }
            assert_eq!(keys.verify(&text[..at]), None, "cut at {at}");
        }
        for more in [&b"A"[..], b"=", b" ", b"\0"] {
            assert_eq!(keys.verify(&[&text, more].concat()), None, "with {more:?}");
        }
        assert_eq!(keys.verify(&vec![b'1'; 100_000]), None);
        // All bits of the bytes, whatever their spelling.
        let whole = URL_SAFE_NO_PAD.decode(&text[1..]).expect("base64url");
        for bit in 0..whole.len() * 8 {
            let mut other = whole.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let other = format!("1{}", URL_SAFE_NO_PAD.encode(other));
            assert_eq!(keys.verify(other.as_bytes()), None, "bit {bit}");
        }
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let (old, both, new) = (keys(&[1], "chat"), keys(&[2, 1], "chat"), keys(&[2], "chat"));
        let (by_old, by_new) = (old.sign(&token()), both.sign(&token()));
        assert_eq!(both.verify(by_old.as_bytes()), Some((token(), false)), "the old one is known still");
        assert_eq!(both.verify(by_new.as_bytes()), Some((token(), true)));
        assert_eq!(new.verify(by_new.as_bytes()), Some((token(), true)));
        assert_eq!(new.verify(by_old.as_bytes()), None, "it is gone");
        assert_eq!(old.verify(by_new.as_bytes()), None);
        assert_eq!(keys(&[1, 2], "chat").verify(by_new.as_bytes()), Some((token(), false)), "not used yet");
    }

    #[test]
    fn a_token_is_of_its_pool() {
        let text = keys(&[1], "chat").sign(&token());
        assert!(keys(&[1], "chat").verify(text.as_bytes()).is_some());
        assert_eq!(keys(&[1], "chats").verify(text.as_bytes()), None);
        assert_eq!(keys(&[1], "").verify(text.as_bytes()), None);
    }

    #[test]
    fn without_a_file_the_key_is_the_processes_and_of_all_pools() {
        let text = TokenKeys::new(&CookieSecrets::default(), "chat").sign(&token());
        let again = TokenKeys::new(&CookieSecrets::default(), "chat");
        assert_eq!(again.verify(text.as_bytes()), Some((token(), true)), "a reload changes nothing");
        assert_eq!(TokenKeys::new(&CookieSecrets::default(), "rooms").verify(text.as_bytes()), None);
        assert_eq!(keys(&[1], "chat").verify(text.as_bytes()), None);
    }

    #[test]
    fn a_token_counts_for_its_time() {
        let secs = Duration::from_secs;
        let idle = |max_idle| Lifetime { max_idle, ..FOR_EVER };
        let life = |max_life| Lifetime { max_life, ..FOR_EVER };
        let StickyToken { first, last, .. } = token();
        for (now, lifetime, counts) in [
            (0, FOR_EVER, true),
            (u32::MAX, FOR_EVER, true),
            (last + 60, idle(secs(60)), true),
            (last + 61, idle(secs(60)), false),
            (first + 60, life(secs(60)), true),
            (first + 61, life(secs(60)), false),
            // The clock of the broker that made it is ahead, or wrong.
            (first - AHEAD_MAX, life(secs(60)), true),
            (first - AHEAD_MAX - 1, life(secs(60)), false),
            (last - AHEAD_MAX, idle(secs(60)), true),
            (last - AHEAD_MAX - 1, idle(secs(60)), false),
        ] {
            assert_eq!(token().counts(now, lifetime), counts, "{now} {lifetime:?}");
        }
        for (now, lifetime, renewed) in [
            (last + 6, idle(secs(60)), false),
            (last + 7, idle(secs(60)), true),
            (last - 7, idle(secs(60)), false),
            (u32::MAX, FOR_EVER, false),
            (u32::MAX, life(secs(60)), false),
        ] {
            assert_eq!(token().is_to_be_renewed(now, lifetime), renewed, "{now} {lifetime:?}");
        }
    }

    proptest! {
        #[test]
        fn any_token_comes_back(backend: u64, first: u32, last: u32, client: u64) {
            let token = StickyToken { backend, first, last, client };
            let keys = keys(&[3], "chat");
            prop_assert_eq!(keys.verify(keys.sign(&token).as_bytes()), Some((token, true)));
        }

        #[test]
        fn nothing_else_is_one(text: Vec<u8>) {
            prop_assert_eq!(keys(&[3], "chat").verify(&text), None);
        }

        #[test]
        fn nothing_of_the_right_form_is_one(text in "1[A-Za-z0-9_-]{54}") {
            prop_assert_eq!(keys(&[3], "chat").verify(text.as_bytes()), None);
        }
    }
}
