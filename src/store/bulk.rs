//! Inserting many rows of one run with one statement, and the columns of a tally.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};
use tagwarden_core::tally::Tally;

use crate::StoreError;

/// Rows of one statement. A thousand would bring nothing more: SQLite looks its parameters up one by one.
pub(crate) const BATCH: usize = 100;

/// The counters of a tally, in the order of [`tally_values`].
macro_rules! tally_columns {
    ($prefix:literal) => {
        concat!(
            $prefix,
            "compliant, ",
            $prefix,
            "violating, ",
            $prefix,
            "exempt, ",
            $prefix,
            "unknown, ",
            $prefix,
            "critical, ",
            $prefix,
            "high, ",
            $prefix,
            "medium, ",
            $prefix,
            "low, ",
            $prefix,
            "info, ",
            $prefix,
            "missing_required_tag, ",
            $prefix,
            "invalid_value, ",
            $prefix,
            "invalid_format, ",
            $prefix,
            "wrong_case, ",
            $prefix,
            "forbidden_tag, ",
            $prefix,
            "naming_rule, ",
            $prefix,
            "advice"
        )
    };
}
pub(crate) use tally_columns;

/// How many they are.
pub(crate) const TALLY_COLUMNS: usize = 16;

/// A statement with its arguments.
pub(crate) type Statement = Query<'static, Any, AnyArguments>;

/// A table whose rows belong to a run.
pub(crate) struct RunTable {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns after tenant and run id, separated by commas.
    pub(crate) columns: &'static str,
}

impl RunTable {
    /// Inserts rows, [`BATCH`] at a time; `bind` binds the columns of one row, in order.
    pub(crate) async fn insert<T>(
        &self,
        transaction: &mut Transaction<'static, Any>,
        (tenant, run_id): (&str, &str),
        rows: &[T],
        bind: impl Fn(Statement, &T) -> Statement,
    ) -> Result<(), StoreError> {
        for batch in rows.chunks(BATCH) {
            let statement = sqlx::query(AssertSqlSafe(self.statement(batch.len())))
                .bind(tenant.to_owned())
                .bind(run_id.to_owned())
                .persistent(batch.len() == BATCH);
            let statement = batch.iter().fold(statement, &bind);
            statement.execute(&mut **transaction).await.map_err(StoreError::database("record a run"))?;
        }
        Ok(())
    }

    /// Made of our own names and of numbers, never of what a row holds.
    fn statement(&self, rows: usize) -> String {
        use std::fmt::Write as _;
        let width = self.columns.split(',').count();
        let mut text = format!("INSERT INTO {} (tenant, run_id, {}) VALUES ", self.name, self.columns);
        for row in 0..rows {
            text.push_str(if row == 0 { "($1, $2" } else { ", ($1, $2" });
            for column in 0..width {
                let _ = write!(text, ", ${}", 3 + row * width + column);
            }
            text.push(')');
        }
        text
    }
}

/// A counter as the database keeps it.
pub(crate) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A counter as it was before. The tables hold none below zero.
pub(crate) fn counted(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// Binds the counters, in the order of their columns.
pub(crate) fn bind_tally(statement: Statement, tally: &Tally) -> Statement {
    tally_values(tally).into_iter().map(count).fold(statement, sqlx::query::Query::bind)
}

/// The counters, in the order of their columns.
pub(crate) fn tally_values(tally: &Tally) -> impl IntoIterator<Item = u64> {
    [tally.compliant, tally.violating, tally.exempt, tally.unknown]
        .into_iter()
        .chain(tally.by_severity)
        .chain(tally.by_violation_type)
        .chain([tally.advice])
}

/// Reads the counters from the columns that begin at `first`; `None` where a join found no row.
pub(crate) fn read_tally(row: &sqlx::any::AnyRow, first: usize) -> Result<Option<Tally>, sqlx::Error> {
    let mut values = [0; TALLY_COLUMNS];
    for (column, value) in values.iter_mut().enumerate() {
        match row.try_get::<Option<i64>, _>(first + column)? {
            Some(number) => *value = counted(number),
            None => return Ok(None),
        }
    }
    Ok(Some(tally_of(values)))
}

/// The tally of these counters, in the order of their columns.
pub(crate) fn tally_of(values: [u64; TALLY_COLUMNS]) -> Tally {
    let [compliant, violating, exempt, unknown, rest @ ..] = values;
    let mut rest = rest.into_iter();
    let mut next = || rest.next().unwrap_or_default();
    let by_severity = std::array::from_fn(|_| next());
    let by_violation_type = std::array::from_fn(|_| next());
    Tally { compliant, violating, exempt, unknown, by_severity, by_violation_type, advice: next() }
}
