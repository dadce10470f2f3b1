//! `stsctl setup`: prints the configuration of a tool, edits the tool's file, or checks that the
//! tool would get credentials.

mod alibaba;
mod aws_cli;
mod check;
mod document;
mod env_overrides;
mod http_get;
mod oss;
mod s3;
mod tool;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use stsd_client::Client;
use tool::{Delivery, SetupRequest, Tool, ToolConfigFile};

use crate::{
    cli::Setup,
    edit::{
        file,
        file::{Access, EditableFile, WriteOutcome},
    },
    error::UsageError,
    report::{self, Severity},
    subprocess,
    term::stdout::{print_json, print_line},
    tool_name::ToolName,
};

/// Returns all tools in the order of the list.
fn tools() -> impl Iterator<Item = &'static Tool> {
    [alibaba::TOOLS, oss::TOOLS, s3::TOOLS]
        .into_iter()
        .flatten()
}

/// The program of each tool that has one.
const PROGRAMS: &[(&str, ToolName)] = &[
    ("aliyun", ToolName::AliyunCli),
    ("terraform", ToolName::Terraform),
    ("ossutil64", ToolName::Ossutil1),
    ("ossutil", ToolName::Ossutil1),
    ("ossutil", ToolName::Ossutil2),
    ("ossfs", ToolName::Ossfs),
    ("ossfs2", ToolName::Ossfs2),
    ("aws", ToolName::Aws),
    ("rclone", ToolName::Rclone),
    ("duckdb", ToolName::Duckdb),
];

/// Returns the installed tools, and whether `--write` edits a file of each. Both versions of
/// ossutil have the same program name.
pub(crate) fn installed() -> Vec<(ToolName, bool)> {
    let is_there = |tool: &&Tool| {
        let mut programs = PROGRAMS.iter().filter(|(_, it)| *it == tool.name);
        programs.any(|(program, _)| subprocess::find(program).is_some())
    };
    let with_file = |tool: &Tool| (tool.name, matches!(tool.delivery, Delivery::File(_)));
    tools().filter(is_there).map(with_file).collect()
}

pub(crate) fn run(client: &Client, typed: &Setup) -> Result<ExitCode> {
    let Some(name) = typed.tool else {
        list(typed.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let tool = tools().find(|it| it.name == name);
    let tool = tool.context("this tool has no entry in the tables of setup")?;
    let mut request = SetupRequest::of(client, typed)?;
    if typed.check {
        let findings = check::findings(tool, &request, client);
        let worst = report::print(&findings)?;
        return Ok(ExitCode::from(u8::from(worst == Severity::Fault)));
    }
    let file = match &tool.delivery {
        Delivery::File(file) => Some(file),
        _ => None,
    };
    if typed.write && file.is_some() {
        check_profile(client, &request.profile)?;
    }
    if file.is_some_and(|it| it.access == Access::OwnerOnly) {
        let url = client.url(&request.profile)?;
        request.url = Some(url.url);
    }
    match (typed.write, file) {
        (false, _) => {
            let snippet = (tool.snippet)(&request)?;
            let mut stderr = io::stderr().lock();
            let _ = writeln!(stderr, "{}", tool.note);
            drop(stderr);
            print_line(snippet.trim_end())?;
        }
        (true, None) => bail!(UsageError(format!(
            "there is no file to write for {}; without --write the snippet is printed",
            tool.name
        ))),
        (true, Some(file)) => write(tool.name, file, &request)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(as_json: bool) -> Result<()> {
    if as_json {
        let all = tools().map(|tool| {
            let writes = matches!(tool.delivery, Delivery::File(_));
            json!({"tool": tool.name.as_str(), "about": tool.about, "writes": writes})
        });
        return print_json(&all.collect::<Vec<_>>());
    }
    for tool in tools() {
        let file = match &tool.delivery {
            Delivery::File(_) => " (--write)",
            _ => "",
        };
        print_line(&format!("{:20}{}{file}", tool.name, tool.about))?;
    }
    Ok(())
}

/// Timeout of the check; the daemon rejects an unknown profile at once.
const PROFILE_CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Fails if the daemon does not know the profile. Other errors are ignored: the tool's file may be
/// written before the daemon runs.
fn check_profile(client: &Client, profile: &str) -> Result<()> {
    const UNKNOWN: u8 = 4;
    match client.credentials(profile, Duration::ZERO, PROFILE_CHECK_TIMEOUT) {
        Err(error) if error.exit_code() == UNKNOWN => Err(error.into()),
        _ => Ok(()),
    }
}

fn write(tool: ToolName, config: &ToolConfigFile, request: &SetupRequest) -> Result<()> {
    let path = (config.path)()?;
    let shown = path.display();
    let _lock = file::lock(&path)?;
    let file = EditableFile::open(&path)?;
    let text = (config.edit)(file.text()?, request)
        .with_context(|| format!("{shown} is left as it is"))?;
    match file.write_with_backup(&text, config.access)? {
        WriteOutcome::Unchanged => print_line(&format!("{shown}: is as it should be")),
        WriteOutcome::Created => print_line(&format!("{shown}: written")),
        WriteOutcome::Replaced(backup) => print_line(&format!(
            "{shown}: changed; what was there before the first change is in {}",
            backup.display()
        )),
    }?;
    if config.access == Access::OwnerOnly {
        print_line(
            "it holds the secret of this URL: mode 0600, and anew after `stsctl url --rotate`",
        )?;
    }
    print_line(&format!(
        "check it with: stsctl setup {tool} {} --check",
        request.profile
    ))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::{Delivery, SetupRequest, tools};
    use crate::tool_name::ToolName;

    fn sample() -> SetupRequest {
        SetupRequest {
            profile: "oss-upload".to_owned(),
            name: "oss-upload".to_owned(),
            region: Some("cn-hongkong".to_owned()),
            command: "/usr/bin/sts-shim oss-upload".to_owned(),
            url: Some("http://127.0.0.1:7787/SECRET/oss-upload".to_owned().into()),
        }
    }

    #[test]
    fn every_tool_name_has_one_entry_in_the_order_of_the_list() {
        let entries: Vec<_> = tools().map(|tool| tool.name).collect();
        assert_eq!(entries, ToolName::value_variants());
    }

    #[test]
    fn programs_page_has_the_printed_snippets() {
        let page = include_str!("../../../../docs/programs.md");
        for tool in tools() {
            let snippet = (tool.snippet)(&sample()).unwrap();
            let section = page
                .split("\n## ")
                .find(|it| it.starts_with(&format!("`{}`", tool.name)));
            let section = section.unwrap_or_else(|| panic!("no section {}", tool.name));
            assert!(
                section.contains(&format!("\n{}\n```", snippet.trim_end())),
                "{snippet}"
            );
        }
    }

    #[test]
    fn tool_config_edit_is_idempotent() {
        for tool in tools() {
            let Delivery::File(file) = &tool.delivery else {
                continue;
            };
            let request = sample();
            let text = (file.edit)(None, &request).unwrap();
            assert_eq!(
                (file.edit)(Some(&text), &request).unwrap(),
                text,
                "{}",
                tool.name
            );
            let snippet = (tool.snippet)(&request).unwrap();
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            assert!(
                bare(&text).contains(&bare(&snippet)),
                "{}: {text}",
                tool.name
            );
        }
    }
}
