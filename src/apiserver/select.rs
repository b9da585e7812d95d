//! Label and field selectors, as query parameters carry them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kind::{Kind, Rows};
use crate::status::{ApiError, quote};
use crate::syntax;

/// The longest selector that is read, in bytes, and the most requirements that it may have.
const MAX_BYTES: usize = 64 << 10;
const MAX_REQUIREMENTS: usize = 1_000;

fn check_size(text: &str) -> Result<(), ApiError> {
    if text.len() <= MAX_BYTES {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "a selector may have at most {MAX_BYTES} bytes, this one has {}",
        text.len()
    )))
}

/// Which labels an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    wants: Wants,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wants {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Present,
    Absent,
    More(i64),
    Less(i64),
}

impl LabelSelector {
    /// `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`; 400 for anything else. The empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        check_size(text)?;
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let refused = |why| ApiError::bad_request(format!("unable to parse requirement: {why}"));
        let mut requirements = Vec::new();
        if parser.peek() == &Token::End {
            return Ok(Self(requirements));
        }
        if !matches!(parser.peek(), Token::Word(_) | Token::Not) {
            let found = parser.peek().text();
            let message = format!("found '{found}', expected: !, identifier, or 'end of string'");
            return Err(ApiError::bad_request(message));
        }
        loop {
            requirements.push(parser.requirement().map_err(refused)?);
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(refused(format!("more than {MAX_REQUIREMENTS} requirements")));
            }
            let expected = match (parser.next(), parser.peek()) {
                (Token::End, _) => return Ok(Self(requirements)),
                (Token::Comma, Token::Word(_) | Token::Not) => continue,
                (Token::Comma, other) => format!("found '{}', expected: identifier after ','", other.text()),
                (other, _) => format!("found '{}', expected: ',' or 'end of string'", other.text()),
            };
            return Err(ApiError::bad_request(expected));
        }
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the object has such labels.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.get("metadata").and_then(|metadata| metadata.get("labels"));
        self.0.iter().all(|requirement| {
            let value = labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str);
            requirement.wants.fits(value)
        })
    }
}

