//! Decides what the tools and the older library of OSS are told.

use anyhow::{Context as _, Result, ensure};

use super::{
    alibaba::BY_URL,
    document::{Needs, minutes},
    tool::{Named, TheirFile, Tool, Wanted, Way, at_home},
};
use crate::{
    edit::ini::{Ini, Pair, with_section},
    tool_name::ToolName,
};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: ToolName::Ossutil1,
        about: "ossutil 1, by the URL",
        way: Way::File(TheirFile {
            path: || at_home(".ossutilconfig"),
            with,
            names,
            private: true,
        }),
        snippet: |wanted| {
            let endpoint = endpoint(wanted)?;
            let url = url(wanted)?;
            Ok(format!(
                "[Credentials]\nendpoint = {endpoint}\n\n[AkService]\necsAk = {url}\n"
            ))
        },
        note: "in ~/.ossutilconfig, mode 0600; it has the secret of the URLs:",
        needs: BY_URL,
        shadows: &[],
    },
    Tool {
        name: ToolName::Ossutil2,
        about: "ossutil 2, by keys in its environment",
        way: Way::Keys,
        snippet: |wanted| {
            Ok(format!(
                "stsctl exec {} --static -- ossutil ls\n",
                wanted.profile
            ))
        },
        note: "in a shell; the keys end when the session does:",
        needs: BY_COMMAND,
        shadows: &[],
    },
    Tool {
        name: ToolName::Ossfs,
        about: "ossfs 1.91.9 or newer",
        way: Way::Shim,
        snippet: |wanted| {
            let (command, endpoint) = (&wanted.command, endpoint(wanted)?);
            Ok(format!(
                "ossfs BUCKET DIRECTORY -ourl=https://{endpoint} -ocredential_process='{command}'\n"
            ))
        },
        note: "in a shell, as a user whom the daemon serves:",
        needs: BY_COMMAND,
        shadows: &[],
    },
    Tool {
        name: ToolName::Ossfs2,
        about: "ossfs 2",
        way: Way::Shim,
        snippet: |wanted| {
            let (command, endpoint) = (&wanted.command, endpoint(wanted)?);
            Ok(format!(
                "--oss_endpoint=https://{endpoint}\n--oss_bucket=BUCKET\n\
                 --credential_process={command}\n"
            ))
        },
        note: "in its configuration, as a user whom the daemon serves:",
        needs: BY_COMMAND,
        shadows: &[],
    },
    Tool {
        name: ToolName::Oss2,
        about: "oss2 for Python, by the URL",
        way: Way::Url,
        snippet: |wanted| {
            let (endpoint, region) = (endpoint(wanted)?, wanted.region()?);
            Ok(OSS2
                .replace("@PROFILE@", &wanted.profile)
                .replace("@ENDPOINT@", &endpoint)
                .replace("@REGION@", region))
        },
        note: "in the program:",
        needs: Needs {
            keys: &[
                "Code",
                "AccessKeyId",
                "AccessKeySecret",
                "SecurityToken",
                "Expiration",
                "LastUpdated",
            ],
            window: minutes(9),
            silent: false,
        },
        shadows: &[],
    },
];

/// Both of ossfs ask again with less than twenty minutes.
const BY_COMMAND: Needs = Needs {
    keys: &[
        "AccessKeyId",
        "AccessKeySecret",
        "SecurityToken",
        "Expiration",
    ],
    window: minutes(20),
    silent: false,
};

const OSS2: &str = r#"# stsctl exec @PROFILE@ -- python program.py
import os

import oss2
from oss2.credentials import EcsRamRoleCredentialsProvider

uri = os.environ["ALIBABA_CLOUD_CREDENTIALS_URI"]
auth = oss2.ProviderAuthV4(EcsRamRoleCredentialsProvider(uri))
bucket = oss2.Bucket(auth, "https://@ENDPOINT@", "BUCKET", region="@REGION@")
"#;

/// It stands in the file, for its owner alone.
fn url(wanted: &Wanted) -> Result<&str> {
    let url = wanted.url.as_ref().context("the daemon's URL")?;
    Ok(url.expose())
}

fn endpoint(wanted: &Wanted) -> Result<String> {
    Ok(format!("oss-{}.aliyuncs.com", wanted.region()?))
}

fn with(text: Option<&str>, wanted: &Wanted) -> Result<String> {
    let text = text.unwrap_or_default();
    let ini = Ini::read(text)?;
    let there = ini.value("AkService", "ecsAk")?.unwrap_or_default();
    ensure!(
        there.is_empty() || there.starts_with("http://127.0.0.1:"),
        "its ecsAk is somebody else's"
    );
    ensure!(
        ini.value("Credentials", "accessKeyID")?
            .is_none_or(str::is_empty),
        "it has a key of its own, accessKeyID in [Credentials]; take that out first"
    );
    let mut text = text.to_owned();
    if ini
        .value("Credentials", "endpoint")?
        .is_none_or(str::is_empty)
    {
        let pair = Pair::new("endpoint", endpoint(wanted)?);
        text = with_section(&text, "Credentials", &[pair])?;
    }
    with_section(&text, "AkService", &[Pair::new("ecsAk", url(wanted)?)])
}

fn names(text: &str, _: &Wanted) -> Result<Named> {
    let ini = Ini::read(text)?;
    let url = ini.value("AkService", "ecsAk")?;
    let url = url.context("it has no ecsAk in [AkService]; --write adds it")?;
    Ok(Named::Url(url.to_owned()))
}
