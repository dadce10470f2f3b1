//! The certificate authorities of this machine. They are loaded for an HTTPS request, and only then:
//! a minimal image has none, and a daemon that needs none must start there.

use std::{env, ffi::OsString, path::PathBuf};

use rustls::RootCertStore;
use stsd_document::printable_start;

/// The variables that name the authorities in place of the system's.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// No authority was loaded, so that no server can be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate authority was loaded: {reason}")]
pub struct NoAuthority {
    reason: String,
    /// A variable names the authorities.
    by_variable: bool,
}

impl NoAuthority {
    /// Returns `true` if a variable names the authorities, which the system's do not replace.
    #[must_use]
    pub fn is_of_variable(&self) -> bool {
        self.by_variable
    }
}

/// Loads the authorities.
///
/// # Errors
/// [`NoAuthority`], with the variables and the files.
pub(crate) fn load() -> Result<RootCertStore, NoAuthority> {
    let is_set = |name: &&str| env::var_os(name).is_some_and(|it| !it.is_empty());
    let by_variable = VARIABLES.iter().any(is_set);
    let found = if by_variable {
        rustls_native_certs::load_native_certs()
    } else {
        // An empty variable is none, as for other programs.
        let usual = openssl_probe::probe();
        rustls_native_certs::load_certs_from_paths(
            usual.cert_file.as_deref(),
            usual.cert_dir.first().map(PathBuf::as_path),
        )
    };
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(found.certs);
    if !authorities.is_empty() {
        return Ok(authorities);
    }
    let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    let reason = reason(|name| env::var_os(name), &errors);
    Err(NoAuthority {
        reason: printable_start(&reason, 300),
        by_variable,
    })
}

/// Returns the reason in words: where the authorities were looked for, and the first error.
fn reason(variable: impl Fn(&str) -> Option<OsString>, errors: &[String]) -> String {
    let set = VARIABLES.iter().filter_map(|name| {
        let value = variable(name).filter(|it| !it.is_empty())?;
        Some(format!("{name}={}", value.to_string_lossy()))
    });
    let set: Vec<_> = set.collect();
    // The bytes of a file follow some errors.
    let first = errors
        .first()
        .map(|it| it.split(": [").next().unwrap_or(it));
    match (set.is_empty(), first) {
        (true, None) => "this system has none in the usual directories".to_owned(),
        (true, Some(error)) => error.to_owned(),
        (false, None) => format!(
            "{} has no certificate in PEM form (BEGIN CERTIFICATE)",
            set.join(" ")
        ),
        (false, Some(error)) => format!("{}: {error}", set.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn reason_names_the_variables_and_the_error() {
        let check = |file: Option<&str>, errors: &[&str], expected: &str| {
            let variable = |name: &str| file.filter(|_| name == "SSL_CERT_FILE").map(Into::into);
            let errors: Vec<_> = errors.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(reason(variable, &errors), expected);
        };
        check(None, &[], "this system has none in the usual directories");
        check(
            Some("/x"),
            &["no such file"],
            "SSL_CERT_FILE=/x: no such file",
        );
        check(
            Some(""),
            &[],
            "this system has none in the usual directories",
        );
        check(
            Some("/x"),
            &["missing section end marker: [67, 69]"],
            "SSL_CERT_FILE=/x: missing section end marker",
        );
        check(
            Some("/x"),
            &[],
            "SSL_CERT_FILE=/x has no certificate in PEM form (BEGIN CERTIFICATE)",
        );
    }
}
