//! The setup of tools that use the S3 protocol with OSS.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{
    aws_cli,
    document::{DocumentRequirements, minutes},
    env_overrides::{EnvOverride, keys},
    tool::{CredentialRef, Delivery, SetupRequest, Tool, ToolConfigFile, home_path},
};
use crate::{
    edit::{
        file::{Access, EditableFile},
        ini::{Ini, Pair, with_section},
    },
    report::Finding,
    tool_name::ToolName,
};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: ToolName::Aws,
        about: "boto3, aws-cli and the other AWS SDKs, by a profile",
        delivery: Delivery::File(ToolConfigFile {
            path: config,
            edit: edit_aws,
            find: find_aws,
            warnings: warnings_aws,
            access: Access::Unchanged,
        }),
        snippet: |request| section(&header(&request.name), &pairs_aws(request)?),
        note: "in ~/.aws/config:",
        needs: BY_COMMAND,
        overrides: KEYS,
    },
    Tool {
        name: ToolName::Rclone,
        about: "rclone, by the profile of `aws`",
        delivery: Delivery::File(ToolConfigFile {
            path: rclone,
            edit: edit_rclone,
            find: find_rclone,
            warnings: ToolConfigFile::NO_WARNINGS,
            access: Access::Unchanged,
        }),
        snippet: |request| section(&request.name, &pairs_rclone(request)?),
        note: "in ~/.config/rclone/rclone.conf, once `stsctl setup aws` has been done:",
        needs: BY_COMMAND,
        overrides: KEYS,
    },
    Tool {
        name: ToolName::Duckdb,
        about: "DuckDB, by the profile of `aws`",
        delivery: Delivery::OtherToolsFile(ToolConfigFile {
            path: config,
            edit: edit_aws,
            find: find_aws,
            warnings: ToolConfigFile::NO_WARNINGS,
            access: Access::Unchanged,
        }),
        snippet: |request| {
            Ok(DUCKDB
                .replace("@NAME@", &request.name)
                .replace("@REGION@", request.region()?))
        },
        note: "in a session, once `stsctl setup aws` has been done; a PERSISTENT SECRET would write \
               the keys into ~/.duckdb:",
        needs: DocumentRequirements {
            rejects_stderr: true,
            ..BY_COMMAND
        },
        overrides: &[],
    },
    Tool {
        name: ToolName::Polars,
        about: "Polars, delta-rs and all on object_store, by the URL",
        delivery: Delivery::UrlAndTokenFile,
        snippet: |request| {
            Ok(POLARS
                .replace("@PROFILE@", &request.profile)
                .replace("@REGION@", request.region()?))
        },
        note: "in the program:",
        needs: DocumentRequirements {
            keys: &["AccessKeyId", "SecretAccessKey", "Token", "Expiration"],
            refresh_window: minutes(5),
            rejects_stderr: false,
        },
        overrides: &[],
    },
];

/// botocore refreshes at less than fifteen minutes.
const BY_COMMAND: DocumentRequirements = DocumentRequirements {
    keys: &[
        "AccessKeyId",
        "SecretAccessKey",
        "SessionToken",
        "Expiration",
    ],
    refresh_window: minutes(15),
    rejects_stderr: false,
};

/// The key of an AWS SDK's `s3` block that OSS requires.
const STYLE: &str = "addressing_style";
const VIRTUAL: &str = "virtual";

const KEYS: &[EnvOverride] = &[keys("AWS_ACCESS_KEY_ID"), keys("AWS_ACCESS_KEY")];

const DUCKDB: &str = "CREATE SECRET (
    TYPE s3, PROVIDER credential_chain, CHAIN 'process', PROFILE '@NAME@', REFRESH auto,
    REGION 'oss-@REGION@', ENDPOINT 'oss-@REGION@.aliyuncs.com', URL_STYLE 'vhost'
);
";

const POLARS: &str = r#"# stsctl exec @PROFILE@ -- python program.py
import polars

frame = polars.scan_parquet(
    "s3://BUCKET/*.parquet",
    storage_options={
        "aws_region": "oss-@REGION@",
        "aws_endpoint_url": "https://BUCKET.oss-@REGION@.aliyuncs.com",
        "aws_virtual_hosted_style_request": "true",
    },
)
"#;

fn config() -> Result<PathBuf> {
    match variable("AWS_CONFIG_FILE") {
        Some(path) => Ok(path),
        None => home_path(".aws/config"),
    }
}

fn rclone() -> Result<PathBuf> {
    match (variable("RCLONE_CONFIG"), variable("XDG_CONFIG_HOME")) {
        (Some(path), _) => Ok(path),
        (None, Some(configs)) => Ok(configs.join("rclone/rclone.conf")),
        (None, None) => home_path(".config/rclone/rclone.conf"),
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|it| !it.is_empty());
    value.and_then(|it| std::path::absolute(it).ok())
}

