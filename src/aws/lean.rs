//! Answers without what nobody reads.
//!
//! An instance arrives as four kilobytes of XML in a hundred elements. Three of them say what a scan wants to know;
//! the SDK takes the others apart all the same, and that is nine tenths of the time of a scan, and most of its
//! memory. So the long listings lose the other elements on their way in: as the bytes arrive, before the SDK sees
//! them, in one pass that knows no more of XML than where a tag begins and ends.
//!
//! What a lister reads and what is kept here belong together. Only elements at one depth are chosen; what is kept is
//! kept whole, and whatever this pass does not know goes through unchanged.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame};

/// What to keep of a listing.
#[derive(Debug)]
struct Listing {
    /// The root element, which names the operation.
    root: &'static [u8],
    /// Elements around the elements of a resource, the root included.
    depth: usize,
    /// The elements of a resource that stay.
    kept: &'static [&'static [u8]],
}

/// The listings whose items are long.
const LISTINGS: [Listing; 3] = [
    Listing {
        root: b"DescribeInstancesResponse",
        depth: 5,
        kept: &[b"instanceId", b"instanceState", b"tagSet"],
    },
    Listing { root: b"DescribeVolumesResponse", depth: 3, kept: &[b"volumeId", b"status", b"tagSet"] },
    Listing {
        root: b"DescribeDBInstancesResponse",
        depth: 4,
        kept: &[b"DBInstanceIdentifier", b"DBInstanceArn", b"DBInstanceStatus", b"TagList"],
    },
];

/// Far more than any tag with its attributes, in bytes.
const TAG_BYTES_MAX: usize = 4096;

/// A document from which nothing can be left out safely.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the elements of the answer do not nest")]
pub(crate) struct Malformed;

/// What is known of the document.
#[derive(Debug)]
enum Kind {
    /// Nothing: the root element has not come yet.
    Unknown,
    /// A long listing.
    Long(&'static Listing),
    /// Something else, which goes through unchanged.
    Other,
}

/// A document on its way in.
#[derive(Debug)]
pub(crate) struct Lean {
    kind: Kind,
    /// Elements that are open.
    depth: usize,
    /// The depth at which the element opened that is being left out.
    left_out: Option<usize>,
    /// The beginning of a tag whose end has not come yet.
    tag: Vec<u8>,
}

impl Lean {
    pub(crate) fn new() -> Self {
        Self { kind: Kind::Unknown, depth: 0, left_out: None, tag: Vec::new() }
    }

    /// Lets a part of the document pass, and returns what stays of it.
    pub(crate) fn pass(&mut self, part: Bytes) -> Result<Bytes, Malformed> {
        if matches!(self.kind, Kind::Other) {
            return Ok(part);
        }
        let mut kept = Vec::with_capacity(part.len() / 4);
        let mut rest = &*part;
        while !rest.is_empty() {
            if matches!(self.kind, Kind::Other) {
                kept.extend_from_slice(rest);
                break;
            }
            if self.tag.is_empty() {
                let (text, tags) = rest.split_at(position(rest, b'<').unwrap_or(rest.len()));
                if self.keeps_text() {
                    kept.extend_from_slice(text);
                }
                rest = tags;
            }
            match position(rest, b'>') {
                Some(end) if self.tag.is_empty() => {
                    self.pass_tag(&rest[..=end], &mut kept)?;
                    rest = &rest[end + 1..];
                }
                Some(end) => {
                    let mut tag = std::mem::take(&mut self.tag);
                    tag.extend_from_slice(&rest[..=end]);
                    self.pass_tag(&tag, &mut kept)?;
                    rest = &rest[end + 1..];
                }
                None => {
                    self.tag.extend_from_slice(rest);
                    rest = &[];
                }
            }
            if self.tag.len() > TAG_BYTES_MAX {
                return Err(Malformed);
            }
        }
        Ok(kept.into())
    }

    /// Whether all that was opened is closed. To be asked once the whole document has passed.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let closed = self.depth == 0 && self.tag.is_empty();
        if closed || matches!(self.kind, Kind::Other) { Ok(()) } else { Err(Malformed) }
    }

    /// Between the elements of a resource there is only indentation.
    fn keeps_text(&self) -> bool {
        self.left_out.is_none() && !matches!(self.kind, Kind::Long(listing) if listing.depth == self.depth)
    }

