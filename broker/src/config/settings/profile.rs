//! What a pool knows of the protocol that its clients speak: its choice, and the profiles that the file has written itself.

use std::sync::Arc;

use steadfast_profiles::Profile;
use steadfast_protocol::session::AckMode;

use super::{OnFailure, PoolSettings};

/// How the broker learns that a backend has a message, in the words of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// See [`AckMode::None`].
    None,
    /// See [`AckMode::Pong`].
    Pong,
    /// As `Pong`, and what gets an answer is done only when that has come. The profile says what does.
    Reply,
    /// See [`AckMode::Shim`].
    Shim,
}

impl Ack {
    /// What a session is told of it.
    pub fn mode(self) -> AckMode {
        match self {
            Ack::None => AckMode::None,
            Ack::Pong | Ack::Reply => AckMode::Pong,
            Ack::Shim => AckMode::Shim,
        }
    }
}

/// Which profile the sessions of a pool have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileChoice {
    /// That of the protocol which the client speaks, if there is one.
    Auto,
    /// None.
    None,
    /// All of them this one.
    Named(String),
}

/// What a pool's choice comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileInForce<'a> {
    /// That of the protocol which the client speaks, if there is one.
    Auto,
    /// None; with what stands in its way, as it is written, when nobody has asked for none.
    None(Option<&'static str>),
    /// All sessions have this one.
    Named(&'a str),
}

impl PoolSettings {
    /// Which profile its sessions have, with all that it says.
    pub fn profile_in_force(&self) -> ProfileInForce<'_> {
        match (&self.profile, self.ack, self.on_failure) {
            (ProfileChoice::None, ..) => ProfileInForce::None(None),
            (ProfileChoice::Named(name), ..) => ProfileInForce::Named(name),
            (ProfileChoice::Auto, Ack::None, _) => ProfileInForce::None(Some(r#"ack = "none""#)),
            (ProfileChoice::Auto, Ack::Shim, _) => ProfileInForce::None(Some(r#"ack = "shim""#)),
            (ProfileChoice::Auto, _, OnFailure::Close) => {
                ProfileInForce::None(Some(r#"on_failure = "close""#))
            }
            (ProfileChoice::Auto, ..) => ProfileInForce::Auto,
        }
    }
}

/// A profile, ready for sessions.
#[derive(Debug, Clone)]
pub struct ProfileSettings {
    /// Unique among all.
    pub name: String,
    /// By what its clients are known; nothing: only pools that name it have it.
    pub known_by: ProfileMatch,
    /// What it does.
    pub profile: Arc<Profile>,
}

/// By what the clients of a profile are known. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileMatch {
    /// One of these is agreed on, or offered where none is agreed on. One that ends in `*` stands for all that begin so.
    pub subprotocols: Vec<String>,
    /// The path, in which `*` stands for any characters.
    pub path: Option<String>,
    /// A parameter of the query, and its value if that counts.
    pub query: Option<(String, Option<String>)>,
}

impl ProfileMatch {
    /// It says nothing, and holds for nobody.
    pub fn is_empty(&self) -> bool {
        *self == ProfileMatch::default()
    }
}
