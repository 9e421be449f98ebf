//! Whose cryptography is used. Another provider is another name in the two lines below: aws-lc-rs has all of this
//! under the same names.

use ring as library;
use rustls::crypto::ring as chosen;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

pub(super) use library::{aead, hkdf};

/// SHA-256 of something.
pub(super) type Digest = [u8; 32];

/// The provider. One for all: what is made with it compares by its address.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(chosen::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Tickets by keys that nobody else has, and that change by themselves every six hours.
///
/// # Errors
///
/// The system has no random numbers.
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    chosen::Ticketer::new()
}

/// Fills the bytes by chance; `None`: the system has none.
pub(super) fn random(bytes: &mut [u8]) -> Option<()> {
    provider().secure_random.fill(bytes).ok()
}

/// The digest of these parts, and of where one ends and the next begins.
pub(super) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut context = library::digest::Context::new(&library::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = Digest::default();
    // It has just this length.
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
