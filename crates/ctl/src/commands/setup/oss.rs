//! The setup of the OSS tools and of the older OSS library.

use anyhow::{Context as _, Result, ensure};

use super::{
    alibaba::BY_URL,
    document::{DocumentRequirements, minutes},
    tool::{CredentialRef, Delivery, SetupRequest, Tool, ToolConfigFile, home_path},
};
use crate::{
    edit::{
        file::Access,
        ini::{Ini, Pair, with_section},
    },
    tool_name::ToolName,
};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: ToolName::Ossutil1,
        about: "ossutil 1, by the URL",
        delivery: Delivery::File(ToolConfigFile {
            path: || home_path(".ossutilconfig"),
            edit,
            find,
            warnings: ToolConfigFile::NO_WARNINGS,
            access: Access::OwnerOnly,
        }),
        snippet: |request| {
            let endpoint = endpoint(request)?;
            let url = url(request)?;
            Ok(format!(
                "[Credentials]\nendpoint = {endpoint}\n\n[AkService]\necsAk = {url}\n"
            ))
        },
        note: "in ~/.ossutilconfig, mode 0600; it has the secret of the URL:",
        needs: BY_URL,
        overrides: &[],
    },
    Tool {
        name: ToolName::Ossutil2,
        about: "ossutil 2, by keys in its environment",
        delivery: Delivery::StaticKeys,
        snippet: |request| {
            Ok(format!(
                "stsctl exec {} --static -- ossutil ls\n",
                request.profile
            ))
        },
        note: "in a shell; the keys end when the session does:",
        needs: BY_COMMAND,
        overrides: &[],
    },
    Tool {
        name: ToolName::Ossfs,
        about: "ossfs 1.91.9 or newer",
        delivery: Delivery::Shim,
        snippet: |request| {
            let (command, endpoint) = (&request.command, endpoint(request)?);
            Ok(format!(
                "ossfs BUCKET DIRECTORY -ourl=https://{endpoint} -ocredential_process='{command}'\n"
            ))
        },
        note: "in a shell, as a user that the daemon serves; -odbglevel=info would log the keys:",
        needs: BY_COMMAND,
        overrides: &[],
    },
    Tool {
        name: ToolName::Ossfs2,
        about: "ossfs 2",
        delivery: Delivery::Shim,
        snippet: |request| {
            let (command, endpoint) = (&request.command, endpoint(request)?);
            Ok(format!(
                "--oss_endpoint=https://{endpoint}\n--oss_bucket=BUCKET\n\
                 --credential_process={command}\n"
            ))
        },
        note: "in its configuration, as a user that the daemon serves; the role needs \
               oss:ListObjects:",
        needs: BY_COMMAND,
        overrides: &[],
    },
    Tool {
        name: ToolName::Oss2,
        about: "oss2 for Python, by the URL",
        delivery: Delivery::Url,
        snippet: |request| {
            let (endpoint, region) = (endpoint(request)?, request.region()?);
            Ok(OSS2
                .replace("@PROFILE@", &request.profile)
                .replace("@ENDPOINT@", &endpoint)
                .replace("@REGION@", region))
        },
        note: "in the program:",
        needs: DocumentRequirements {
            keys: &[
                "Code",
                "AccessKeyId",
                "AccessKeySecret",
                "SecurityToken",
                "Expiration",
                "LastUpdated",
            ],
            refresh_window: minutes(9),
            rejects_stderr: false,
        },
        overrides: &[],
    },
];

/// Both versions of ossfs refresh at less than twenty minutes.
const BY_COMMAND: DocumentRequirements = DocumentRequirements {
    keys: &[
        "AccessKeyId",
        "AccessKeySecret",
        "SecurityToken",
        "Expiration",
    ],
    refresh_window: minutes(20),
    rejects_stderr: false,
};

const OSS2: &str = r#"# stsctl exec @PROFILE@ -- python program.py
import os

import oss2
from oss2.credentials import EcsRamRoleCredentialsProvider

uri = os.environ["ALIBABA_CLOUD_CREDENTIALS_URI"]
auth = oss2.ProviderAuthV4(EcsRamRoleCredentialsProvider(uri))
bucket = oss2.Bucket(auth, "https://@ENDPOINT@", "BUCKET", region="@REGION@")
"#;

/// Returns the URL, which the file holds with mode 0600.
fn url(request: &SetupRequest) -> Result<&str> {
    let url = request.url.as_ref().context("the daemon's URL")?;
    Ok(url.expose())
}

fn endpoint(request: &SetupRequest) -> Result<String> {
    Ok(format!("oss-{}.aliyuncs.com", request.region()?))
}

fn edit(text: Option<&str>, request: &SetupRequest) -> Result<String> {
    let text = text.unwrap_or_default();
    let ini = Ini::read(text)?;
    let there = ini.value("AkService", "ecsAk")?.unwrap_or_default();
    ensure!(
        there.is_empty() || there.starts_with("http://127.0.0.1:"),
        "its ecsAk was not written by stsctl; remove it first"
    );
    reject_own_key(&ini)?;
    let mut text = text.to_owned();
    if ini
        .value("Credentials", "endpoint")?
        .is_none_or(str::is_empty)
    {
        let pair = Pair::new("endpoint", endpoint(request)?);
        text = with_section(&text, "Credentials", &[pair])?;
    }
    with_section(&text, "AkService", &[Pair::new("ecsAk", url(request)?)])
}

/// Fails for a file with an AccessKey, which ossutil prefers to the URL.
fn reject_own_key(ini: &Ini<'_>) -> Result<()> {
    let id = ini.value("Credentials", "accessKeyID")?;
    ensure!(
        id.is_none_or(str::is_empty),
        "it has a key of its own, accessKeyID in [Credentials]; take that out first"
    );
    Ok(())
}

fn find(text: &str, _: &SetupRequest) -> Result<CredentialRef> {
    let ini = Ini::read(text)?;
    reject_own_key(&ini)?;
    let url = ini.value("AkService", "ecsAk")?;
    let url = url.context("it has no ecsAk in [AkService]; --write adds it")?;
    Ok(CredentialRef::Url(url.to_owned()))
}
