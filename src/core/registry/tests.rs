//! The built-in rows, what operators may make of them, and the properties that hold for every row.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// The natively listed types: the calls that are part of the program.
const NATIVE: [&str; 15] = [
    "ec2:elastic-ip",
    "ec2:instance",
    "ec2:natgateway",
    "ec2:security-group",
    "ec2:snapshot",
    "ec2:subnet",
    "ec2:volume",
    "ec2:vpc",
    "ecs:cluster",
    "ecs:service",
    "ecs:task-definition",
    "lambda:function",
    "rds:cluster",
    "rds:db",
    "s3:bucket",
];

fn type_of<'a>(registry: &'a Registry, arn: &str) -> Option<&'a str> {
    registry.type_of(&Arn::parse(arn).unwrap()).map(|id| &*registry.row(id).name)
}

fn refusal(text: &str) -> String {
    Registry::builtin().with_overrides(text).unwrap_err().to_string()
}

#[test]
fn the_builtin_rows_are_sound() {
    let registry =
        Registry::parse(BUILTIN_TEXT).unwrap_or_else(|error| panic!("config/resource-types.yaml: {error}"));
    assert_eq!(registry.len(), 55);
    assert_eq!(Registry::builtin().rows, registry.rows);
}

#[test]
fn the_cost_generating_types_of_each_category() {
    let registry = Registry::builtin();
    let mut counts = BTreeMap::new();
    for id in registry.cost_generating() {
        *counts.entry(&*registry.row(id).category).or_insert(0) += 1;
    }
    let expected = [
        ("ai_ml", 4),
        ("analytics", 6),
        ("application", 6),
        ("compute", 11),
        ("database", 6),
        ("networking", 2),
        ("security", 4),
        ("storage", 3),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}

#[test]
fn the_order_of_the_types_is_stable() {
    // Results and stores are sorted by it; a new type goes to the end of its group.
    let registry = Registry::builtin();
    let names: Vec<&str> = registry.ids().map(|id| &*registry.row(id).name).collect();
    let expected = "ec2:instance ec2:volume ec2:elastic-ip ec2:snapshot ec2:natgateway lambda:function ecs:cluster \
        ecs:service ecs:task-definition eks:cluster eks:nodegroup s3:bucket elasticfilesystem:file-system \
        fsx:file-system rds:db rds:cluster dynamodb:table elasticache:cluster elasticache:replicationgroup \
        redshift:cluster sagemaker:endpoint sagemaker:notebook-instance bedrock:agent bedrock:knowledge-base \
        elasticloadbalancing:loadbalancer elasticloadbalancing:targetgroup kinesis:stream glue:job glue:crawler \
        glue:table opensearch:domain emr:cluster cognito-idp:userpool cognito-identity:identitypool \
        secretsmanager:secret kms:key apigateway:restapi cloudfront:distribution route53:hostedzone \
        stepfunctions:statemachine codebuild:project codepipeline:pipeline ec2:vpc ec2:subnet ec2:security-group \
        logs:log-group cloudwatch:alarm sns:topic sqs:queue ecr:repository glue:database athena:workgroup iam:role \
        iam:user iam:policy";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn free_types_are_not_billed_and_the_others_are() {
    let registry = Registry::builtin();
    for id in registry.ids() {
        let row = registry.row(id);
        assert_eq!(row.cost_service.is_none(), row.free, "{}", row.name);
    }
    assert_eq!(registry.ids().filter(|id| registry.row(*id).free).count(), 10 + 3);
}

#[test]
fn how_types_are_listed() {
    let registry = Registry::builtin();
    let listed_by = |how| -> BTreeSet<&str> {
        registry.rows.iter().filter(|row| row.listed_by == how).map(|row| &*row.name).collect()
    };
    assert_eq!(listed_by(ListedBy::Native), BTreeSet::from(NATIVE));
    assert_eq!(listed_by(ListedBy::Nothing), BTreeSet::from(["glue:table", "iam:role", "iam:user"]));
    for row in registry.rows.iter().filter(|row| row.listed_by == ListedBy::Native) {
        let joined = ["s3:bucket", "lambda:function", "ecs:task-definition"].contains(&&*row.name);
        assert_eq!(row.tags_from == TagsFrom::TaggingApi, joined, "{}", row.name);
    }
    let global: Vec<&str> = registry.rows.iter().filter(|row| row.global).map(|row| &*row.name).collect();
    let expected = ["cloudfront:distribution", "route53:hostedzone", "iam:role", "iam:user", "iam:policy"];
    assert_eq!(global, expected);
}

#[test]
fn the_filters_that_differ_from_the_names() {
    let registry = Registry::builtin();
    let differing: BTreeMap<&str, &str> = registry
        .rows
        .iter()
        .filter_map(|row| Some((&*row.name, row.tagging_filter.as_deref()?)))
        .filter(|(name, filter)| name != filter)
        .collect();
    let expected = [
        ("apigateway:restapi", "apigateway"),
        ("codepipeline:pipeline", "codepipeline"),
        ("emr:cluster", "elasticmapreduce:cluster"),
        ("opensearch:domain", "es:domain"),
        ("s3:bucket", "s3"),
        ("sns:topic", "sns"),
        ("sqs:queue", "sqs"),
        ("stepfunctions:statemachine", "states:stateMachine"),
    ];
    assert_eq!(differing, BTreeMap::from(expected));
}

#[test]
fn real_arns_tell_their_type_and_their_id() {
    let cases = include_str!("arns.txt");
    let registry = Registry::builtin();
    let mut seen = BTreeSet::new();
    for line in cases.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.splitn(3, '\t');
        let [arn, name, id] = [(); 3].map(|()| words.next().unwrap_or_default());
        let found = registry.identify(&Arn::parse(arn).unwrap());
        let found = found.map(|(type_id, id)| (&*registry.row(type_id).name, id));
        let expected = if name == "-" { None } else { Some((name, id)) };
        assert_eq!(found, expected, "{arn}");
        seen.extend(found.map(|(name, _)| name));
    }
    let missing: Vec<&str> =
        registry.rows.iter().map(|row| &*row.name).filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "arns.txt has no ARN of {missing:?}");
}

