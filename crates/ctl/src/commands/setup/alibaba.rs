//! The setup of aliyun-cli, the credentials libraries and Terraform.

use anyhow::{Result, bail, ensure};
use stsctl::{
    aliyun_profiles,
    aliyun_profiles::{MARK_PROBLEM, has_unreadable_mark},
};
use stsd_document::Printable;

use super::{
    document::{DocumentRequirements, minutes},
    env_overrides::{EnvOverride, ignores},
    tool::{CredentialRef, Delivery, SetupRequest, Tool, ToolConfigFile, home_path},
};
use crate::{
    edit::{file::Access, json::Profiles},
    report::Finding,
    tool_name::ToolName,
};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: ToolName::AliyunCli,
        about: "aliyun, by a profile of mode External",
        delivery: Delivery::File(ToolConfigFile {
            path: || home_path(".aliyun/config.json"),
            edit,
            find,
            warnings,
            access: Access::Unchanged,
        }),
        snippet: |request| profile(request, ""),
        note: "in ~/.aliyun/config.json, in the list \"profiles\":",
        needs: DocumentRequirements {
            keys: &["mode", "access_key_id", "access_key_secret", "sts_token"],
            refresh_window: minutes(0),
            rejects_stderr: false,
        },
        overrides: &[
            ignores("ALIBABA_CLOUD_IGNORE_PROFILE"),
            ignores("ALIBABACLOUD_IGNORE_PROFILE"),
            EnvOverride {
                name: "ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS",
                values: &["1", "true"],
                what: "keeps it from running commands and from asking URLs",
                is_fatal: true,
            },
        ],
    },
    Tool {
        name: ToolName::CredentialsPython,
        about: "alibabacloud-credentials for Python",
        delivery: Delivery::Url,
        snippet: |request| Ok(PYTHON.replace("@PROFILE@", &request.profile)),
        note: "in the program:",
        needs: BY_URL,
        overrides: &[proxy("HTTP_PROXY"), proxy("http_proxy")],
    },
    Tool {
        name: ToolName::CredentialsNode,
        about: "@alicloud/credentials for Node.js",
        delivery: Delivery::Url,
        snippet: |request| Ok(NODE.replace("@PROFILE@", &request.profile)),
        note: "in the program:",
        needs: BY_URL,
        overrides: &[],
    },
    Tool {
        name: ToolName::CredentialsGo,
        about: "github.com/aliyun/credentials-go",
        delivery: Delivery::Url,
        snippet: |request| Ok(GO.replace("@PROFILE@", &request.profile)),
        note: "in the program:",
        needs: BY_URL,
        overrides: &[],
    },
    Tool {
        name: ToolName::CredentialsJava,
        about: "com.aliyun:credentials-java",
        delivery: Delivery::Url,
        snippet: |request| Ok(JAVA.replace("@PROFILE@", &request.profile)),
        note: "in the program:",
        needs: BY_URL,
        overrides: &[],
    },
    Tool {
        name: ToolName::Terraform,
        about: "the provider aliyun/alicloud",
        delivery: Delivery::Url,
        snippet: |request| Ok(TERRAFORM.replace("@PROFILE@", &request.profile)),
        note: "in a shell; it asks once, so it has to end before the session does:",
        needs: BY_URL,
        overrides: &[],
    },
];

/// The union of the keys that consumers of a credentials URI read.
pub(super) const BY_URL: DocumentRequirements = DocumentRequirements {
    keys: &[
        "Code",
        "AccessKeyId",
        "AccessKeySecret",
        "SecurityToken",
        "Expiration",
    ],
    refresh_window: minutes(15),
    rejects_stderr: false,
};

const PYTHON: &str = r#"# stsctl exec @PROFILE@ -- python program.py
import os

from alibabacloud_credentials.client import Client
from alibabacloud_credentials.models import Config

uri = os.environ["ALIBABA_CLOUD_CREDENTIALS_URI"]
credentials = Client(Config(type="credentials_uri", credentials_uri=uri))
"#;

const NODE: &str = r#"// stsctl exec @PROFILE@ -- node program.js
const { default: Credential, Config } = require("@alicloud/credentials");

const credentialsURI = process.env.ALIBABA_CLOUD_CREDENTIALS_URI;
const credentials = new Credential(new Config({ type: "credentials_uri", credentialsURI }));
"#;

const GO: &str = r#"// stsctl exec @PROFILE@ -- ./program
config := new(credentials.Config).
	SetType("credentials_uri").
	SetURLCredential(os.Getenv("ALIBABA_CLOUD_CREDENTIALS_URI"))
credential, err := credentials.NewCredential(config)
"#;

