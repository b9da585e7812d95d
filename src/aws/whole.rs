//! A body that was cut short is an error, never a smaller answer.
//!
//! HTTP notices a cut only where the declared length tells it. Behind a proxy that mends the length, half of an XML
//! document arrives as a success, and the SDK's XML parser takes an unterminated document for a complete one: a
//! listing would silently lose resources. So every XML and JSON body is followed to its end without being copied,
//! and fails unless the document is closed there. The SDK treats that like a broken connection and asks again.
//!
//! An empty body under a success is a cut as well: every call that this crate makes is answered with a document, and
//! JSON protocols would read nothing as an empty listing. Refusals may be empty; their status says enough.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Enough of the start of a document to find the name of its root element.
const HEAD_BYTES_MAX: usize = 1024;
/// Enough of its end to find the closing tag of the root element.
const TAIL_BYTES_MAX: usize = 256;

/// What the content type promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    Xml,
    Json,
}

impl Document {
    /// The kind of document that a content type stands for, if its end can be recognised.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind.ends_with("/xml") || kind.ends_with("+xml") {
            Some(Self::Xml)
        } else if kind.ends_with("json") || kind.contains("/x-amz-json") {
            Some(Self::Json)
        } else {
            None
        }
    }
}

/// An answer that ended in the middle.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was cut short after {bytes} bytes")]
pub(crate) struct CutShort {
    pub(crate) bytes: u64,
}

/// The two ends of a document, as far as they have passed.
#[derive(Debug)]
pub(crate) struct Ends {
    document: Document,
    may_be_empty: bool,
    head: Vec<u8>,
    tail: Vec<u8>,
    bytes: u64,
}

impl Ends {
    pub(crate) fn new(document: Document, may_be_empty: bool) -> Self {
        Self { document, may_be_empty, head: Vec::new(), tail: Vec::new(), bytes: 0 }
    }

    /// Lets a part of the document pass.
    pub(crate) fn pass(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        let room = HEAD_BYTES_MAX - self.head.len();
        self.head.extend_from_slice(&part[..part.len().min(room)]);
        if part.len() >= TAIL_BYTES_MAX {
            self.tail.clear();
            self.tail.extend_from_slice(&part[part.len() - TAIL_BYTES_MAX..]);
        } else {
            let surplus = (self.tail.len() + part.len()).saturating_sub(TAIL_BYTES_MAX);
            self.tail.drain(..surplus);
            self.tail.extend_from_slice(part);
        }
    }

    /// Whether the document is closed. To be asked once all of it has passed.
    pub(crate) fn check(&self) -> Result<(), CutShort> {
        let whole = match self.document {
            _ if self.bytes == 0 => self.may_be_empty,
            Document::Xml => self.xml_is_closed(),
            Document::Json => self.json_is_closed(),
        };
        if whole { Ok(()) } else { Err(CutShort { bytes: self.bytes }) }
    }

    fn json_is_closed(&self) -> bool {
        let first = self.head.iter().find(|byte| !byte.is_ascii_whitespace());
        let last = self.tail.iter().rfind(|byte| !byte.is_ascii_whitespace());
        match (first, last) {
            (Some(b'{'), Some(last)) => self.bytes > 1 && *last == b'}',
            (Some(b'['), Some(last)) => self.bytes > 1 && *last == b']',
            (Some(_), Some(_)) => true,
            _ => false,
        }
    }

    fn xml_is_closed(&self) -> bool {
        let tail = self.tail.trim_ascii_end();
        let Some(tag) = root_tag(&self.head) else {
            // A prologue longer than any that AWS sends: at least some element has to end here.
            return self.head.len() == HEAD_BYTES_MAX && tail.ends_with(b">");
        };
        if tag.closes_itself {
            return true;
        }
        let Some(tail) = tail.strip_suffix(b">") else { return false };
        tail.trim_ascii_end().strip_suffix(tag.name).is_some_and(|before| before.ends_with(b"</"))
    }
}

struct RootTag<'a> {
    name: &'a [u8],
    closes_itself: bool,
}

