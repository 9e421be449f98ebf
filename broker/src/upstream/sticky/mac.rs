//! Whose cryptography signs cookies: HMAC with SHA-256 (RFC 2104, RFC 6234), of which half is used.

use ring::hmac;
use subtle::ConstantTimeEq;

/// Bytes of a code: half of what the hash gives (RFC 2104, 5).
pub(super) const LENGTH: usize = 16;

/// A key that makes codes. Its `Debug` does not tell it.
#[derive(Debug, Clone)]
pub(super) struct MacKey(hmac::Key);

impl MacKey {
    pub(super) fn new(secret: &[u8]) -> MacKey {
        MacKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The code of these parts, and of where one ends and the next begins.
    pub(super) fn code(&self, parts: &[&[u8]]) -> [u8; LENGTH] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let whole = context.sign();
        let mut code = [0; LENGTH];
        for (to, from) in code.iter_mut().zip(whole.as_ref()) {
            *to = *from;
        }
        code
    }

    /// Whether this is the code of these parts, found in a time that tells nothing.
    pub(super) fn is_code(&self, code: &[u8; LENGTH], parts: &[&[u8]]) -> bool {
        self.code(parts).ct_eq(code).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The third case of RFC 4231 has a key and data of one part; ours has its length in front.
    #[test]
    fn a_code_is_the_first_half_of_hmac_sha_256() {
        let key = [0xaa; 20];
        let data = [[0, 0, 0, 0, 0, 0, 0, 50].as_slice(), &[0xdd; 50]].concat();
        let whole = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &data);
        assert_eq!(MacKey::new(&key).code(&[&[0xdd; 50]]), whole.as_ref()[..LENGTH]);
    }

    #[test]
    fn it_counts_where_a_part_ends() {
        let key = MacKey::new(&[1; 32]);
        assert_ne!(key.code(&[b"ab", b"c"]), key.code(&[b"a", b"bc"]));
        assert_ne!(key.code(&[b"abc"]), key.code(&[b"abc", b""]));
        assert!(key.is_code(&key.code(&[b"a"]), &[b"a"]));
        assert!(!key.is_code(&key.code(&[b"a"]), &[b"b"]));
        assert!(!MacKey::new(&[2; 32]).is_code(&key.code(&[b"a"]), &[b"a"]));
    }
}
