//! `shim`: what `steadfast.v1` costs the broker, beside plain relaying through the same broker.

use std::io;

use clap::ValueEnum;

use crate::client::Dialect;
use crate::peers::{Peer, Traffic};
use crate::rounds::{self, Entrant, Field, Words};
use crate::tls::Sides;
use crate::variant::Variant;

/// How the report speaks.
const WORDS: Words = Words {
    one: "variant",
    all: "variants",
    ratios: "to_plain",
    about_ratios: "A ratio is the variant's figure divided by that of plain relaying",
    reference_first: false,
};

/// The arguments of `shim`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    rounds: rounds::Options,
    /// Only these variants. `plain` twice shows how far two of the same differ.
    #[arg(long, value_delimiter = ',', value_parser = variant, default_value = "plain,service,client,both")]
    variants: Vec<Variant>,
    /// The service makes a commit for each message, and not for all that it reads at once.
    #[arg(long)]
    commit_each: bool,
}

/// One that says who links the shim.
fn variant(name: &str) -> Result<Variant, String> {
    let known = Variant::from_str(name, false).ok().filter(|variant| variant.protocol().is_none());
    known.ok_or_else(|| "there is no such variant; there are plain, service, client, both".to_owned())
}

impl Options {
    fn about(&self, variant: Variant) -> String {
        let clients = match variant.dialect() {
            Dialect::Shim => "clients of steadfast.v1",
            _ => "plain clients",
        };
        let commits = match variant.commits() {
            true if self.commit_each => ", a commit for each message",
            true => ", a commit for all that is read at once",
            false => "",
        };
        format!("ack = {}, {clients}{commits}", variant.ack())
    }
}

/// Measures, and prints the report. Says how many measurements could not be taken.
pub(crate) async fn run(options: Options) -> io::Result<usize> {
    let (program, arguments) = options.rounds.steadfast().await?;
    let reference = options.variants.iter().position(|variant| *variant == Variant::Plain);
    let entrants = options.variants.iter().map(|variant| Entrant {
        name: variant.name().to_owned(),
        about: options.about(*variant),
        peer: {
            let ack = format!("--ack={}", variant.ack());
            Peer::Steadfast(program.clone(), arguments.iter().cloned().chain([ack]).collect())
        },
        traffic: Traffic::Sessions,
        dialect: variant.dialect(),
        tls: Sides::Off,
        reference,
    });
    let each = options.commit_each.then(|| "--commit-each".to_owned());
    let field = Field::new(&options.rounds, each.as_slice(), false).await?;
    field.compare(&options.rounds, entrants.collect(), WORDS).await
}
