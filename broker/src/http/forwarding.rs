//! For whom, and how, a request was made: what proxies in front say of it (`X-Forwarded-*`, RFC 7239), how much of that
//! is believed, and what is said to backends in turn. Asks whether an address is trusted, and knows no listener.

pub(super) mod claims;
mod element;
mod hops;
mod node;

pub(crate) use hops::{Appended, Hops};

/// In which form backends are told for whom a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedForm {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    X,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
    /// Both.
    Both,
}

impl ForwardedForm {
    fn has_x(self) -> bool {
        self != ForwardedForm::Rfc7239
    }

    fn has_rfc7239(self) -> bool {
        self != ForwardedForm::X
    }
}
