//! Waiting until a drain has emptied its backend.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::names;
use super::progress::ProgressDisplay;
use super::trouble::Trouble;
use crate::api::client::{Api, ChangeReply};
use crate::api::model::backends::{BackendReply, BackendsReply};
use crate::api::model::operations::{OneOperation, OperationOrder, OperationReply};
use crate::api::model::sessions::SessionsReply;
use crate::cli::exit::Exit;
use crate::operations::{OperationKind, OperationState};
use crate::upstream::backend::BackendState;

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long the broker may be out of reach.
const PATIENCE: Duration = Duration::from_secs(30);

/// A drain that is waited for.
pub(super) struct Wait<'a> {
    pub(super) api: &'a Api,
    /// As it was before.
    pub(super) backend: &'a BackendReply,
    pub(super) progress: ProgressDisplay,
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
enum WaitVerdict {
    /// Look again.
    GoOn,
    Emptied,
    /// The operation has ended, and the backend has sessions, or gets some again.
    Ended,
}

impl Wait<'_> {
    /// Begins a drain and waits for its end, or for that of the one that runs already. What the API says of it
    /// then.
    ///
    /// # Errors
    /// It cannot begin, it has ended without having emptied the backend, the broker is out of reach, or the
    /// user waits no longer.
    pub(super) async fn drain(
        mut self,
        order: &OperationOrder,
    ) -> Result<(OperationReply, ChangeReply), Trouble> {
        let id = self.begin(order).await?;
        tokio::select! {
            followed = self.follow(&id) => followed,
            () = interrupted() => Err(left_alone(&id)),
        }
    }

    /// The id of the drain: ours, or the one that was there.
    async fn begin(&mut self, order: &OperationOrder) -> Result<String, Trouble> {
        let path = format!("{}/drain", names::path(self.backend));
        let since = Instant::now();
        loop {
            let trouble = match self.api.post(&path, Some(order)).await {
                Ok(answer) => return Ok(answer.view::<OneOperation>()?.operation.id),
                Err(error) => Trouble::from(error),
            };
            match &trouble.operation {
                Some(id) if trouble.exit == Exit::Conflict => {
                    let (running, _) = self.look(id).await?;
                    return if self.is_ours(&running) { Ok(running.id) } else { Err(trouble) };
                }
                // It may have begun for all that: then the next answer names it.
                _ => self.bear(trouble, since).await?,
            }
        }
    }

    fn is_ours(&self, operation: &OperationReply) -> bool {
        operation.kind == OperationKind::Drain
            && operation.pool == self.backend.pool
            && operation.backend.as_ref() == Some(&self.backend.name)
    }

    async fn follow(&mut self, id: &str) -> Result<(OperationReply, ChangeReply), Trouble> {
        loop {
            let (operation, answer) = self.look(id).await?;
            if !self.is_ours(&operation) {
                return Err(forgotten(id));
            }
            self.progress.show(&operation);
            if !operation.state.is_active() {
                let backend = self.backend_now().await?;
                match judge(operation.state, &backend) {
                    WaitVerdict::GoOn => {}
                    WaitVerdict::Emptied => return Ok((operation, answer)),
                    WaitVerdict::Ended => return Err(ended(&operation, &backend)),
                }
            }
            sleep(INTERVAL).await;
        }
    }

    async fn look(&mut self, id: &str) -> Result<(OperationReply, ChangeReply), Trouble> {
        let answer = self.ask(&format!("/api/v1/operations/{}", names::segment(id))).await;
        let answer = answer.map_err(|trouble| match trouble.exit {
            Exit::NotFound => forgotten(id),
            _ => trouble,
        })?;
        Ok((answer.view::<OneOperation>()?.operation, answer))
    }

    /// One that is in no list was taken away, perhaps with its pool, whose sessions stay.
    async fn backend_now(&mut self) -> Result<BackendReply, Trouble> {
        let BackendsReply { backends } = self.ask("/api/v1/backends").await?.view()?;
        let wanted = self.backend.full_name();
        if let Some(backend) = backends.into_iter().find(|backend| backend.full_name() == wanted) {
            return Ok(backend);
        }
        let SessionsReply { total, .. } = self.ask(&names::sessions_of(self.backend)).await?.view()?;
        Ok(BackendReply { state: BackendState::Removed, sessions: total, ..self.backend.clone() })
    }

    /// Asks until there is an answer, while the broker is out of reach for a moment.
    async fn ask(&mut self, path: &str) -> Result<ChangeReply, Trouble> {
        let since = Instant::now();
        loop {
            match self.api.get(path).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.bear(error.into(), since).await?,
            }
        }
    }

    /// Waits a little, if this may pass.
    async fn bear(&mut self, trouble: Trouble, since: Instant) -> Result<(), Trouble> {
        if trouble.exit != Exit::Unreachable || since.elapsed() >= PATIENCE {
            return Err(trouble);
        }
        self.progress.lost(&trouble.to_string());
        sleep(INTERVAL).await;
        Ok(())
    }
}

