//! Whatever goes in comes out.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tagwarden_app::ports::FindingSink as _;
use tagwarden_core::finding::{Exempted, Finding, FindingKind, Severity, ViolationType};
use tagwarden_core::report::ViolationRow;

use crate::tests::bed::TestBed;
use crate::tests::samples::{TENANT, account, read_all, report, start};
use crate::text::stored;

/// Texts as nobody should write them, some of them a megabyte long.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        60 => any::<String>(),
        30 => "[\\x00-\\x7f]{0,40}",
        15 => prop::sample::select(vec!["", "\0", "'; DROP TABLE tagwarden_runs; --", "$1", "?1", "\\x00", "\u{feff}", "null", "🏷️\u{202e}"]).prop_map(Into::into),
        2 => ("[a-zé🏷\\x00]{1,4}", 1000_usize..9000).prop_map(|(unit, times)| unit.repeat(times)),
        1 => Just("m".repeat(1 << 20)),
    ]
}

fn exemption() -> impl Strategy<Value = Exempted> {
    // The years 0 to 9999, to the millisecond.
    let until = prop::option::of(
        (-62_167_219_200_000_i64..253_402_207_200_000)
            .prop_map(|ms| Timestamp::from_millisecond(ms).unwrap()),
    );
    (hostile(), until).prop_map(|(by, until)| Exempted { by: by.into(), until })
}

fn finding() -> impl Strategy<Value = Finding> {
    let words = (
        prop::sample::select(vec![FindingKind::Violation, FindingKind::Advice]),
        prop::sample::select(ViolationType::ALL.to_vec()),
        prop::sample::select(Severity::ALL.to_vec()),
    );
    let texts = (
        hostile(),
        prop::option::of(hostile()),
        prop::option::of(prop::collection::vec(hostile(), 0..5)),
        prop::option::of(hostile()),
        prop::option::of(exemption()),
    );
    (words, texts).prop_map(
        |(
            (kind, violation_type, severity),
            (tag_key, current_value, allowed_values, expected_format, exempted),
        )| Finding {
            kind,
            violation_type,
            severity,
            tag_key: tag_key.into(),
            current_value: current_value.map(Into::into),
            allowed_values: allowed_values.map(|values| values.into_iter().map(Into::into).collect()),
            expected_format: expected_format.map(Into::into),
            exempted,
        },
    )
}

fn row() -> impl Strategy<Value = ViolationRow> {
    (hostile(), hostile(), hostile(), 0_usize..1000, hostile(), finding()).prop_map(
        |(arn, resource_id, resource_type, number, region, finding)| ViolationRow {
            arn,
            resource_id,
            resource_type: resource_type.into(),
            account_id: account(number),
            region: region.into(),
            finding,
        },
    )
}

/// What the store promises to give back: every text bounded, and without NUL.
fn kept(row: &ViolationRow) -> ViolationRow {
    let text = |text: &str| -> Arc<str> { stored(text).into() };
    let mut finding = row.finding.clone();
    finding.tag_key = text(&finding.tag_key);
    finding.current_value = finding.current_value.map(|value| stored(&value).into());
    finding.allowed_values =
        finding.allowed_values.map(|values| values.iter().map(|value| text(value)).collect());
    finding.expected_format = finding.expected_format.map(|format| text(&format));
    if let Some(exempted) = &mut finding.exempted {
        exempted.by = text(&exempted.by);
    }
    ViolationRow {
        arn: stored(&row.arn).into(),
        resource_id: stored(&row.resource_id).into(),
        resource_type: text(&row.resource_type),
        account_id: row.account_id.clone(),
        region: text(&row.region),
        finding,
    }
}

fn round_trip(runtime: &tokio::runtime::Runtime, bed: &TestBed) {
    let store = runtime.block_on(bed.open());
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() });
    let run = std::cell::Cell::new(0_i64);
    let outcome = runner.run(&prop::collection::vec(row(), 0..130), |rows| {
        run.set(run.get() + 1);
        let run_id = format!("r{}", run.get());
        let read = runtime.block_on(async {
            let mut recorder = store.record(TENANT, start(&run_id, run.get())).await.unwrap();
            recorder.findings(&rows).await.unwrap();
            recorder.finish(&report(&run_id, 0, &[])).await.unwrap();
            read_all(&store, TENANT, &run_id, 50).await
        });
        prop_assert_eq!(read, rows.iter().map(kept).collect::<Vec<_>>());
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{}", failure.to_string().chars().take(4000).collect::<String>());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn hostile_findings_survive_sqlite() {
    round_trip(&runtime(), &TestBed::sqlite());
}

#[test]
fn hostile_findings_survive_postgres() {
    let runtime = runtime();
    let bed = runtime.block_on(TestBed::postgres());
    round_trip(&runtime, &bed);
}