#[test]
fn an_arn_is_written_as_its_service_writes_it() {
    let registry = Registry::builtin();
    let arn = |name: &str, region: &str, parts: &[(&str, &str)]| {
        registry.arn(registry.id(name).unwrap(), "aws", region, "123456789012", parts).unwrap()
    };
    assert_eq!(
        arn("ec2:instance", "eu-west-1", &[("id", "i-0abc")]),
        "arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc"
    );
    assert_eq!(arn("s3:bucket", "eu-west-1", &[("id", "logs")]), "arn:aws:s3:::logs");
    assert_eq!(
        arn("cloudfront:distribution", "global", &[("id", "E1")]),
        "arn:aws:cloudfront::123456789012:distribution/E1"
    );
    assert_eq!(
        arn("apigateway:restapi", "eu-west-1", &[("id", "a1")]),
        "arn:aws:apigateway:eu-west-1::/restapis/a1"
    );
}

#[test]
fn the_most_specific_shape_wins() {
    let registry = Registry::builtin()
        .with_overrides(
            r#"types:
  - {name: "sns:special", category: x, arn: "arn:{partition}:sns:{region}:{account}:special-{id}", listedBy: nothing, tagsFrom: nothing, actions: []}
"#,
        )
        .unwrap();
    assert_eq!(type_of(&registry, "arn:aws:sns:eu-west-1:123456789012:special-1"), Some("sns:special"));
    assert_eq!(type_of(&registry, "arn:aws:sns:eu-west-1:123456789012:other"), Some("sns:topic"));
}

