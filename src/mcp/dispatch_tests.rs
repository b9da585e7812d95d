//! Whatever becomes of a call, there is one row, and it says so.

use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::json;
use tagwarden_app::ask::ports::{
    AccountView, Answer, AuditOrder, AuditView, CheckOrder, Checks, FindingCount, FindingPage, FindingQuery,
    Ledger, Looked, Objects, PolicyView, RunLine, RunQuery, Written,
};
use tagwarden_app::ask::{AskSettings, Scope};
use tagwarden_app::audit::AuditProgress;
use tagwarden_app::audit::outcome::RunOutcome;
use tagwarden_core::coverage::Cell;
use tagwarden_core::registry::Registry;

use super::*;

/// A world in which policies never come, accounts break the server, and everything else is empty.
#[derive(Default)]
struct World {
    rows: Mutex<Vec<AuditRow>>,
    audits: usize,
}

fn now<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

fn no_run<'a, T: Send + 'a>(run_id: &str) -> Answer<'a, T> {
    Box::pin(std::future::ready(Err(AskError::not_found("run", run_id, "take another"))))
}

fn audit(number: usize) -> AuditView {
    AuditView {
        name: format!("audit-{number:04}"),
        uid: number.to_string(),
        policy: "corp".into(),
        schedule: None,
        time_zone: "Etc/UTC".into(),
        suspended: false,
        accounts: "x".repeat(250),
        regions: Vec::new(),
        resource_types: Vec::new(),
        conditions: Vec::new(),
        running: None,
        past_runs: Vec::new(),
        succeeded_at: None,
        next_due: None,
        failures: 0,
    }
}

impl Objects for World {
    fn policies<'a>(&'a self, _: &'a str) -> Answer<'a, Vec<PolicyView>> {
        Box::pin(std::future::pending())
    }

    fn accounts<'a>(&'a self, _: &'a str) -> Answer<'a, Vec<AccountView>> {
        Box::pin(async { panic!("the store said s3cret") })
    }

    fn audits<'a>(&'a self, _: &'a str) -> Answer<'a, Vec<AuditView>> {
        now((0..self.audits).map(audit).collect())
    }

    fn write_audit<'a>(&'a self, _: &'a str, _: &'a AuditOrder, _: bool) -> Answer<'a, Written> {
        now(Written::Unchanged)
    }

    fn request_run<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        now(())
    }
}

impl Ledger for World {
    fn runs<'a>(&'a self, _: &'a str, _: &'a RunQuery) -> Answer<'a, Vec<RunLine>> {
        now(Vec::new())
    }

    fn run<'a>(&'a self, _: &'a str, run_id: &'a str) -> Answer<'a, RunLine> {
        no_run(run_id)
    }

    fn run_of_slot<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str) -> Answer<'a, Option<String>> {
        now(None)
    }

    fn progress<'a>(&'a self, _: &'a str, run_id: &'a str) -> Answer<'a, AuditProgress> {
        no_run(run_id)
    }

    fn outcome<'a>(&'a self, _: &'a str, run_id: &'a str) -> Answer<'a, RunOutcome> {
        no_run(run_id)
    }

    fn coverage<'a>(&'a self, _: &'a str, run_id: &'a str) -> Answer<'a, Vec<Cell>> {
        no_run(run_id)
    }

    fn findings<'a>(
        &'a self,
        _: &'a str,
        run_id: &'a str,
        _: &'a FindingQuery,
        _: Option<u64>,
        _: usize,
    ) -> Answer<'a, FindingPage> {
        no_run(run_id)
    }

    fn count<'a>(&'a self, _: &'a str, run_id: &'a str, _: &'a FindingQuery) -> Answer<'a, FindingCount> {
        no_run(run_id)
    }

    fn cancel<'a>(&'a self, _: &'a str, run_id: &'a str, _: &'a str, _: Timestamp) -> Answer<'a, ()> {
        no_run(run_id)
    }

    fn give_up<'a>(&'a self, _: &'a str, run_id: &'a str, _: &'a str, _: Timestamp) -> Answer<'a, ()> {
        no_run(run_id)
    }
}

