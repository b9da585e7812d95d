//! Pages: as many items as fit, and where to go on.
//!
//! Tools make plain cursors. What leaves the server is [sealed]: good for one tenant and one tool. The seal is no secret,
//! and keeps nobody from anything: whatever a cursor says is looked up among what belongs to whoever brings it. It tells a
//! place in another list from a place in this one, which would otherwise be answered with the wrong page.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tagwarden_app::ask::{AskError, quoted};

/// Items of a page where nobody says.
pub(crate) const LIMIT: u32 = 50;

/// The most items of a page.
pub(crate) const LIMIT_MAX: u32 = 500;

/// Bytes of a seal.
const SEAL: usize = 8;

/// A cursor as it leaves the server.
pub(crate) fn sealed(tenant: &str, tool: &str, cursor: &str) -> String {
    format!("{cursor}~{}", seal(tenant, tool, cursor))
}

/// The cursor that this tenant got from this tool.
pub(crate) fn unsealed<'a>(tenant: &str, tool: &str, text: &'a str) -> Result<&'a str, AskError> {
    let cursor = text.rsplit_once('~').filter(|(cursor, shown)| *shown == seal(tenant, tool, cursor));
    cursor.map(|(cursor, _)| cursor).ok_or_else(|| no_cursor(text))
}

fn seal(tenant: &str, tool: &str, cursor: &str) -> String {
    let mut digest = Sha256::new();
    for part in [tenant, tool, cursor] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize()[..SEAL].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn no_cursor(text: &str) -> AskError {
    AskError::invalid(
        format!("{} is no cursor of this tool", quoted(text)),
        "give next_cursor as this tool gave it, with the same arguments; or leave it out",
    )
}

/// A place in the findings of a run. It names no tenant: the run is looked up among those of whoever brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) run_id: String,
    pub(crate) after: u64,
}

impl Cursor {
    pub(crate) fn text(&self) -> String {
        format!("{}~{}", self.run_id, self.after)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, AskError> {
        let known = text.rsplit_once('~').and_then(|(run_id, after)| {
            let plain = |symbol: char| symbol.is_ascii_alphanumeric() || "-.".contains(symbol);
            let fits = !run_id.is_empty() && run_id.len() <= 253 && run_id.chars().all(plain);
            fits.then_some(())?;
            Some(Self {
                run_id: run_id.to_owned(),
                after: after.parse().ok().filter(|after| *after < 1 << 62)?,
            })
        });
        known.ok_or_else(|| no_cursor(text))
    }
}

/// Where a plain list goes on.
pub(crate) fn offset(cursor: Option<&str>) -> Result<usize, AskError> {
    let Some(text) = cursor else { return Ok(0) };
    text.strip_prefix('+').and_then(|number| number.parse().ok()).ok_or_else(|| no_cursor(text))
}

/// How many items somebody wants.
pub(crate) fn limit(asked: Option<u32>) -> usize {
    asked.unwrap_or(LIMIT).clamp(1, LIMIT_MAX) as usize
}

/// The room that an answer has left for items.
pub(crate) struct Room {
    left: usize,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }

    /// Whether the item still fits; then its room is taken.
    pub(crate) fn takes(&mut self, item: &impl Serialize) -> bool {
        let bytes = serde_json::to_vec(item).map_or(usize::MAX, |text| text.len() + 1);
        if bytes > self.left {
            return false;
        }
        self.left -= bytes;
        true
    }
}

/// A page of a list that is in memory: the items, and where to go on.
pub(crate) fn cut<T: Serialize>(
    items: Vec<T>,
    cursor: Option<&str>,
    limit: usize,
    room: usize,
) -> Result<(Vec<T>, Option<String>), AskError> {
    let (start, total) = (offset(cursor)?, items.len());
    let mut room = Room::new(room);
    let mut page: Vec<T> = Vec::new();
    for item in items.into_iter().skip(start).take(limit) {
        let fits = room.takes(&item);
        if fits || page.is_empty() {
            page.push(item);
        }
        if !fits {
            break;
        }
    }
    let end = start.saturating_add(page.len());
    let next = (end < total).then(|| format!("+{end}"));
    Ok((page, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went_out() {
        let cursor = Cursor { run_id: "nightly-20261121-0200".into(), after: 41 };
        assert_eq!(Cursor::parse(&cursor.text()), Ok(cursor));
        for bad in ["", "~", "a~", "~1", "a~b", "a b~1", "../x~1", "a~18446744073709551615", "a~-1"] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_is_good_for_one_tenant_and_one_tool() {
        let given = sealed("acme", "list_audits", "+50");
        assert_eq!(unsealed("acme", "list_audits", &given), Ok("+50"));
        for (tenant, tool) in [("rival", "list_audits"), ("acme", "list_accounts"), ("acmel", "ist_audits")] {
            assert!(unsealed(tenant, tool, &given).is_err(), "{tenant} {tool}");
        }
        for wrong in
            ["", "+50", "~", "+51~0000000000000000", &given.replace("50", "51"), &format!("{given}0")]
        {
            assert!(unsealed("acme", "list_audits", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pages_end_where_the_room_does_and_lose_nothing() {
        let items: Vec<String> = (0..100).map(|n| format!("{n:0>20}")).collect();
        let (mut cursor, mut seen) = (None::<String>, Vec::new());
        loop {
            let (page, next) = cut(items.clone(), cursor.as_deref(), 30, 230).unwrap();
            assert!((1..=10).contains(&page.len()));
            seen.extend(page);
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, items);
        let (page, next) = cut(vec!["x".repeat(500), "y".into()], None, 30, 230).unwrap();
        assert_eq!((page.len(), next.as_deref()), (1, Some("+1")), "one item at least");
        assert!(cut(items, Some("nope"), 1, 1).is_err());
    }
}
