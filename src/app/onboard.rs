//! Whether an account can be entered and read, and by nobody who should not.
//!
//! A visit is proof, not configuration reading: the role is assumed, each action is tried with a call that costs
//! next to nothing, and, now and then, the role is tried as a stranger would: without the external id, and with a
//! wrong one. A role that lets a stranger in would let any tenant look into the account by naming its role.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use tagwarden_core::account::AccountId;

use crate::ports::{Access, AssumedRole, ExternalId, Identity, Onboarding, Refused, RefusedBecause, Visit};

/// Names of missing permissions that are kept.
pub const MISSING_MAX: usize = 50;

/// What is to be found out.
#[derive(Debug)]
pub struct Question<'a> {
    /// How to get in.
    pub access: &'a Access,
    /// The account it should lead into.
    pub account_id: &'a AccountId,
    /// The actions that are needed there.
    pub actions: &'a BTreeSet<String>,
    /// An external id that the role does not ask for. The role is tried with it, and without any; `None`: it is not
    /// tried as a stranger would. Each try shows as a refusal in the account's own records.
    pub stranger: Option<ExternalId>,
}

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For everything together.
    pub within: Duration,
    /// Calls at once in one account.
    pub concurrent_calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { within: Duration::from_secs(30), concurrent_calls: 4 }
    }
}

/// What was found out about an account that was entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Who we are in there.
    pub identity: Identity,
    /// How many regions it has enabled, where that could be read.
    pub regions: Option<usize>,
    /// Actions that are not allowed, sorted, at most [`MISSING_MAX`].
    pub missing: Vec<String>,
    /// The first action that could not be tried to the end, and why.
    pub unknown: Option<Refused>,
    /// Whether strangers get in.
    pub exposure: Exposure,
}

/// Whether a role lets strangers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// It was not tried, or could not be found out.
    Unknown,
    /// No.
    Closed,
    /// Without any external id.
    WithoutExternalId,
    /// With any external id.
    AnyExternalId,
}

/// Why an account could not be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// It could not be entered.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Another account was entered.
    #[error("this leads into account {found}, but {meant} is meant")]
    WrongAccount {
        /// The account that is meant.
        meant: AccountId,
        /// The account that was entered.
        found: AccountId,
    },
    /// It took too long.
    #[error("the account could not be verified within {} s", within.as_secs())]
    TimedOut {
        /// How long it was tried.
        within: Duration,
    },
}

/// Finds out whether an account can be entered and read.
pub async fn verify<C: Onboarding>(
    cloud: &C,
    question: &Question<'_>,
    limits: Limits,
) -> Result<Verification, NotVerified> {
    match tokio::time::timeout(limits.within, look(cloud, question, limits)).await {
        Ok(result) => result,
        Err(_) => Err(NotVerified::TimedOut { within: limits.within }),
    }
}

async fn look<C: Onboarding>(
    cloud: &C,
    question: &Question<'_>,
    limits: Limits,
) -> Result<Verification, NotVerified> {
    let visit = cloud.visit(question.access).await?;
    let identity = visit.identity().clone();
    if identity.account_id != *question.account_id {
        let meant = question.account_id.clone();
        return Err(NotVerified::WrongAccount { meant, found: identity.account_id });
    }
    let (regions, exposure, (missing, unknown)) = tokio::join!(
        visit.regions(),
        exposure(cloud, question),
        probes(&visit, question.actions, limits.concurrent_calls),
    );
    Ok(Verification { identity, regions: regions.ok(), missing, unknown, exposure })
}

async fn probes<V: Visit>(
    visit: &V,
    actions: &BTreeSet<String>,
    concurrent: usize,
) -> (Vec<String>, Option<Refused>) {
    // Owned names: a borrowed item would tie the stream's future to one lifetime.
    let calls = actions.iter().cloned().map(|action| async move {
        let answer = visit.probe(&action).await;
        (action, answer)
    });
    let answers: Vec<_> = futures_util::stream::iter(calls).buffered(concurrent.max(1)).collect().await;
    let mut missing = Vec::new();
    let mut unknown = None;
    for (action, answer) in answers {
        match answer {
            Some(Err(refused)) if refused.because == RefusedBecause::Denied => missing.push(action),
            // A service that a region does not have needs no permission there.
            Some(Err(refused)) if refused.because == RefusedBecause::RegionDisabled => {}
            Some(Err(refused)) => {
                unknown.get_or_insert(refused);
            }
            Some(Ok(())) | None => {}
        }
    }
    missing.truncate(MISSING_MAX);
    (missing, unknown)
}