#[test]
fn names_are_resolved() {
    let registry = Registry::builtin();
    let meant = |name: &str, renamed: bool| {
        let types = vec![registry.id(name).unwrap()];
        Ok(Meant { types, renamed: renamed.then(|| name.into()) })
    };
    assert_eq!(registry.resolve("rds:db"), meant("rds:db", false));
    for (old, new) in [
        ("rds:db-instance", "rds:db"),
        ("efs:file-system", "elasticfilesystem:file-system"),
        ("es:domain", "opensearch:domain"),
        ("states:stateMachine", "stepfunctions:statemachine"),
        ("elasticmapreduce:cluster", "emr:cluster"),
    ] {
        assert_eq!(registry.resolve(old), meant(new, true), "{old}");
        assert_eq!((registry.current_name(old), registry.current_name(new)), (Some(new), Some(new)), "{old}");
    }
}

#[test]
fn an_unknown_name_gets_its_likeliest_corrections() {
    let registry = Registry::builtin();
    let nearest = |name: &str| registry.resolve(name).unwrap_err().nearest;
    for (wrong, first) in [
        ("EC2:Instance", "ec2:instance"),
        ("ec2:instances", "ec2:instance"),
        ("lamda:function", "lambda:function"),
        ("rds:instance", "rds:db"),
        ("s3:buckets", "s3:bucket"),
        ("bucket", "s3:bucket"),
        ("lambda", "lambda:function"),
        ("AWS::RDS::DBInstance", "rds:db"),
        ("efs:filesystem", "elasticfilesystem:file-system"),
        ("ec2:nat-gateway", "ec2:natgateway"),
    ] {
        assert_eq!(nearest(wrong).first().map(|name| &**name), Some(first), "{wrong}");
    }
    assert_eq!(nearest("ec2:instances"), [Arc::from("ec2:instance")], "one is near, and the others are far");
    for nonsense in ["", "zzzzzzzzzz", "qq:xxxxxxxx", &"é:".repeat(5000)] {
        assert_eq!(nearest(nonsense), Vec::<Arc<str>>::new(), "{nonsense:.20}");
    }
}

#[test]
fn globs_select_types_in_order() {
    let registry = Registry::builtin();
    let names = |glob: &str| -> Vec<&str> {
        let types = registry.resolve(glob).unwrap_or_default().types;
        types.into_iter().map(|id| &*registry.row(id).name).collect()
    };
    assert_eq!(names("rds:*"), ["rds:db", "rds:cluster"]);
    assert_eq!(names("rds:db"), ["rds:db"]);
    assert_eq!(names("rds:"), Vec::<&str>::new());
    assert_eq!(names("cognito-*"), ["cognito-idp:userpool", "cognito-identity:identitypool"]);
    assert_eq!(names("*:*pool"), ["cognito-idp:userpool", "cognito-identity:identitypool"]);
    assert_eq!(names("ec2:s*n*t"), ["ec2:snapshot", "ec2:subnet"]);
    assert_eq!(names("*").len(), registry.len());
    assert_eq!(names("rds:db*db"), Vec::<&str>::new(), "the pieces of a glob do not overlap");
    assert_eq!(names("rds:db-inst*"), Vec::<&str>::new(), "former names are resolved, not matched");
}

#[test]
fn an_operator_adds_and_replaces_types() {
    let builtin = Registry::builtin();
    let registry = builtin
        .with_overrides(
            r#"types:
  - name: sqs:queue
    category: messaging
    arn: "arn:{partition}:sqs:{region}:{account}:{id}"
    listedBy: taggingApi
    tagsFrom: taggingApi
    taggingFilter: sqs
    costService: Amazon Simple Queue Service
    actions: ["tag:GetResources"]
  - name: backup:backup-vault
    category: storage
    arn: "arn:{partition}:backup:{region}:{account}:backup-vault:{id}"
    listedBy: taggingApi
    tagsFrom: taggingApi
    taggingFilter: backup:backup-vault
    actions: ["tag:GetResources"]
    aliases: ["backup:vault"]
"#,
        )
        .unwrap();
    assert_eq!(registry.len(), builtin.len() + 1);
    assert_eq!(registry.id("sqs:queue"), builtin.id("sqs:queue"));
    let queue = registry.row(registry.id("sqs:queue").unwrap());
    assert_eq!((queue.free, queue.cost_service.as_deref()), (false, Some("Amazon Simple Queue Service")));
    assert_eq!(registry.id("backup:backup-vault").unwrap().index(), builtin.len());
    assert_eq!(
        type_of(&registry, "arn:aws:backup:eu-west-1:123456789012:backup-vault:main"),
        Some("backup:backup-vault")
    );
    assert_eq!(registry.current_name("backup:vault"), Some("backup:backup-vault"));
    assert_eq!(builtin.id("backup:backup-vault"), None, "the registry that was extended stays as it was");
}

