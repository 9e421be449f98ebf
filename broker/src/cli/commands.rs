//! The commands for a running broker: each asks its admin API, prints what that says, and ends with an exit
//! code that scripts can rely on. Nothing here reaches into a broker, not even one on the same machine.

mod arguments;
mod names;
mod progress;
mod tables;
mod trouble;
mod wait;

use std::io::{self, Write};

pub use arguments::{
    Abort, AccessArguments, Command, DrainArguments, FailoverArguments, Leaving, OfBackend, OfListener,
    OperationsArguments, PaceArguments, RebalanceArguments, SessionsArguments,
};

use crate::api::client::{Api, ChangeReply, NOTHING};
use crate::api::model::backends::{BackendReply, BackendsReply, OneBackend};
use crate::api::model::listeners::{ListenerChoice, ListenersReply};
use crate::api::model::operations::{CountsReply, OneOperation, OperationOrder, OperationsReply};
use crate::api::model::sessions::{CloseRequest, OneSession, SessionsReply};
use crate::cli::exit::Exit;
use crate::config::AdminToken;
use progress::ProgressDisplay;
use trouble::Trouble;
use wait::Wait;

/// The environment variable with the token. There is no flag: everybody on the machine can see those.
pub const TOKEN: &str = "STEADFAST_TOKEN";

