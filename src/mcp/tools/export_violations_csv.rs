//! `export_violations_csv`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::{AskError, CheckRequest};

use super::waiting;
use crate::page::{self, Cursor};
use crate::parts::{RunOut, Severities, Violation, csv_cell, request};
use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct ExportViolationsCsv;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Column {
    ResourceArn,
    ResourceId,
    ResourceType,
    AccountId,
    Region,
    ViolationType,
    TagName,
    Severity,
    Level,
    CurrentValue,
    AllowedValues,
    Message,
}

impl Column {
    /// Those of the predecessor.
    const DEFAULT: [Self; 6] = [
        Self::ResourceArn,
        Self::ResourceType,
        Self::ViolationType,
        Self::TagName,
        Self::Severity,
        Self::Region,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ResourceArn => "resource_arn",
            Self::ResourceId => "resource_id",
            Self::ResourceType => "resource_type",
            Self::AccountId => "account_id",
            Self::Region => "region",
            Self::ViolationType => "violation_type",
            Self::TagName => "tag_name",
            Self::Severity => "severity",
            Self::Level => "level",
            Self::CurrentValue => "current_value",
            Self::AllowedValues => "allowed_values",
            Self::Message => "message",
        }
    }

    fn of(self, row: &Violation) -> String {
        match self {
            Self::ResourceArn => row.resource_arn.clone(),
            Self::ResourceId => row.resource_id.clone(),
            Self::ResourceType => row.resource_type.clone(),
            Self::AccountId => row.account_id.clone(),
            Self::Region => row.region.clone(),
            Self::ViolationType => row.what.violation_type.clone(),
            Self::TagName => row.what.tag_name.clone(),
            Self::Severity => row.what.severity.clone(),
            Self::Level => row.what.level.clone(),
            Self::CurrentValue => row.what.current_value.clone().unwrap_or_default(),
            Self::AllowedValues => row.what.allowed_values.clone().unwrap_or_default().join("; "),
            Self::Message => row.what.message.clone(),
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Like ec2:instance or rds:*; default: all.
    #[serde(default)]
    resource_types: Vec<String>,
    /// Names or ids; default: all.
    #[serde(default)]
    accounts: Vec<String>,
    /// Default: all enabled.
    #[serde(default)]
    regions: Vec<String>,
    /// Its name; default: the only one.
    policy: Option<String>,
    /// Which findings.
    #[serde(default)]
    severity: Severities,
    /// Which columns, in this order; six when left out.
    #[serde(default)]
    columns: Vec<Column>,
    /// 1 to 500; default: 50.
    limit: Option<u32>,
    /// `next_cursor` of the answer before; its rows have no header.
    cursor: Option<String>,
}

impl Input {
    fn request(&self) -> CheckRequest {
        request(self.policy.as_ref(), &self.resource_types, &self.accounts, &self.regions, None)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    #[serde(flatten)]
    run: RunOut,
    csv_data: String,
    row_count: usize,
    /// Rows in all.
    total: u64,
    column_count: usize,
    columns: Vec<Column>,
    format: String,
    filters_applied: Applied,
    export_timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Applied {
    resource_types: Vec<String>,
    severity: String,
}

impl Tool for ExportViolationsCsv {
    const NAME: &'static str = "export_violations_csv";
    const TITLE: &'static str = "Export findings as CSV";
    const ABOUT: &'static str = "Gives findings as CSV, page by page, with the columns you choose; formulas are neutralised. Answers from a \
         recent run where one covers the question.";
    const TOOLSET: Toolset = Toolset::Scan;
    const HINTS: Hints = Hints::LOOKS;

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let cursor = input.cursor.as_deref().map(Cursor::parse).transpose()?;
        let answer = waiting::checked(call, &input.request(), false, cursor.as_ref()).await?;
        let columns = if input.columns.is_empty() { Column::DEFAULT.to_vec() } else { input.columns.clone() };
        let header: Vec<&str> = columns.iter().map(|column| column.name()).collect();
        let mut csv = if cursor.is_none() { format!("{}\n", header.join(",")) } else { String::new() };
        let (mut rows, mut total, mut next_cursor) = (0, 0, None);
        if answer.reading.is_some() {
            let query = input.severity.within(answer.narrowing.findings());
            let run_id = &answer.run.run_id;
            total = call.ask.count(&call.who, run_id, &query).await?.findings;
            let after = cursor.as_ref().map(|cursor| cursor.after);
            let limit = page::limit(input.limit);
            let found = call.ask.findings(&call.who, run_id, &query, after, limit).await?;
            let mut more = found.next.is_some();
            let mut last = None;
            for (place, row) in &found.findings {
                let row = Violation::from(row);
                let cells: Vec<String> = columns.iter().map(|column| csv_cell(&column.of(&row))).collect();
                let line = cells.join(",");
                // Quotes double once more inside JSON.
                let quotes = line.bytes().filter(|byte| *byte == b'"').count();
                if csv.len() + line.len() + quotes > call.room && rows > 0 {
                    more = true;
                    break;
                }
                csv.push_str(&line);
                csv.push('\n');
                rows += 1;
                last = Some(*place);
            }
            next_cursor = last.filter(|_| more).map(|after| Cursor { run_id: run_id.clone(), after }.text());
        }
        let run = RunOut::answering(&answer, &call.ask);
        let severity = match input.severity {
            Severities::All => "all",
            Severities::ErrorsOnly => "errors_only",
            Severities::WarningsOnly => "warnings_only",
        };
        Ok(Output {
            filters_applied: Applied {
                resource_types: run.scope.resource_types.clone(),
                severity: severity.into(),
            },
            run,
            csv_data: csv,
            row_count: rows,
            total,
            column_count: columns.len(),
            columns,
            format: "csv".into(),
            export_timestamp: call.ask.now().to_string(),
            next_cursor,
        })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        waiting::rehearsed(call, &input.request(), false).await
    }
}
