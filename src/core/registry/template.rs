//! The shape of a type's ARNs: read one way to tell what an ARN names, the other way to write one.
//!
//! Deliberately less than a regular expression. A template has at most one placeholder that may contain `/` or
//! `:`, so matching runs once from the left and once from the right, without backtracking, however hostile the
//! text.

use crate::arn::Arn;

/// The placeholder for what people call the resource; every template has it once.
const ID: &str = "id";

/// The most placeholders of one template.
const MAX_HOLES: usize = 4;

/// `arn:{partition}:service:{region}:{account}:…{id}…`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArnTemplate {
    service: Box<str>,
    region: bool,
    account: bool,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Hole(Hole),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hole {
    name: Box<str>,
    slash: bool,
    colon: bool,
}

/// Why a template is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not an ARN.
    #[error("is not of the form `arn:{{partition}}:service:{{region}}:{{account}}:resource`")]
    Form,
    /// A region or an account that is neither empty nor a placeholder.
    #[error("must have `{{region}}` and `{{account}}` in their places, or nothing there")]
    Places,
    /// A brace without its partner, or an empty or strange name between braces.
    #[error("has a placeholder that is not `{{name}}`, `{{/name}}`, `{{:name}}` or `{{/:name}}`")]
    Placeholder,
    /// The same placeholder twice.
    #[error("has the placeholder `{{{0}}}` twice")]
    Twice(String),
    /// No `{id}`.
    #[error("has no `{{id}}`, which is what people call the resource")]
    NoId,
    /// Two placeholders that nothing keeps apart.
    #[error("has two placeholders without text between them")]
    Adjacent,
    /// More than one placeholder that may contain `/` or `:`.
    #[error("has more than one placeholder that may contain `/` or `:`")]
    Wide,
    /// Too many placeholders.
    #[error("has more than {MAX_HOLES} placeholders")]
    Many,
}

/// A value that cannot stand in an ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// No value was given.
    #[error("an ARN of {type_name} needs a value for `{part}`")]
    Missing {
        /// The type.
        type_name: Box<str>,
        /// The placeholder.
        part: Box<str>,
    },
    /// The value would be read as something else.
    #[error("`{value}` cannot be the `{part}` in an ARN of {type_name}")]
    Unfit {
        /// The type.
        type_name: Box<str>,
        /// The placeholder.
        part: Box<str>,
        /// The value.
        value: Box<str>,
    },
}

