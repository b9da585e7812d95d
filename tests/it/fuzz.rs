//! The fuzz bodies on the stable compiler, bounded: mutations of real files and plain noise.

#[path = "../../fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

use proptest::prelude::*;

fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["policies/starter.yaml", "tests/estate/policy.yaml", "tests/cases/manifests/predecessor.json"]
        .iter()
        .map(|file| std::fs::read(root.join(file)).unwrap())
        .collect()
}

/// A real file with a piece of it replaced.
fn mutation() -> impl Strategy<Value = Vec<u8>> {
    let seeds = seeds();
    (0..seeds.len(), any::<prop::sample::Index>(), 0..40_usize, prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(move |(seed, start, length, piece)| {
            let mut bytes = seeds[seed].clone();
            let start = start.index(bytes.len());
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, piece);
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn manifests_survive_mutations(data in mutation()) {
        bodies::manifests(&data);
        bodies::predecessor(&data);
    }

    #[test]
    fn parsers_survive_noise(data in prop::collection::vec(any::<u8>(), 0..400)) {
        bodies::manifests(&data);
        bodies::predecessor(&data);
        bodies::arn(&data);
        bodies::patch(&data);
        bodies::selectors(&data);
        bodies::continue_token(&data);
    }

    #[test]
    fn patches_survive(
        operations in prop::collection::vec(
            r#"\{"op":"(add|remove|replace|move|copy|test)","path":"(/(data|a|b|c|0|-|~1)){0,4}","from":"(/(data|b|c|2)){0,3}","value":(null|1|\{"a":\[\]\})\}"#,
            0..8,
        ),
    ) {
        bodies::patch(format!("[{}]", operations.join(",")).as_bytes());
    }

    #[test]
    fn selectors_survive(text in "(metadata.name|tier|a/b|reason|!|,|=|==|!=| in | notin |\\(|\\)|gold|\\\\){0,12}") {
        bodies::selectors(text.as_bytes());
    }

    #[test]
    fn continue_tokens_survive(text in r#"\["v1",-?[0-9]{1,20},"[a-z-]{0,9}","[a-z-]{0,9}"\]"#) {
        let token: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        bodies::continue_token(token.as_bytes());
        bodies::continue_token(text.as_bytes());
    }

    #[test]
    fn arns_survive(text in "arn:(aws|aws-cn|\\PC{0,3}):(ec2|rds|s3|sns|\\PC{0,4}):[a-z0-9-]{0,9}:[0-9]{0,13}:\\PC{0,40}") {
        bodies::arn(text.as_bytes());
    }

    #[test]
    fn schedules_survive(text in "[0-9*/,#L@ -]{0,30}|\\PC{0,40}|([0-9*]{1,2}(/[0-9])? ){4}[A-Z0-9#*]{1,5}\n(Europe|Asia|Etc)/[A-Za-z]{3,8}") {
        bodies::schedule(text.as_bytes());
    }
}
