//! Decides what aliyun-cli, the credentials libraries and Terraform are told.

use anyhow::{Result, bail, ensure};

use super::{
    document::{Needs, minutes},
    env_overrides::{Shadow, ignores},
    tool::{Named, TheirFile, Tool, Wanted, Way, at_home},
};
use crate::{edit::json::Profiles, tool_name::ToolName};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: ToolName::AliyunCli,
        about: "aliyun, by a profile of mode External",
        way: Way::File(TheirFile {
            path: || at_home(".aliyun/config.json"),
            with,
            names,
            private: false,
        }),
        snippet: |wanted| profile(wanted, ""),
        note: "in ~/.aliyun/config.json, in the list \"profiles\":",
        needs: Needs {
            keys: &["mode", "access_key_id", "access_key_secret", "sts_token"],
            window: minutes(0),
            silent: false,
        },
        shadows: &[
            ignores("ALIBABA_CLOUD_IGNORE_PROFILE"),
            ignores("ALIBABACLOUD_IGNORE_PROFILE"),
            Shadow {
                name: "ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS",
                values: &["1", "true"],
                what: "keeps it from running commands and from asking URLs",
                fatal: true,
            },
        ],
    },
    Tool {
        name: ToolName::CredentialsPython,
        about: "alibabacloud-credentials for Python",
        way: Way::Url,
        snippet: |wanted| Ok(PYTHON.replace("@PROFILE@", &wanted.profile)),
        note: "in the program:",
        needs: BY_URL,
        shadows: &[proxy("HTTP_PROXY"), proxy("http_proxy")],
    },
    Tool {
        name: ToolName::CredentialsNode,
        about: "@alicloud/credentials for Node.js",
        way: Way::Url,
        snippet: |wanted| Ok(NODE.replace("@PROFILE@", &wanted.profile)),
        note: "in the program:",
        needs: BY_URL,
        shadows: &[],
    },
    Tool {
        name: ToolName::CredentialsGo,
        about: "github.com/aliyun/credentials-go",
        way: Way::Url,
        snippet: |wanted| Ok(GO.replace("@PROFILE@", &wanted.profile)),
        note: "in the program:",
        needs: BY_URL,
        shadows: &[],
    },
    Tool {
        name: ToolName::CredentialsJava,
        about: "com.aliyun:credentials-java",
        way: Way::Url,
        snippet: |wanted| Ok(JAVA.replace("@PROFILE@", &wanted.profile)),
        note: "in the program:",
        needs: BY_URL,
        shadows: &[],
    },
    Tool {
        name: ToolName::Terraform,
        about: "the provider aliyun/alicloud",
        way: Way::Url,
        snippet: |wanted| Ok(TERRAFORM.replace("@PROFILE@", &wanted.profile)),
        note: "in a shell; it asks once, so it has to end before the session does:",
        needs: BY_URL,
        shadows: &[],
    },
];

/// What all that take a credentials URI read, between them.
pub(super) const BY_URL: Needs = Needs {
    keys: &[
        "Code",
        "AccessKeyId",
        "AccessKeySecret",
        "SecurityToken",
        "Expiration",
    ],
    window: minutes(15),
    silent: false,
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

const fn proxy(name: &'static str) -> Shadow {
    Shadow {
        name,
        values: &[],
        what: "sends its question, and the URL's secret, to the proxy: this library looks at no \
               NO_PROXY; use `stsctl exec --static`, or unset it",
        fatal: true,
    }
}

/// The pairs that are ours; the name comes first.
fn pairs(wanted: &Wanted) -> Vec<(&str, &str)> {
    let mut pairs = vec![
        ("name", wanted.name.as_str()),
        ("mode", "External"),
        ("process_command", wanted.command.as_str()),
    ];
    pairs.extend(wanted.region.as_deref().map(|it| ("region_id", it)));
    pairs
}

/// What a new profile has besides.
const MORE: &[(&str, &str)] = &[("output_format", "json"), ("language", "en")];

fn profile(wanted: &Wanted, indent: &str) -> Result<String> {
    wanted.region()?;
    let pairs = pairs(wanted);
    let lines: Vec<_> = pairs
        .iter()
        .chain(MORE)
        .map(|(key, value)| format!("{indent}\t\"{key}\": \"{value}\""))
        .collect();
    Ok(format!("{{\n{}\n{indent}}}", lines.join(",\n")))
}

fn with(text: Option<&str>, wanted: &Wanted) -> Result<String> {
    let Some(text) = text.filter(|it| !it.is_empty()) else {
        let (name, profile) = (&wanted.name, profile(wanted, "\t\t")?);
        return Ok(format!(
            "{{\n\t\"current\": \"{name}\",\n\t\"profiles\": [\n\t\t{profile}\n\t]\n}}\n"
        ));
    };
    let profiles = Profiles::read(text)?;
    let name = &wanted.name;
    if profiles.has(name)? {
        let value = |key| Ok::<_, anyhow::Error>(profiles.value(name, key)?.unwrap_or_default());
        let (mode, command) = (value("mode")?, value("process_command")?);
        let ours = command.is_empty() || command.contains("sts-shim");
        ensure!(
            ["", "External"].contains(&mode.as_str()) && ours,
            "it has a profile {name} that is somebody else's; choose another name with --name"
        );
        if value("region_id")?.is_empty() {
            wanted.region()?;
        }
    } else {
        wanted.region()?;
    }
    profiles.with(&pairs(wanted), MORE)
}

fn names(text: &str, wanted: &Wanted) -> Result<Named> {
    ensure!(
        !text.starts_with('\u{feff}'),
        "it begins with a byte order mark, which aliyun-cli cannot read"
    );
    let profiles = Profiles::read(text)?;
    let name = &wanted.name;
    ensure!(
        profiles.has(name)?,
        "it has no profile {name}; --write adds it"
    );
    match (
        profiles.value(name, "mode")?.as_deref(),
        profiles.value(name, "process_command")?,
    ) {
        (Some("External"), Some(command)) => Ok(Named::Command(command)),
        _ => bail!("its profile {name} is not of mode External with a process_command"),
    }
}
