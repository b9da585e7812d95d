//! Lists inside answers: taking the items out, and putting some of them back with another page token.
//!
//! The simulator hardly pages; AWS always does. Cutting a list anew needs to know, for each operation, where the
//! items are and where tokens go in and out.

use std::fmt::Write;

use bytes::Bytes;
use http::Uri;
use http::request::Parts;
use quick_xml::events::Event;
use quick_xml::{Reader, escape};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::answer::Answer;
use super::call::Identity;

/// Where an operation keeps its list and its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paging {
    place: Place,
    items: &'static str,
    asked: &'static str,
    given: &'static str,
}

/// Where a request carries its token, which also tells how the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    JsonBody,
    QueryJson,
    Form,
    QueryXml,
}

/// (service, action, place, items, token in the request, token in the answer)
type Row = (&'static str, &'static str, Place, &'static str, &'static str, &'static str);

const LISTS: &[Row] = &[
    (
        "tagging",
        "GetResources",
        Place::JsonBody,
        "ResourceTagMappingList",
        "PaginationToken",
        "PaginationToken",
    ),
    ("ecs", "ListClusters", Place::JsonBody, "clusterArns", "nextToken", "nextToken"),
    ("ecs", "ListServices", Place::JsonBody, "serviceArns", "nextToken", "nextToken"),
    ("ecs", "ListTaskDefinitions", Place::JsonBody, "taskDefinitionArns", "nextToken", "nextToken"),
    ("ecs", "ListTaskDefinitionFamilies", Place::JsonBody, "families", "nextToken", "nextToken"),
    ("lambda", "ListFunctions", Place::QueryJson, "Functions", "Marker", "NextMarker"),
    ("ec2", "DescribeInstances", Place::Form, "reservationSet", "NextToken", "nextToken"),
    ("ec2", "DescribeVolumes", Place::Form, "volumeSet", "NextToken", "nextToken"),
    ("ec2", "DescribeSnapshots", Place::Form, "snapshotSet", "NextToken", "nextToken"),
    ("ec2", "DescribeNatGateways", Place::Form, "natGatewaySet", "NextToken", "nextToken"),
    ("ec2", "DescribeVpcs", Place::Form, "vpcSet", "NextToken", "nextToken"),
    ("ec2", "DescribeSubnets", Place::Form, "subnetSet", "NextToken", "nextToken"),
    ("ec2", "DescribeSecurityGroups", Place::Form, "securityGroupInfo", "NextToken", "nextToken"),
    ("ec2", "DescribeTags", Place::Form, "tagSet", "NextToken", "nextToken"),
    ("rds", "DescribeDBInstances", Place::Form, "DBInstances", "Marker", "Marker"),
    ("rds", "DescribeDBClusters", Place::Form, "DBClusters", "Marker", "Marker"),
    ("s3", "ListBuckets", Place::QueryXml, "Buckets", "continuation-token", "ContinuationToken"),
];

/// How this call pages, where that is known.
pub(super) fn paging(call: &Identity) -> Option<Paging> {
    let row = LISTS.iter().find(|row| row.0 == call.service && row.1 == call.action)?;
    let (_, _, place, items, asked, given) = *row;
    Some(Paging { place, items, asked, given })
}

/// An answer taken apart.
#[derive(Debug, Clone)]
pub(super) struct List {
    shell: Shell,
    pub(super) items: Vec<Item>,
    /// The token of the next page.
    pub(super) next: Option<String>,
}

#[derive(Debug, Clone)]
enum Shell {
    Json(Map<String, Value>),
    /// What stands before the first and after the last item, tokens removed.
    Xml {
        before: String,
        after: String,
    },
}

/// One element of a list, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Json(Value),
    Xml(String),
}

impl Paging {
    /// Takes an answer apart; `None` when there is no list in it.
    pub(super) fn split(&self, answer: &Answer) -> Option<List> {
        match self.place {
            Place::JsonBody | Place::QueryJson => self.split_json(answer),
            Place::Form | Place::QueryXml => self.split_xml(&answer.text()),
        }
    }

