//! House rules that no compiler knows.

use std::path::{Path, PathBuf};

/// A file longer than this holds more than one thing.
const LINES: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that git tracks or would track, relative to the root.
fn files() -> Vec<PathBuf> {
    let output = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout).unwrap();
    let files: Vec<PathBuf> = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|path| root().join(path).is_file())
        .collect();
    assert!(files.len() > 20, "only {} files found", files.len());
    files
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    let rust = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "rs");
    files().into_iter().filter(rust).map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        (path, text)
    })
}

/// The part of a source file before its unit tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} has no module doc on its first line", path.display());
    }
}

#[test]
fn source_files_stay_readable() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES, "{} has {lines} lines; split it by purpose", path.display());
    }
}

#[test]
fn nothing_shipped_panics_on_purpose() {
    let ships = |path: &Path| {
        let of_tests =
            |part: &std::ffi::OsStr| part == "tests" || part.to_string_lossy().ends_with("tests.rs");
        path.starts_with("src") && !path.iter().any(of_tests)
    };
    for (path, text) in sources().filter(|(path, _)| ships(path)) {
        for (number, line) in shipped(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for forbidden in
                [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("]
            {
                assert!(!code.contains(forbidden), "{}:{}: {forbidden}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn no_drawers() {
    for path in files() {
        for part in path.components() {
            let name = part.as_os_str().to_string_lossy().to_lowercase();
            for drawer in ["utils", "util.", "helper", "manager", "misc"] {
                assert!(!name.contains(drawer), "{} is named after nothing in the field", path.display());
            }
        }
    }
}

#[test]
fn no_tests_that_sleep_and_none_that_are_skipped() {
    // A benchmark may look at a process from time to time; it proves nothing by the clock.
    let tests = |path: &Path| path != Path::new("tests/it/tidy.rs") && !path.starts_with("benches");
    for (path, text) in sources().filter(|(path, _)| tests(path)) {
        for forbidden in ["thread::sleep", "#[ignore", "should_panic"] {
            assert!(!text.contains(forbidden), "{} contains {forbidden}", path.display());
        }
    }
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    let spoken = ["TODO", "FIXME", "XXX", "HACK"];
    let paths = ["/root/", "/home/", "/work/", "/Users/"];
    for path in files() {
        let lock = path.ends_with("Cargo.lock");
        if lock || path == Path::new("tests/it/tidy.rs") || path.ends_with("LICENSE") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let words = line.split(|symbol: char| !symbol.is_ascii_alphanumeric());
            let later = words.into_iter().find(|word| spoken.contains(word));
            assert!(later.is_none(), "{}:{}: {later:?}", path.display(), number + 1);
            let machine = paths.iter().find(|machine| line.contains(**machine));
            assert!(machine.is_none(), "{}:{}: {machine:?}", path.display(), number + 1);
        }
    }
}

#[test]
fn dependencies_bring_only_the_features_that_were_chosen() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for line in manifest.lines().filter(|line| line.contains("version = \"") && line.contains('{')) {
        assert!(line.contains("default-features = false"), "{line}");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let markdown = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    for path in files().into_iter().filter(markdown) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let place = root().join(path.parent().unwrap_or(Path::new(""))).join(target);
            assert!(place.exists(), "{} links to {link}, which is not there", path.display());
        }
    }
}
