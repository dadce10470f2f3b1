//! Decides what it means when a connection is there and TLS is not: each kind is mended by
//! somebody else.

use std::{error::Error, io};

use rustls::CertificateError;

/// Why there is no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// Nobody whom this machine trusts has signed the certificate.
    Untrusted,
    /// The certificate is for other names.
    OtherName,
    /// By this machine's clock the certificate has ended, or has not begun.
    Time,
    /// What answers speaks something else.
    NotTls,
    /// Something else about it.
    Other,
}

impl TlsFault {
    /// Looks for TLS among the causes of an error.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref() {
                return Some(Self::of_tls(tls));
            }
            let io = error.downcast_ref::<io::Error>();
            // tokio-rustls says so of a peer that hangs up before it has said anything of TLS.
            if io.is_some_and(|it| it.kind() == io::ErrorKind::UnexpectedEof) {
                return Some(Self::NotTls);
            }
            // The source of an I/O error is not what is in it, but the source of that.
            let inner = io.and_then(io::Error::get_ref);
            next = inner.map_or_else(|| error.source(), |it| Some(it));
        }
        None
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::Error as Tls;
        match error {
            Tls::InvalidCertificate(error) => match error {
                // A bad signature is that of an authority which is called like one of ours, and
                // has another key: it was made anew.
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
            // Said of a machine without any authorities.
            Tls::General(_) => Self::Untrusted,
            _ => Self::Other,
        }
    }
}
