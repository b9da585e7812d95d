//! How the accounts of a run are entered: asked when their turn comes, so that a run of hours follows what people
//! change meanwhile, and no external id is kept any longer than needed.

use std::sync::Arc;
use std::time::Duration;

use tagwarden_app::audit::ports::{Doors, PlannedAccount};
use tagwarden_app::ports::AccountTarget;
use tagwarden_core::coverage::{CellState, Gap};

use crate::account::{self, NoTarget};
use crate::context::Frame;
use crate::key::Key;

/// How often an API server is asked that does not answer.
const ATTEMPTS: u32 = 3;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// The accounts of a namespace.
#[derive(Debug)]
pub(crate) struct NamespaceDoors {
    pub(crate) frame: Arc<Frame>,
    pub(crate) namespace: Arc<str>,
}

impl Doors for NamespaceDoors {
    async fn target(&self, account: &PlannedAccount) -> Result<AccountTarget, Gap> {
        let Some(object) = self.frame.accounts.get(&Key::new(&self.namespace, &account.name)) else {
            return Err(closed(format!("there is no ClientAccount `{}`", account.name)));
        };
        if object.spec.suspend {
            return Err(closed("its ClientAccount is suspended".into()));
        }
        let mut attempt = 1;
        loop {
            match account::target(&self.frame, &object).await {
                Ok(target) => return Ok(target),
                Err(NoTarget::Unread(_)) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(closed(error.to_string())),
            }
        }
    }
}

fn closed(cause: String) -> Gap {
    Gap { state: CellState::Denied, cause }
}
