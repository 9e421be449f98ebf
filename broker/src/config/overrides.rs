//! What flags and environment variables say; they win over the file.

use std::ffi::OsStr;
use std::net::SocketAddr;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::keys::WORKERS_MAX;
use super::settings::{Ack, BackendSettings, ListenAddress, LogFormat, OnFailure, ProfileChoice};
use super::token::AdminToken;
use super::values;

/// The settings that have a flag. `None` and empty lists leave the file's value.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Overrides {
    /// Address for clients, IP:PORT or unix:/PATH; several by repeating. Port 0 lets the system choose
    #[arg(
        long, env = "STEADFAST_LISTEN", value_name = "ADDR", num_args = 1.., value_delimiter = ',',
        value_parser = values::network::listen
    )]
    pub listen: Vec<ListenAddress>,

    /// Backend of the pool `default`, such as ws://127.0.0.1:9001; several by repeating
    #[arg(
        long, env = "STEADFAST_BACKEND", value_name = "URL", num_args = 1.., value_delimiter = ',',
        value_parser = values::network::backend
    )]
    pub backend: Vec<BackendSettings>,

    /// Address for health, metrics and the API; off unless given
    #[arg(long, env = "STEADFAST_ADMIN", value_name = "ADDR", value_parser = values::network::address)]
    pub admin: Option<SocketAddr>,

    /// What requests to the API must show. It has no flag, since everybody on the machine can see those.
    #[arg(skip)]
    pub token: Option<AdminToken>,

    /// How the broker learns that a backend has a message, for every pool
    #[arg(long, env = "STEADFAST_ACK", value_name = "MODE", value_parser = one_of(&values::ACK))]
    pub ack: Option<Ack>,

    /// Whether a session outlives its backend, for every pool
    #[arg(long, env = "STEADFAST_ON_FAILURE", value_name = "ACTION", value_parser = one_of(&values::ON_FAILURE))]
    pub on_failure: Option<OnFailure>,

    /// What is known of the protocol that clients speak, for every pool: auto, none, or a profile's name
    #[arg(long, env = "STEADFAST_PROFILE", value_name = "NAME", value_parser = values::profile)]
    pub profile: Option<ProfileChoice>,

    /// Worker threads [default: cores]
    #[arg(long, env = "STEADFAST_WORKERS", value_name = "N", value_parser = workers)]
    pub workers: Option<usize>,

    /// Shape of the log on stderr
    #[arg(long, env = "STEADFAST_LOG_FORMAT", value_name = "FORMAT", value_parser = one_of(&values::LOG_FORMAT))]
    pub log_format: Option<LogFormat>,

    /// What is logged, such as info or info,steadfast=debug
    #[arg(long, env = "STEADFAST_LOG_LEVEL", value_name = "LEVEL", value_parser = values::log_level_text)]
    pub log_level: Option<String>,
}

impl Overrides {
    /// The environment variable that [`Self::with_token`] wants the value of.
    pub const TOKEN: &str = "STEADFAST_ADMIN_TOKEN";

    /// The same with the token of the environment, if there is one.
    ///
    /// # Errors
    ///
    /// It is no token; the sentence does not repeat it.
    pub fn with_token(self, variable: Option<&OsStr>) -> Result<Overrides, String> {
        let named = |problem| format!("{}: {problem}", Self::TOKEN);
        let token = variable.map(AdminToken::from_variable).transpose().map_err(named)?;
        Ok(Overrides { token, ..self })
    }
}

fn workers(text: &str) -> Result<usize, String> {
    let count = text.parse().map_err(|_| "expected a whole number".to_owned())?;
    values::within(count, &(1..=WORKERS_MAX), values::show_number)
}

/// A parser that shows its words in the help.
fn one_of<T>(choices: &'static [(&'static str, T)]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(choices.iter().map(|(word, _)| *word)).try_map(move |word| {
        values::choice(&word, choices).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    })
}
