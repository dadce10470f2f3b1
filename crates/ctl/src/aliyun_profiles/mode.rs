//! The modes of aliyun-cli 3.5 (`config/profile.go`, `knownModes`), the mode that follows from the
//! keys of a profile without one, and the advice for modes that no daemon can use.

use super::parsed_profile::ThirdPartyProfile;

/// A mode of aliyun-cli.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    AccessKey,
    StsToken,
    RamRoleArn,
    EcsRamRole,
    RsaKeyPair,
    RamRoleArnWithRoleName,
    ChainableRamRoleArn,
    External,
    CredentialsUri,
    Oidc,
    CloudSso,
    OAuth,
    BearerToken,
    Anonymous,
}

/// All modes, with their names in the file.
const NAMES: [(&str, Mode); 14] = [
    ("AK", Mode::AccessKey),
    ("StsToken", Mode::StsToken),
    ("RamRoleArn", Mode::RamRoleArn),
    ("EcsRamRole", Mode::EcsRamRole),
    ("RsaKeyPair", Mode::RsaKeyPair),
    ("RamRoleArnWithRoleName", Mode::RamRoleArnWithRoleName),
    ("ChainableRamRoleArn", Mode::ChainableRamRoleArn),
    ("External", Mode::External),
    ("CredentialsURI", Mode::CredentialsUri),
    ("OIDC", Mode::Oidc),
    ("CloudSSO", Mode::CloudSso),
    ("OAuth", Mode::OAuth),
    ("BearerToken", Mode::BearerToken),
    ("Anonymous", Mode::Anonymous),
];

impl Mode {
    /// Returns the mode with this name, in any case; `None` for an unknown name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        let found = NAMES.iter().find(|it| it.0.eq_ignore_ascii_case(name));
        found.map(|it| it.1)
    }

    /// Returns the mode that follows from the keys of a profile, by the rules and in the order of
    /// aliyun-cli (`AutoModeRecognition`); `None` if no rule applies.
    pub(super) fn inferred(profile: &ThirdPartyProfile) -> Option<Self> {
        let has = |keys: &[&str]| keys.iter().all(|it| profile.has(it));
        Some(if has(&["access_key_id", "access_key_secret"]) {
            if has(&["sts_token"]) {
                Self::StsToken
            } else if has(&["ram_role_arn"]) {
                Self::RamRoleArn
            } else {
                Self::AccessKey
            }
        } else if has(&["private_key", "key_pair_name"]) {
            Self::RsaKeyPair
        } else if has(&["ram_role_name"]) {
            Self::EcsRamRole
        } else if has(&["process_command"]) {
            Self::External
        } else if has(&["oidc_provider_arn", "oidc_token_file", "ram_role_arn"]) {
            Self::Oidc
        } else if has(&["cloud_sso_sign_in_url"]) {
            Self::CloudSso
        } else if has(&["bearer_token"]) {
            Self::BearerToken
        } else {
            return None;
        })
    }

    /// Returns the name in the file.
    pub(super) fn name(self) -> &'static str {
        let found = NAMES.iter().find(|it| it.1 == self);
        found.map_or("", |it| it.0)
    }

    /// Returns the reason why no daemon can use a profile of this mode, and what to do with the
    /// profile; `None` for a mode that is imported.
    pub(super) fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::StsToken => {
                "it is a copied session: it ends, and nothing in the file renews it; import the \
                 profile that issued it"
            }
            Self::CloudSso => {
                "it depends on a login in a browser, which a daemon cannot repeat; keep it in \
                 aliyun-cli"
            }
            Self::OAuth => {
                "it depends on a login in a browser, and its refresh token changes with each \
                 use: two programs with one token would lock each other out; keep it in \
                 aliyun-cli"
            }
            Self::RsaKeyPair => {
                "a key pair's sessions are not made any more: give the user an AccessKey, or \
                 better a role by OIDC"
            }
            Self::BearerToken => {
                "a bearer token is no AccessKey, and STS issues no role session for it; keep it in \
                 aliyun-cli"
            }
            Self::Anonymous => "it has no identity, so there is nothing to import",
            Self::AccessKey
            | Self::RamRoleArn
            | Self::EcsRamRole
            | Self::RamRoleArnWithRoleName
            | Self::ChainableRamRoleArn
            | Self::External
            | Self::CredentialsUri
            | Self::Oidc => return None,
        })
    }
}
