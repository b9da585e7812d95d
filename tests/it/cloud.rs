//! Makes single resources in the simulator, past the proxy: no call of it shows in a test's log.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tagwarden_testbed::{Account, Proxy};

/// A tag's key and value.
pub type Tag<'a> = (&'a str, &'a str);

/// Carries what the tests' policies ask for.
pub const OWNED: &[Tag<'static>] = &[("Owner", "ada@example.com")];
/// Carries nothing.
pub const BARE: &[Tag<'static>] = &[];

/// An empty archive; functions need some code.
const ZIP: &str = "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==";
const ANSWER_WITHIN: Duration = Duration::from_mins(2);

/// One account in the simulator, with the keys to it.
#[derive(Debug, Clone)]
pub struct Cloud {
    upstream: String,
    key: String,
    account: String,
}

impl Cloud {
    /// The simulator behind this proxy, as seen from inside the account.
    pub fn of(proxy: &Proxy, account: &Account) -> Self {
        let env = proxy.env_as(account);
        let (_, key) = env.into_iter().find(|(name, _)| *name == "AWS_ACCESS_KEY_ID").unwrap();
        Self { upstream: proxy.upstream().to_owned(), key, account: account.id.clone() }
    }

    /// An EC2 volume; gives its ARN.
    pub fn volume(&self, region: &str, tags: &[Tag<'_>]) -> String {
        let zone = format!("{region}a");
        let mut form = vec![
            ("Action".to_owned(), "CreateVolume".to_owned()),
            ("Version".to_owned(), "2016-11-15".to_owned()),
            ("Size".to_owned(), "8".to_owned()),
            ("AvailabilityZone".to_owned(), zone),
        ];
        if !tags.is_empty() {
            form.push(("TagSpecification.1.ResourceType".to_owned(), "volume".to_owned()));
            form.extend(numbered("TagSpecification.1.Tag", tags));
        }
        let answer = self.form("ec2", region, &form);
        format!("arn:aws:ec2:{region}:{}:volume/{}", self.account, between(&answer, "volumeId"))
    }

    /// An RDS instance; gives its ARN.
    pub fn database(&self, region: &str, name: &str, tags: &[Tag<'_>]) -> String {
        let fixed = [
            ("Action", "CreateDBInstance"),
            ("Version", "2014-10-31"),
            ("DBInstanceIdentifier", name),
            ("DBInstanceClass", "db.t3.micro"),
            ("Engine", "postgres"),
            ("AllocatedStorage", "20"),
            ("MasterUsername", "master"),
            ("MasterUserPassword", "not-a-secret"),
        ];
        let mut form: Vec<_> =
            fixed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        form.extend(numbered("Tags.Tag", tags));
        between(&self.form("rds", region, &form), "DBInstanceArn")
    }

    /// An SNS topic; gives its ARN.
    pub fn topic(&self, region: &str, name: &str, tags: &[Tag<'_>]) -> String {
        let mut form = vec![
            ("Action".to_owned(), "CreateTopic".to_owned()),
            ("Version".to_owned(), "2010-03-31".to_owned()),
            ("Name".to_owned(), name.to_owned()),
        ];
        form.extend(numbered("Tags.member", tags));
        between(&self.form("sns", region, &form), "TopicArn")
    }

    /// An SQS queue; gives its ARN.
    pub fn queue(&self, region: &str, name: &str, tags: &[Tag<'_>]) -> String {
        let tags: serde_json::Map<_, _> =
            tags.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.json("sqs", region, "AmazonSQS.CreateQueue", &json!({ "QueueName": name, "tags": tags }));
        format!("arn:aws:sqs:{region}:{}:{name}", self.account)
    }

    /// A DynamoDB table; gives its ARN.
    pub fn table(&self, region: &str, name: &str, tags: &[Tag<'_>]) -> String {
        let tags: Vec<Value> =
            tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        let body = json!({
            "TableName": name,
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            "BillingMode": "PAY_PER_REQUEST",
            "Tags": tags,
        });
        let answer = self.json("dynamodb", region, "DynamoDB_20120810.CreateTable", &body);
        answer["TableDescription"]["TableArn"].as_str().unwrap().to_owned()
    }

    /// An S3 bucket; names are the world's, so they get the account's id. Gives its ARN.
    pub fn bucket(&self, region: &str, name: &str, tags: &[Tag<'_>]) -> String {
        let name = format!("{name}-{}", self.account);
        let place = match region {
            "us-east-1" => String::new(),
            _ => format!(
                "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        self.send("PUT", "s3", region, &format!("/{name}"), &[], &place);
        if !tags.is_empty() {
            let set =
                tags.iter().map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"));
            let set: Vec<_> = set.collect();
            let set = set.concat();
            let body = format!("<Tagging><TagSet>{set}</TagSet></Tagging>");
            self.send("PUT", "s3", region, &format!("/{name}?tagging"), &[], &body);
        }
        format!("arn:aws:s3:::{name}")
    }

    /// A Lambda function; gives its ARN.
    pub fn function(&self, region: &str, name: &str, tags: &[Tag<'_>]) -> String {
        let role = format!("{region}-functions");
        let form = [
            ("Action", "CreateRole"),
            ("Version", "2010-05-08"),
            ("RoleName", &role),
            ("AssumeRolePolicyDocument", "{}"),
        ];
        let form: Vec<_> = form.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        // The second function finds its role made.
        self.try_send("POST", "iam", "us-east-1", "/", FORM, &encoded(&form));
        let tags: serde_json::Map<_, _> =
            tags.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let body = json!({
            "FunctionName": name,
            "Runtime": "python3.12",
            "Role": format!("arn:aws:iam::{}:role/{role}", self.account),
            "Handler": "main.handler",
            "Code": { "ZipFile": ZIP },
            "Tags": tags,
        });
        let headers = [("content-type", "application/json")];
        let answer =
            self.send("POST", "lambda", region, "/2015-03-31/functions", &headers, &body.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["FunctionArn"].as_str().unwrap().to_owned()
    }

    /// An ECS cluster; gives its ARN.
    pub fn cluster(&self, region: &str, name: &str, tags: &[Tag<'_>]) -> String {
        let body = json!({ "clusterName": name, "tags": lower(tags) });
        let answer = self.ecs(region, "CreateCluster", &body);
        answer["cluster"]["clusterArn"].as_str().unwrap().to_owned()
    }

    /// A revision of an ECS task definition; gives its ARN.
    pub fn task_definition(&self, region: &str, family: &str, tags: &[Tag<'_>]) -> String {
        let containers = json!([{ "name": "main", "image": "example", "memory": 128 }]);
        let body = json!({ "family": family, "containerDefinitions": containers, "tags": lower(tags) });
        let answer = self.ecs(region, "RegisterTaskDefinition", &body);
        answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap().to_owned()
    }

    /// An ECS service of a task definition that exists; gives its ARN.
    pub fn service(&self, region: &str, cluster: &str, name: &str, family: &str, tags: &[Tag<'_>]) -> String {
        let body = json!({
            "cluster": cluster, "serviceName": name, "taskDefinition": family, "desiredCount": 0, "tags": lower(tags),
        });
        let answer = self.ecs(region, "CreateService", &body);
        answer["service"]["serviceArn"].as_str().unwrap().to_owned()
    }

    fn ecs(&self, region: &str, action: &str, body: &Value) -> Value {
        self.json("ecs", region, &format!("AmazonEC2ContainerServiceV20141113.{action}"), body)
    }

    fn form(&self, service: &str, region: &str, form: &[(String, String)]) -> String {
        self.send("POST", service, region, "/", FORM, &encoded(form))
    }

    fn json(&self, service: &str, region: &str, target: &str, body: &Value) -> Value {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        serde_json::from_str(&self.send("POST", service, region, "/", &headers, &body.to_string())).unwrap()
    }

    fn send(
        &self,
        method: &str,
        service: &str,
        region: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> String {
        let (status, answer) = self.try_send(method, service, region, path, headers, body);
        assert!((200..300).contains(&status), "{method} {service} {path}: {status} {answer}");
        answer
    }

    /// HTTP/1.0, so that the end of the connection is the end of the answer.
    fn try_send(
        &self,
        method: &str,
        service: &str,
        region: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let scope = format!("{}/20260101/{region}/{service}/aws4_request", self.key);
        let mut request = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n",
            self.upstream,
            body.len()
        );
        for (name, value) in headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request.push_str("\r\n");
        request.push_str(body);
        let mut stream = TcpStream::connect(&self.upstream).unwrap();
        stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, body.to_owned())
    }
}

const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

/// `PREFIX.1.Key`, `PREFIX.1.Value` …
fn numbered(prefix: &str, tags: &[Tag<'_>]) -> Vec<(String, String)> {
    let fields = (1..).zip(tags).flat_map(|(number, (key, value))| {
        [
            (format!("{prefix}.{number}.Key"), (*key).to_owned()),
            (format!("{prefix}.{number}.Value"), (*value).to_owned()),
        ]
    });
    fields.collect()
}

fn lower(tags: &[Tag<'_>]) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

fn encoded(form: &[(String, String)]) -> String {
    let field = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let fields: Vec<_> = form.iter().map(|(key, value)| format!("{}={}", field(key), field(value))).collect();
    fields.join("&")
}

/// The text of the first element of this name.
fn between(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split('<').next().unwrap_or_default().to_owned()
}
