//! The stub's answers, made when they are asked for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde_json::json;

use super::calls::{Call, KEY_OF};
use super::estate::{ACCOUNT, Estate, Kind, Tag, number, once_tagged};

type Answer = Response<Full<Bytes>>;

/// The most that AWS puts on a page of these kinds, which is also what it does unasked, ECS apart.
const fn page_max(kind: Kind) -> u32 {
    match kind {
        Kind::Instance | Kind::Volume => 1000,
        Kind::Db | Kind::Table | Kind::Service => 100,
        Kind::Function => 50,
        Kind::Bucket => 10_000,
    }
}

/// What `ListServices` returns unasked.
const SERVICES_DEFAULT: u32 = 10;
/// The most services that one `DescribeServices` may name.
const DESCRIBE_SERVICES_MAX: usize = 10;
/// The most ARNs that one `GetResources` may name, and the most resources it returns.
const GET_RESOURCES_MAX: u32 = 100;
/// What `GetResources` returns unasked.
const GET_RESOURCES_DEFAULT: u32 = 50;

/// Text with `@fields@`.
#[derive(Debug)]
struct Template(Vec<&'static str>);

impl Template {
    /// Every second part is the name of a field.
    fn new(text: &'static str) -> Self {
        Self(text.split('@').collect())
    }
}

/// How a protocol writes a tag: before the key, before the value, after it; and between tags.
type TagStyle = [&'static str; 4];
const EC2_TAG: TagStyle = ["<item><key>", "</key><value>", "</value></item>", ""];
const QUERY_TAG: TagStyle = ["<Tag><Key>", "</Key><Value>", "</Value></Tag>", ""];
const JSON_TAG: TagStyle = [r#"{"Key":""#, r#"","Value":""#, r#""}"#, ","];
const ECS_TAG: TagStyle = [r#"{"key":""#, r#"","value":""#, r#""}"#, ","];

fn push_tags(out: &mut Vec<u8>, [start, middle, end, between]: TagStyle, tags: &[Tag]) {
    for (index, (key, value)) in tags.iter().enumerate() {
        let between = if index == 0 { "" } else { between };
        for part in [between, start, key, middle, value, end] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// A page of a list: these numbers, then the rest from `next` on.
struct Page {
    numbers: Range<u32>,
    next: Option<u32>,
}

impl Page {
    fn of(total: u32, token: Option<&str>, size: u32) -> Self {
        let start = token.and_then(|token| token.parse().ok()).unwrap_or(0).min(total);
        let end = total.min(start.saturating_add(size.max(1)));
        Self { numbers: start..end, next: (end < total).then_some(end) }
    }

    /// `<name>token</name>`, or nothing on the last page.
    fn element(&self, name: &str) -> String {
        self.next.map(|next| format!("<{name}>{next}</{name}>")).unwrap_or_default()
    }

    /// `,"name":"token"`, or nothing on the last page.
    fn member(&self, name: &str) -> String {
        self.next.map(|next| format!(r#","{name}":"{next}""#)).unwrap_or_default()
    }
}

/// Knows the answer to every call about an estate.
#[derive(Debug)]
pub struct Answers {
    estate: Arc<Estate>,
    instance: Template,
    volume: Template,
    db: Template,
    function: Template,
    bucket: Template,
    service: Template,
    mapping: Template,
    /// The external id that each role asks for: the first one that was shown to it.
    trust: Mutex<BTreeMap<String, String>>,
}

impl Answers {
    pub fn new(estate: Arc<Estate>) -> Self {
        Self {
            estate,
            instance: Template::new(include_str!("templates/instance.xml")),
            volume: Template::new(include_str!("templates/volume.xml")),
            db: Template::new(include_str!("templates/db.xml")),
            function: Template::new(include_str!("templates/function.json")),
            bucket: Template::new(include_str!("templates/bucket.xml")),
            service: Template::new(include_str!("templates/service.json")),
            mapping: Template::new(include_str!("templates/mapping.json")),
            trust: Mutex::default(),
        }
    }

    pub fn to(&self, call: &Call) -> Answer {
        match (call.service.as_str(), call.operation.as_str()) {
            ("sts", "GetCallerIdentity") => caller(&call.account),
            ("sts", "AssumeRole") => self.assumed(call),
            ("ec2", "DescribeRegions") => self.regions(),
            ("ec2", "DescribeInstances") => {
                self.ec2_page(call, Kind::Instance, "reservationSet", &self.instance)
            }
            ("ec2", "DescribeVolumes") => self.ec2_page(call, Kind::Volume, "volumeSet", &self.volume),
            ("rds", "DescribeDBInstances") => self.db_page(call),
            ("lambda", "ListFunctions") => self.function_page(call),
            ("lambda", "ListTags") => self.function_tags(call),
            ("s3", "ListBuckets") => self.buckets(call),
            ("s3", "GetBucketTagging") => self.bucket_tags(call),
            ("ecs", "ListClusters") => json(json!({ "clusterArns": self.clusters(call) }).to_string()),
            ("ecs", "ListServices") => self.service_page(call),
            ("ecs", "DescribeServices") => self.describe_services(call),
            ("dynamodb", "ListTables") => self.table_page(call),
            ("dynamodb", "ListTagsOfResource") => self.table_tags(call),
            ("tagging", "GetResources") => self.get_resources(call),
            _ => refusal(call, StatusCode::BAD_REQUEST, "UnknownOperationException"),
        }
    }

    /// Credentials of a role, which nobody gets without its external id: a controller looks whether that is so.
    fn assumed(&self, call: &Call) -> Answer {
        let role = call.field("RoleArn").unwrap_or_default();
        let account = role.split(':').nth(4).unwrap_or_default();
        let trusted = call.field("ExternalId").is_some_and(|shown| {
            let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
            trust.entry(role.to_owned()).or_insert_with(|| shown.to_owned()) == shown
        });
        if account.is_empty() || !trusted {
            return refusal(call, StatusCode::FORBIDDEN, "AccessDenied");
        }
        xml(format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
             <AccessKeyId>{KEY_OF}{account}</AccessKeyId><SecretAccessKey>example</SecretAccessKey>\
             <SessionToken>example</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             <AssumedRoleUser><Arn>arn:aws:sts::{account}:assumed-role/reader/tagwarden</Arn>\
             <AssumedRoleId>AROAEXAMPLE:tagwarden</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"
        ))
    }

    /// What AWS says when calls come too fast; each service in its own words.
    pub fn throttled(call: &Call) -> Answer {
        match call.service.as_str() {
            "ec2" => refusal(call, StatusCode::SERVICE_UNAVAILABLE, "RequestLimitExceeded"),
            "lambda" => refusal(call, StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException"),
            "rds" | "sts" => refusal(call, StatusCode::BAD_REQUEST, "Throttling"),
            _ => refusal(call, StatusCode::BAD_REQUEST, "ThrottlingException"),
        }
    }

    fn render(
        &self,
        template: &Template,
        style: TagStyle,
        kind: Kind,
        region: &str,
        number: u32,
        out: &mut Vec<u8>,
    ) {
        for (index, part) in template.0.iter().enumerate() {
            match (index % 2, *part) {
                (1, "account") => out.extend_from_slice(ACCOUNT.as_bytes()),
                (1, "region") => out.extend_from_slice(region.as_bytes()),
                (1, "name") => out.extend_from_slice(kind.name(region, number).as_bytes()),
                (1, "arn") => out.extend_from_slice(kind.arn(region, number).as_bytes()),
                (1, "cluster") => out.extend_from_slice(cluster_arn(region).as_bytes()),
                (1, "tags") => push_tags(out, style, &self.estate.tags(kind, region, number)),
                (_, text) => out.extend_from_slice(text.as_bytes()),
            }
        }
    }

    fn regions(&self) -> Answer {
        let items = self.estate.regions.iter().map(|region| {
            format!(
                "<item><regionName>{region}</regionName><regionEndpoint>ec2.{region}.amazonaws.com</regionEndpoint>\
                 <optInStatus>opt-in-not-required</optInStatus></item>"
            )
        });
        xml(format!(
            "<DescribeRegionsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><regionInfo>{}</regionInfo>\
             </DescribeRegionsResponse>",
            items.collect::<String>()
        ))
    }

    fn ec2_page(&self, call: &Call, kind: Kind, set: &str, template: &Template) -> Answer {
        let size = call.field("MaxResults").and_then(|size| size.parse().ok()).unwrap_or(u32::MAX);
        let total = self.estate.count(kind, &call.region);
        let page = Page::of(total, call.field("NextToken"), size.min(page_max(kind)));
        let operation = &call.operation;
        let mut out = Vec::with_capacity(page.numbers.len() * 5120 + 512);
        out.extend_from_slice(
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <{operation}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n\
                 <requestId>0f8fad5b-d9cb-469f-a165-70867728950e</requestId>\n<{set}>"
            )
            .as_bytes(),
        );
        for number in page.numbers.clone() {
            self.render(template, EC2_TAG, kind, &call.region, number, &mut out);
        }
        out.extend_from_slice(
            format!("</{set}>{}</{operation}Response>", page.element("nextToken")).as_bytes(),
        );
        respond(StatusCode::OK, XML, out)
    }

    fn db_page(&self, call: &Call) -> Answer {
        let size = call.field("MaxRecords").and_then(|size| size.parse().ok()).unwrap_or(u32::MAX);
        let total = self.estate.count(Kind::Db, &call.region);
        let page = Page::of(total, call.field("Marker"), size.min(page_max(Kind::Db)));
        let mut out = Vec::with_capacity(page.numbers.len() * 4096 + 512);
        out.extend_from_slice(
            b"<DescribeDBInstancesResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\">\
              <DescribeDBInstancesResult><DBInstances>",
        );
        for number in page.numbers.clone() {
            self.render(&self.db, QUERY_TAG, Kind::Db, &call.region, number, &mut out);
        }
        let end = format!(
            "</DBInstances>{}</DescribeDBInstancesResult></DescribeDBInstancesResponse>",
            page.element("Marker")
        );
        out.extend_from_slice(end.as_bytes());
        respond(StatusCode::OK, XML, out)
    }

    fn function_page(&self, call: &Call) -> Answer {
        let size = call.field("MaxItems").and_then(|size| size.parse().ok()).unwrap_or(u32::MAX);
        let total = self.estate.count(Kind::Function, &call.region);
        let page = Page::of(total, call.field("Marker"), size.min(page_max(Kind::Function)));
        let mut out = b"{\"Functions\":[".to_vec();
        self.join(&self.function, JSON_TAG, Kind::Function, &call.region, page.numbers.clone(), &mut out);
        out.extend_from_slice(format!("]{}}}", page.member("NextMarker")).as_bytes());
        respond(StatusCode::OK, JSON, out)
    }

    /// The items with commas between them.
    fn join(
        &self,
        template: &Template,
        style: TagStyle,
        kind: Kind,
        region: &str,
        numbers: impl Iterator<Item = u32>,
        out: &mut Vec<u8>,
    ) {
        for (index, number) in numbers.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.render(template, style, kind, region, number, out);
        }
    }

    fn function_tags(&self, call: &Call) -> Answer {
        let tags = self.tags_of(&call.subject, &call.region).unwrap_or_default();
        json(json!({ "Tags": tags.into_iter().collect::<BTreeMap<_, _>>() }).to_string())
    }

    fn buckets(&self, call: &Call) -> Answer {
        let mut out =
            b"<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Buckets>".to_vec();
        let home = call.field("bucket-region");
        for region in self.estate.regions.iter().filter(|region| home.is_none_or(|home| home == **region)) {
            for number in 0..self.estate.count(Kind::Bucket, region) {
                self.render(&self.bucket, QUERY_TAG, Kind::Bucket, region, number, &mut out);
            }
        }
        out.extend_from_slice(b"</Buckets></ListAllMyBucketsResult>");
        respond(StatusCode::OK, XML, out)
    }

    fn bucket_tags(&self, call: &Call) -> Answer {
        match self.tags_of(&format!("arn:aws:s3:::{}", call.subject), "") {
            Some(tags) if !tags.is_empty() => {
                let mut out = b"<Tagging><TagSet>".to_vec();
                push_tags(&mut out, QUERY_TAG, &tags);
                out.extend_from_slice(b"</TagSet></Tagging>");
                respond(StatusCode::OK, XML, out)
            }
            Some(_) => refusal(call, StatusCode::NOT_FOUND, "NoSuchTagSet"),
            None => refusal(call, StatusCode::NOT_FOUND, "NoSuchBucket"),
        }
    }

    /// One cluster, where there are services.
    fn clusters(&self, call: &Call) -> Vec<String> {
        let any = self.estate.count(Kind::Service, &call.region) > 0;
        any.then(|| cluster_arn(&call.region)).into_iter().collect()
    }

    fn service_page(&self, call: &Call) -> Answer {
        let size = call.number("maxResults").unwrap_or(SERVICES_DEFAULT).min(page_max(Kind::Service));
        let page = Page::of(self.estate.count(Kind::Service, &call.region), call.text("nextToken"), size);
        let arns: Vec<String> =
            page.numbers.clone().map(|number| Kind::Service.arn(&call.region, number)).collect();
        json(format!("{{\"serviceArns\":{}{}}}", json!(arns), page.member("nextToken")))
    }

    fn describe_services(&self, call: &Call) -> Answer {
        let services = call.texts("services");
        if services.len() > DESCRIBE_SERVICES_MAX {
            return refusal(call, StatusCode::BAD_REQUEST, "InvalidParameterException");
        }
        let mut out = b"{\"failures\":[],\"services\":[".to_vec();
        let numbers = services.into_iter().filter_map(number);
        self.join(&self.service, ECS_TAG, Kind::Service, &call.region, numbers, &mut out);
        out.extend_from_slice(b"]}");
        respond(StatusCode::OK, JSON, out)
    }

    fn table_page(&self, call: &Call) -> Answer {
        let size = call.number("Limit").unwrap_or(u32::MAX).min(page_max(Kind::Table));
        let page = Page::of(
            self.estate.count(Kind::Table, &call.region),
            call.text("ExclusiveStartTableName"),
            size,
        );
        let names: Vec<String> =
            page.numbers.clone().map(|number| Kind::Table.name(&call.region, number)).collect();
        json(format!("{{\"TableNames\":{}{}}}", json!(names), page.member("LastEvaluatedTableName")))
    }

    fn table_tags(&self, call: &Call) -> Answer {
        let tags =
            self.tags_of(call.text("ResourceArn").unwrap_or_default(), &call.region).unwrap_or_default();
        let mut out = b"{\"Tags\":[".to_vec();
        push_tags(&mut out, JSON_TAG, &tags);
        out.extend_from_slice(b"]}");
        respond(StatusCode::OK, JSON, out)
    }

    fn get_resources(&self, call: &Call) -> Answer {
        let arns = call.texts("ResourceARNList");
        if arns.len() > GET_RESOURCES_MAX as usize {
            return refusal(call, StatusCode::BAD_REQUEST, "InvalidParameterException");
        }
        let named = arns.iter().filter_map(|arn| self.find(arn, &call.region));
        let known = named.filter(|(kind, region, number)| self.is_known(*kind, region, *number));
        let (found, next): (Vec<_>, _) =
            if arns.is_empty() { self.known_page(call) } else { (known.collect(), None) };
        let mut out = b"{\"ResourceTagMappingList\":[".to_vec();
        for (index, (kind, region, number)) in found.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.render(&self.mapping, JSON_TAG, kind, region, number, &mut out);
        }
        let token = next.map(|next| next.to_string()).unwrap_or_default();
        out.extend_from_slice(format!("],\"PaginationToken\":\"{token}\"}}").as_bytes());
        respond(StatusCode::OK, JSON, out)
    }

    /// The next page of what the tagging API knows in the region. The token is a position among all resources of
    /// the kinds asked for.
    fn known_page(&self, call: &Call) -> (Vec<(Kind, &'static str, u32)>, Option<usize>) {
        let region = self.estate.regions.iter().copied().find(|region| *region == call.region);
        let filters = call.texts("ResourceTypeFilters");
        let asked = |kind: &Kind| {
            let name = kind.type_name();
            filters.is_empty()
                || filters.iter().any(|one| name == *one || name.split(':').next() == Some(one))
        };
        let all = region.into_iter().flat_map(|region| {
            let kinds = Kind::ALL.into_iter().filter(asked);
            kinds.flat_map(move |kind| {
                (0..self.estate.count(kind, region)).map(move |number| (kind, region, number))
            })
        });
        let size =
            call.number("ResourcesPerPage").unwrap_or(GET_RESOURCES_DEFAULT).min(GET_RESOURCES_MAX) as usize;
        let start = call.text("PaginationToken").and_then(|token| token.parse().ok()).unwrap_or(0);
        let known = all
            .enumerate()
            .skip(start)
            .filter(|(_, (kind, region, number))| self.is_known(*kind, region, *number));
        let mut page: Vec<_> = known.take(size + 1).collect();
        let next = (page.len() > size).then(|| page.pop()).flatten().map(|(position, _)| position);
        (page.into_iter().map(|(_, resource)| resource).collect(), next)
    }

    /// Whether the tagging API knows a resource.
    fn is_known(&self, kind: Kind, region: &str, number: u32) -> bool {
        once_tagged(number) || !self.estate.tags(kind, region, number).is_empty()
    }

    /// The resource with this ARN, if it is in the region; buckets are found wherever they are when `region` is "".
    fn find(&self, arn: &str, region: &str) -> Option<(Kind, &'static str, u32)> {
        let number = number(arn)?;
        let regions = self.estate.regions.iter().copied().filter(|one| region.is_empty() || *one == region);
        regions
            .flat_map(|region| self.estate.kinds().map(move |kind| (kind, region)))
            .find(|(kind, region)| {
                kind.arn(region, number) == arn && number < self.estate.count(*kind, region)
            })
            .map(|(kind, region)| (kind, region, number))
    }

    fn tags_of(&self, arn: &str, region: &str) -> Option<Vec<Tag>> {
        self.find(arn, region).map(|(kind, region, number)| self.estate.tags(kind, region, number))
    }
}

fn cluster_arn(region: &str) -> String {
    format!("arn:aws:ecs:{region}:{ACCOUNT}:cluster/main")
}

fn caller(account: &str) -> Answer {
    xml(format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::{account}:user/reader</Arn><UserId>AIDAEXAMPLE</UserId><Account>{account}</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    ))
}

/// A session in the account of the role, for those who know an external id.
/// An error in the protocol of the service.
fn refusal(call: &Call, status: StatusCode, code: &str) -> Answer {
    match call.service.as_str() {
        "ec2" => respond(
            status,
            XML,
            format!("<Response><Errors><Error><Code>{code}</Code><Message/></Error></Errors></Response>")
                .into(),
        ),
        "s3" => respond(status, XML, format!("<Error><Code>{code}</Code><Message/></Error>").into()),
        "rds" | "sts" => {
            let body = format!("<ErrorResponse><Error><Code>{code}</Code><Message/></Error></ErrorResponse>");
            respond(status, XML, body.into())
        }
        _ => {
            let mut answer =
                respond(status, JSON, json!({ "__type": code, "message": code }).to_string().into());
            if let Ok(code) = code.parse() {
                answer.headers_mut().insert("x-amzn-errortype", code);
            }
            answer
        }
    }
}

const XML: &str = "text/xml;charset=UTF-8";
const JSON: &str = "application/x-amz-json-1.1";

fn xml(body: String) -> Answer {
    respond(StatusCode::OK, XML, body.into())
}

fn json(body: String) -> Answer {
    respond(StatusCode::OK, JSON, body.into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(content_type));
    answer
}
