//! The version of the installed aws-cli.

use std::{path::Path, process::Command};

use crate::{report::Finding, subprocess};

/// The first versions that read `endpoint_url` of a profile, by the changelogs of aws-cli.
const ENDPOINT_URL_SINCE: [[u32; 2]; 2] = [[1, 29], [2, 13]];

/// Returns a warning if the installed aws-cli does not read `endpoint_url`.
pub(super) fn endpoint_url_warning(endpoint: &str) -> Option<Finding> {
    let path = subprocess::find("aws")?;
    let mut command = Command::new(&path);
    command.arg("--version");
    let output = subprocess::run(command, None).ok()?;
    of(&path, &String::from_utf8_lossy(&output.stdout), endpoint)
}

/// Returns `None` for a version that reads the key, and for an unknown output.
fn of(path: &Path, output: &str, endpoint: &str) -> Option<Finding> {
    let (version, _) = output.strip_prefix("aws-cli/")?.split_once(' ')?;
    let mut numbers = version.split('.').map(|it| it.parse().ok());
    let [major, minor] = [numbers.next()??, numbers.next()??];
    let reads = ENDPOINT_URL_SINCE
        .iter()
        .any(|since| since[0] == major && since[1] <= minor);
    if reads || major > 2 {
        return None;
    }
    let remark = format!(
        "aws-cli {major}.{minor} reads no endpoint_url, and sends its requests to amazonaws.com"
    );
    let fix = format!("give it --endpoint-url {endpoint}, or install aws-cli 2.13 or newer");
    Some(Finding::warning(path.display().to_string(), remark, fix))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::of;

    #[test]
    fn old_aws_cli_is_recognized_by_its_version() {
        let warns = |version: &str| of(Path::new("aws"), version, "https://x").is_some();
        for version in ["1.22.34", "1.28.9", "2.9.19", "2.12.7"] {
            assert!(
                warns(&format!("aws-cli/{version} Python/3.11.2 Linux\n")),
                "{version}"
            );
        }
        for version in ["1.29.0", "1.45.11", "2.13.0", "2.30.1", "3.0.0", "x.1"] {
            assert!(
                !warns(&format!("aws-cli/{version} Python/3.11.2 Linux\n")),
                "{version}"
            );
        }
        assert!(!warns("pyenv: aws: command not found"));
    }
}
