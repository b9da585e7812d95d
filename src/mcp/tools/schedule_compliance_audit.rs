//! `schedule_compliance_audit`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tagwarden_app::ask::{AskError, Cadence, ScheduleRequest, Scope, quoted};

use crate::tool::{Call, Hints, Tool, Toolset};

pub(super) struct ScheduleComplianceAudit;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    #[default]
    Daily,
    Weekly,
    Monthly,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Weekly means Mondays, monthly the first.
    #[serde(default, alias = "schedule_type")]
    schedule: How,
    /// HH:MM; 09:00 when left out.
    #[serde(alias = "time_of_day")]
    time: Option<String>,
    /// Five fields of cron, in place of schedule and time.
    cron: Option<String>,
    /// IANA name, for example Europe/Paris; UTC when left out.
    #[serde(alias = "timezone")]
    timezone_str: Option<String>,
    /// Like ec2:instance or rds:*; default: all.
    #[serde(default)]
    resource_types: Vec<String>,
    /// Its name; default: the only one.
    policy: Option<String>,
    /// The audit to create or change. Without it the same request means the same audit.
    name: Option<String>,
}

impl Input {
    fn request(&self) -> Result<ScheduleRequest, AskError> {
        let cadence = if let Some(cron) = &self.cron {
            Cadence::Cron(cron.clone())
        } else {
            let (hour, minute) = clock(self.time())?;
            match self.schedule {
                How::Daily => Cadence::Daily(hour, minute),
                How::Weekly => Cadence::Weekly(hour, minute),
                How::Monthly => Cadence::Monthly(hour, minute),
            }
        };
        Ok(ScheduleRequest {
            name: self.name.clone(),
            cadence,
            time_zone: self.timezone_str.clone().unwrap_or_else(|| "UTC".into()),
            resource_types: self.resource_types.clone(),
            policy: self.policy.clone(),
        })
    }

    fn time(&self) -> &str {
        self.time.as_deref().unwrap_or("09:00")
    }
}

fn clock(text: &str) -> Result<(u8, u8), AskError> {
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let two = |text: &str| digits(text).then(|| text.parse::<u8>().ok()).flatten();
    let time = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    time.filter(|(hour, minute)| *hour < 24 && *minute < 60).ok_or_else(|| {
        AskError::invalid(format!("{} is no time", quoted(text)), "use HH:MM, for example 09:00")
    })
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// The name of the audit.
    schedule_id: String,
    /// created, updated or unchanged.
    status: String,
    schedule_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    timezone: String,
    resource_types: Vec<String>,
    policy: String,
    cron_expression: String,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run: Option<String>,
    message: String,
}

impl Tool for ScheduleComplianceAudit {
    const NAME: &'static str = "schedule_compliance_audit";
    const TITLE: &'static str = "Schedule an audit";
    const ABOUT: &'static str = "Creates a ComplianceAudit over all accounts that then runs by itself, or changes the one of this name. Needs \
         the scope audit:write. A new audit also runs once at the start.";
    const TOOLSET: Toolset = Toolset::Policy;
    const SCOPE: Scope = Scope::AuditWrite;
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: false };

    type Input = Input;
    type Output = Output;

    async fn call(call: &Call, input: Input) -> Result<Output, AskError> {
        let request = input.request()?;
        let scheduled = call.ask.schedule(&call.who, &request, false).await?;
        let kind = match (&input.cron, input.schedule) {
            (Some(_), _) => "cron",
            (None, How::Daily) => "daily",
            (None, How::Weekly) => "weekly",
            (None, How::Monthly) => "monthly",
        };
        let next_run = scheduled.next_run.map(|at| at.to_string());
        let order = scheduled.order;
        Ok(Output {
            message: format!(
                "audit {} is {}; get_audit_status shows how it is doing",
                order.name,
                scheduled.written.as_str()
            ),
            status: scheduled.written.as_str().into(),
            schedule_type: kind.into(),
            time: input.cron.is_none().then(|| input.time().to_owned()),
            timezone: order.time_zone,
            resource_types: if order.resource_types.is_empty() {
                vec!["all".into()]
            } else {
                order.resource_types
            },
            policy: order.policy,
            cron_expression: order.schedule,
            schedule_id: order.name,
            next_run,
        })
    }

    async fn rehearse(call: &Call, input: &Input) -> Result<String, AskError> {
        let scheduled = call.ask.schedule(&call.who, &input.request()?, true).await?;
        let next = scheduled.next_run.map_or_else(|| "never".to_owned(), |at| at.to_string());
        Ok(format!(
            "audit {} would be {} with schedule `{}` in {}; it would run next at {next}",
            scheduled.order.name,
            scheduled.written.as_str(),
            scheduled.order.schedule,
            scheduled.order.time_zone
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(clock("09:05"), Ok((9, 5)));
        for bad in ["9:05", "24:00", "12:60", "noon", "12", "12:0a", "+1:00"] {
            assert!(clock(bad).is_err(), "{bad}");
        }
    }
}