/// Returns the header of a profile; only `default` has no prefix.
fn header(name: &str) -> String {
    match name {
        "default" => name.to_owned(),
        _ => format!("profile {name}"),
    }
}

fn pairs_aws(request: &SetupRequest) -> Result<Vec<Pair>> {
    let region = request.region()?;
    Ok(vec![
        Pair::new("credential_process", &request.command),
        Pair::new("region", format!("oss-{region}")).unless_there(),
        Pair::new(
            "endpoint_url",
            format!("https://s3.oss-{region}.aliyuncs.com"),
        )
        .unless_there(),
        // Without these, newer SDKs upload with aws-chunked encoding, which OSS rejects.
        Pair::new("request_checksum_calculation", "when_required").unless_there(),
        Pair::new("response_checksum_validation", "when_required").unless_there(),
        // OSS accepts only virtual-hosted addressing.
        Pair::new("s3", "\n    addressing_style = virtual").unless_there(),
    ])
}

fn pairs_rclone(request: &SetupRequest) -> Result<Vec<Pair>> {
    let region = request.region()?;
    Ok(vec![
        Pair::new("type", "s3"),
        Pair::new("provider", "Alibaba"),
        Pair::new("env_auth", "true"),
        Pair::new("profile", &request.name),
        Pair::new("region", format!("oss-{region}")).unless_there(),
        Pair::new("endpoint", format!("oss-{region}.aliyuncs.com")).unless_there(),
        // Without this line, rclone creates the bucket before an upload, and a refusal of that is fatal.
        Pair::new("no_check_bucket", "true"),
    ])
}

fn section(name: &str, pairs: &[Pair]) -> Result<String> {
    with_section("", name, pairs)
}

fn edit_aws(text: Option<&str>, request: &SetupRequest) -> Result<String> {
    let text = text.unwrap_or_default();
    let header = header(&request.name);
    let ini = Ini::read(text)?;
    ensure_ours(!ini.has_key(&header, is_foreign_to_aws)?, request)?;
    let command = ini.value(&header, "credential_process")?;
    ensure_ours(command.is_none_or(|it| it.contains("sts-shim")), request)?;
    // An endpoint of another server without the shim's command was not written by stsctl.
    let endpoint = ini.value(&header, "endpoint_url")?;
    ensure_ours(command.is_some() || endpoint.is_none_or(is_of_oss), request)?;
    let block = ini.value(&header, "s3")?;
    let style = ini.value_below(&header, "s3", STYLE)?;
    ensure!(
        block.is_none_or(str::is_empty) && style.is_none_or(|it| it == VIRTUAL),
        "OSS refuses what [{header}] says of s3; it needs the line `    {STYLE} = {VIRTUAL}` below \
         `s3 =`"
    );
    with_section(text, &header, &pairs_aws(request)?)
}

fn edit_rclone(text: Option<&str>, request: &SetupRequest) -> Result<String> {
    let text = text.unwrap_or_default();
    let encrypted = text.lines().any(|it| it.starts_with("RCLONE_ENCRYPT_V"));
    ensure!(
        !encrypted,
        "it is encrypted; paste the snippet by `rclone config`"
    );
    let ini = Ini::read(text)?;
    let name = &request.name;
    // A remote of another server would get the session.
    let is_ours = has_our_server(&ini, name)? && !ini.has_key(name, is_foreign_to_rclone)?;
    let is = |key, expected: &str| {
        Ok::<_, anyhow::Error>(ini.value(name, key)?.is_none_or(|it| it == expected))
    };
    ensure_ours(
        is_ours && is("type", "s3")? && is("profile", name)?,
        request,
    )?;
    ensure_ours(
        ini.value(name, "access_key_id")?.is_none_or(str::is_empty),
        request,
    )?;
    with_section(text, name, &pairs_rclone(request)?)
}

/// Returns `true` for a key of a profile that selects other credentials or another server.
fn is_foreign_to_aws(key: &str) -> bool {
    const OTHERS: [&str; 9] = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "role_arn",
        "source_profile",
        "credential_source",
        "web_identity_token_file",
        "login_session",
        "services",
    ];
    key.starts_with("sso_") || OTHERS.contains(&key)
}

/// Returns `true` for a key of a remote that selects other credentials or another server.
fn is_foreign_to_rclone(key: &str) -> bool {
    ["shared_credentials_file", "role_arn", "sts_endpoint"].contains(&key)
}

/// Returns `true` if a remote's provider and endpoint, if set, are those of OSS.
fn has_our_server(ini: &Ini, name: &str) -> Result<bool> {
    let provider = ini.value(name, "provider")?.unwrap_or_default();
    let endpoint = ini.value(name, "endpoint")?.unwrap_or_default();
    Ok(["", "Alibaba"].contains(&provider) && (endpoint.is_empty() || is_of_oss(endpoint)))
}

