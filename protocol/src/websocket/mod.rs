//! RFC 6455 as bytes: frames, the scanner of both sides, and permessage-deflate (RFC 7692). Knows no session, and keeps
//! no payload.

pub mod close_code;
pub mod deflate;
pub mod frame;
pub mod scanner;
pub mod violation;
