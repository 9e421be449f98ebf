//! `profiles`: what it costs the broker that messages are understood, beside the same messages in a pool without a
//! profile.

use std::io;

use clap::ValueEnum;

use crate::peers::{Peer, Traffic};
use crate::rounds::{self, Entrant, Field, Words};
use crate::tls::Sides;
use crate::variant::Variant;
use crate::wire::protocols::Protocol;

/// How the report speaks.
const WORDS: Words = Words {
    one: "variant",
    all: "variants",
    ratios: "to_none",
    about_ratios: "A ratio is the variant's figure divided by that of the same messages without a profile",
    reference_first: false,
};

/// The arguments of `profiles`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    rounds: rounds::Options,
    /// Only these variants. One twice shows how far two of the same differ.
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = variant,
        default_value = "socket.io-none,socket.io,json-rpc-none,json-rpc"
    )]
    variants: Vec<Variant>,
}

/// One that speaks a protocol.
fn variant(name: &str) -> Result<Variant, String> {
    let known = Variant::from_str(name, false).ok().filter(|variant| variant.protocol().is_some());
    known.ok_or_else(|| {
        "there is no such variant; there are socket.io, socket.io-none, json-rpc, json-rpc-none".to_owned()
    })
}

/// Measures, and prints the report. Says how many measurements could not be taken.
pub(crate) async fn run(options: Options) -> io::Result<usize> {
    let (program, arguments) = options.rounds.steadfast().await?;
    let entrants = options.variants.iter().map(|variant| {
        let profile = variant.profile().unwrap_or("none");
        let more = format!("--profile={profile}");
        let without = variant.without_profile();
        Entrant {
            name: variant.name().to_owned(),
            about: format!("{} clients, profile = {profile}", variant.dialect()),
            peer: Peer::Steadfast(program.clone(), arguments.iter().cloned().chain([more]).collect()),
            traffic: Traffic::Sessions,
            dialect: variant.dialect(),
            tls: Sides::Off,
            reference: options.variants.iter().position(|other| Some(*other) == without),
        }
    });
    let field = Field::new(&options.rounds, &[], false).await?;
    let protocols: Vec<Protocol> = [Protocol::SocketIo, Protocol::JsonRpc]
        .into_iter()
        .filter(|spoken| options.variants.iter().any(|variant| variant.protocol() == Some(*spoken)))
        .collect();
    field.speaking(&protocols).await?.compare(&options.rounds, entrants.collect(), WORDS).await
}