async fn exposure<C: Onboarding>(cloud: &C, question: &Question<'_>) -> Exposure {
    let (Access::AssumeRole(role), Some(stranger)) = (question.access, &question.stranger) else {
        return Exposure::Unknown;
    };
    if role.external_id.is_none() {
        return Exposure::Unknown;
    }
    let tries = [(None, Exposure::WithoutExternalId), (Some(stranger.clone()), Exposure::AnyExternalId)];
    let mut found = Exposure::Closed;
    for (external_id, open) in tries {
        let access = Access::AssumeRole(AssumedRole { external_id, ..role.clone() });
        match cloud.visit(&access).await {
            Ok(_) => return open,
            Err(refused) if refused.because == RefusedBecause::Denied => {}
            Err(_) => found = Exposure::Unknown,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "111122223333";

    /// A cloud with one role, which asks for `asks`, and whose permissions are in a table.
    struct Cloud {
        asks: Asks,
        account: &'static str,
        answers: &'static [(&'static str, RefusedBecause)],
    }

    #[derive(Clone, Copy)]
    enum Asks {
        Nothing,
        Any,
        ThisOne,
        Hangs,
    }

    struct Inside {
        identity: Identity,
        answers: &'static [(&'static str, RefusedBecause)],
    }

    fn refused(because: RefusedBecause) -> Refused {
        Refused { because, cause: format!("{because:?}") }
    }

    impl Onboarding for Cloud {
        type Visit = Inside;

        async fn whoami(&self) -> Result<Identity, Refused> {
            Err(refused(RefusedBecause::NoCredentials))
        }

        async fn visit(&self, access: &Access) -> Result<Inside, Refused> {
            let offered = match access {
                Access::AssumeRole(role) => role.external_id.as_ref().map(|id| id.0.as_str()),
                Access::Ambient => None,
            };
            let open = match self.asks {
                Asks::Nothing => true,
                Asks::Any => offered.is_some(),
                Asks::ThisOne => offered == Some("ours"),
                Asks::Hangs => std::future::pending().await,
            };
            if !open {
                return Err(refused(RefusedBecause::Denied));
            }
            let account_id: AccountId = self.account.parse().unwrap();
            let arn = format!("arn:aws:sts::{account_id}:assumed-role/reader/tagwarden");
            Ok(Inside { identity: Identity { account_id, arn }, answers: self.answers })
        }
    }

    impl Visit for Inside {
        fn identity(&self) -> &Identity {
            &self.identity
        }

        async fn regions(&self) -> Result<usize, Refused> {
            Ok(17)
        }

        async fn probe(&self, action: &str) -> Option<Result<(), Refused>> {
            if action == "s3:GetBucketTagging" {
                return None;
            }
            let answer = self.answers.iter().find(|(name, _)| *name == action);
            Some(answer.map_or(Ok(()), |(_, because)| Err(refused(*because))))
        }
    }

    async fn ask(
        cloud: &Cloud,
        external_id: Option<&str>,
        actions: &[&str],
    ) -> Result<Verification, NotVerified> {
        let access = Access::AssumeRole(AssumedRole {
            role_arn: format!("arn:aws:iam::{OURS}:role/reader"),
            chain: vec![],
            external_id: external_id.map(|id| ExternalId(id.to_owned())),
            session_name: "tagwarden".to_owned(),
            session_duration_seconds: 3600,
            sts_region: None,
        });
        let question = Question {
            access: &access,
            account_id: &OURS.parse().unwrap(),
            actions: &actions.iter().map(|action| (*action).to_owned()).collect(),
            stranger: Some(ExternalId("stranger".to_owned())),
        };
        verify(cloud, &question, Limits { within: Duration::from_millis(200), ..Limits::default() }).await
    }

    #[tokio::test]
    async fn a_stranger_is_tried_in_both_ways() {
        for (asks, external_id, exposure) in [
            (Asks::ThisOne, Some("ours"), Exposure::Closed),
            (Asks::Nothing, Some("ours"), Exposure::WithoutExternalId),
            (Asks::Any, Some("ours"), Exposure::AnyExternalId),
            (Asks::Nothing, None, Exposure::Unknown),
        ] {
            let cloud = Cloud { asks, account: OURS, answers: &[] };
            assert_eq!(ask(&cloud, external_id, &[]).await.unwrap().exposure, exposure);
        }
    }

    #[tokio::test]
    async fn what_is_denied_is_missing_and_what_failed_is_unknown() {
        let answers = &[
            ("rds:DescribeDBInstances", RefusedBecause::Denied),
            ("ec2:DescribeVolumes", RefusedBecause::Denied),
            ("ecs:ListClusters", RefusedBecause::Throttled),
            ("lambda:ListFunctions", RefusedBecause::RegionDisabled),
        ];
        let cloud = Cloud { asks: Asks::ThisOne, account: OURS, answers };
        let actions = [
            "ec2:DescribeVolumes",
            "ecs:ListClusters",
            "lambda:ListFunctions",
            "rds:DescribeDBInstances",
            "s3:GetBucketTagging",
            "tag:GetResources",
        ];
        let found = ask(&cloud, Some("ours"), &actions).await.unwrap();
        assert_eq!(found.missing, ["ec2:DescribeVolumes", "rds:DescribeDBInstances"]);
        assert_eq!(found.unknown, Some(refused(RefusedBecause::Throttled)));
        assert_eq!(found.regions, Some(17));
    }

    #[tokio::test]
    async fn no_way_in_is_an_answer() {
        let closed = Cloud { asks: Asks::ThisOne, account: OURS, answers: &[] };
        let refusal = ask(&closed, Some("other"), &[]).await.unwrap_err();
        assert_eq!(refusal, NotVerified::Refused(refused(RefusedBecause::Denied)));
        let elsewhere = Cloud { asks: Asks::ThisOne, account: "999988887777", answers: &[] };
        let refusal = ask(&elsewhere, Some("ours"), &[]).await.unwrap_err();
        assert!(matches!(refusal, NotVerified::WrongAccount { .. }), "{refusal}");
        let silent = Cloud { asks: Asks::Hangs, account: OURS, answers: &[] };
        let refusal = ask(&silent, Some("ours"), &[]).await.unwrap_err();
        assert!(matches!(refusal, NotVerified::TimedOut { .. }), "{refusal}");
    }
}
