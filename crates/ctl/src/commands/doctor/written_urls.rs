//! URLs of the HTTP endpoint that were written into files and variables. After a rotation, a change
//! of the port or a loss of the master secret, programs with such a URL are refused.

use std::{env, fs, path::PathBuf};

use stsd_client::Client;
use stsd_model::ProfileName;

use crate::report::Finding;

/// Files in the home directory in which tools keep such a URL.
const FILES: [&str; 4] = [
    ".ossutilconfig",
    ".aliyun/config.json",
    ".aws/config",
    ".aws/credentials",
];

/// Variables that hold such a URL.
const VARIABLES: [&str; 3] = [
    "ALIBABA_CLOUD_CREDENTIALS_URI",
    "ALICLOUD_CREDENTIALS_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Maximum size of such a file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Number of hex digits of a secret.
const SECRET_CHARS: usize = 64;

/// The start of each URL of stsd.
const PREFIX: &str = "http://127.0.0.1:";

/// A URL with its parts.
#[derive(Debug, PartialEq, Eq)]
struct WrittenUrl<'a> {
    url: &'a str,
    port: &'a str,
    profile: &'a str,
}

/// Compares the written URLs with the current ones. `address` is that of the HTTP endpoint; `None`
/// if no URL is served.
pub(super) fn check(client: &Client, address: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, text, fix) in places() {
        for written in find(&text) {
            findings.extend(stale(client, address, &place, &written, fix));
        }
    }
    findings
}

/// Returns the places with their texts, and the fix of a stale URL there.
fn places() -> Vec<(String, String, &'static str)> {
    const OF_VARIABLE: &str = "start programs with stsctl exec, or run stsctl env again";
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let mut places = Vec::new();
    for name in FILES {
        let path = home.join(name);
        let is_small = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() <= MAX_FILE_BYTES)
        };
        let text = Some(&path).filter(|it| is_small(it));
        if let Some(Ok(text)) = text.map(fs::read_to_string) {
            let fix = match name {
                ".ossutilconfig" => "stsctl setup ossutil1 PROFILE --write, with the same profile",
                _ => "replace it by the output of stsctl url PROFILE",
            };
            places.push((path.display().to_string(), text, fix));
        }
    }
    for name in VARIABLES {
        if let Ok(text) = env::var(name) {
            places.push((name.to_owned(), text, OF_VARIABLE));
        }
    }
    places
}

fn stale(
    client: &Client,
    address: Option<&str>,
    place: &str,
    written: &WrittenUrl<'_>,
    fix: &str,
) -> Option<Finding> {
    let WrittenUrl { url, port, profile } = written;
    let Some(address) = address else {
        let remark = format!("a URL of the profile {profile} is in it, and no URL is served");
        return Some(Finding::warning(place, remark, fix));
    };
    if address.rsplit(':').next() != Some(port) {
        let remark = format!("a URL with port {port} is in it, and the HTTP endpoint is {address}");
        return Some(Finding::warning(place, remark, fix));
    }
    match client.url(profile) {
        Ok(current) if current.url.expose() == *url => None,
        Ok(_) => {
            let remark = format!("the URL of the profile {profile} in it has an old secret");
            Some(Finding::fault(place, remark, fix))
        }
        Err(error) => {
            let remark = format!("a URL of the profile {profile} is in it: {error}");
            Some(Finding::fault(place, remark, error.hint()))
        }
    }
}

/// Returns the URLs of stsd in a text.
fn find(text: &str) -> Vec<WrittenUrl<'_>> {
    let starts = text.match_indices(PREFIX);
    starts.filter_map(|(at, _)| parse(&text[at..])).collect()
}

/// Parses the URL at the start of a text: `http://127.0.0.1:PORT/SECRET/PROFILE`.
fn parse(text: &str) -> Option<WrittenUrl<'_>> {
    let (port, rest) = text.strip_prefix(PREFIX)?.split_once('/')?;
    let (secret, rest) = rest.split_once('/')?;
    let is_secret = secret.len() == SECRET_CHARS && secret.bytes().all(|it| it.is_ascii_hexdigit());
    let is_name = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    let end = rest.find(|it| !is_name(it)).unwrap_or(rest.len());
    let profile = &rest[..end];
    let is_url = is_secret && port.parse::<u16>().is_ok() && ProfileName::is_valid(profile);
    is_url.then(|| WrittenUrl {
        url: &text[..text.len() - rest.len() + end],
        port,
        profile,
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn urls_of_stsd_are_found_in_any_text() {
        let secret = "0123456789abcdef".repeat(4);
        let url = format!("http://127.0.0.1:7787/{secret}/oss-upload");
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<_> = find(text).iter().map(|it| it.url.to_owned()).collect();
            assert_eq!(found, expected, "{text}");
        };
        check(&url, &[&url]);
        check(&format!("[AkService]\necsAk = {url}\nx = 1\n"), &[&url]);
        check(
            &format!("{{\"a\":\"{url}\",\"b\":\"{url}\"}}"),
            &[&url, &url],
        );
        check(&format!("{url}/latest/api/token"), &[&url]);
        for other in [
            "http://127.0.0.1:7787/metrics".to_owned(),
            "http://127.0.0.1:7787/secret/oss-upload".to_owned(),
            format!("http://127.0.0.1:99999/{secret}/oss-upload"),
            format!("http://127.0.0.2:7787/{secret}/oss-upload"),
            format!("http://127.0.0.1:7787/{secret}/"),
        ] {
            check(&other, &[]);
        }
        let found = &find(&url)[0];
        assert_eq!((found.port, found.profile), ("7787", "oss-upload"));
    }
}