#[test]
fn a_file_that_says_nothing_new_changes_nothing() {
    let builtin = Registry::builtin();
    assert_eq!(builtin.with_overrides("types: []").unwrap().rows, builtin.rows);
    assert_eq!(builtin.with_overrides(BUILTIN_TEXT).unwrap().rows, builtin.rows);
}

/// A sound row of a type that is not built in, with one field replaced.
fn row_with(field: &str, value: &str) -> String {
    let mut fields = BTreeMap::from([
        ("name", "acm:certificate"),
        ("category", "security"),
        ("arn", r#""arn:{partition}:acm:{region}:{account}:certificate/{id}""#),
        ("listedBy", "taggingApi"),
        ("tagsFrom", "taggingApi"),
        ("taggingFilter", "acm:certificate"),
        ("actions", "[\"tag:GetResources\"]"),
    ]);
    if value.is_empty() {
        fields.remove(field);
    } else {
        fields.insert(field, value);
    }
    let lines: Vec<String> = fields.iter().map(|(field, value)| format!("    {field}: {value}\n")).collect();
    let first = "  - {name: \"acm:other\", category: x, arn: \"arn:{partition}:acm:{region}:{account}:other/{id}\", \
                 listedBy: nothing, tagsFrom: nothing, actions: []}\n";
    format!("types:\n{first}  -\n{}", lines.concat())
}

#[test]
fn a_mistake_is_refused_with_its_place_and_its_remedy() {
    assert!(Registry::builtin().with_overrides(&row_with("category", "security")).is_ok());
    let cases = [
        ("name", "Acm:Certificate", "types[1].name: `Acm:Certificate` is not `service:type` in lower case"),
        ("name", "acm", "types[1].name: `acm` is not `service:type`"),
        ("category", "\"\"", "types[1].category: `` must have 1 to 256 characters"),
        (
            "arn",
            "x",
            "types[1].arn: `x` is not of the form `arn:{partition}:service:{region}:{account}:resource`",
        ),
        (
            "arn",
            "\"arn:{partition}:acm:{region}:{account}:certificate/{name}\"",
            "types[1].arn: `arn:{partition}:acm:{region}:{account}:certificate/{name}` has no `{id}`",
        ),
        (
            "arn",
            "\"arn:{partition}:sqs:{region}:{account}:{id}\"",
            "types[1].taggingFilter: `acm:certificate` does not fit the ARN",
        ),
        (
            "alsoArns",
            "[\"arn:{partition}:acm:{region}:{account}:certificate/{id}\"]",
            "types[1].alsoArns[0]: `arn:{partition}:acm:{region}:{account}:certificate/{id}` is also the shape of the \
             ARNs of acm:certificate",
        ),
        ("global", "true", "has `{region}`, but the type is global"),
        (
            "taggingFilter",
            "acm:certificates",
            "types[1].taggingFilter: `acm:certificates` does not fit the ARN",
        ),
        ("taggingFilter", "acm:cert", "types[1].taggingFilter: `acm:cert` does not fit the ARN"),
        ("taggingFilter", "acmpca", "types[1].taggingFilter: `acmpca` does not fit the ARN"),
        ("taggingFilter", "", "types[1].tagsFrom: `taggingApi` needs a `taggingFilter`"),
        (
            "tagsFrom",
            "listing",
            "types[1].tagsFrom: `listing` does not go with `listedBy: taggingApi`; write",
        ),
        ("listedBy", "native", "types[1].listedBy: `native` is not possible for acm:certificate"),
        (
            "listedBy",
            "nothing",
            "types[1].tagsFrom: `taggingApi` does not go with `listedBy: nothing`; write",
        ),
        ("actions", "[\"tag:GetResources\", \"acm:*\"]", "types[1].actions[1]: `acm:*` is not an IAM action"),
        (
            "actions",
            "[\"acm:ListCertificates\"]",
            "types[1].actions: `acm:ListCertificates` must contain `tag:",
        ),
        ("cloudFormation", "AWS::ACM", "types[1].cloudFormation: `AWS::ACM` is not a CloudFormation type"),
        ("aliases", "[\"acm\"]", "types[1].aliases[0]: `acm` is not `service:type`"),
        ("aliases", "[\"rds:db\"]", "types[1].aliases[0]: `rds:db` is already a name or an alias of rds:db"),
        ("aliases", "[\"es:domain\"]", "`es:domain` is already a name or an alias of opensearch:domain"),
        ("colour", "red", "colour"),
        ("arn", "", "arn"),
    ];
    for (field, value, expected) in cases {
        let message = refusal(&row_with(field, value));
        assert!(message.contains(expected), "{field}: {value}\n  gave: {message}");
    }
}

#[test]
fn a_replaced_type_keeps_the_listing_that_the_program_has() {
    let row = |listed_by: &str, tags_from: &str| {
        format!(
            "types: [{{name: \"ec2:volume\", category: x, arn: \"arn:{{partition}}:ec2:{{region}}:{{account}}:volume/{{id}}\", \
             listedBy: {listed_by}, tagsFrom: {tags_from}, taggingFilter: \"ec2:volume\", actions: [\"tag:GetResources\"]}}]"
        )
    };
    let builtin = Registry::builtin();
    assert!(builtin.with_overrides(&row("native", "listing")).is_ok());
    assert!(builtin.with_overrides(&row("taggingApi", "taggingApi")).is_ok());
    assert_eq!(
        refusal(&row("native", "taggingApi")),
        "types[0].tagsFrom: `taggingApi` must stay `listing` while the type is listed natively"
    );
}

#[test]
fn a_row_that_takes_away_from_a_builtin_one_is_the_one_refused() {
    // The replaced row stands before the row that it collides with; the file's row is still the one to change.
    let message = refusal(
        "types: [{name: \"ec2:instance\", category: x, arn: \"arn:{partition}:ec2:{region}:{account}:vpc/{id}\", \
         listedBy: nothing, tagsFrom: nothing, actions: []}]",
    );
    assert!(message.starts_with("types[0]."), "{message}");
    assert!(message.contains("ec2:vpc"), "{message}");
}

#[test]
fn duplicates_and_excess_are_refused() {
    let row = "{name: \"a:b\", category: x, arn: \"arn:{partition}:a:{region}:{account}:{id}\", listedBy: nothing, \
               tagsFrom: nothing, actions: []}";
    assert_eq!(
        refusal(&format!("types: [{row}, {row}]")),
        "types[1].name: `a:b` is there already; keep one of the two rows"
    );
    assert!(matches!(
        Registry::parse(&format!("types: [{row}, {row}]")),
        Err(RegistryError::Duplicate { index: 1, .. })
    ));
    let many: String = (0..MAX_TYPES)
        .map(|n| row.replace("a:b", &format!("a:b{n}")).replace(":{id}", &format!(":t{n}/{{id}}")) + ",")
        .collect();
    assert!(Registry::parse(&format!("types: [{many}]")).is_ok());
    assert!(refusal(&format!("types: [{many}]")).contains("at most 1000 are possible"));
    assert!(refusal(&"#".repeat(MAX_FILE_BYTES + 1)).contains("at most 1048576 are read"));
}

#[test]
fn what_is_not_yaml_or_not_the_form_is_refused_with_its_line() {
    for (text, expected) in [
        ("", "unexpected end of input"),
        ("types: [", "unclosed bracket '[' at line 1"),
        ("types: 3", "expected sequence start at line 1"),
        ("types:\n  - name: a:b\n    colour: red", "unknown field `colour`, expected one of name, category"),
        ("types: [{}]", "missing field `name` at line 1"),
        ("rows: []", "unknown field `rows`, expected one of types at line 1"),
    ] {
        let message = refusal(text);
        assert!(message.starts_with("the resource type registry cannot be read: "), "{text:?}: {message}");
        assert!(message.contains(expected) && !message.contains('\n'), "{text:?}: {message}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the page is rewritten on request, which only a test may do")]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/resource-types.md");
    let page = markdown(&Registry::builtin());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/resource-types.md does not show config/resource-types.yaml; run\n\
         UPDATE_DOCS=1 cargo test -p tagwarden-core the_reference_page_is_up_to_date"
    );
}

