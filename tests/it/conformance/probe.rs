//! Requests, told as data: files of steps that share a namespace and variables.

use std::collections::BTreeMap;
use std::path::Path;

use axum::http::{Request, header};
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::normal::Names;
use super::reply::{Reply, send};
use super::target::Site;

/// Paths by the names that steps use. `$ns` is the namespace of the file.
const PATHS: [(&str, &str); 13] = [
    ("group", "/apis/tagwarden.io/v1alpha1"),
    ("tenant", "/apis/tagwarden.io/v1alpha1/namespaces/$ns"),
    ("policies", "$tenant/taggingpolicies"),
    ("accounts", "$tenant/clientaccounts"),
    ("audits", "$tenant/complianceaudits"),
    ("reports", "$tenant/compliancereports"),
    ("core", "/api/v1/namespaces/$ns"),
    ("configmaps", "$core/configmaps"),
    ("secrets", "$core/secrets"),
    ("coreevents", "$core/events"),
    ("newevents", "/apis/events.k8s.io/v1/namespaces/$ns/events"),
    ("leases", "/apis/coordination.k8s.io/v1/namespaces/$ns/leases"),
    ("namespaces", "/api/v1/namespaces"),
];

/// Texts that are too long to be written out, by the names that steps use.
const LONG: [(&str, usize); 5] =
    [("x64", 64), ("x254", 254), ("x1025", 1025), ("x300KiB", 300 * 1024), ("x3172KiB", 3172 * 1024)];

/// A file of steps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name of the file, without its ending.
    #[serde(skip)]
    pub name: String,
    /// What it is about, for people.
    pub about: String,
    /// Its requests, in order.
    pub steps: Vec<Step>,
}

/// A request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it shows. Unique in its file; a step without a name only prepares others.
    #[serde(default)]
    pub name: String,
    /// Method and path.
    #[serde(rename = "do")]
    pub action: String,
    /// Query parameters; a list repeats one.
    #[serde(default)]
    query: Map<String, Value>,
    /// Headers beside the usual ones.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A JSON body, or a text as it is.
    body: Option<Value>,
    /// Variables that are taken out of the answer, by JSON pointer.
    #[serde(default)]
    keep: BTreeMap<String, String>,
    /// The parts of an answer (not of a refusal) that are looked at, by JSON pointer; all of it otherwise.
    #[serde(default)]
    pick: Vec<String>,
    /// Lists of the answer, by JSON pointer, of which only entries with one of these names are looked at.
    #[serde(default)]
    only: BTreeMap<String, Vec<String>>,
    /// How many events of a watch are read.
    events: Option<usize>,
}

/// All files, in the order of their names.
pub fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/conformance");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).expect("the cases").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).expect("a case");
        let case = serde_saphyr::from_str::<Case>(&text);
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        Case { name, ..case.unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    };
    paths.iter().map(read).collect()
}

/// Runs a file in a fresh namespace, and gives what each named step was answered, normalised.
pub async fn run(case: &Case, site: &Site) -> BTreeMap<String, Reply> {
    let mut variables: BTreeMap<String, String> =
        PATHS.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    variables.extend(LONG.iter().map(|(name, length)| ((*name).to_owned(), "x".repeat(*length))));
    variables.insert("ns".to_owned(), site.namespace.clone());
    let mut names = Names::new(&site.namespace);
    let mut replies = BTreeMap::new();
    for step in &case.steps {
        let reply = send(&site.client, step.request(&variables), step.events).await;
        let reply =
            reply.unwrap_or_else(|error| panic!("{}: {} ({}): {error}", case.name, step.name, step.action));
        assert!(
            !step.name.is_empty() || (200..300).contains(&reply.code),
            "{}: {} only prepares, and failed: {reply:?}",
            case.name,
            step.action
        );
        for (name, pointer) in &step.keep {
            let found = reply.body.pointer(pointer).and_then(Value::as_str);
            let found = found.unwrap_or_else(|| panic!("{}: {pointer} is not in {reply:?}", step.action));
            variables.insert(name.clone(), found.to_owned());
        }
        if !step.name.is_empty() {
            let name = format!("{}: {}", case.name, step.name);
            let seen = step.seen(names.normal(reply));
            assert!(replies.insert(name, seen).is_none(), "{}: two steps are named so", step.name);
        }
    }
    replies
}

impl Step {
    fn request(&self, variables: &BTreeMap<String, String>) -> Request<Body> {
        let action = fill(&self.action, variables);
        let (method, path) = action.split_once(' ').expect("a method and a path");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.query {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for value in values {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                query.append_pair(name, &fill(&text, variables));
            }
        }
        let query = query.finish();
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let mut request = Request::builder().method(method).uri(uri);
        let given = |name: header::HeaderName| self.headers.contains_key(name.as_str());
        if !given(header::ACCEPT) {
            request = request.header(header::ACCEPT, "application/json");
        }
        if self.body.is_some() && !given(header::CONTENT_TYPE) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        let body = match &self.body {
            None => Vec::new(),
            Some(Value::String(text)) => fill(text, variables).into_bytes(),
            Some(json) => fill(&json.to_string(), variables).into_bytes(),
        };
        request.body(Body::from(body)).expect("a request")
    }

    /// What of an answer is looked at.
    fn seen(&self, mut reply: Reply) -> Reply {
        for (pointer, names) in &self.only {
            if let Some(Value::Array(items)) = reply.body.pointer_mut(pointer) {
                let name = |item: &Value| {
                    let name = item.pointer("/metadata/name").or_else(|| item.get("name"));
                    let name = name.or_else(|| item.get("resource")).unwrap_or(item);
                    name.as_str().unwrap_or_default().to_owned()
                };
                items.retain(|item| names.contains(&name(item)));
                items.sort_by_key(name);
            }
        }
        if !self.pick.is_empty() && reply.code < 400 {
            let picked = self.pick.iter().map(|pointer| {
                (pointer.clone(), reply.body.pointer(pointer).cloned().unwrap_or(Value::Null))
            });
            reply.body = picked.collect::<Map<_, _>>().into();
        }
        reply
    }
}

/// Puts values in the place of `$name`, also in the values themselves. What is no variable stays as it is.
fn fill(text: &str, variables: &BTreeMap<String, String>) -> String {
    let Some((before, rest)) = text.split_once('$') else { return text.to_owned() };
    let end = rest.find(|symbol: char| !symbol.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    let value = variables.get(name).map_or_else(|| format!("${name}"), |value| fill(value, variables));
    format!("{before}{value}{}", fill(after, variables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_wherever_they_stand() {
        let pairs = [("ns", "here"), ("core", "/n/$ns"), ("maps", "$core/m")];
        let variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(fill("GET $maps/one?$ns=$unknown$", &variables), "GET /n/here/m/one?here=$unknown$");
    }
}
