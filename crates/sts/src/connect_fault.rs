//! The causes of a failed connection. They are told apart because each has another fix.

use std::{error::Error, io};

use rustls::CertificateError;

/// The cause of a failed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFault {
    /// This machine has no certificate authority, so that no server can be verified.
    NoAuthority,
    /// The variables name no certificate authorities that can be used.
    UnusableAuthorities,
    /// No authority that this machine trusts has signed the certificate.
    Untrusted,
    /// The certificate is for other names.
    OtherName,
    /// By this machine's clock the certificate has expired, or is not valid yet.
    Time,
    /// The peer does not speak TLS.
    NotTls,
    /// Any other cause in TLS.
    OtherTls,
    /// A variable names a proxy that cannot be used.
    UnusableProxy,
    /// The proxy refuses to connect to the endpoint.
    ProxyRefused,
    /// The proxy requires a user and a password, or other ones.
    ProxyAuthentication,
}

/// Returns the innermost cause of an error, on which a person can act, in words. `reqwest::Error`
/// prints the whole URL otherwise.
#[must_use]
pub(crate) fn innermost_cause(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source()?;
    loop {
        let tls = cause.downcast_ref();
        if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) = tls {
            return Some(certificate_problem(&other.to_string()));
        }
        match inner(cause) {
            Some(deeper) => cause = deeper,
            None => return Some(cause.to_string()),
        }
    }
}

impl ConnectFault {
    /// Returns the correction by a person.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoAuthority => {
                "install the package ca-certificates, after which the next attempt succeeds; or set \
                 SSL_CERT_FILE to a file of authorities, or SSL_CERT_DIR to a directory, in the \
                 daemon's environment, and start stsd again"
            }
            Self::UnusableAuthorities => {
                "set SSL_CERT_FILE to a file of certificates in PEM form, or SSL_CERT_DIR to a \
                 directory of such files with names as by openssl rehash, in the daemon's \
                 environment, or unset the variable for those of the system; then start stsd again"
            }
            Self::Untrusted => {
                "install ca-certificates; if a proxy or the endpoint has an authority of its own, \
                 add the authority by update-ca-certificates, or name its file in SSL_CERT_FILE in \
                 the daemon's environment; then start stsd again"
            }
            Self::OtherName => {
                "correct endpoint or region; if both are right, a proxy between this machine and \
                 STS answers in its place"
            }
            Self::Time => {
                "set this machine's clock (timedatectl set-ntp true); if the clock is right, the \
                 operator of the endpoint or the proxy has to renew the certificate"
            }
            Self::NotTls => {
                "correct endpoint, which speaks no TLS at this port; if the endpoint is right, a \
                 proxy or firewall between this machine and STS cuts the connection: set \
                 HTTPS_PROXY in the daemon's environment if there is a proxy"
            }
            Self::OtherTls => {
                "check the proxies between this machine and STS: the connection needs TLS 1.2 or \
                 1.3 and a certificate that is valid for the endpoint"
            }
            Self::UnusableProxy => {
                "set the variable to http://HOST:PORT or socks5h://HOST:PORT in the daemon's \
                 environment; in a user or a password write # as %23, / as %2F, ? as %3F, @ as %40 \
                 and % as %25; or list the host in NO_PROXY; then start stsd again"
            }
            Self::ProxyRefused => {
                "have the operator of the proxy allow connections to that host at port 443, or list \
                 the host in NO_PROXY in the daemon's environment and start stsd again"
            }
            Self::ProxyAuthentication => {
                "correct the user and the password in the variable, http://USER:PASSWORD@HOST:PORT, \
                 in the daemon's environment, and start stsd again"
            }
        }
    }

    /// Returns the TLS failure among the causes of an error; `None` if there is none.
    pub(crate) fn of_tls(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref() {
                return Some(Self::of_rustls(tls));
            }
            let io = error.downcast_ref::<io::Error>();
            // tokio-rustls returns this error for a peer that closes before its first TLS record.
            if io.is_some_and(|it| it.kind() == io::ErrorKind::UnexpectedEof) {
                return Some(Self::NotTls);
            }
            next = inner(error);
        }
        None
    }

    fn of_rustls(error: &rustls::Error) -> Self {
        use rustls::Error as Tls;
        match error {
            Tls::InvalidCertificate(error) => match error {
                // A bad signature is of an authority with the name of a trusted one and another
                // key: the authority was created again.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Untrusted,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Time,
                _ => Self::OtherTls,
            },
            Tls::InvalidMessage(_) => Self::NotTls,
            _ => Self::OtherTls,
        }
    }
}

/// Returns the error inside an error. `source()` of an I/O error skips the error inside and returns
/// that error's source.
fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let io = error.downcast_ref::<io::Error>();
    match io.and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Returns the problem of a certificate in words; `name` is the name of the library's variant.
fn certificate_problem(name: &str) -> String {
    if name == "UnsupportedCertVersion" {
        return "invalid peer certificate: X.509 of another version than 3".to_owned();
    }
    let mut words = String::from("invalid peer certificate:");
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::certificate_problem;

    #[test]
    fn certificate_problem_is_no_name_of_a_variant() {
        let check = |name, words| {
            let problem = certificate_problem(name);
            assert_eq!(problem, format!("invalid peer certificate: {words}"));
        };
        check("UnsupportedCertVersion", "X.509 of another version than 3");
        check("MalformedExtensions", "malformed extensions");
    }
}
