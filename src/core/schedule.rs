//! When an audit is due: a cron expression in an IANA time zone.
//!
//! Five fields, or a nickname such as `@daily`. What would fire in a way that its author did not mean is refused: a
//! field for seconds or years, a time zone inside the expression, a day that never comes. Across a change of the
//! clock, a fixed time such as 02:30 fires exactly once (after the gap, or at the first of the two), and a repeated
//! one such as `*/15 * * * *` fires at every instant that matches.

#[cfg(test)]
mod tests;

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, civil};

/// The zone of a schedule that names none.
pub const DEFAULT_ZONE: &str = "Etc/UTC";

/// The most characters of an expression.
pub const MAX_CHARS: usize = 200;

/// What may stand for a whole expression, and what it stands for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// One of the five fields.
struct Field {
    name: &'static str,
    range: &'static str,
    /// Other than digits and `* / , -`.
    signs: &'static str,
    /// Words that may stand for numbers.
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", range: "0-59", signs: "", words: &[] },
    Field { name: "hour", range: "0-23", signs: "", words: &[] },
    Field { name: "day of month", range: "1-31, L or 15W", signs: "?", words: &["L", "W", "LW"] },
    Field { name: "month", range: "1-12 or JAN-DEC", signs: "", words: &MONTHS },
    Field { name: "day of week", range: "0-7, SUN-SAT, MON#1 or 5L", signs: "?#", words: &DAYS },
];

/// A cron expression and the zone of its clock.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a text is no schedule. The display text says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Nothing there.
    #[error("the schedule is empty: write five fields such as `0 3 * * *`, or leave the field out")]
    Empty,
    /// Longer than any schedule needs to be.
    #[error("the schedule has {chars} characters, and at most {MAX_CHARS} are read")]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// `TZ=` or `CRON_TZ=`.
    #[error("`{0}` sets a time zone inside the schedule: remove it, and set spec.timeZone instead")]
    ZoneInside(String),
    /// Not five fields.
    #[error(
        "`{text}` has {count} fields: write five (minute, hour, day of month, month, day of week), \
         without seconds and years, or @hourly, @daily, @weekly, @monthly or @yearly"
    )]
    FieldCount {
        /// The schedule.
        text: String,
        /// Its fields.
        count: usize,
    },
    /// `@` and something unknown.
    #[error("`{0}` is not known: write @hourly, @daily, @weekly, @monthly or @yearly, or five fields")]
    Nickname(String),
    /// One field that means nothing.
    #[error(
        "`{value}` is not a {field}: expected {range}, lists such as `1,3`, ranges such as `1-3`, or steps such as `*/2`"
    )]
    Field {
        /// What stands there.
        value: String,
        /// Which field.
        field: &'static str,
        /// What may stand there.
        range: &'static str,
    },
    /// A day that no calendar has.
    #[error("`{0}` never fires: no year has such a day; check day of month and month")]
    NeverFires(String),
    /// A zone that nobody knows.
    #[error("`{zone}` is not an IANA time zone{}: write a name such as Europe/Paris or Etc/UTC", .nearest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
    UnknownZone {
        /// As written.
        zone: String,
        /// The zone that is spelled most like it.
        nearest: Option<String>,
    },
}

impl ScheduleError {
    /// The field of the `spec` that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::UnknownZone { .. } => "spec.timeZone",
            _ => "spec.schedule",
        }
    }
}

impl Schedule {
    /// Reads an expression and the name of a zone; without one, [`DEFAULT_ZONE`].
    pub fn parse(expression: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let zone = zone_named(zone.unwrap_or(DEFAULT_ZONE))?;
        let fields = five_fields(expression)?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        for (index, field) in FIELDS.iter().enumerate() {
            let alone = alone(&fields, index);
            if !legible(field, fields[index]) || parser.parse(&alone).is_err() {
                let value = excerpt(fields[index]);
                return Err(ScheduleError::Field { value, field: field.name, range: field.range });
            }
        }
        let text = fields.join(" ");
        let cron = parser.parse(&text).map_err(|_| ScheduleError::NeverFires(text.clone()))?;
        // By the calendar alone: it has every hour of every day, and is quicker than any zone.
        let start = civil::date(2000, 1, 1).at(0, 0, 0, 0);
        match cron.find_next_occurrence(&start, true) {
            Ok(_) => Ok(Self { cron, zone }),
            Err(_) => Err(ScheduleError::NeverFires(text)),
        }
    }

