//! The file of the user: the key, the role and the bucket.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use stsd_sts::{Endpoint, SecretText};
use toml::{Table, Value};

/// A file as this program reads it.
pub(crate) const EXAMPLE: &str = "\
# For `cargo xtask live FILE`. Only its owner may read this file: chmod 600 FILE.
region = \"cn-hongkong\"
bucket = \"examplebucket\"
role_arn = \"acs:ram::123456789012:role/stsd-live\"

# The AccessKey of a RAM user: a key file of stsd (man stsd-config), relative to this file,
access_key_file = \"uploader.key\"
# or, in place of access_key_file, the key itself:
# access_key_id = \"LTAI...\"
# access_key_secret = \"...\"

# For a try against `stsd-emulator --tls DIR`, with SSL_CERT_FILE=DIR/ca.pem in the environment:
# sts_endpoint = \"https://127.0.0.1:7780\"
# oss_endpoint = \"https://127.0.0.1:7781\"
";

/// The keys of the file.
const KEYS: [&str; 8] = [
    "region",
    "bucket",
    "role_arn",
    "access_key_file",
    "access_key_id",
    "access_key_secret",
    "sts_endpoint",
    "oss_endpoint",
];

/// Bits of a mode for others than the owner.
const OTHERS: u32 = 0o077;

/// The file of the user.
pub(crate) struct Settings {
    pub(crate) key: AccessKey,
    pub(crate) role: Role,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) sts: Endpoint,
    pub(crate) oss: Endpoint,
}

/// The AccessKey of a RAM user.
pub(crate) enum AccessKey {
    /// The absolute path of a key file, which the daemon reads.
    File(PathBuf),
    /// The key itself.
    Pair { id: String, secret: SecretText },
}

/// The role.
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) account: String,
    pub(crate) name: String,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// The file, the key and the remedy, and no value that may be a secret.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let table = parse(&private_text(path)?).map_err(|it| format!("{shown}{it}"))?;
        Self::from_table(&table, path).map_err(|reason| {
            format!("{shown}: {reason} (hint: cargo xtask live --example prints such a file)")
        })
    }

    fn from_table(table: &Table, path: &Path) -> Result<Self, String> {
        if let Some(unknown) = table.keys().find(|it| !KEYS.contains(&it.as_str())) {
            return Err(format!("the key {unknown:?} is not known"));
        }
        let region = required(table, "region")?;
        let bucket = required(table, "bucket")?;
        if !is_bucket(bucket) {
            return Err(format!(
                "bucket = {bucket:?}: a name is 3 to 63 of a-z, 0-9 and hyphens"
            ));
        }
        let endpoint =
            |key: &str, usual: &dyn Fn() -> Result<Endpoint, String>| match optional(table, key)? {
                Some(url) => Endpoint::custom(url).map_err(|it| format!("{key} = {url:?}: {it}")),
                None => usual(),
            };
        let in_region = |it: Result<Endpoint, stsd_sts::BadEndpoint>| {
            it.map_err(|error| format!("region = {region:?}: {error}"))
        };
        Ok(Self {
            key: access_key(table, path)?,
            role: Role::parse(required(table, "role_arn")?)?,
            bucket: bucket.to_owned(),
            sts: endpoint("sts_endpoint", &|| in_region(Endpoint::regional(region)))?,
            oss: endpoint("oss_endpoint", &|| {
                in_region(Endpoint::regional(region))?;
                in_region(Endpoint::custom(&format!(
                    "https://oss-{region}.aliyuncs.com"
                )))
            })?,
            region: region.to_owned(),
        })
    }
}

impl AccessKey {
    /// Returns the texts of the key that a report must not show, and their name in the mask. Of a file,
    /// which the daemon reads, each word counts as one.
    pub(crate) fn texts(&self) -> Vec<(String, &'static str)> {
        match self {
            Self::Pair { id, secret } => vec![
                (id.clone(), "<key-id>"),
                // For the comparison with the texts of the report.
                (secret.expose().to_owned(), "<secret>"),
            ],
            Self::File(path) => {
                let text = fs::read_to_string(path).unwrap_or_default();
                let words = text.split(|c: char| c.is_whitespace() || "\"',=".contains(c));
                // The names of the keys are no secrets.
                let words = words.filter(|it| !it.starts_with("access_key_"));
                let words = words.map(|it| (it.to_owned(), "<secret>"));
                let path = (path.display().to_string(), "<key-file>");
                words.chain([path]).collect()
            }
        }
    }
}

