//! The table `[http]`: the address of the HTTP endpoint, and the master secret of its URLs.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
};

use serde::Deserialize;
use stsd_codes::Code;
use stsd_secret::SecretText;

use super::{context::ReadContext, spanned::Spanned, suggestion::shown};
use crate::{config::HttpConfig, identity::secret_file};

/// Number of digits of a master secret.
const SECRET_CHARS: usize = 64;

/// Maximum size of its file, which has one line.
const MAX_FILE_BYTES: usize = 256;

/// Minimum number of different digits of a master secret. 64 random digits have fewer with a
/// probability below 2^-50.
const MIN_DIFFERENT_DIGITS: usize = 9;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    /// `"127.0.0.1:PORT"`, and no other address; port 0 picks one.
    listen: Option<Spanned<String>>,
    /// A file with the secret from which the secrets of the URLs are derived: 64 random hex digits
    /// (`openssl rand -hex 32`), mode 0600, as for a key file. A reload reads it again.
    secret_file: Option<Spanned<String>>,
}

/// Returns the HTTP endpoint; `None` if the table has an error.
pub(super) fn read_http(context: &mut ReadContext<'_>, raw: &RawHttp) -> Option<HttpConfig> {
    let address = match &raw.listen {
        Some(listen) => address(context, listen),
        None => Some((Ipv4Addr::LOCALHOST, context.environment.http_port).into()),
    };
    let master = match &raw.secret_file {
        Some(file) if !context.is_portable() => Some(master(context, file)?),
        _ => None,
    };
    Some(HttpConfig {
        address: address?,
        master,
    })
}

fn address(context: &mut ReadContext<'_>, listen: &Spanned<String>) -> Option<SocketAddr> {
    match listen.get_ref().parse() {
        Ok(SocketAddr::V4(address)) if *address.ip() == Ipv4Addr::LOCALHOST => Some(address.into()),
        _ => {
            let problem = format!("{} is not 127.0.0.1 with a port", shown(listen.get_ref()));
            let hint = "write listen = \"127.0.0.1:7787\"; port 0 picks one, and without listen \
                        the port is this user's own; ::1, 127.0.0.2 and names are not served";
            context.error_at(
                Code::ConfigInvalidValue,
                listen.span().start,
                "http.listen",
                &problem,
                hint,
            );
            None
        }
    }
}

fn master(context: &mut ReadContext<'_>, file: &Spanned<String>) -> Option<SecretText> {
    const KEY: &str = "http.secret_file";
    const EXPECTED: &str = "write 64 random hex digits there: openssl rand -hex 32";
    let at = file.span().start;
    let path = context.use_text_of(file.get_ref(), at);
    let text = match secret_file::read(&path, MAX_FILE_BYTES) {
        Ok(text) => text,
        Err(error) => {
            let problem = format!("{} {error}", path.display());
            context.error_at(
                error.code(),
                at,
                KEY,
                &problem,
                &error.hint(EXPECTED, EXPECTED),
            );
            return None;
        }
    };
    let digits = text.strip_suffix('\n').unwrap_or(&text);
    match check(digits) {
        Ok(()) => Some(digits.to_ascii_lowercase().into()),
        Err(problem) => {
            let problem = format!("{} {problem}", path.display());
            context.error_at(Code::ConfigKeyFile, at, KEY, &problem, EXPECTED);
            None
        }
    }
}

/// Checks the form of a master secret, and refuses patterns that no random source produces.
fn check(digits: &str) -> Result<(), &'static str> {
    let bytes = digits.as_bytes();
    if bytes.len() != SECRET_CHARS || !bytes.iter().all(u8::is_ascii_hexdigit) {
        return Err("does not hold 64 hex digits on one line");
    }
    let different: BTreeSet<_> = bytes.iter().map(u8::to_ascii_lowercase).collect();
    let repeats = |period: usize| bytes[period..] == bytes[..SECRET_CHARS - period];
    if different.len() < MIN_DIFFERENT_DIGITS || (1..=SECRET_CHARS / 2).any(repeats) {
        return Err("holds a pattern instead of a random secret");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn master_secret_is_64_hex_digits_without_a_pattern() {
        let random = "8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d";
        assert_eq!(check(random), Ok(()));
        assert_eq!(check(&random.to_uppercase()), Ok(()));
        let block = "0123456789abcdef";
        for pattern in [
            "ab".repeat(32),
            "0".repeat(64),
            "abcdefg0".replace('g', "1").repeat(8),
            block.repeat(4),
            random[..32].repeat(2),
            format!("{}0", "123".repeat(21)),
            format!("{}{}", "0".repeat(60), "1234"),
        ] {
            let refused = check(&pattern).unwrap_err();
            assert!(refused.contains("pattern"), "{pattern}");
        }
        for malformed in [
            "",
            &random[1..],
            &format!("{random}0"),
            &format!("{random}\n"),
        ] {
            assert!(
                check(malformed).unwrap_err().contains("64 hex"),
                "{malformed}"
            );
        }
        assert!(check(&random.replace('8', "g")).is_err());
    }
}