    /// Puts an answer together from some items of a list.
    pub(super) fn join(&self, list: &List, items: &[Item], next: Option<&str>) -> String {
        match &list.shell {
            Shell::Json(fields) => {
                let mut fields = fields.clone();
                let items = items.iter().filter_map(|item| match item {
                    Item::Json(value) => Some(value.clone()),
                    Item::Xml(_) => None,
                });
                fields.insert(self.items.to_owned(), items.collect());
                if let Some(next) = next {
                    fields.insert(self.given.to_owned(), next.into());
                }
                Value::Object(fields).to_string()
            }
            Shell::Xml { before, after } => {
                let mut text = before.clone();
                for item in items {
                    if let Item::Xml(item) = item {
                        text.push_str(item);
                    }
                }
                let _ = write!(text, "</{}>", self.items);
                if let Some(next) = next {
                    let _ = write!(text, "<{0}>{1}</{0}>", self.given, escape::escape(next));
                }
                text.push_str(after);
                text
            }
        }
    }

    /// The same request, for the page that a token stands for.
    pub(super) fn ask_for(&self, parts: &mut Parts, body: &Bytes, token: &str) -> Bytes {
        let with_token = |pairs: &[u8]| {
            let kept = form_urlencoded::parse(pairs).filter(|(key, _)| key != self.asked);
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs(kept)
                .append_pair(self.asked, token)
                .finish()
        };
        match self.place {
            Place::Form => with_token(body).into(),
            Place::QueryJson | Place::QueryXml => {
                let query = with_token(parts.uri.query().unwrap_or_default().as_bytes());
                if let Ok(uri) = format!("{}?{query}", parts.uri.path()).parse::<Uri>() {
                    parts.uri = uri;
                }
                body.clone()
            }
            Place::JsonBody => {
                let mut fields: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
                fields.insert(self.asked.to_owned(), token.into());
                Value::Object(fields).to_string().into()
            }
        }
    }

    fn split_json(&self, answer: &Answer) -> Option<List> {
        let mut fields: Map<String, Value> = serde_json::from_slice(&answer.body).ok()?;
        let Value::Array(items) = fields.remove(self.items)? else { return None };
        // The tagging API ends with an empty token, the others with none: an empty one stays.
        let next = match fields.get(self.given).and_then(Value::as_str) {
            Some(token) if !token.is_empty() => Some(token.to_owned()),
            _ => None,
        };
        if next.is_some() {
            fields.remove(self.given);
            if self.given == "PaginationToken" {
                fields.insert(self.given.to_owned(), "".into());
            }
        }
        Some(List { shell: Shell::Json(fields), items: items.into_iter().map(Item::Json).collect(), next })
    }

    fn split_xml(&self, text: &str) -> Option<List> {
        let map = outline(text, self.items, self.given)?;
        let without_token = |from: usize, to: usize| match &map.token {
            Some(token) if from <= token.start && token.end <= to => {
                format!("{}{}", &text[from..token.start], &text[token.end..to])
            }
            _ => text[from..to].to_owned(),
        };
        let opening = format!("<{}>", self.items);
        let before = without_token(0, map.list.start) + &opening;
        let after = without_token(map.list.end, text.len());
        let next = map.token.as_ref().and_then(|range| {
            let inner = text[range.clone()].split_once('>')?.1.rsplit_once("</")?.0;
            Some(escape::unescape(inner).ok()?.into_owned()).filter(|token| !token.is_empty())
        });
        let items = map.items.into_iter().map(|range| Item::Xml(text[range].to_owned())).collect();
        Some(List { shell: Shell::Xml { before, after }, items, next })
    }
}

type Range = std::ops::Range<usize>;

/// Where things stand in an XML answer.
struct Outline {
    list: Range,
    items: Vec<Range>,
    token: Option<Range>,
}

