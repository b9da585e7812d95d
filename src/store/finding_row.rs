//! A finding and its row: what one writes, the other reads back.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use tagwarden_core::finding::{Exempted, Finding, FindingKind, Severity, ViolationType};
use tagwarden_core::report::ViolationRow;

use crate::bulk::{RunTable, Statement};
use crate::{StoreError, bulk, text};

/// The columns of a finding, in the order in which they are bound and read.
macro_rules! finding_columns {
    () => {
        "seq, arn, resource_id, resource_type, account_id, region, tag_key, violation_type, severity, kind, \
         current_value, allowed_values, expected_format, exempted_by, exempt_until"
    };
}
pub(crate) use finding_columns;

/// The table of findings.
pub(crate) const FINDINGS: RunTable = RunTable { name: "tagwarden_findings", columns: finding_columns!() };

/// A finding on its way into the store: bounded, and free of what a database refuses.
#[derive(Debug)]
pub(crate) struct FindingRow {
    arn: String,
    resource_id: String,
    resource_type: String,
    account_id: String,
    region: String,
    tag_key: String,
    violation_type: ViolationType,
    severity: Severity,
    kind: FindingKind,
    current_value: Option<String>,
    allowed_values: Option<String>,
    expected_format: Option<String>,
    exempted_by: Option<String>,
    exempt_until: Option<i64>,
}

impl From<&ViolationRow> for FindingRow {
    fn from(row: &ViolationRow) -> Self {
        let stored = |text: &str| text::stored(text).into_owned();
        let finding = &row.finding;
        Self {
            arn: stored(&row.arn),
            resource_id: stored(&row.resource_id),
            resource_type: stored(&row.resource_type),
            account_id: stored(row.account_id.as_str()),
            region: stored(&row.region),
            tag_key: stored(&finding.tag_key),
            violation_type: finding.violation_type,
            severity: finding.severity,
            kind: finding.kind,
            current_value: finding.current_value.as_deref().map(stored),
            allowed_values: finding
                .allowed_values
                .as_deref()
                .map(|values| text::stored_list(values.iter().map(AsRef::as_ref))),
            expected_format: finding.expected_format.as_deref().map(stored),
            exempted_by: finding.exempted.as_ref().map(|exempted| stored(&exempted.by)),
            exempt_until: finding
                .exempted
                .as_ref()
                .and_then(|exempted| exempted.until)
                .map(Timestamp::as_millisecond),
        }
    }
}

impl FindingRow {
    /// Binds the columns.
    pub(crate) fn bind(&self, seq: i64, statement: Statement) -> Statement {
        statement
            .bind(seq)
            .bind(self.arn.clone())
            .bind(self.resource_id.clone())
            .bind(self.resource_type.clone())
            .bind(self.account_id.clone())
            .bind(self.region.clone())
            .bind(self.tag_key.clone())
            .bind(self.violation_type.as_str().to_owned())
            .bind(self.severity as i64)
            .bind(self.kind.as_str().to_owned())
            .bind(self.current_value.clone())
            .bind(self.allowed_values.clone())
            .bind(self.expected_format.clone())
            .bind(self.exempted_by.clone())
            .bind(self.exempt_until)
    }
}

/// The findings of a page, each with its place in the run, and the place after which the next page begins, if there is
/// one. Its rows are those of [`finding_columns`]: one more than `size` where there are more.
pub(crate) fn page(
    rows: &[AnyRow],
    size: i64,
) -> Result<(impl Iterator<Item = (u64, ViolationRow)> + use<>, Option<u64>), StoreError> {
    let mut findings = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let more = findings.len() as u64 > bulk::counted(size);
    if more {
        findings.pop();
    }
    let next = findings.last().filter(|_| more).map(|(seq, _)| bulk::counted(*seq));
    Ok((findings.into_iter().map(|(seq, finding)| (bulk::counted(seq), finding)), next))
}

/// Reads a row of [`finding_columns`] and its place in the run.
pub(crate) fn read(row: &AnyRow) -> Result<(i64, ViolationRow), StoreError> {
    let failed = StoreError::database("read a finding");
    let text = |column: usize| row.try_get::<String, _>(column).map_err(&failed);
    let maybe = |column: usize| row.try_get::<Option<String>, _>(column).map_err(&failed);

    let until: Option<i64> = row.try_get(14).map_err(&failed)?;
    let exempted = match maybe(13)? {
        Some(by) => Some(Exempted { by: by.into(), until: until.map(instant).transpose()? }),
        None => None,
    };
    let finding = Finding {
        kind: kind(&text(9)?)?,
        violation_type: text(7)?.parse().map_err(|unknown: tagwarden_core::finding::UnknownWord| {
            StoreError::corrupt("a violation type", unknown.0)
        })?,
        severity: severity(row.try_get(8).map_err(&failed)?)?,
        tag_key: text(6)?.into(),
        current_value: maybe(10)?.map(Into::into),
        allowed_values: maybe(11)?.as_deref().map(list).transpose()?,
        expected_format: maybe(12)?.map(Into::into),
        exempted,
    };
    let found = ViolationRow {
        arn: text(1)?,
        resource_id: text(2)?,
        resource_type: text(3)?.into(),
        account_id: text(4)?
            .parse()
            .map_err(|_| StoreError::corrupt("an account id", text(4).unwrap_or_default()))?,
        region: text(5)?.into(),
        finding,
    };
    Ok((row.try_get(0).map_err(&failed)?, found))
}

/// An instant of a column.
pub(crate) fn instant(milliseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| StoreError::corrupt("an instant", milliseconds))
}

fn severity(rank: i64) -> Result<Severity, StoreError> {
    let known = usize::try_from(rank).ok().and_then(|rank| Severity::ALL.get(rank).copied());
    known.ok_or_else(|| StoreError::corrupt("a severity from 0 to 4", rank))
}

fn kind(word: &str) -> Result<FindingKind, StoreError> {
    let known = [FindingKind::Violation, FindingKind::Advice].into_iter().find(|kind| kind.as_str() == word);
    known.ok_or_else(|| StoreError::corrupt("`violation` or `advice`", word))
}

fn list(json: &str) -> Result<Arc<[Arc<str>]>, StoreError> {
    serde_json::from_str::<Vec<String>>(json)
        .map(|values| values.into_iter().map(Into::into).collect())
        .map_err(|_| StoreError::corrupt("a list of values", json))
}
