//! The codes of the errors that a user can meet. A message ends with its code in brackets; docs/errors.md
//! has the cause and the fix of each, `stsctl explain CODE` prints them.

#![forbid(unsafe_code)]

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The code of an error. A name is stable: it is never used for another error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All codes, in the order of the documents.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    // The configuration.
    /// A file of the configuration cannot be read.
    ConfigUnreadable = "config-unreadable",
    /// The configuration is not TOML.
    ConfigSyntax = "config-syntax",
    /// A key or a table is there twice.
    ConfigDuplicateKey = "config-duplicate-key",
    /// There is no key or table of the name.
    ConfigUnknownKey = "config-unknown-key",
    /// A required key is missing.
    ConfigMissingKey = "config-missing-key",
    /// A value has another type than its key.
    ConfigWrongType = "config-wrong-type",
    /// A value is outside of the allowed ones.
    ConfigInvalidValue = "config-invalid-value",
    /// A value names a source or a profile that does not exist.
    ConfigUnknownName = "config-unknown-name",
    /// Keys exclude each other, or a key has no effect.
    ConfigConflict = "config-conflict",
    /// A key file or a secret file does not have the content of one.
    ConfigKeyFile = "config-key-file",
    /// A program, or a path or variable of a program, cannot be used.
    ConfigProgram = "config-program",
    /// The identity of a source is not available.
    ConfigSource = "config-source",
    /// A file of the audit or of an export cannot be written.
    ConfigOutputFile = "config-output-file",
    /// A variable of the environment cannot be used.
    ConfigVariable = "config-variable",
    /// The variable of a proxy names none that can be used.
    UnusableProxy = "unusable-proxy",
    /// The machine has no certificate authorities.
    NoCertificates = "no-certificates",
    /// There are more mistakes than the check reports at once.
    ConfigTooManyErrors = "config-too-many-errors",
    /// Another user can change a file that decides something.
    UntrustedFile = "untrusted-file",
    /// The configuration is valid and cannot be applied.
    ReloadFailed = "reload-failed",
    /// The daemon does not start.
    StartFailed = "start-failed",

    // A call to STS, and the identity that signs it.
    /// The caller may not assume the role.
    StsNoPermission = "sts-no-permission",
    /// The key is that of an Alibaba Cloud account, which cannot assume a role.
    StsRootAccount = "sts-root-account",
    /// The role does not trust the identity provider, or the provider does not exist.
    StsUntrustedProvider = "sts-untrusted-provider",
    /// STS does not accept the token or the assertion.
    StsTokenRefused = "sts-token-refused",
    /// The role or the provider does not exist.
    StsNoSuchRole = "sts-no-such-role",
    /// STS does not know the AccessKey.
    StsUnknownKey = "sts-unknown-key",
    /// The AccessKey is disabled, or the account does not let it call STS.
    StsDisabledKey = "sts-disabled-key",
    /// The secret does not belong to the AccessKey id.
    StsWrongSecret = "sts-wrong-secret",
    /// The key of a session came without its security token.
    StsMissingToken = "sts-missing-token",
    /// A policy requires MFA.
    StsMfaRequired = "sts-mfa-required",
    /// STS refuses the call for another reason.
    StsRefused = "sts-refused",
    /// The session that signs the call has ended.
    StsSessionEnded = "sts-session-ended",
    /// The clock of this machine is wrong.
    WrongClock = "wrong-clock",
    /// STS limits the calls of the account.
    StsThrottled = "sts-throttled",
    /// STS has failed.
    StsUnavailable = "sts-unavailable",
    /// STS cannot be reached.
    StsUnreachable = "sts-unreachable",
    /// The name of the endpoint has no address.
    StsNameNotFound = "sts-name-not-found",
    /// The answer is not one of STS.
    StsUnreadable = "sts-unreadable",
    /// TLS to STS, or to a proxy, fails.
    TlsFailed = "tls-failed",
    /// The proxy refuses the connection.
    ProxyRefused = "proxy-refused",
    /// The identity of a profile cannot be resolved.
    SourceFailed = "source-failed",
    /// A renewal ended by a fault of the daemon.
    RenewalAborted = "renewal-aborted",

    // A request to the daemon.
    /// No daemon listens at the socket.
    NoDaemon = "no-daemon",
    /// The process at the socket belongs to another user.
    ForeignServer = "foreign-server",
    /// The daemon did not answer in time.
    DaemonTimeout = "daemon-timeout",
    /// The connection to the daemon broke.
    ConnectionBroken = "connection-broken",
    /// The daemon and the client speak different protocols.
    ProtocolMismatch = "protocol-mismatch",
    /// A name or a policy is too long for a request.
    RequestTooLong = "request-too-long",
    /// The daemon does not serve this user.
    UserNotServed = "user-not-served",
    /// No profile has the name.
    UnknownProfile = "unknown-profile",
    /// No rule allows the profile.
    NotAllowed = "not-allowed",
    /// The operation is for root and the user of the daemon.
    AdminOnly = "admin-only",
    /// There are no credentials yet.
    NotYetAvailable = "not-yet-available",
    /// A limit of the daemon is reached.
    DaemonBusy = "daemon-busy",
    /// The daemon is stopping.
    DaemonStopping = "daemon-stopping",
    /// A user has caused too many calls to STS.
    TooManyCalls = "too-many-calls",
    /// A reload has changed the profile meanwhile.
    ProfileChanged = "profile-changed",
    /// The HTTP endpoint is not available.
    HttpUnavailable = "http-unavailable",
    /// A request to the HTTP endpoint is refused.
    HttpRefused = "http-refused",
    /// The secret of the URLs cannot be changed.
    RotationFailed = "rotation-failed",
    /// A lease cannot be opened.
    LeaseRefused = "lease-refused",
    /// A lease has ended.
    LeaseEnded = "lease-ended",
    /// A user has too many leases.
    TooManyLeases = "too-many-leases",

    // A command.
    /// The command line is wrong.
    WrongUsage = "wrong-usage",
    /// `stsctl exec` cannot start the program.
    ProgramNotStarted = "program-not-started",
    /// A command of stsctl has failed.
    CommandFailed = "command-failed",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::Code;

    #[test]
    fn code_names_are_short_unique_and_of_lower_case() {
        let mut names: Vec<_> = Code::ALL.iter().map(|it| it.name()).collect();
        for name in &names {
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(name.len() <= 24 && name.chars().all(is_plain), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    /// Appends all sources of Rust below a directory.
    fn read_sources(directory: &Path, sources: &mut String) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read_sources(&path, sources);
            } else if path.extension().is_some_and(|it| it == "rs") {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_code_is_the_code_of_an_error() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut sources = String::new();
        for package in ["daemon", "ctl", "client"] {
            read_sources(&crates.join(package).join("src"), &mut sources);
        }
        for code in Code::ALL {
            // The client library names its codes itself.
            let is_used = sources.contains(&format!("Code::{code:?}"))
                || sources.contains(&format!("[{code}]"));
            assert!(is_used, "{code}");
        }
    }
}