/// A value that a placeholder may take. No `-` in narrow ones: the suffix of a secret has none either.
fn part(slash: bool, colon: bool) -> BoxedStrategy<String> {
    match (slash, colon) {
        (false, false) => "[A-Za-z0-9_.]{1,20}",
        (true, false) => "[A-Za-z0-9_.-]{1,10}(/[A-Za-z0-9_.-]{1,10}){0,3}",
        (false, true) => "[A-Za-z0-9_.-]{1,10}(:[A-Za-z0-9_.-]{1,10}){0,3}",
        (true, true) => "[A-Za-z0-9_.-]{1,10}([/: ][A-Za-z0-9_.-]{1,10}){0,3}",
    }
    .prop_map(String::from)
    .boxed()
}

/// A type by its position, with a value for each of its placeholders.
fn type_with_parts() -> impl Strategy<Value = (TypeId, Vec<(String, String)>)> {
    let registry = Registry::builtin();
    (0..registry.len()).prop_flat_map(move |position| {
        let parts: Vec<_> = registry.written[position]
            .placeholders()
            .into_iter()
            .map(|(name, slash, colon)| (Just(name), part(slash, colon)))
            .collect();
        (Just(TypeId(u16::try_from(position).unwrap())), parts)
    })
}

proptest! {
    #[test]
    fn an_arn_that_was_written_is_read_back(
        (id, parts) in type_with_parts(),
        partition in "aws(-cn|-us-gov)?",
        region in "(us|eu|ap)-(west|east)-[1-9]",
        account in "[0-9]{12}",
    ) {
        let registry = Registry::builtin();
        let parts: Vec<(&str, &str)> = parts.iter().map(|(name, value)| (&**name, &**value)).collect();
        let arn = registry.arn(id, &partition, &region, &account, &parts).unwrap();
        let resource_id = parts.iter().find(|(name, _)| *name == "id").map(|(_, value)| *value).unwrap();
        prop_assert_eq!(registry.identify(&Arn::parse(&arn).unwrap()), Some((id, resource_id)), "{}", arn);
    }

    #[test]
    fn any_arn_is_identified_or_not(service in 0_usize..64, resource in "\\PC{1,80}") {
        let registry = Registry::builtin();
        let services: Vec<&str> = registry.read.keys().map(|service| &**service).collect();
        let service = services[service % services.len()];
        for place in ["eu-west-1:123456789012", ":123456789012", "eu-west-1:", ":"] {
            let text = format!("arn:aws:{service}:{place}:{resource}");
            if let Some((_, id)) = registry.identify(&Arn::parse(&text).unwrap()) {
                prop_assert!(!id.is_empty() && resource.contains(id));
            }
        }
    }

    #[test]
    fn any_text_is_a_registry_or_refused(text in "\\PC{0,200}") {
        let _ = Registry::builtin().with_overrides(&text);
        let _ = Registry::builtin().resolve(&text);
    }
}
