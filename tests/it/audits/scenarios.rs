//! What becomes of an audit.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ListParams};
use serde_json::json;
use tagwarden_api::audit::{ComplianceAudit, ComplianceAuditStatus, RunResult};
use tagwarden_operator::{Cache, Class, Classified};

use super::world::{Cloud, Target, World, id};

/// Makes a test of each scenario on each kind of API server.
macro_rules! on_every_server {
    ($($(#[$attribute:meta])* async fn $name:ident($target:ident) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn scenario($target: Target) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                scenario(Target::Embedded).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn real() {
                scenario(Target::Real).await;
            }
        }
    )*};
}

fn condition<'a>(status: &'a ComplianceAuditStatus, name: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == name)
}

/// `status reason` of a condition.
fn says(status: &ComplianceAuditStatus, name: &str) -> String {
    condition(status, name).map_or("-".into(), |found| format!("{} {}", found.status, found.reason))
}

fn ready(status: &ComplianceAuditStatus) -> bool {
    condition(status, "Ready").is_some_and(|ready| ready.status == "True")
}

on_every_server! {
    async fn a_new_audit_runs_once_and_says_what_it_found(target) {
        let world = World::new(target, 3).await;
        let replica = world.replica("one", Cloud::new(3, &[3], &[])).await;
        let audit = world.audit("nightly", json!({"schedule": "0 3 1 1 *"})).await;
        let status = world.status("nightly", ready).await;
        assert_eq!(says(&status, "Ready"), "True Partial");
        assert_eq!(says(&status, "Compliant"), "False ViolationsFound");
        let summary = status.summary.as_ref().unwrap();
        assert_eq!((summary.violations, summary.resources, summary.complete), (6, 6, false));
        assert_eq!(summary.score.as_deref(), Some("0.0"));
        let accounts = status.accounts.as_ref().unwrap();
        assert_eq!((accounts.total, accounts.succeeded, accounts.failed), (3, 2, 1));
        assert_eq!((accounts.failing[0].name.as_str(), accounts.failing[0].reason.as_str()), ("account-3", "AccessDenied"));
        assert_eq!((status.top_tags[0].key.as_str(), status.top_tags[0].missing), ("Owner", 6));
        assert!(status.next_schedule_time.is_some() && status.last_successful_time.is_some());
        assert_eq!(status.observed_generation, audit.metadata.generation);

        let reports = world.reports().await;
        assert_eq!(reports.len(), 1);
        let report = &reports[0];
        assert_eq!(report.metadata.name, status.report_ref.as_ref().map(|report| report.name.clone()));
        assert_eq!(report.metadata.owner_references.as_ref().unwrap()[0].uid, audit.metadata.uid.clone().unwrap());
        let found = report.status.as_ref().unwrap();
        assert_eq!((found.result, found.top_violations.len()), (Some(RunResult::Succeeded), 6));
        assert_eq!(found.gaps[0].cause.as_deref(), Some("the role does not trust us"));

        // A steady state writes nothing, whoever looks.
        let now = || async { world.api::<ComplianceAudit>().get("nightly").await.unwrap() };
        let before = now().await;
        replica.terminate().await;
        let another = world.replica("two", Cloud::new(3, &[3], &[])).await;
        let marker = world.audit("marker", json!({})).await;
        world.status("marker", ready).await;
        let after = now().await;
        assert_eq!(after.status, before.status);
        assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
        assert_eq!(world.runs().await.len(), 2, "one of each audit");
        assert!(marker.metadata.uid != audit.metadata.uid && another.cloud.entered().len() == 3);
    }

    async fn a_killed_replica_loses_no_account_and_none_counts_twice(target) {
        let world = World::new(target, 8).await;
        world.audit("nightly", json!({})).await;
        // Two at a time: the sixth and the seventh are in the middle when the replica dies.
        let first = world.replica("one", Cloud::new(8, &[], &[6, 7])).await;
        let status = world.status("nightly", |status| status.run.as_ref().is_some_and(|run| run.accounts_done >= 5)).await;
        let run_id = status.run.unwrap().id;
        let done_before: Vec<String> = (1..=5).map(id).collect();
        world.until("both are in the middle", || async { first.cloud.entered().len() == 7 }).await;
        first.kill();

        let second = world.replica("two", Cloud::new(8, &[], &[])).await;
        let status = world.status("nightly", ready).await;
        assert_eq!(status.history.len(), 1);
        assert_eq!(status.history[0].id, run_id, "the same run went on");
        assert_eq!(world.runs().await, [(run_id.clone(), "succeeded".to_owned())]);
        let again = second.cloud.entered();
        assert!(done_before.iter().all(|account| !again.contains(account)), "{again:?}");
        assert_eq!(again.len(), 3);
        world.assert_whole(&run_id, 8).await;
        second.terminate().await;
    }

    async fn a_replica_that_is_told_to_stop_leaves_the_run_to_the_next(target) {
        let world = World::new(target, 4).await;
        world.audit("nightly", json!({})).await;
        let first = world.replica("one", Cloud::new(4, &[], &[3, 4])).await;
        world.status("nightly", |status| status.run.as_ref().is_some_and(|run| run.accounts_done == 2)).await;
        let took = first.terminate().await;
        assert!(took < Duration::from_secs(18), "{took:?}");
        assert_eq!(world.runs().await[0].1, "running");
        let second = world.replica("two", Cloud::new(4, &[], &[])).await;
        let status = world.status("nightly", ready).await;
        world.assert_whole(&status.history[0].id, 4).await;
        assert_eq!(second.cloud.entered().len(), 2);
    }

    async fn a_token_is_acted_upon_once(target) {
        let world = World::new(target, 1).await;
        let _replica = world.replica("one", Cloud::new(1, &[], &[])).await;
        world.audit("nightly", json!({})).await;
        world.status("nightly", ready).await;
        let ask = |token: &str| json!({"metadata": {"annotations": {"tagwarden.io/requestedAt": token}}});
        world.patch("nightly", ask("first")).await;
        let status = world.status("nightly", |status| status.history.len() == 2).await;
        assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("first"));
        world.patch("nightly", json!({"metadata": {"labels": {"seen": "again"}}})).await;
        world.patch("nightly", json!({"spec": {"suspend": true}})).await;
        world.status("nightly", |status| says(status, "Ready") == "True Suspended").await;
        world.patch("nightly", ask("second")).await;
        world.status("nightly", |status| status.last_handled_reconcile_at.as_deref() == Some("second")).await;
        world.patch("nightly", json!({"spec": {"suspend": null}})).await;
        world.status("nightly", |status| says(status, "Ready") == "True Succeeded").await;
        world.patch("nightly", ask("third")).await;
        let status = world.status("nightly", |status| status.history.len() == 3).await;
        assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("third"));
        let names: Vec<String> = world.runs().await.into_iter().map(|(run_id, _)| run_id).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }

    async fn what_is_wrong_is_said_and_mended_without_another_word(target) {
        let world = World::new(target, 1).await;
        let _replica = world.replica("one", Cloud::new(1, &[], &[])).await;
        world.audit("lost", json!({"timeZone": "Europe/Pariss", "schedule": "0 3 * * *"})).await;
        let status = world.status("lost", |status| !status.conditions.is_empty()).await;
        assert_eq!(says(&status, "Stalled"), "True InvalidTimeZone");
        assert!(condition(&status, "Ready").unwrap().message.contains("did you mean Europe/Paris?"));
        world.patch("lost", json!({"spec": {"timeZone": "Europe/Paris"}})).await;
        world.status("lost", ready).await;

        world.audit("orphan", json!({"policyRef": {"name": "other"}})).await;
        let status = world.status("orphan", |status| !status.conditions.is_empty()).await;
        assert_eq!(says(&status, "Ready"), "False DependencyNotReady");
        assert!(condition(&status, "Ready").unwrap().message.contains("other"));
        world.patch("orphan", json!({"spec": {"policyRef": {"name": "corp"}}})).await;
        world.status("orphan", ready).await;

        world.audit("nobody", json!({"accounts": {"selector": {"matchLabels": {"tier": "gold"}}}})).await;
        let status = world.status("nobody", |status| !status.conditions.is_empty()).await;
        assert_eq!(says(&status, "Ready"), "False NoAccounts");
        assert!(condition(&status, "Ready").unwrap().message.contains("matches no ClientAccount"));
    }

    async fn a_status_is_never_written_into_another_object_of_the_same_name(target) {
        let world = World::new(target, 1).await;
        let old = world.audit("nightly", json!({})).await;
        world.delete("nightly").await;
        let new = world.audit("nightly", json!({})).await;
        let says = ComplianceAuditStatus { last_duration: Some("1s".into()), ..ComplianceAuditStatus::default() };
        let (writer, cache) = (world.writer(), Cache::new(0));
        let error = writer.status(&cache, &old, old.status.as_ref(), &says).await.unwrap_err();
        assert_eq!(error.class(), Class::Moot, "{error}");
        let kept = world.api::<ComplianceAudit>().get("nightly").await.unwrap();
        assert_eq!((kept.metadata.uid, kept.status), (new.metadata.uid.clone(), new.status.clone()));
        assert!(writer.status(&cache, &new, new.status.as_ref(), &says).await.unwrap());
        let written = world.api::<ComplianceAudit>().get("nightly").await.unwrap().status.unwrap();
        assert_eq!(written.last_duration.as_deref(), Some("1s"));
    }

    async fn a_deleted_audit_ends_its_run(target) {
        let world = World::new(target, 3).await;
        let replica = world.replica("one", Cloud::new(3, &[], &[3])).await;
        world.audit("nightly", json!({})).await;
        world.status("nightly", |status| status.run.as_ref().is_some_and(|run| run.accounts_done == 2)).await;
        world.delete("nightly").await;
        let gone: Api<ComplianceAudit> = world.api();
        assert!(gone.list(&ListParams::default()).await.unwrap().items.is_empty(), "deleting waits for nothing");
        world.until("the run is cancelled", || async { world.runs().await[0].1 == "cancelled" }).await;
        replica.terminate().await;
    }

    async fn an_audit_that_is_deleted_while_nobody_looks_ends_its_run(target) {
        let world = World::new(target, 3).await;
        world.audit("nightly", json!({})).await;
        world.audit("kept", json!({})).await;
        let first = world.replica("one", Cloud::new(3, &[], &[3])).await;
        let halfway = |status: &ComplianceAuditStatus| status.run.as_ref().is_some_and(|run| run.accounts_done == 2);
        let gone = world.status("nightly", halfway).await.run.unwrap().id;
        world.status("kept", halfway).await;
        first.kill();
        world.delete("nightly").await;
        let second = world.replica("two", Cloud::new(3, &[], &[])).await;
        world.status("kept", ready).await;
        world.until("the run of the deleted one has ended", || async {
            world.runs().await.contains(&(gone.clone(), "cancelled".to_owned()))
        }).await;
        second.terminate().await;
    }

    async fn a_run_whose_audit_changes_between_its_halves_is_begun_anew(target) {
        let world = World::new(target, 3).await;
        world.audit("nightly", json!({})).await;
        let first = world.replica("one", Cloud::new(3, &[], &[3])).await;
        let halfway = |status: &ComplianceAuditStatus| status.run.as_ref().is_some_and(|run| run.accounts_done == 2);
        let broken_off = world.status("nightly", halfway).await.run.unwrap().id;
        first.kill();
        world.patch("nightly", json!({"spec": {"regions": {"include": ["eu-west-1"]}}})).await;
        let second = world.replica("two", Cloud::new(3, &[], &[])).await;
        let status = world.status("nightly", ready).await;
        let again = status.history[0].id.clone();
        assert_eq!(world.runs().await, [
            (broken_off.clone(), "cancelled".to_owned()), (again.clone(), "succeeded".to_owned()),
        ]);
        assert_eq!(status.summary.as_ref().unwrap().resources, 6, "of one region alone");
        assert!(world.found(&again).await.values().flatten().all(|arn| arn.contains(":eu-west-1:")));
        assert_eq!(second.cloud.entered().len(), 3, "all of it anew");
        second.terminate().await;
    }

    async fn only_so_many_reports_are_kept(target) {
        let world = World::new(target, 1).await;
        let _replica = world.replica("one", Cloud::new(1, &[], &[])).await;
        world.audit("nightly", json!({"report": {"successfulHistoryLimit": 2, "maxViolations": 1}})).await;
        world.status("nightly", ready).await;
        for n in 2..=4 {
            let token = json!({"metadata": {"annotations": {"tagwarden.io/requestedAt": n.to_string()}}});
            world.patch("nightly", token).await;
            world.status("nightly", |status| status.history.len() == n).await;
        }
        let names: Vec<String> = world.reports().await.into_iter().filter_map(|report| report.metadata.name).collect();
        let status = world.status("nightly", ready).await;
        let newest: Vec<&str> = status.history.iter().take(2).map(|line| line.id.as_str()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(newest.iter().all(|name| names.iter().any(|kept| kept == name)), "{names:?} of {newest:?}");
        assert_eq!(world.reports().await[0].status.as_ref().unwrap().top_violations.len(), 1);
    }
}