    fn pass_tag(&mut self, tag: &[u8], kept: &mut Vec<u8>) -> Result<(), Malformed> {
        match tag {
            [b'<', b'?' | b'!', ..] => self.keep(tag, kept),
            [b'<', b'/', ..] => {
                self.depth = self.depth.checked_sub(1).ok_or(Malformed)?;
                if self.left_out == Some(self.depth) {
                    self.left_out = None;
                } else {
                    self.keep(tag, kept);
                }
            }
            [b'<', inside @ .., b'>'] => {
                let closes_itself = inside.ends_with(b"/");
                if self.wants(name(inside)) {
                    self.keep(tag, kept);
                } else if !closes_itself {
                    self.left_out.get_or_insert(self.depth);
                }
                self.depth += usize::from(!closes_itself);
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn keep(&self, tag: &[u8], kept: &mut Vec<u8>) {
        if self.left_out.is_none() {
            kept.extend_from_slice(tag);
        }
    }

    /// Whether an element that opens here stays. The first one is the root, and decides what this document is.
    fn wants(&mut self, name: &[u8]) -> bool {
        match self.kind {
            Kind::Unknown => {
                let listing = LISTINGS.iter().find(|listing| listing.root == name);
                self.kind = listing.map_or(Kind::Other, Kind::Long);
                true
            }
            Kind::Long(listing) => self.depth != listing.depth || listing.kept.contains(&name),
            Kind::Other => true,
        }
    }
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

/// The name of the element, without its attributes.
fn name(inside: &[u8]) -> &[u8] {
    let end = inside.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'/');
    &inside[..end.unwrap_or(inside.len())]
}

/// Leaves out of an XML body what nobody reads.
pub(crate) fn lean(body: SdkBody) -> SdkBody {
    SdkBody::from_body_1_x(LeanBody { inner: body, document: Lean::new(), ended: false })
}

struct LeanBody {
    inner: SdkBody,
    document: Lean,
    ended: bool,
}

impl Body for LeanBody {
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
            Some(Ok(frame)) => Poll::Ready(Some(match frame.into_data() {
                Ok(part) => this.document.pass(part).map(Frame::data).map_err(Into::into),
                Err(trailers) => Ok(trailers),
            })),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                this.ended = true;
                Poll::Ready(this.document.check().err().map(|malformed| Err(malformed.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lean_in_parts(text: &str, length: usize) -> Result<String, Malformed> {
        let mut document = Lean::new();
        let mut kept = Vec::new();
        for part in text.as_bytes().chunks(length) {
            kept.extend_from_slice(&document.pass(Bytes::copy_from_slice(part))?);
        }
        document.check()?;
        Ok(String::from_utf8(kept).unwrap())
    }

    const INSTANCES: &str = "<?xml version=\"1.0\"?>\n<DescribeInstancesResponse xmlns=\"http://ec2/\">\
        <requestId>1</requestId><reservationSet><item><ownerId>2</ownerId><groupSet/><instancesSet>\n\
        <item>\n <instanceId>i-1</instanceId>\n <placement><tenancy>default</tenancy><a/></placement>\
        <productCodes/><instanceState><code>16</code><name>running</name></instanceState>\
        <tagSet><item><key>a &gt; b</key><value/></item></tagSet><networkInterfaceSet><item><tagSet><item>\
        <key>other</key></item></tagSet></item></networkInterfaceSet></item>\
        </instancesSet></item></reservationSet><nextToken>t</nextToken></DescribeInstancesResponse>";

    const LEAN: &str = "<?xml version=\"1.0\"?>\n<DescribeInstancesResponse xmlns=\"http://ec2/\">\
        <requestId>1</requestId><reservationSet><item><ownerId>2</ownerId><groupSet/><instancesSet>\n\
        <item><instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name></instanceState>\
        <tagSet><item><key>a &gt; b</key><value/></item></tagSet></item>\
        </instancesSet></item></reservationSet><nextToken>t</nextToken></DescribeInstancesResponse>";

    #[test]
    fn what_is_read_stays_however_the_parts_arrive() {
        for length in 1..INSTANCES.len() {
            assert_eq!(lean_in_parts(INSTANCES, length).as_deref(), Ok(LEAN), "in parts of {length}");
        }
    }

    #[test]
    fn other_documents_go_through_unchanged() {
        for text in [
            "",
            "<Error><Code>SlowDown</Code></Error>",
            "<DescribeRegionsResponse>\n <regionInfo> <item/> </regionInfo>\n</DescribeRegionsResponse>\n",
            "<a><b></a>",
        ] {
            for length in [1, 5, 1000] {
                assert_eq!(lean_in_parts(text, length).as_deref(), Ok(text));
            }
        }
    }

    #[test]
    fn every_cut_is_an_error() {
        for length in "<?xml version=\"1.0\"?>\n<".len()..INSTANCES.len() {
            assert_eq!(lean_in_parts(&INSTANCES[..length], 64), Err(Malformed), "cut at {length}");
        }
    }

    #[test]
    fn what_does_not_nest_or_end_is_an_error() {
        let endless = format!("<DescribeVolumesResponse {}", "a".repeat(TAG_BYTES_MAX));
        for text in ["</a>", "<DescribeVolumesResponse></DescribeVolumesResponse></a>", &endless] {
            assert_eq!(lean_in_parts(text, 64), Err(Malformed), "{text:.60}");
        }
    }
}
