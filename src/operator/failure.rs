//! What becomes of a reconcile: when to look again, or why it failed and whether trying again can help.

use std::time::Duration;

/// When a reconcile that succeeded wants to be called again. A change of the object calls it anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Not before something changes.
    OnChange,
    /// After this long.
    After(Duration),
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Not until somebody changes something.
    Invalid,
    /// It may.
    Transient,
    /// Somebody else wrote at the same moment: trying again at once is likely to help.
    Contended,
    /// The object is gone: nothing is wrong, and nothing is left to do.
    Moot,
    /// The right to work on it is gone: it is due as soon as this replica has that again.
    NotLeading,
}

/// An error of a reconcile.
pub trait Classified: std::error::Error + Send + Sync + 'static {
    /// Whether trying again can help.
    fn class(&self) -> Class;
}

/// What every reconcile can fail of: its objects could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The API server refused, or could not be reached.
    #[error("could not {action} {what}")]
    Api {
        /// What was to be done: read, create, patch, delete.
        action: &'static str,
        /// The kind and the key of the object.
        what: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// It took too long.
    #[error("could not {action} {what}: the API server did not answer within {} s", within.as_secs())]
    TimedOut {
        /// What was to be done.
        action: &'static str,
        /// The kind and the key of the object.
        what: String,
        /// How long was waited.
        within: Duration,
    },
    /// An object of that name is there, and belongs to somebody else.
    #[error("{what} exists already and does not belong to this object: remove or rename it")]
    NotOurs {
        /// The kind and the key of the object.
        what: String,
    },
    /// A value cannot be written as JSON.
    #[error("could not write {what} as JSON")]
    Json {
        /// The kind and the key of the object.
        what: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The object is no longer there.
    #[error("{what} is gone")]
    Gone {
        /// The kind and the key of the object.
        what: String,
    },
    /// Somebody else wrote it at the same time.
    #[error("{what} was written by somebody else at the same time")]
    Contended {
        /// The kind and the key of the object.
        what: String,
    },
    /// This replica does not lead any more.
    #[error(transparent)]
    NotLeading(#[from] crate::lease::NotLeading),
}

impl ObjectError {
    /// What the API server said, where it refused.
    pub(crate) fn status(&self) -> Option<&kube::core::Status> {
        let Self::Api { source, .. } = self else { return None };
        match &**source {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }
}

impl ObjectError {
    /// What to tell people where the API server does not let us: what it is about, and who can change that.
    pub(crate) fn forbidden(&self) -> Option<String> {
        let status = self.status().filter(|status| status.is_forbidden())?;
        let Self::Api { action, what, .. } = self else { return None };
        // Of its words, those after the user: verb, resource and namespace. Others are about quotas and the like.
        Some(match status.message.split_once(" cannot ") {
            Some((_, rest)) => format!(
                "could not {action} {what}: Tagwarden cannot {}: let its service account do that, as the rules of the \
                 Helm chart do",
                rest.trim_end_matches('.')
            ),
            None => format!("could not {action} {what}: {}", status.message),
        })
    }
}

impl Classified for ObjectError {
    fn class(&self) -> Class {
        match self {
            Self::Api { .. } | Self::TimedOut { .. } | Self::NotOurs { .. } => Class::Transient,
            Self::Json { .. } => Class::Invalid,
            Self::Contended { .. } => Class::Contended,
            Self::Gone { .. } => Class::Moot,
            Self::NotLeading(_) => Class::NotLeading,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, reason: &str, message: &str) -> ObjectError {
        let (_, status) = crate::scripted::refused(code, reason, message);
        let source = Box::new(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())));
        ObjectError::Api { action: "create", what: "ConfigMap a/x".into(), source }
    }

    #[test]
    fn a_permission_that_is_missing_is_named_with_its_remedy_and_without_the_user() {
        let message = r#"configmaps is forbidden: User "system:serviceaccount:t:t" cannot create resource "configmaps" in API group "" in the namespace "a""#;
        let said = refused(403, "Forbidden", message).forbidden().unwrap();
        for part in
            ["create ConfigMap a/x", r#"cannot create resource "configmaps""#, "service account", "Helm"]
        {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("system:"), "{said}");
        let quota = refused(403, "Forbidden", "configmaps \"x\" is forbidden: exceeded quota: small");
        assert!(quota.forbidden().is_some_and(|said| said.ends_with("exceeded quota: small")));
        assert_eq!(refused(409, "Conflict", "no").forbidden(), None);
    }
}