impl Checks for World {
    fn start(&self, _: CheckOrder) -> Answer<'_, String> {
        now("adhoc-1".to_owned())
    }

    fn progress(&self, _: &str, _: &str) -> Option<AuditProgress> {
        None
    }

    fn settled<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    fn drop_run(&self, _: &str, _: &str) {}

    fn look<'a>(&'a self, _: &'a CheckOrder, arns: &'a [String]) -> Answer<'a, Vec<Looked>> {
        now(vec![Looked::NotFound; arns.len()])
    }
}

impl AuditRows for World {
    fn append<'a>(&'a self, row: &'a AuditRow) -> Answer<'a, ()> {
        self.rows.lock().unwrap().push(row.clone());
        now(())
    }

    fn newest<'a>(&'a self, _: &'a str, _: usize) -> Answer<'a, Vec<AuditRow>> {
        now(self.rows.lock().unwrap().clone())
    }
}

fn server(world: &Arc<World>, limits: Limits) -> Server {
    let (objects, ledger, checks) = (Arc::clone(world), Arc::clone(world), Arc::clone(world));
    let registry = Registry::builtin();
    let ask = Ask::new(objects, ledger, checks, registry, AskSettings::default(), Timestamp::now);
    let rows: Arc<dyn AuditRows> = Arc::clone(world) as _;
    Server::new(ask, rows, ServerSettings { limits, ..ServerSettings::default() })
}

fn caller() -> Caller {
    Caller::quiet(Principal::new("acme", "key:1", [Scope::TagRead]), "mcp")
}

fn arguments(value: Value) -> Map<String, Value> {
    let Value::Object(arguments) = value else { panic!("{value}") };
    arguments
}

/// How every call so far ended.
fn statuses(world: &World) -> Vec<String> {
    world.rows.lock().unwrap().iter().map(|row| row.status.clone()).collect()
}