/// Finds the element `list`, its children, and its sibling `token`.
fn outline(text: &str, list: &str, token: &str) -> Option<Outline> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut found: Option<(usize, Range)> = None;
    let mut items = Vec::new();
    let mut tokens: Vec<(usize, Range)> = Vec::new();
    let mut close = |name: &str, path: &[(String, usize)], range: Range| {
        let inside = path.last().is_some_and(|(parent, _)| parent == list);
        if found.is_none() && name == list {
            found = Some((path.len(), range));
        } else if found.is_none() && inside {
            items.push(range);
        } else if name == token {
            tokens.push((path.len(), range));
        }
    };
    loop {
        let start = usize::try_from(reader.buffer_position()).ok()?;
        let event = reader.read_event().ok()?;
        let end = usize::try_from(reader.buffer_position()).ok()?;
        match event {
            Event::Start(tag) => open.push((tag.name().as_ref().to_owned(), start)),
            Event::Empty(tag) => close(tag.name().as_ref(), &open, start..end),
            Event::End(_) => {
                let (name, start) = open.pop()?;
                close(&name, &open, start..end);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let (depth, list) = found?;
    let token = tokens.into_iter().find(|(at, _)| *at == depth).map(|(_, range)| range);
    Some(Outline { list, items, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(service: &str, action: &str) -> Paging {
        let row = LISTS.iter().find(|row| row.0 == service && row.1 == action).unwrap();
        Paging { place: row.2, items: row.3, asked: row.4, given: row.5 }
    }

    #[test]
    fn xml_lists_are_cut_and_mended() {
        let text = "<R xmlns=\"x\"><requestId>1</requestId>\n<volumeSet>\n<item><a>1</a><tagSet><item/></tagSet></item>\
                    <item/> <item><b/></item></volumeSet><nextToken>a&amp;b</nextToken></R>";
        let paging = row("ec2", "DescribeVolumes");
        let list = paging.split(&Answer::new(200, "text/xml", text)).unwrap();
        assert_eq!(list.next.as_deref(), Some("a&b"));
        assert_eq!(list.items.len(), 3);
        let joined = paging.join(&list, &list.items[..2], Some("t<1"));
        assert_eq!(
            joined,
            "<R xmlns=\"x\"><requestId>1</requestId>\n<volumeSet><item><a>1</a><tagSet><item/></tagSet></item><item/>\
             </volumeSet><nextToken>t&lt;1</nextToken></R>"
        );
        let again = paging.split(&Answer::new(200, "text/xml", joined)).unwrap();
        assert_eq!((again.items.len(), again.next.as_deref()), (2, Some("t<1")));
        assert!(!paging.join(&again, &again.items, None).contains("nextToken"));
    }

    #[test]
    fn empty_and_absent_xml_lists() {
        let paging = row("rds", "DescribeDBInstances");
        let text = "<R><Result><Marker>m</Marker><DBInstances/></Result></R>";
        let list = paging.split(&Answer::new(200, "text/xml", text)).unwrap();
        assert_eq!((list.items.len(), list.next.as_deref()), (0, Some("m")));
        assert_eq!(paging.join(&list, &[], None), "<R><Result><DBInstances></DBInstances></Result></R>");
        assert!(paging.split(&Answer::new(200, "text/xml", "<R/>")).is_none());
    }

    #[test]
    fn json_lists_are_cut_and_mended() {
        let paging = row("tagging", "GetResources");
        let text = r#"{"PaginationToken":"x","ResourceTagMappingList":[{"a":1},{"a":2}]}"#;
        let list = paging.split(&Answer::new(200, "application/json", text)).unwrap();
        assert_eq!((list.items.len(), list.next.as_deref()), (2, Some("x")));
        assert_eq!(
            paging.join(&list, &list.items[1..], None),
            r#"{"PaginationToken":"","ResourceTagMappingList":[{"a":2}]}"#
        );
        assert!(paging.join(&list, &[], Some("y")).contains(r#""PaginationToken":"y""#));
    }

    #[test]
    fn a_token_goes_where_the_operation_wants_it() {
        let ask = |paging: Paging, uri: &str, body: &str| {
            let (mut parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
            let body = paging.ask_for(&mut parts, &Bytes::copy_from_slice(body.as_bytes()), "a b");
            (parts.uri.to_string(), String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(
            ask(row("ec2", "DescribeVpcs"), "/", "Action=X&NextToken=old").1,
            "Action=X&NextToken=a+b"
        );
        assert_eq!(ask(row("ecs", "ListClusters"), "/", "{}").1, r#"{"nextToken":"a b"}"#);
        assert_eq!(ask(row("lambda", "ListFunctions"), "/f/?Marker=o", "").0, "/f/?Marker=a+b");
    }
}