    /// The first slot after `instant`; `None` beyond the calendar.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let from = whole_second(instant)?.to_zoned(self.zone.clone());
        let slot = self.cron.find_next_occurrence(&from, false).ok()?.timestamp();
        (slot > instant).then_some(slot)
    }

    /// The newest slot at `instant` or before; `None` before the calendar.
    pub fn latest_at_or_before(&self, instant: Timestamp) -> Option<Timestamp> {
        let from = whole_second(instant)?.to_zoned(self.zone.clone());
        let slot = self.cron.find_previous_occurrence(&from, true).ok()?.timestamp();
        (slot <= instant).then_some(slot)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.cron.as_str(), self.zone.iana_name().unwrap_or(DEFAULT_ZONE))
    }
}

/// The zone of this name. Always from the compiled-in database: the same schedule means the same everywhere.
fn zone_named(name: &str) -> Result<TimeZone, ScheduleError> {
    let database = TimeZoneDatabase::bundled();
    let plausible = !name.is_empty() && name.len() <= 64 && name.is_ascii();
    if plausible && let Ok(zone) = database.get(name) {
        return Ok(zone);
    }
    let wanted = name.to_ascii_lowercase();
    let nearest = plausible
        .then(|| {
            database
                .available()
                .map(|known| {
                    (strsim::damerau_levenshtein(&wanted, &known.as_str().to_ascii_lowercase()), known)
                })
                .min_by_key(|(distance, _)| *distance)
                .filter(|(distance, _)| *distance <= 3)
                .map(|(_, known)| known.to_string())
        })
        .flatten();
    Err(ScheduleError::UnknownZone { zone: excerpt(name), nearest })
}

/// The five fields of an expression, nicknames written out.
fn five_fields(expression: &str) -> Result<Vec<&str>, ScheduleError> {
    let text = expression.trim();
    let chars = text.chars().count();
    if chars > MAX_CHARS {
        return Err(ScheduleError::TooLong { chars });
    }
    if let Some(inside) = text.split_whitespace().find(|word| word.to_ascii_uppercase().contains("TZ=")) {
        return Err(ScheduleError::ZoneInside(excerpt(inside)));
    }
    if text.starts_with('@') {
        let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let (_, meaning) = known.ok_or_else(|| ScheduleError::Nickname(excerpt(text)))?;
        return Ok(meaning.split(' ').collect());
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields.len() {
        0 => Err(ScheduleError::Empty),
        5 => Ok(fields),
        count => Err(ScheduleError::FieldCount { text: excerpt(text), count }),
    }
}

/// The expression with every other field left open.
fn alone(fields: &[&str], index: usize) -> String {
    let mut open = ["*"; FIELDS.len()];
    open[index] = fields[index];
    open.join(" ")
}

/// Whether a field has only signs and words that belong there: the parser would take a day for a minute.
fn legible(field: &Field, value: &str) -> bool {
    let sign = |c: char| c.is_ascii_digit() || "*/,-".contains(c) || field.signs.contains(c);
    let upper = value.to_ascii_uppercase();
    let legible_word = |word: &str| {
        // `5L` is the last Friday, and a bare `L` the last Saturday: only the first says so.
        word.is_empty()
            || field.words.contains(&word)
            || (field.signs.contains('#') && word == "L" && upper != "L")
    };
    upper.chars().all(|c| sign(c) || c.is_ascii_uppercase())
        && upper.split(|c: char| !c.is_ascii_uppercase()).all(legible_word)
}

fn whole_second(instant: Timestamp) -> Option<Timestamp> {
    let seconds = instant.as_nanosecond().div_euclid(1_000_000_000);
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// The beginning of a text, for a message, without control characters.
fn excerpt(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '␀' } else { c }).collect()
}
