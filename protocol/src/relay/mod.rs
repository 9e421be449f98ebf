//! The writers of both directions, and what a client that comes back is sent again. Turn messages into the bytes of one
//! connection; when that connection is left is decided by [`crate::session`].

pub mod downstream;
pub(crate) mod resume_buffer;
pub mod upstream;
