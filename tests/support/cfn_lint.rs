//! cfn-lint: what AWS's own linter says of a `CloudFormation` template.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::chain;
use crate::python;

const REQUIREMENTS: &str = include_str!("../cfn-lint/requirements.txt");

/// What cfn-lint says of a template, its informational remarks included; `Err` with all of it unless it is clean.
#[track_caller]
pub fn cfn_lint(template: &str) -> Result<(), String> {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        python::installed("cfn-lint", REQUIREMENTS).unwrap_or_else(|error| panic!("{}", chain(&error)))
    });
    let mut child = Command::new(python.with_file_name("cfn-lint"))
        .args(["--include-checks", "I", "--non-zero-exit-code", "informational"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cfn-lint starts");
    let mut input = child.stdin.take().expect("its input is piped");
    input.write_all(template.as_bytes()).expect("cfn-lint reads the template");
    drop(input);
    let output = child.wait_with_output().expect("cfn-lint ends");
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::cfn_lint;

    #[test]
    fn a_template_that_is_wrong_is_not_clean() {
        let bad =
            "Resources:\n  Role:\n    Type: AWS::IAM::Role\n    Properties:\n      MaxSessionDuration: 1\n";
        let said = cfn_lint(bad).unwrap_err();
        assert!(said.contains("AssumeRolePolicyDocument") && said.contains("E3034"), "{said}");
    }
}
