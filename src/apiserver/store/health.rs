//! Whether the database answers, for readiness and so that requests fail at once while it does not.

use tokio::sync::watch;

/// Why the control plane cannot serve right now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane is not ready: {0}")]
pub struct NotReady(pub(crate) String);

/// The last thing that is known about the database.
#[derive(Debug)]
pub(crate) struct Health(watch::Sender<Result<(), NotReady>>);

impl Health {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Err(NotReady("it is still connecting to its database".into()))))
    }

    pub(crate) fn get(&self) -> Result<(), NotReady> {
        self.0.borrow().clone()
    }

    pub(crate) fn up(&self) {
        self.0.send_if_modified(|state| {
            let changed = state.is_err();
            *state = Ok(());
            if changed {
                tracing::info!("the database is available");
            }
            changed
        });
    }

    pub(crate) fn down(&self, why: &str) {
        self.0.send_if_modified(|state| {
            let changed = state.is_ok();
            *state = Err(NotReady(why.to_owned()));
            if changed {
                tracing::warn!(why, "the database is not available; trying again until it is");
            }
            changed
        });
    }

    /// Returns once the database answers.
    pub(crate) async fn wait(&self) {
        // The sender lives in `self`, so the only way out is the condition.
        let _ = self.0.subscribe().wait_for(Result::is_ok).await;
    }

    /// Returns once the database does not answer; at once while it does not.
    pub(super) async fn failed(&self) -> NotReady {
        match self.0.subscribe().wait_for(Result::is_err).await.map(|state| state.clone()) {
            Ok(Err(why)) => why,
            // The sender lives in `self`, and the condition is that there is an error.
            _ => std::future::pending().await,
        }
    }
}
