//! `docs/reliability.md` promises behaviours and names the test that proves each.

use std::path::Path;

/// Words in backquotes that read like the name of a test: at least four parts in snake case.
fn named(page: &str) -> Vec<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    let snake = |name: &&str| {
        name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    quoted.filter(snake).filter(|name| name.matches('_').count() >= 3).collect()
}

fn tests_of(directory: &Path, found: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_of(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn the_page_names_tests_that_exist_and_every_fault_that_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let mut sources = String::new();
    for directory in ["src", "tests"] {
        tests_of(&root.join(directory), &mut sources);
    }
    let names = named(&page);
    assert!(names.len() > 40, "only {} tests are named", names.len());
    for name in &names {
        assert!(sources.contains(&format!("#[test]\nfn {name}()")), "there is no test `{name}`");
    }
    for file in ["faults", "entering", "pace", "paging"] {
        let source = std::fs::read_to_string(root.join(format!("tests/it/{file}.rs"))).unwrap();
        for name in source.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            assert!(names.contains(&name), "the page does not tell of `{name}` ({file}.rs)");
        }
    }
}