/// Does what was asked. Results go to stdout; what went wrong, to stderr in one line.
pub fn run(command: Command) -> Exit {
    let done = runtime().and_then(|runtime| runtime.block_on(dispatch(command)));
    match done {
        Ok(()) => Exit::Success,
        Err(trouble) => {
            let _ = writeln!(io::stderr(), "steadfast: {trouble}");
            trouble.exit
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Trouble> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Trouble::new(Exit::Failure, format!("the program cannot start: {error}")))
}

async fn dispatch(command: Command) -> Result<(), Trouble> {
    match command {
        Command::Backends(access) => list_backends(&BrokerClient::new(&access)?).await,
        Command::Sessions(args) => list_sessions(&BrokerClient::new(&args.access)?, &args).await,
        Command::Listeners(access) => list_listeners(&BrokerClient::new(&access)?).await,
        Command::Drain(args) => drain(&BrokerClient::new(&args.access)?, &args).await,
        Command::Undrain(args) => set(&args, "undrain").await,
        Command::Disable(args) => set(&args, "disable").await,
        Command::Enable(args) => set(&args, "enable").await,
        Command::Rebalance(args) => rebalance(&BrokerClient::new(&args.access)?, &args).await,
        Command::Failover(args) => failover(&BrokerClient::new(&args.access)?, &args).await,
        Command::Abort(args) => abort(&BrokerClient::new(&args.access)?, &args).await,
        Command::Operations(args) => operations(&BrokerClient::new(&args.access)?, &args).await,
        Command::Pause(args) => switch(&args, "/api/v1/pause").await,
        Command::Resume(args) => switch(&args, "/api/v1/resume").await,
    }
}

/// A running broker, and how its answers are shown.
struct BrokerClient {
    api: Api,
    json: bool,
}

impl BrokerClient {
    fn new(access: &AccessArguments) -> Result<BrokerClient, Trouble> {
        let variable = std::env::var_os(TOKEN);
        let token = variable.as_deref().map(AdminToken::from_variable).transpose();
        let token = token.map_err(|problem| Trouble::new(Exit::Usage, format!("{TOKEN}: {problem}")))?;
        Ok(BrokerClient { api: Api::new(&access.admin, token.as_ref()), json: access.json })
    }

    /// The answer as it came, or what `text` makes of it.
    fn print(
        &self,
        answer: &ChangeReply,
        text: impl FnOnce(&ChangeReply) -> Result<String, Trouble>,
    ) -> Result<(), Trouble> {
        say(&if self.json { answer.json() + "\n" } else { text(answer)? });
        Ok(())
    }

    /// The backend that is meant by a name.
    async fn backend(&self, name: &str) -> Result<BackendReply, Trouble> {
        let BackendsReply { backends } = self.api.get("/api/v1/backends").await?.view()?;
        names::find(name, &backends)
    }
}

// Looking.

async fn list_backends(broker: &BrokerClient) -> Result<(), Trouble> {
    let answer = broker.api.get("/api/v1/backends").await?;
    broker.print(&answer, |answer| {
        let BackendsReply { backends } = answer.view()?;
        Ok(tables::backends(&backends, terminal()))
    })
}

async fn list_sessions(broker: &BrokerClient, args: &SessionsArguments) -> Result<(), Trouble> {
    let answer = broker.api.get(&format!("/api/v1/sessions?{}", query(args))).await?;
    broker.print(&answer, |answer| {
        let SessionsReply { sessions, total, next } = answer.view()?;
        let mut text = tables::sessions(&sessions, terminal());
        if let Some(next) = next {
            text += &format!("{} of {total} sessions; the next: --after {next}\n", sessions.len());
        }
        Ok(text)
    })
}

fn query(args: &SessionsArguments) -> String {
    let SessionsArguments { pool, backend, state, client, listener, limit, after, .. } = args;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    let given = [
        ("pool", pool),
        ("backend", backend),
        ("state", state),
        ("client", client),
        ("listener", listener),
        ("after", after),
    ];
    query.extend_pairs(given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
    query.finish()
}

async fn list_listeners(broker: &BrokerClient) -> Result<(), Trouble> {
    let answer = broker.api.get("/api/v1/listeners").await?;
    broker.print(&answer, listeners)
}

fn listeners(answer: &ChangeReply) -> Result<String, Trouble> {
    let ListenersReply { listeners } = answer.view()?;
    Ok(tables::listeners(&listeners, terminal()))
}

async fn operations(broker: &BrokerClient, args: &OperationsArguments) -> Result<(), Trouble> {
    let Some(id) = &args.id else {
        let answer = broker.api.get("/api/v1/operations").await?;
        return broker.print(&answer, |answer| {
            let OperationsReply { operations } = answer.view()?;
            Ok(tables::operations(&operations, terminal()))
        });
    };
    let path = format!("/api/v1/operations/{}", names::segment(id));
    let answer = match (args.cancel, args.resume) {
        (true, _) => broker.api.post(&format!("{path}/cancel"), NOTHING).await?,
        (_, true) => broker.api.post(&format!("{path}/resume"), NOTHING).await?,
        _ => broker.api.get(&path).await?,
    };
    broker.print(&answer, |answer| {
        let OneOperation { operation } = answer.view()?;
        Ok(tables::operations(&[operation], terminal()))
    })
}

// Moving sessions.

async fn drain(broker: &BrokerClient, args: &DrainArguments) -> Result<(), Trouble> {
    let backend = broker.backend(&args.name).await?;
    let order = OperationOrder { force: args.force.then_some(true), ..args.pace.order() };
    if !args.wait {
        return begin(broker, &format!("{}/drain", names::path(&backend)), &order).await;
    }
    let wait = Wait { api: &broker.api, backend: &backend, progress: ProgressDisplay::new(broker.json) };
    let (operation, answer) = wait.drain(&order).await?;
    let CountsReply { moved, forced, failed, gone, .. } = operation.sessions;
    broker.print(&answer, |_| {
        let took = tables::duration(operation.elapsed_ms);
        let (id, name) = (&operation.id, backend.full_name());
        Ok(format!(
            "{id}: {name} holds no session; {moved} moved ({forced} forced), {failed} failed, {gone} gone, in {took}\n"
        ))
    })
}

async fn failover(broker: &BrokerClient, args: &FailoverArguments) -> Result<(), Trouble> {
    let Leaving { name, session } = &args.who;
    if let Some(id) = session {
        return fail_over(broker, id).await;
    }
    // One of the two is there, so this is never the backend without a name.
    let backend = broker.backend(name.as_deref().unwrap_or_default()).await?;
    let order = args.pace.order();
    begin(broker, &format!("{}/failover", names::path(&backend)), &order).await
}

async fn rebalance(broker: &BrokerClient, args: &RebalanceArguments) -> Result<(), Trouble> {
    let order = OperationOrder { tolerance: args.tolerance, ..args.pace.order() };
    begin(broker, &format!("/api/v1/pools/{}/rebalance", names::segment(&args.pool)), &order).await
}

/// Begins an operation, and tells where to look for it.
async fn begin(broker: &BrokerClient, path: &str, order: &OperationOrder) -> Result<(), Trouble> {
    let answer = broker.api.post(path, Some(order)).await?;
    broker.print(&answer, |answer| {
        let OneOperation { operation } = answer.view()?;
        let (id, total) = (&operation.id, operation.sessions.total);
        Ok(format!("{id} has begun, with {total} sessions; steadfast operations {id} shows how far it is\n"))
    })
}

// Backends, sessions and listeners.

/// Has the API do what stands at the end of a backend's path.
async fn set(args: &OfBackend, what: &str) -> Result<(), Trouble> {
    let broker = BrokerClient::new(&args.access)?;
    let backend = broker.backend(&args.name).await?;
    let answer = broker.api.post(&format!("{}/{what}", names::path(&backend)), NOTHING).await?;
    broker.print(&answer, |answer| {
        let OneBackend { backend } = answer.view()?;
        Ok(format!(
            "{} is {} with {} sessions\n",
            backend.full_name(),
            backend.state.name(),
            backend.sessions
        ))
    })
}

/// Has one session leave its backend.
async fn fail_over(broker: &BrokerClient, id: &str) -> Result<(), Trouble> {
    let answer = broker.api.post(&format!("{}/failover", names::session(id)), NOTHING).await?;
    broker.print(&answer, session)
}

async fn abort(broker: &BrokerClient, args: &Abort) -> Result<(), Trouble> {
    let goodbye = CloseRequest { code: args.code, reason: args.reason.clone() };
    let answer = broker.api.post(&format!("{}/abort", names::session(&args.id)), Some(&goodbye)).await?;
    broker.print(&answer, session)
}

fn session(answer: &ChangeReply) -> Result<String, Trouble> {
    let OneSession { session } = answer.view()?;
    Ok(format!("{} is {}\n", session.id, session.state.name()))
}

async fn switch(args: &OfListener, path: &str) -> Result<(), Trouble> {
    let broker = BrokerClient::new(&args.access)?;
    let choice = ListenerChoice { listener: args.listener.clone() };
    let answer = broker.api.post(path, Some(&choice)).await?;
    broker.print(&answer, listeners)
}

// Printing.

/// The width of the terminal on stdout, if there is one.
fn terminal() -> Option<u16> {
    let terminal = console::Term::stdout();
    terminal.is_term().then(|| terminal.size().1)
}

/// A stdout that nobody reads is no reason to fail.
pub(super) fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