const JAVA: &str = r#"// stsctl exec @PROFILE@ -- java -jar program.jar
Config config = new Config();
config.setType("credentials_uri");
config.setCredentialsUri(System.getenv("ALIBABA_CLOUD_CREDENTIALS_URI"));
Client credentials = new Client(config);
"#;

const TERRAFORM: &str = "stsctl exec @PROFILE@ --min-life 25m -- terraform apply\n";

const fn proxy(name: &'static str) -> EnvOverride {
    EnvOverride {
        name,
        values: &[],
        what: "sends its question, and the URL's secret, to the proxy: this library looks at no \
               NO_PROXY; use `stsctl exec --static`, or unset it",
        is_fatal: true,
    }
}

/// Returns the keys that stsctl sets; the name comes first.
fn pairs(request: &SetupRequest) -> Vec<(&str, &str)> {
    let mut pairs = vec![
        ("name", request.name.as_str()),
        ("mode", "External"),
        ("process_command", request.command.as_str()),
    ];
    pairs.extend(request.region.as_deref().map(|it| ("region_id", it)));
    pairs
}

/// Other keys of a new profile.
const MORE: &[(&str, &str)] = &[("output_format", "json"), ("language", "en")];

fn profile(request: &SetupRequest, indent: &str) -> Result<String> {
    request.region()?;
    let pairs = pairs(request);
    let lines: Vec<_> = pairs
        .iter()
        .chain(MORE)
        .map(|(key, value)| format!("{indent}\t\"{key}\": \"{value}\""))
        .collect();
    Ok(format!("{{\n{}\n{indent}}}", lines.join(",\n")))
}

fn edit(text: Option<&str>, request: &SetupRequest) -> Result<String> {
    let Some(text) = text.filter(|it| !it.is_empty()) else {
        let (name, profile) = (&request.name, profile(request, "\t\t")?);
        return Ok(format!(
            "{{\n\t\"current\": \"{name}\",\n\t\"profiles\": [\n\t\t{profile}\n\t]\n}}\n"
        ));
    };
    let profiles = Profiles::read(text)?;
    let name = &request.name;
    if profiles.has(name)? {
        let value = |key| Ok::<_, anyhow::Error>(profiles.value(name, key)?.unwrap_or_default());
        let (mode, command) = (value("mode")?, value("process_command")?);
        let ours = command.is_empty() || command.contains("sts-shim");
        ensure!(
            ["", "External"].contains(&mode.as_str()) && ours,
            "its profile {name} was not written by stsctl; choose another name with --name"
        );
        if value("region_id")?.is_empty() {
            request.region()?;
        }
    } else {
        request.region()?;
    }
    let text = profiles.with(&pairs(request), MORE)?;
    let profiles = Profiles::read(&text)?;
    match profiles.missing_current()? {
        Some(_) => profiles.with_current(name),
        None => Ok(text),
    }
}

fn find(text: &str, request: &SetupRequest) -> Result<CredentialRef> {
    ensure!(!has_unreadable_mark(text.as_bytes()), MARK_PROBLEM);
    let profiles = Profiles::read(text)?;
    if let Some(problem) = profiles.mistyped() {
        let problem = Printable(&problem);
        bail!(
            "aliyun-cli cannot read the file, and each of its commands fails: {problem}; correct it"
        );
    }
    let name = &request.name;
    ensure!(
        profiles.has(name)?,
        "it has no profile {name}; --write adds it"
    );
    if let Some(current) = profiles.missing_current()? {
        let current = Printable(&current);
        bail!(
            "its \"current\" is {current}, which is no profile of it, so that each command of \
             aliyun-cli fails; --write names {name} there"
        );
    }
    let region = profiles.value(name, "region_id")?;
    ensure!(
        region.is_some_and(|it| !it.is_empty()),
        "its profile {name} has no region_id, without which aliyun-cli fails; --region REGION --write \
         sets it"
    );
    match (
        profiles.value(name, "mode")?.as_deref(),
        profiles.value(name, "process_command")?,
    ) {
        (Some("External"), Some(command)) => Ok(CredentialRef::Command(command)),
        _ => bail!("its profile {name} is not of mode External with a process_command"),
    }
}

/// Returns a warning if an SDK has found the profile and written a session into it.
fn warnings(text: &str, _: &SetupRequest) -> Vec<Finding> {
    let stale = aliyun_profiles::stale_secrets(text.as_bytes()).ok();
    let names = stale.map(|it| it.written_back.join(", "));
    let warning = names.filter(|it| !it.is_empty()).map(|names| {
        let remark = format!(
            "an SDK has written a session's secrets into it, in clear text: {names}; an SDK that \
             starts meanwhile can find the file half written"
        );
        let fix = "run programs by `stsctl exec`, and take access_key_id, access_key_secret and \
                   sts_token out of these profiles";
        Finding::warning("keys", remark, fix)
    });
    warning.into_iter().collect()
}
