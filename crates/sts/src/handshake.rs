//! The causes of a failed TLS handshake. They are told apart because each has another fix.

use std::{error::Error, io};

use rustls::CertificateError;

/// The cause of a failed TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// No authority that this machine trusts has signed the certificate.
    Untrusted,
    /// The certificate is for other names.
    OtherName,
    /// By this machine's clock the certificate has expired, or is not valid yet.
    Time,
    /// The peer does not speak TLS.
    NotTls,
    /// Any other cause.
    Other,
}

impl TlsFault {
    /// Returns the TLS failure among the causes of an error; `None` if there is none.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref() {
                return Some(Self::of_tls(tls));
            }
            let io = error.downcast_ref::<io::Error>();
            // tokio-rustls returns this error for a peer that closes before its first TLS record.
            if io.is_some_and(|it| it.kind() == io::ErrorKind::UnexpectedEof) {
                return Some(Self::NotTls);
            }
            // `source()` of an I/O error skips the error inside and returns that error's source.
            let inner = io.and_then(io::Error::get_ref);
            next = inner.map_or_else(|| error.source(), |it| Some(it));
        }
        None
    }

    fn of_tls(error: &rustls::Error) -> Self {
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
                _ => Self::Other,
            },
            Tls::InvalidMessage(_) => Self::NotTls,
            // The error of a machine without any authorities.
            Tls::General(_) => Self::Untrusted,
            _ => Self::Other,
        }
    }
}
