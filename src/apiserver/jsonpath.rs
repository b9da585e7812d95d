//! The part of `JSONPath` that printer columns use: fields, indexes, all entries, and entries with a field of a value.

use serde_json::Value;

/// A compiled path, like `.status.conditions[?(@.type=="Ready")].status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Where { path: Vec<String>, equal: bool, value: Value },
}

/// The most steps that a path may have.
const MAX_STEPS: usize = 32;

impl Path {
    /// Reads a path; `None` for what is not evaluated here.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut steps, mut rest) = (Vec::new(), text.trim());
        if !rest.starts_with(['.', '[']) {
            return None;
        }
        while !rest.is_empty() {
            if steps.len() == MAX_STEPS {
                return None;
            }
            if let Some(after) = rest.strip_prefix('[') {
                let end = closing(after)?;
                steps.push(bracketed(after[..end].trim())?);
                rest = &after[end + 1..];
            } else {
                let (name, after) = field(rest.strip_prefix('.')?)?;
                steps.push(if name == "*" { Step::All } else { Step::Field(name) });
                rest = after;
            }
        }
        Some(Self(steps))
    }

    /// The first value at this path.
    pub fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        find(&self.0, object)
    }
}

fn find<'a>(steps: &[Step], value: &'a Value) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => find(rest, value.get(name)?),
        Step::Index(at) => {
            let entries = value.as_array()?;
            let length = i64::try_from(entries.len()).ok()?;
            let at = if *at < 0 { length + at } else { *at };
            find(rest, entries.get(usize::try_from(at).ok()?)?)
        }
        Step::All => match value {
            Value::Array(entries) => entries.iter().find_map(|entry| find(rest, entry)),
            Value::Object(fields) => fields.values().find_map(|field| find(rest, field)),
            _ => None,
        },
        Step::Where { path, equal, value: wanted } => value.as_array()?.iter().find_map(|entry| {
            let found = path.iter().try_fold(entry, |value, name| value.get(name))?;
            ((found == wanted) == *equal).then(|| find(rest, entry)).flatten()
        }),
    }
}

/// A field's name and what follows; dots in it are escaped.
fn field(text: &str) -> Option<(String, &str)> {
    let (mut name, mut escaped) = (String::new(), false);
    for (at, each) in text.char_indices() {
        match each {
            _ if escaped => {
                name.push(each);
                escaped = false;
            }
            '\\' => escaped = true,
            '.' | '[' => return (!name.is_empty()).then_some((name, &text[at..])),
            _ => name.push(each),
        }
    }
    (!name.is_empty() && !escaped).then_some((name, ""))
}

/// Where the bracket closes that was opened before this text.
fn closing(text: &str) -> Option<usize> {
    let (mut quote, mut open) = (None, 0_u32);
    for (at, each) in text.char_indices() {
        match (quote, each) {
            (Some(end), each) if each == end => quote = None,
            (None, '\'' | '"') => quote = Some(each),
            (None, '[') => open += 1,
            (None, ']') if open == 0 => return Some(at),
            (None, ']') => open -= 1,
            _ => {}
        }
    }
    None
}

fn bracketed(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = quoted(text) {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        let (left, equal, right) = match filter.split_once("==") {
            Some((left, right)) => (left, true, right),
            None => filter.split_once("!=").map(|(left, right)| (left, false, right))?,
        };
        let path = left.trim().strip_prefix("@.")?;
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let right = right.trim();
        let value = match quoted(right) {
            Some(text) => Value::from(text),
            None => serde_json::from_str(right).ok()?,
        };
        return (!path.iter().any(String::is_empty)).then_some(Step::Where { path, equal, value });
    }
    text.parse().ok().map(Step::Index)
}

fn quoted(text: &str) -> Option<&str> {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('\'').or_else(|| inside('"'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_what_printer_columns_mean() {
        let object = json!({
            "metadata": {"annotations": {"tagwarden.io/x": "y"}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Compliant", "status": "False"}],
                "counts": [1, 2, 3],
            },
        });
        let cases = [
            (".status.conditions[?(@.type==\"Compliant\")].status", json!("False")),
            (".status.conditions[?(@.type=='Ready')].status", json!("True")),
            (".status.conditions[?(@.type!='Ready')].type", json!("Compliant")),
            (".status.conditions[?(@.type==\"Gone\")].status", Value::Null),
            (".status.conditions[*].type", json!("Ready")),
            (".status.counts[1]", json!(2)),
            (".status.counts[-1]", json!(3)),
            (".status.counts[9]", Value::Null),
            (".status.counts[-9]", Value::Null),
            (".metadata.annotations['tagwarden.io/x']", json!("y")),
            (".metadata.annotations.tagwarden\\.io/x", json!("y")),
            (".status.nothing.below", Value::Null),
        ];
        for (path, wanted) in cases {
            let found = Path::parse(path).unwrap().first(&object).cloned();
            assert_eq!(found.unwrap_or(Value::Null), wanted, "{path}");
        }
    }

    #[test]
    fn other_paths_are_refused() {
        for path in [
            "",
            "status",
            "..x",
            ".a..b",
            ".a[",
            ".a[?(x)]",
            ".a[?(@.x)]",
            ".a[1:2]",
            ".a\\",
            ".a[?(@.=='x')]",
        ] {
            assert_eq!(Path::parse(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_none(text in "[.\\[\\]?()@='\"a*0-9\\\\!-]{0,40}") {
            if let Some(path) = Path::parse(&text) {
                let _ = path.first(&json!({"a": [{"a": 1}, [2]]}));
            }
        }
    }
}
