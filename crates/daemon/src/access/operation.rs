//! The operations that a client asks for, as the access policy and the audit name them.

/// An operation that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A connection.
    Connection,
    /// Credentials, once.
    Credentials,
    /// Credentials after each renewal; each session sent is an event of its own.
    Watch,
    /// A refresh now.
    Refresh,
    /// An administrative operation, such as a reload.
    Reload,
    /// New secrets for all URLs.
    RotateUrls,
    /// A lease.
    Lease,
    /// Credentials from the HTTP endpoint, or the URL itself.
    Url,
    /// The last accesses.
    Audit,
    /// The conditions of the daemon.
    Conditions,
}

impl Operation {
    /// Returns the name of the operation for the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Credentials => "credentials",
            Self::Watch => "watch",
            Self::Refresh => "refresh",
            Self::Reload => "reload",
            Self::RotateUrls => "rotate_urls",
            Self::Lease => "lease",
            Self::Url => "url",
            Self::Audit => "audit",
            Self::Conditions => "conditions",
        }
    }
}