impl ArnTemplate {
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let fields: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", "{partition}", service, region, account, resource] = fields[..] else {
            return Err(TemplateError::Form);
        };
        if service.is_empty() || resource.is_empty() || service.contains(['{', '}']) {
            return Err(TemplateError::Form);
        }
        if !matches!(region, "" | "{region}") || !matches!(account, "" | "{account}") {
            return Err(TemplateError::Places);
        }
        let pieces = pieces(resource)?;
        check(&pieces)?;
        Ok(Self { service: service.into(), region: !region.is_empty(), account: !account.is_empty(), pieces })
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn has_region(&self) -> bool {
        self.region
    }

    /// The text that every resource part of this shape begins with.
    pub(super) fn resource_prefix(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// The same for two templates that accept the same ARNs, whatever their placeholders are called.
    pub(super) fn shape(&self) -> String {
        let mut shape = format!("{}|{}|{}|", self.service, self.region, self.account);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => shape.push_str(text),
                Piece::Hole(hole) => {
                    shape.push('{');
                    shape.extend(hole.slash.then_some('/'));
                    shape.extend(hole.colon.then_some(':'));
                    shape.push('}');
                }
            }
        }
        shape
    }

    /// Greater for what says more about an ARN; decides when several templates fit.
    pub(super) fn specificity(&self) -> (usize, usize) {
        let text = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Hole(_) => 0,
        });
        let narrow = self.holes().filter(|hole| !hole.is_wide()).count();
        (text.sum(), narrow)
    }

    /// The `{id}` of an ARN of this shape.
    pub(super) fn read<'a>(&self, arn: &Arn<'a>) -> Option<&'a str> {
        let account_fits = if self.account { is_account(arn.account) } else { arn.account.is_empty() };
        if !account_fits || self.region == arn.region.is_empty() {
            return None;
        }
        let wide = self.pieces.iter().position(|piece| matches!(piece, Piece::Hole(hole) if hole.is_wide()));
        let mut found = None;
        let mut note = |hole: &Hole, value: &'a str| {
            if &*hole.name == ID {
                found = Some(value);
            }
            hole.takes(value)
        };
        let left_end = wide.unwrap_or(self.pieces.len());
        let rest = from_left(&self.pieces[..left_end], arn.resource, &mut note)?;
        let fits = match wide.and_then(|at| self.pieces[at..].split_first()) {
            Some((Piece::Hole(hole), after)) => {
                let value = from_right(after, rest, &mut note)?;
                note(hole, value)
            }
            _ => rest.is_empty(),
        };
        if fits { found } else { None }
    }

    /// Writes an ARN of this shape.
    pub(super) fn write(
        &self,
        type_name: &str,
        (partition, region, account): (&str, &str, &str),
        parts: &[(&str, &str)],
    ) -> Result<String, PartError> {
        let region = if self.region { required(type_name, "region", region)? } else { "" };
        let account = if self.account { required(type_name, "account", account)? } else { "" };
        let mut arn = format!("arn:{partition}:{}:{region}:{account}:", self.service);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => arn.push_str(text),
                Piece::Hole(hole) => {
                    let value =
                        parts.iter().find(|(name, _)| *name == &*hole.name).map_or("", |(_, value)| value);
                    let value = required(type_name, &hole.name, value)?;
                    if !hole.takes(value) {
                        return Err(PartError::Unfit {
                            type_name: type_name.into(),
                            part: hole.name.clone(),
                            value: value.into(),
                        });
                    }
                    arn.push_str(value);
                }
            }
        }
        Ok(arn)
    }

    fn holes(&self) -> impl Iterator<Item = &Hole> {
        holes(&self.pieces)
    }

    /// The placeholders, with what each may contain besides other characters.
    #[cfg(test)]
    pub(super) fn placeholders(&self) -> Vec<(String, bool, bool)> {
        self.holes().map(|hole| (hole.name.to_string(), hole.slash, hole.colon)).collect()
    }
}

impl Hole {
    fn is_wide(&self) -> bool {
        self.slash || self.colon
    }

    fn takes(&self, value: &str) -> bool {
        let allowed = |byte| match byte {
            b'/' => self.slash,
            b':' => self.colon,
            _ => true,
        };
        !value.is_empty() && value.bytes().all(allowed)
    }
}

/// Takes the pieces off the front of the text; a hole ends where the text after it first appears.
fn from_left<'a>(
    pieces: &[Piece],
    mut text: &'a str,
    note: &mut impl FnMut(&Hole, &'a str) -> bool,
) -> Option<&'a str> {
    let mut pieces = pieces.iter().peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Text(literal) => text = text.strip_prefix(&**literal)?,
            Piece::Hole(hole) => {
                let end = match pieces.peek() {
                    Some(Piece::Text(literal)) => text.find(&**literal)?,
                    _ => text.len(),
                };
                let (value, rest) = text.split_at(end);
                if !note(hole, value) {
                    return None;
                }
                text = rest;
            }
        }
    }
    Some(text)
}