/// `state`: that of an operation that does nothing more.
fn judge(state: OperationState, backend: &BackendReply) -> WaitVerdict {
    let stays_empty =
        matches!(backend.state, BackendState::Draining | BackendState::Disabled | BackendState::Removed);
    match (backend.sessions, state) {
        (0, _) if stays_empty => WaitVerdict::Emptied,
        // The last sessions give their places back a moment after they have moved.
        (_, OperationState::Done) if stays_empty => WaitVerdict::GoOn,
        _ => WaitVerdict::Ended,
    }
}

fn ended(operation: &OperationReply, backend: &BackendReply) -> Trouble {
    let OperationReply { id, state, message, .. } = operation;
    let (name, word, left) = (backend.full_name(), backend.state.name(), backend.sessions);
    let sentence = format!(
        "{id} is {}, and {name} is {word} with {left} sessions: {message}; steadfast operations {id} shows it",
        state.name()
    );
    Trouble::new(Exit::Unfinished, sentence)
}

fn forgotten(id: &str) -> Trouble {
    let sentence = format!(
        "the broker knows no operation {id} any more: a restart ends all operations; ask for the drain again"
    );
    Trouble::new(Exit::NotFound, sentence)
}

fn left_alone(id: &str) -> Trouble {
    let sentence =
        format!("{id} goes on without being waited for; steadfast operations {id} --cancel ends it");
    Trouble::new(Exit::Failure, sentence)
}

/// Comes when the user presses Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::samples;

    fn backend(state: BackendState, sessions: usize) -> BackendReply {
        BackendReply { state, sessions, ..samples::backend() }
    }

    #[test]
    fn only_an_empty_backend_that_stays_so_is_success() {
        for (state, word, sessions, expected) in [
            (OperationState::Done, BackendState::Draining, 0, WaitVerdict::Emptied),
            (OperationState::Done, BackendState::Draining, 2, WaitVerdict::GoOn),
            (OperationState::Done, BackendState::Up, 0, WaitVerdict::Ended),
            (OperationState::Done, BackendState::Removed, 0, WaitVerdict::Emptied),
            (OperationState::Expired, BackendState::Draining, 0, WaitVerdict::Emptied),
            (OperationState::Expired, BackendState::Draining, 1, WaitVerdict::Ended),
            (OperationState::Expired, BackendState::Removed, 1, WaitVerdict::Ended),
            (OperationState::Stopped, BackendState::Draining, 3, WaitVerdict::Ended),
            (OperationState::Cancelled, BackendState::Up, 0, WaitVerdict::Ended),
            (OperationState::Cancelled, BackendState::Disabled, 0, WaitVerdict::Emptied),
        ] {
            assert_eq!(judge(state, &backend(word, sessions)), expected, "{state:?} {word:?} {sessions}");
        }
    }
}
