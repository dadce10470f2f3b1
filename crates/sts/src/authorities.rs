//! The certificate authorities of this machine. They are loaded for an HTTPS request, and only then:
//! a minimal image has none, and a daemon that needs none must start there.

use std::{env, ffi::OsString};

use rustls::RootCertStore;
use stsd_document::printable_start;

/// The variables that name the authorities in place of the system's.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// No authority was loaded, so that no server can be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate authority was loaded: {0}")]
pub struct NoAuthority(String);

/// Loads the authorities.
///
/// # Errors
/// [`NoAuthority`], with the variables and the files.
pub(crate) fn load() -> Result<RootCertStore, NoAuthority> {
    let found = rustls_native_certs::load_native_certs();
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(found.certs);
    if !authorities.is_empty() {
        return Ok(authorities);
    }
    let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    let reason = reason(|name| env::var_os(name), &errors);
    Err(NoAuthority(printable_start(&reason, 300)))
}

/// Returns the reason in words: where the authorities were looked for, and the first error.
fn reason(variable: impl Fn(&str) -> Option<OsString>, errors: &[String]) -> String {
    let set = VARIABLES.iter().filter_map(|name| {
        let value = variable(name)?;
        Some(format!("{name}={}", value.to_string_lossy()))
    });
    let set: Vec<_> = set.collect();
    match (set.is_empty(), errors.first()) {
        (true, None) => "this system has none in the usual directories".to_owned(),
        (true, Some(error)) => error.clone(),
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
            Some("/x"),
            &[],
            "SSL_CERT_FILE=/x has no certificate in PEM form (BEGIN CERTIFICATE)",
        );
    }
}