/// The opening tag of the root element, behind declarations and comments; `None` while it is not complete.
fn root_tag(head: &[u8]) -> Option<RootTag<'_>> {
    let mut rest = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    loop {
        rest = rest.trim_ascii_start().strip_prefix(b"<")?;
        let end = rest.iter().position(|byte| *byte == b'>')?;
        if matches!(rest.first(), Some(b'?' | b'!')) {
            rest = &rest[end + 1..];
            continue;
        }
        let name_length =
            rest.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/'))?;
        return Some(RootTag { name: &rest[..name_length], closes_itself: rest[..end].ends_with(b"/") });
    }
}

/// Hands a body through and fails at its end unless the document is closed there.
pub(crate) fn whole_or_error(body: SdkBody, document: Document, may_be_empty: bool) -> SdkBody {
    let ends = Ends::new(document, may_be_empty);
    SdkBody::from_body_1_x(WholeBody { inner: body, ends, ended: false })
}

struct WholeBody {
    inner: SdkBody,
    ends: Ends,
    ended: bool,
}

impl Body for WholeBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            Some(Ok(frame)) => {
                if let Some(part) = frame.data_ref() {
                    this.ends.pass(part);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                this.ended = true;
                Poll::Ready(this.ends.check().err().map(|cut| Err(cut.into())))
            }
        }
    }

    // Never "ended" before the end was checked: a reader that believes it would skip the check.
    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.inner)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn check(document: Document, text: &str, part_length: usize) -> bool {
        let mut ends = Ends::new(document, false);
        for part in text.as_bytes().chunks(part_length) {
            ends.pass(part);
        }
        ends.check().is_ok()
    }

    #[test]
    fn content_types() {
        for (content_type, document) in [
            ("text/xml;charset=UTF-8", Some(Document::Xml)),
            ("application/xml", Some(Document::Xml)),
            ("application/json", Some(Document::Json)),
            ("application/x-amz-json-1.1", Some(Document::Json)),
            ("text/html", None),
            ("binary/octet-stream", None),
            ("", None),
        ] {
            assert_eq!(Document::of(content_type), document, "{content_type}");
        }
    }

    #[test]
    fn closed_documents_pass() {
        let long = format!("<r>{}</r>", "<item>x</item>".repeat(500));
        for text in [
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeVolumesResponse xmlns=\"http://ec2/\">\n<a/></DescribeVolumesResponse>\n",
            "<!-- hello --><Tagging></Tagging >",
            "<Empty/>",
            "<Empty a=\"b\" />\n",
            &long,
        ] {
            for part_length in [1, 7, 300, 100_000] {
                assert!(check(Document::Xml, text, part_length), "{text:.60} in parts of {part_length}");
            }
        }
        for text in ["{}", " {\"a\": [1]}\n", "[]", "null"] {
            assert!(check(Document::Json, text, 1), "{text}");
        }
    }

    #[test]
    fn every_cut_of_an_xml_document_is_seen() {
        let text = format!(
            "<?xml version=\"1.0\"?>\n<Response><set>{}</set><Response2>a</Response2></Response>",
            "<item><id>vol-1</id><Response/></item>".repeat(40)
        );
        for length in 0..text.len() {
            assert!(!check(Document::Xml, &text[..length], 64), "cut at {length} passed");
        }
        assert!(check(Document::Xml, &text, 64));
    }

    #[test]
    fn a_json_document_that_does_not_close_is_seen() {
        for text in ["", " ", "{", "{\"a\": 1", "{\"a\": [", "[1, 2"] {
            assert!(!check(Document::Json, text, 3), "{text:?} passed");
        }
    }

    #[tokio::test]
    async fn the_body_arrives_unchanged_or_fails() {
        let whole = whole_or_error(SdkBody::from("<a>b</a>"), Document::Xml, false);
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "<a>b</a>");
        let cut = whole_or_error(SdkBody::from("<a>b</"), Document::Xml, true);
        assert_eq!(cut.collect().await.unwrap_err().to_string(), "the answer was cut short after 6 bytes");
    }

    #[tokio::test]
    async fn nothing_is_a_cut_unless_it_is_a_refusal() {
        for (may_be_empty, passes) in [(false, false), (true, true)] {
            let body = whole_or_error(SdkBody::from(""), Document::Json, may_be_empty);
            assert_eq!(body.collect().await.is_ok(), passes);
        }
    }
}