/// Takes the pieces off the end of the text; a hole begins where the text before it last appears.
fn from_right<'a>(
    pieces: &[Piece],
    mut text: &'a str,
    note: &mut impl FnMut(&Hole, &'a str) -> bool,
) -> Option<&'a str> {
    let mut pieces = pieces.iter().rev().peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Text(literal) => text = text.strip_suffix(&**literal)?,
            Piece::Hole(hole) => {
                let start = match pieces.peek() {
                    Some(Piece::Text(literal)) => text.rfind(&**literal)? + literal.len(),
                    _ => 0,
                };
                let (rest, value) = text.split_at(start);
                if !note(hole, value) {
                    return None;
                }
                text = rest;
            }
        }
    }
    Some(text)
}

fn pieces(mut text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let open = text.find('{').unwrap_or(text.len());
        let (literal, rest) = text.split_at(open);
        if literal.contains('}') {
            return Err(TemplateError::Placeholder);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        text = match rest.strip_prefix('{') {
            Some(rest) => {
                let (inner, rest) = rest.split_once('}').ok_or(TemplateError::Placeholder)?;
                pieces.push(Piece::Hole(hole(inner)?));
                rest
            }
            None => rest,
        };
    }
    Ok(pieces)
}

fn hole(inner: &str) -> Result<Hole, TemplateError> {
    let (slash, rest) = inner.strip_prefix('/').map_or((false, inner), |rest| (true, rest));
    let (colon, name) = rest.strip_prefix(':').map_or((false, rest), |name| (true, name));
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(TemplateError::Placeholder);
    }
    Ok(Hole { name: name.into(), slash, colon })
}

fn check(pieces: &[Piece]) -> Result<(), TemplateError> {
    if holes(pieces).count() > MAX_HOLES {
        return Err(TemplateError::Many);
    }
    if pieces.windows(2).any(|pair| matches!(pair, [Piece::Hole(_), Piece::Hole(_)])) {
        return Err(TemplateError::Adjacent);
    }
    if holes(pieces).filter(|hole| hole.is_wide()).count() > 1 {
        return Err(TemplateError::Wide);
    }
    for (index, hole) in holes(pieces).enumerate() {
        if holes(pieces).take(index).any(|before| before.name == hole.name) {
            return Err(TemplateError::Twice(hole.name.to_string()));
        }
    }
    if !holes(pieces).any(|hole| &*hole.name == ID) {
        return Err(TemplateError::NoId);
    }
    Ok(())
}

fn holes(pieces: &[Piece]) -> impl Iterator<Item = &Hole> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Hole(hole) => Some(hole),
        Piece::Text(_) => None,
    })
}