#[tokio::test]
async fn every_end_of_a_call_is_one_row() {
    let world = Arc::new(World::default());
    let limits = Limits { calls_per_hour: 6, call_time: Duration::from_millis(30), ..Limits::default() };
    let server = server(&world, limits);
    let cases = [
        ("list_audits", json!({}), "ok"),
        ("list_audits", json!({}), "ok"),
        ("list_audits", json!({}), "ok"),
        ("list_audits", json!({}), "loop_detected"),
        ("list_audits", json!({"dry_run": true}), "ok"),
        ("list_audits", json!({"surprise": 1}), "invalid_input"),
        ("nope", json!({}), "unknown_tool"),
        ("schedule_compliance_audit", json!({}), "insufficient_scope"),
        ("get_run", json!({"run_id": "adhoc-1"}), "not_found"),
        ("get_tagging_policy", json!({}), "timeout"),
        ("list_accounts", json!({}), "internal"),
        ("list_audits", json!({"limit": 9}), "budget_exhausted"),
    ];
    for (name, given, status) in &cases {
        let result = server.call(&caller(), name, arguments(given.clone())).await;
        assert_eq!(result.as_ref().map_or_else(|error| error.code.as_str(), |_| "ok"), *status, "{name}");
        if let Err(error) = result {
            assert!(!error.message.contains("s3cret") && !error.fix.is_empty(), "{error:?}");
        }
    }
    let expected: Vec<&str> = cases.iter().map(|(.., status)| *status).collect();
    assert_eq!(statuses(&world), expected);
    for (row, (name, ..)) in world.rows.lock().unwrap().iter().zip(&cases) {
        assert_eq!((&*row.operation, &*row.tenant, &*row.principal), (*name, "acme", "key:1"));
        assert!(row.arguments_digest.starts_with("sha256:") && row.duration < Duration::from_mins(1));
        assert!(!format!("{row:?}").contains("s3cret"), "{row:?}");
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_ends_and_is_in_the_record() {
    let world = Arc::new(World::default());
    let server = server(&world, Limits::default());
    let caller = caller();
    let forgotten = server.call(&caller, "get_tagging_policy", Map::new());
    assert!(timeout(Duration::from_millis(20), forgotten).await.is_err());
    let withdrawn = async {
        tokio::task::yield_now().await;
        caller.cancel.cancel();
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = server.call(&caller, "get_tagging_policy", arguments(json!({"policy": "x"}))) => result,
        () = withdrawn => unreachable!(),
    };
    assert_eq!(result.unwrap_err().code, Code::Cancelled);
    server.settled().await;
    assert_eq!(statuses(&world), ["cancelled", "cancelled"]);
}

#[tokio::test]
async fn refused_calls_must_not_hurry_either() {
    let world = Arc::new(World::default());
    let server = server(&world, Limits { calls_per_second: 0.1, ..Limits::default() });
    for _ in 0..2 {
        let _ = server.call(&caller(), "list_audits", arguments(json!({"surprise": 1}))).await;
    }
    assert_eq!(statuses(&world), ["invalid_input", "rate_limited"]);
}

#[tokio::test]
async fn pages_are_sealed_and_bounded() {
    let world = Arc::new(World { audits: 300, ..World::default() });
    let server = server(&world, Limits { calls_per_hour: 1000, ..Limits::default() });
    let (mut seen, mut given) = (0, json!({"limit": 500}));
    loop {
        let answer = server.call(&caller(), "list_audits", arguments(given.clone())).await.unwrap();
        assert!(serde_json::to_vec(&answer).unwrap().len() <= ANSWER_BYTES);
        assert_eq!(answer["total"], 300);
        seen += answer["audits"].as_array().unwrap().len();
        let Some(next) = answer.get("next_cursor") else { break };
        given = json!({"limit": 500, "cursor": next});
        let rival = Caller::quiet(Principal::new("rival", "key:2", [Scope::TagRead]), "mcp");
        for (who, tool) in [(&rival, "list_audits"), (&caller(), "list_accounts")] {
            let refused = server.call(who, tool, arguments(json!({"cursor": next}))).await.unwrap_err();
            assert_eq!(refused.code, Code::InvalidInput, "{tool}");
        }
    }
    assert_eq!(seen, 300);
}

#[tokio::test]
async fn what_looks_like_a_secret_is_in_no_row() {
    let world = Arc::new(World::default());
    let server = server(&world, Limits::default());
    let key = format!("tw_0123456789ab_{}", "c".repeat(64));
    let url = "postgres://tagwarden:hunter2@db/tags";
    for (name, given) in [
        ("get_audit_status", json!({"audit": "AKIAIOSFODNN7EXAMPLE"})),
        ("get_audit_status", json!({"audit": key.as_str()})),
        ("get_run", json!({"run_id": url})),
        ("list_audits", json!({"limit": url})),
        ("list_audits", json!({"password": "hunter2"})),
        ("list_audits", json!({"filters": {"ExternalId": "hunter2"}})),
        ("list_audits", json!({key.as_str(): 1})),
        (key.as_str(), json!({})),
    ] {
        let _ = server.call(&caller(), name, arguments(given)).await;
    }
    for row in world.rows.lock().unwrap().iter() {
        let text = format!("{} {} {}", row.operation, row.arguments, row.summary);
        for secret in ["IOSFODNN7", "cccc", "hunter2\"", ":hunter2"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert_eq!(statuses(&world).len(), 8);
    let long = json!({"a_note": "plain", "long": "y".repeat(5000)});
    let (kept, _) = redacted(&arguments(long));
    assert!(kept.contains("plain") && kept.chars().count() <= ARGUMENT_CHARS + 1);
}

#[test]
fn a_digest_is_of_the_tool_and_its_arguments() {
    let arguments = Map::new();
    assert_ne!(digest("a", &arguments), digest("b", &arguments));
    assert_eq!(digest("a", &arguments), digest("a", &arguments));
}