/// Returns `true` for an endpoint of Alibaba Cloud.
fn is_of_oss(endpoint: &str) -> bool {
    let scheme = ["https://", "http://"]
        .iter()
        .find_map(|it| endpoint.strip_prefix(it));
    let host = scheme.unwrap_or(endpoint);
    let host = host.strip_suffix('/').unwrap_or(host);
    // A user name, port or path could make another part the host.
    let plain = |it: u8| it.is_ascii_alphanumeric() || b".-".contains(&it);
    host.bytes().all(plain) && host.ends_with(".aliyuncs.com")
}

/// Fails for an entry that stsctl has not written.
fn ensure_ours(is: bool, request: &SetupRequest) -> Result<()> {
    let name = &request.name;
    ensure!(
        is,
        "its {name} was not written by stsctl; choose another name with --name"
    );
    Ok(())
}

fn find_aws(text: &str, request: &SetupRequest) -> Result<CredentialRef> {
    ensure!(
        !text.starts_with('\u{feff}'),
        "it begins with a byte order mark, which botocore cannot read"
    );
    let header = header(&request.name);
    let ini = Ini::read(text)?;
    let command = ini.value(&header, "credential_process")?;
    let command = command.with_context(|| {
        format!("it has no credential_process in [{header}]; `stsctl setup aws --write` adds it")
    })?;
    ensure!(
        ini.value_below(&header, "s3", STYLE)? == Some(VIRTUAL),
        "OSS refuses it without the line `    {STYLE} = {VIRTUAL}` below `s3 =` in [{header}]"
    );
    ensure!(
        !ini.has_key(&header, is_foreign_to_aws)?,
        "its [{header}] takes credentials from elsewhere, too"
    );
    // Keys in the credentials file take precedence.
    let other = match variable("AWS_SHARED_CREDENTIALS_FILE") {
        Some(path) => path,
        None => home_path(".aws/credentials")?,
    };
    if let Some(text) = EditableFile::open(&other)?.text()? {
        let key = Ini::read(text)?.value(&request.name, "aws_access_key_id")?;
        ensure!(
            key.is_none(),
            "{} has keys for {}, which win",
            other.display(),
            request.name
        );
    }
    Ok(CredentialRef::Command(command.to_owned()))
}

/// Returns a warning if an installed aws-cli would not read the endpoint.
fn warnings_aws(text: &str, request: &SetupRequest) -> Vec<Finding> {
    let endpoint =
        Ini::read(text).and_then(|ini| ini.value(&header(&request.name), "endpoint_url"));
    let endpoint = endpoint.ok().flatten().filter(|it| is_of_oss(it));
    let warning = endpoint.and_then(aws_cli::endpoint_url_warning);
    warning.into_iter().collect()
}

fn find_rclone(text: &str, request: &SetupRequest) -> Result<CredentialRef> {
    let ini = Ini::read(text)?;
    let name = &request.name;
    let is = |key, expected: &str| Ok::<_, anyhow::Error>(ini.value(name, key)? == Some(expected));
    ensure!(
        is("type", "s3")? && is("env_auth", "true")? && is("profile", name)?,
        "it has no remote {name} as this command writes it; --write adds it"
    );
    ensure!(
        is("provider", "Alibaba")? && has_our_server(&ini, name)?,
        "its remote {name} is of another provider or endpoint than OSS"
    );
    ensure!(
        !ini.has_key(name, is_foreign_to_rclone)?,
        "its remote {name} takes its credentials from elsewhere"
    );
    ensure!(
        is("no_check_bucket", "true")?,
        "an upload to {name} would first create the bucket, and fails where the role may not; \
         `no_check_bucket = true` prevents this; --write adds it"
    );
    let path = config()?;
    let shown = path.display();
    let place = EditableFile::open(&path)?;
    let text = place.text()?;
    let text = text.with_context(|| format!("{shown} is missing; `stsctl setup aws --write`"))?;
    find_aws(text, request).with_context(|| format!("{shown}"))
}

#[cfg(test)]
mod tests {
    use super::is_of_oss;

    #[test]
    fn oss_endpoint_is_recognized() {
        for endpoint in [
            "oss-cn-hongkong.aliyuncs.com",
            "https://s3.oss-cn-hongkong-internal.aliyuncs.com/",
        ] {
            assert!(is_of_oss(endpoint), "{endpoint}");
        }
        for endpoint in [
            "http://minio.example:9000",
            "oss.aliyuncs.com.example",
            "https://oss.aliyuncs.com:80@minio.example",
            "minio.example/.aliyuncs.com",
            "minio.example#.aliyuncs.com",
            "oss-aliyuncs.com",
        ] {
            assert!(!is_of_oss(endpoint), "{endpoint}");
        }
    }
}