impl Wants {
    fn fits(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Present => value.is_some(),
            Self::Absent => value.is_none(),
            Self::More(than) => number().is_some_and(|number| number > *than),
            Self::Less(than) => number().is_some_and(|number| number < *than),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Comma,
    Open,
    Close,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    /// Symbols that mean nothing together, like `=!`.
    Odd(String),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Odd(text) => text,
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::Not => "!",
            Self::Equals => "=",
            Self::NotEquals => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let special = |each: char| "=!(),<>".contains(each);
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let (token, length) = if special(first) {
            symbol(rest)
        } else {
            let end =
                rest.find(|each: char| special(each) || each.is_ascii_whitespace()).unwrap_or(rest.len());
            (Token::Word(rest[..end].to_owned()), end)
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    tokens.push(Token::End);
    tokens
}

fn symbol(text: &str) -> (Token, usize) {
    let two = [("==", Token::Equals), ("!=", Token::NotEquals)];
    if let Some((_, token)) = two.into_iter().find(|(symbol, _)| text.starts_with(symbol)) {
        return (token, 2);
    }
    let one = match text.as_bytes().first() {
        Some(b'=') => Token::Equals,
        Some(b'!') => Token::Not,
        Some(b'(') => Token::Open,
        Some(b')') => Token::Close,
        Some(b',') => Token::Comma,
        Some(b'<') => Token::Less,
        Some(b'>') => Token::Greater,
        _ => Token::Odd(String::new()),
    };
    (one, 1)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == &Token::Not;
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        let faults = syntax::qualified_name(&key);
        if !faults.is_empty() {
            return Err(format!("<nil>: Invalid value: {}: {}", quote(&json!(key)), faults.join("; ")));
        }
        if absent {
            return Ok(Requirement { key, wants: Wants::Absent });
        }
        let wants = self.wants(&key)?;
        Ok(Requirement { key, wants })
    }

    fn wants(&mut self, key: &str) -> Result<Wants, String> {
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Ok(Wants::Present);
        }
        match self.next() {
            Token::Equals => Ok(Wants::In(BTreeSet::from([self.value(key)?]))),
            Token::NotEquals => Ok(Wants::NotIn(BTreeSet::from([self.value(key)?]))),
            Token::Greater => self.number(key).map(Wants::More),
            Token::Less => self.number(key).map(Wants::Less),
            Token::Word(word) if word == "in" => self.values(key).map(Wants::In),
            Token::Word(word) if word == "notin" => self.values(key).map(Wants::NotIn),
            other => Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text())),
        }
    }

    fn value(&mut self, key: &str) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Comma => Ok(String::new()),
            Token::Word(_) => {
                let value = self.next().text().to_owned();
                check_value(key, 0, &value)?;
                Ok(value)
            }
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn number(&mut self, key: &str) -> Result<i64, String> {
        let value = self.value(key)?;
        value.parse().map_err(|_| {
            let quoted = quote(&json!(value));
            format!(
                "values[0]: Invalid value: {quoted}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        })
    }

    /// `(a,b)`; an empty place between commas is the empty value.
    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        match self.next() {
            Token::Open => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = BTreeSet::new();
        loop {
            let value = match self.peek() {
                Token::Word(_) => self.next().text().to_owned(),
                Token::Comma | Token::Close => String::new(),
                other => return Err(format!("found '{}', expected: ',', or identifier", other.text())),
            };
            check_value(key, values.len(), &value)?;
            values.insert(value);
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
    }
}

fn check_value(key: &str, at: usize, value: &str) -> Result<(), String> {
    let faults = syntax::label_value(value);
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("values[{at}][{key}]: Invalid value: {}: {}", quote(&json!(value)), faults.join("; ")))
}

/// Which fields an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Field>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// `metadata.name=x,spec.accountId!=y` over the fields that the kind lets select; 400 for others.
    pub fn parse(text: &str, kind: &Kind) -> Result<Self, ApiError> {
        check_size(text)?;
        let mut fields = Vec::new();
        for term in terms(text).into_iter().filter(|term| !term.is_empty()) {
            if fields.len() == MAX_REQUIREMENTS {
                return Err(ApiError::bad_request(format!(
                    "more than {MAX_REQUIREMENTS} field requirements"
                )));
            }
            let (name, equal, value) = split(term).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "invalid selector: '{}'; can't understand '{}'",
                    cut(text),
                    cut(term)
                ))
            })?;
            let value = unescape(value)?;
            let path = field_path(kind, name).ok_or_else(|| unknown_field(kind, name))?;
            fields.push(Field { name: name.to_owned(), path, value, equal });
        }
        Ok(Self(fields))
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The one name that can match, for a look-up instead of a scan.
    pub fn name(&self) -> Option<&str> {
        self.exact("metadata.name")
    }

    /// The one namespace that can match.
    pub fn namespace(&self) -> Option<&str> {
        self.exact("metadata.namespace")
    }

    fn exact(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|field| field.equal && field.name == name).map(|field| field.value.as_str())
    }

    /// Whether the object has such fields. A field that is not there counts as empty.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|field| (found(object, &field.path) == field.value) == field.equal)
    }
}

fn unknown_field(kind: &Kind, name: &str) -> ApiError {
    let name = cut(name);
    ApiError::bad_request(if kind.custom || !kind.selectable.is_empty() {
        format!("field label not supported: {name}")
    } else {
        format!("{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    })
}

/// The fields that a kind lets select, and where they are.
fn field_path(kind: &Kind, name: &str) -> Option<Vec<String>> {
    let known = name == "metadata.name"
        || (name == "metadata.namespace" && kind.namespaced)
        || kind.selectable.iter().any(|field| field == name);
    let path = match (kind.rows, name) {
        (Rows::Event, "source") => "source.component",
        _ => name,
    };
    known.then(|| path.split('.').map(str::to_owned).collect())
}

fn found<'a>(object: &'a Value, path: &[String]) -> Cow<'a, str> {
    let value = path.iter().try_fold(object, |value, step| value.get(step));
    match value {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => Cow::Owned(value.to_string()),
        _ => Cow::Borrowed(""),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(256).collect()
}

/// The terms between commas; a comma after a backslash does not separate.
fn terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, each) in text.char_indices() {
        match each {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Name, whether it has to be equal, value.
fn split(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.char_indices().map(|(at, _)| at).find(|&at| {
        let rest = &term[at..];
        rest.starts_with("!=") || rest.starts_with('=')
    })?;
    let (name, rest) = term.split_at(at);
    Some(match rest.strip_prefix("!=") {
        Some(value) => (name, false, value),
        None => (name, true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?),
    })
}

fn unescape(text: &str) -> Result<String, ApiError> {
    let refused = |why: String| ApiError::bad_request(format!("invalid field selector: {why}"));
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(each) = rest.next() {
        match each {
            '\\' => match rest.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(refused(format!("invalid escape sequence: \\{other}"))),
                None => return Err(refused("invalid escape sequence: \\".to_owned())),
            },
            '=' | ',' => return Err(refused(format!("unescaped character in value: {}", u32::from(each)))),
            plainly => plain.push(plainly),
        }
    }
    Ok(plain)
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