impl Role {
    /// Reads `acs:ram::ACCOUNT:role/NAME`.
    fn parse(arn: &str) -> Result<Self, String> {
        let parts = arn.strip_prefix("acs:ram::");
        let parts = parts.and_then(|it| it.split_once(":role/"));
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match parts {
            Some((account, name))
                if !account.is_empty()
                    && account.bytes().all(|it| it.is_ascii_digit())
                    && !name.is_empty()
                    && name.chars().all(is_name) =>
            {
                Ok(Self {
                    arn: arn.to_owned(),
                    account: account.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err(format!(
                "role_arn = {arn:?}: an ARN of a role is acs:ram::ACCOUNT:role/NAME"
            )),
        }
    }
}

/// Reads a regular file that belongs to this user alone.
fn private_text(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("{shown}: cannot be read: {error}");
    // A FIFO is not opened, because it has no end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{shown}: this is no regular file"));
    }
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    if owner != user {
        return Err(format!(
            "{shown}: it belongs to the user {owner}, and this is the user {user} (hint: copy the file \
             as this user, with mode 0600)"
        ));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(format!(
            "{shown}: mode {mode:04o} permits other users to use the key (hint: chmod 600 {shown})"
        ));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Reads TOML. The error has the line alone, because the line may hold the secret.
fn parse(text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|it| **it == b'\n')
            .count()
            + 1;
        format!(":{line}: this line is no TOML (hint: cargo xtask live --example)")
    })
}

fn optional<'t>(table: &'t Table, key: &str) -> Result<Option<&'t str>, String> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(format!("{key} must be a text")),
    }
}

fn required<'t>(table: &'t Table, key: &str) -> Result<&'t str, String> {
    optional(table, key)?.ok_or_else(|| format!("{key} is missing"))
}

fn access_key(table: &Table, path: &Path) -> Result<AccessKey, String> {
    let id = optional(table, "access_key_id")?;
    let secret = optional(table, "access_key_secret")?;
    match (optional(table, "access_key_file")?, id, secret) {
        (Some(file), None, None) => {
            let directory = path.parent().unwrap_or(Path::new(""));
            let file = std::path::absolute(directory.join(file));
            let file = file.map_err(|error| format!("access_key_file: {error}"))?;
            Ok(AccessKey::File(file))
        }
        (None, Some(id), Some(secret)) => Ok(AccessKey::Pair {
            id: id.to_owned(),
            secret: secret.to_owned().into(),
        }),
        _ => Err(
            "either access_key_file, or access_key_id with access_key_secret, is required"
                .to_owned(),
        ),
    }
}

fn is_bucket(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&name.len()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{AccessKey, EXAMPLE, Settings, parse};

    fn read(text: &str) -> Result<Settings, String> {
        Settings::from_table(&parse(text)?, Path::new("/home/jo/live.toml"))
    }

    #[test]
    fn example_is_a_file_with_the_endpoints_of_its_region() {
        let settings = read(EXAMPLE).unwrap();
        assert_eq!(settings.role.account, "123456789012");
        assert_eq!(settings.role.name, "stsd-live");
        assert_eq!(settings.sts.authority(), "sts.cn-hongkong.aliyuncs.com");
        assert_eq!(settings.oss.authority(), "oss-cn-hongkong.aliyuncs.com");
        let AccessKey::File(path) = settings.key else {
            panic!("the example names a file");
        };
        assert_eq!(path, Path::new("/home/jo/uploader.key"));
    }

    #[test]
    fn unusable_file_is_refused_by_key() {
        let check = |from: &str, to: &str, words: &str| {
            assert!(EXAMPLE.contains(from), "{from}");
            let error = read(&EXAMPLE.replace(from, to)).err().unwrap();
            assert!(error.contains(words), "{to}: {error}");
        };
        check("bucket = ", "pail = ", "\"pail\" is not known");
        check("bucket = ", "# bucket = ", "bucket is missing");
        check("examplebucket", "A/b", "bucket = \"A/b\"");
        check("cn-hongkong", "cn hongkong", "region = \"cn hongkong\"");
        check("role/", "user/", "role_arn = ");
        check("# access_key_id", "access_key_id", "either access_key_file");
        check(
            "# oss_endpoint = \"https",
            "oss_endpoint = \"ftp",
            "oss_endpoint = ",
        );
        check(
            "\"uploader.key\"",
            "SecretWithoutQuotes",
            ":7: this line is no TOML",
        );
    }
}
