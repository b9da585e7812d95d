//! The record of calls: whose it is, in which order, and for how long.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tagwarden_app::ask::ports::{AuditRow, AuditRows};

use crate::Retention;
use crate::tests::bed::TestBed;
use crate::tests::on_both;

fn row(tenant: &str, days: i64) -> AuditRow {
    AuditRow {
        at: Timestamp::from_second(1_790_000_000).unwrap() + SignedDuration::from_hours(24 * days),
        correlation_id: format!("c-{days}"),
        principal: "key:0123456789ab".to_owned(),
        tenant: tenant.to_owned(),
        channel: "rest",
        operation: "GET /v1/runs".to_owned(),
        arguments_digest: "sha256:00".to_owned(),
        arguments: "{\"limit\":\"10\"}".to_owned(),
        status: "ok".to_owned(),
        duration: Duration::from_millis(12),
        summary: "200".to_owned(),
    }
}

on_both! {
    async fn a_tenant_sees_its_own_rows_newest_first(bed) {
        let store = bed.open().await;
        for (tenant, days) in [("acme", 1), ("acme", 3), ("team-b", 4), ("acme", 2)] {
            store.append(&row(tenant, days)).await.unwrap();
        }
        let newest = store.newest("acme", 2).await.unwrap();
        assert_eq!(newest, [row("acme", 3), row("acme", 2)]);
        assert_eq!(store.newest("team-b", 1000).await.unwrap(), [row("team-b", 4)]);
        assert_eq!(store.newest("nobody", 1000).await.unwrap(), []);
        let long = AuditRow { arguments: "x".repeat(100_000), ..row("long", 0) };
        store.append(&long).await.unwrap();
        assert!(store.newest("long", 1).await.unwrap()[0].arguments.len() < 10_000);
    }

    async fn rows_are_forgotten_after_two_years(bed) {
        let store = bed.open().await;
        for days in [0, 10] {
            store.append(&row("acme", days)).await.unwrap();
            store.append(&row("team-b", days)).await.unwrap();
        }
        let now = row("acme", 735).at;
        store.prune("acme", now, Retention::default()).await.unwrap();
        assert_eq!(store.newest("acme", 10).await.unwrap(), [row("acme", 10)]);
        assert_eq!(store.newest("team-b", 10).await.unwrap().len(), 2);
    }
}