fn required<'a>(type_name: &str, part: &str, value: &'a str) -> Result<&'a str, PartError> {
    if value.is_empty() {
        return Err(PartError::Missing { type_name: type_name.into(), part: part.into() });
    }
    Ok(value)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(template: &str, arn: &'a str) -> Option<&'a str> {
        ArnTemplate::parse(template).unwrap().read(&Arn::parse(arn).unwrap())
    }

    #[test]
    fn a_placeholder_takes_what_it_may_and_no_more() {
        let cases = [
            ("x/{id}", "x/a", Some("a")),
            ("x/{id}", "x/a/b", None),
            ("x/{id}", "x/a:b", None),
            ("x/{id}", "x/", None),
            ("x/{/id}", "x/a/b", Some("a/b")),
            ("x/{/id}", "x/a:b", None),
            ("x/{:id}", "x/a:b", Some("a:b")),
            ("x/{:id}", "x/a/b", None),
            ("x/{/:id}", "x/a:b/c", Some("a:b/c")),
            ("{/path}/{id}", "a/b/c", Some("c")),
            ("{/path}/{id}", "c", None),
            ("s:{/id}-{suffix}", "s:prod/db-main-AbCdEf", Some("prod/db-main")),
            ("s:{/id}-{suffix}", "s:plain", None),
            ("g:{/id}:*", "g:/aws/f:*", Some("/aws/f")),
            ("g:{/id}:*", "g:/aws/f", None),
            ("{a}/{id}/{b}", "1/2/3", Some("2")),
            ("{a}/{id}/{b}", "1/2/3/4", None),
            ("{id}:x:{/b}", "q:x:y/z", Some("q")),
        ];
        for (template, resource, expected) in cases {
            let arn = format!("arn:aws:svc:eu-west-1:123456789012:{resource}");
            let template = format!("arn:{{partition}}:svc:{{region}}:{{account}}:{template}");
            assert_eq!(read(&template, &arn), expected, "{template} {resource}");
        }
    }

    #[test]
    fn region_and_account_are_there_exactly_where_the_template_says() {
        let both = "arn:{partition}:svc:{region}:{account}:{id}";
        assert_eq!(read(both, "arn:aws-us-gov:svc:us-gov-west-1:123456789012:a"), Some("a"));
        assert_eq!(read(both, "arn:aws:svc::123456789012:a"), None);
        assert_eq!(read(both, "arn:aws:svc:eu-west-1::a"), None);
        assert_eq!(read(both, "arn:aws:svc:eu-west-1:aws:a"), None, "what AWS owns is nobody's resource");
        let none = "arn:{partition}:svc:::{id}";
        assert_eq!(read(none, "arn:aws:svc:::a"), Some("a"));
        assert_eq!(read(none, "arn:aws:svc:eu-west-1::a"), None);
        assert_eq!(read(none, "arn:aws:svc::123456789012:a"), None);
    }

    #[test]
    fn a_bad_template_is_refused() {
        let cases = [
            ("", TemplateError::Form),
            ("arn:aws:s3:::{id}", TemplateError::Form),
            ("arn:{partition}::::{id}", TemplateError::Form),
            ("arn:{partition}:s3::{id}", TemplateError::Form),
            ("arn:{partition}:s3:eu-west-1::{id}", TemplateError::Places),
            ("arn:{partition}:s3:{account}:{region}:{id}", TemplateError::Places),
            ("arn:{partition}:s3:::{id", TemplateError::Placeholder),
            ("arn:{partition}:s3:::id}", TemplateError::Placeholder),
            ("arn:{partition}:s3:::{}", TemplateError::Placeholder),
            ("arn:{partition}:s3:::{*id}", TemplateError::Placeholder),
            ("arn:{partition}:s3:::{:/id}", TemplateError::Placeholder),
            ("arn:{partition}:s3:::{id}/{id}", TemplateError::Twice("id".into())),
            ("arn:{partition}:s3:::{name}", TemplateError::NoId),
            ("arn:{partition}:s3:::{id}{hash}", TemplateError::Adjacent),
            ("arn:{partition}:s3:::{/id}-{:hash}", TemplateError::Wide),
            ("arn:{partition}:s3:::{a}/{b}/{c}/{d}/{id}", TemplateError::Many),
        ];
        for (template, expected) in cases {
            assert_eq!(ArnTemplate::parse(template), Err(expected), "{template}");
        }
    }

    #[test]
    fn a_value_that_would_be_read_as_something_else_is_refused() {
        let template =
            ArnTemplate::parse("arn:{partition}:ecs:{region}:{account}:service/{cluster}/{id}").unwrap();
        let write = |place, parts: &[(&str, &str)]| template.write("ecs:service", place, parts);
        let place = ("aws", "eu-west-1", "123456789012");
        assert_eq!(
            write(place, &[("id", "web"), ("cluster", "main")]).unwrap(),
            "arn:aws:ecs:eu-west-1:123456789012:service/main/web"
        );
        assert_eq!(
            write(place, &[("id", "web")]).unwrap_err().to_string(),
            "an ARN of ecs:service needs a value for `cluster`"
        );
        assert_eq!(
            write(place, &[("id", "a/b"), ("cluster", "main")]).unwrap_err().to_string(),
            "`a/b` cannot be the `id` in an ARN of ecs:service"
        );
        assert!(write(("aws", "", "123456789012"), &[("id", "web"), ("cluster", "main")]).is_err());
    }
}
