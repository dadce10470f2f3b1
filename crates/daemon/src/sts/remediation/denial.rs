//! The hints of refusals. A hint depends on the code, on the message and on the party that
//! authorizes the call. The codes and messages are those of the vendor's pages: the error codes of
//! the API, the troubleshooting page of AssumeRole for OSS, and the FAQ of RAM roles.

use stsd_codes::Code;
use stsd_sts::Refusal;

use super::request::{for_parameter, for_protocol};
use crate::profile::{Profile, RoleArn, Signer};

/// The hint for a call whose key or signature only something between stsd and STS can have changed.
const CHANGED_REQUEST: &str =
    "check that no proxy between this machine and STS changes the requests";

/// A refusal of STS, and the profile whose call STS has refused.
pub(super) struct Denial<'a> {
    code: &'a str,
    /// The message in lower case.
    message: String,
    profile: &'a Profile,
    signer: Signer,
    /// The origin of the identity, such as a key file.
    origin: String,
}

impl<'a> Denial<'a> {
    pub(super) fn new(refusal: &'a Refusal, profile: &'a Profile) -> Self {
        Self {
            code: &refusal.code,
            message: refusal.message.to_ascii_lowercase(),
            profile,
            signer: profile.source.signer(),
            origin: profile.source.describe(),
        }
    }

    /// Returns the hint for a refusal that lasts until something is changed.
    pub(super) fn hint(&self) -> String {
        let code = self.code;
        match code {
            "NoPermission" => self.no_permission(),
            "AuthenticationFail.NoPermission" => self.untrusted_provider(),
            _ if code.starts_with("AuthenticationFail.") => self.refused_token(),
            _ if code.starts_with("EntityNotExist.") => self.missing_entity(),
            "InvalidAccessKeyId.NotFound" => self.unknown_key(),
            _ if code.starts_with("InvalidAccessKeyId.") || code.starts_with("Forbidden") => {
                self.disabled_key()
            }
            "SignatureDoesNotMatch" => self.wrong_secret(),
            "MissingSecurityToken" => self.missing_token(),
            "InvalidParameter.SerialNumber" | "InvalidParameter.TokenCode" => format!(
                "remove the condition acs:MFAPresent from the policies of {} and of {}: a daemon has \
                 no MFA code",
                self.signer_name(),
                self.role()
            ),
            _ => for_parameter(code)
                .or_else(|| for_protocol(code))
                .unwrap_or(
                    "see https://api.alibabacloud.com/troubleshoot for this code and request",
                )
                .to_owned(),
        }
    }

    /// Returns the code of a refusal that lasts until something is changed.
    pub(super) fn error_code(&self) -> Code {
        match self.code {
            "NoPermission" if self.message.contains("root account") => Code::StsRootAccount,
            "NoPermission" if self.signer == Signer::IdentityProvider => Code::StsUntrustedProvider,
            "NoPermission" => Code::StsNoPermission,
            "AuthenticationFail.NoPermission" => Code::StsUntrustedProvider,
            "InvalidAccessKeyId.NotFound" => Code::StsUnknownKey,
            "SignatureDoesNotMatch" => Code::StsWrongSecret,
            "MissingSecurityToken" => Code::StsMissingToken,
            "InvalidParameter.SerialNumber" | "InvalidParameter.TokenCode" => Code::StsMfaRequired,
            code if code.starts_with("AuthenticationFail.") => Code::StsTokenRefused,
            code if code.starts_with("EntityNotExist.") => Code::StsNoSuchRole,
            code if code.starts_with("InvalidAccessKeyId.") || code.starts_with("Forbidden") => {
                Code::StsDisabledKey
            }
            _ => Code::StsRefused,
        }
    }

    /// Returns the hint for credentials, a token or an assertion that STS calls expired or broken.
    pub(super) fn expired_hint(&self) -> String {
        if let Some(hint) = self.ended_session() {
            return hint;
        }
        let origin = &self.origin;
        match self.code {
            "InvalidSecurityToken.Malformed" | "InvalidSecurityToken.MismatchWithAccessKey" => {
                format!(
                    "{origin} gives a security token that does not belong to its key: both must be \
                     of one session; each attempt reads them again"
                )
            }
            _ => format!("renew what {origin} gives; each attempt reads it again"),
        }
    }

    /// Returns the hint for a refused session that stsd or the metadata service renews, and no user;
    /// `None` for another identity.
    fn ended_session(&self) -> Option<String> {
        let origin = &self.origin;
        match self.signer {
            Signer::InstanceRole => Some(format!(
                "wait: the metadata service renews the credentials of {origin}, and each attempt \
                 reads them again; if the refusal stays, check in the ECS console that the role is \
                 still attached to this instance, and in the RAM console that the role exists"
            )),
            Signer::ProfileRole => Some(format!(
                "renew the session of {origin}: stsctl refresh; if the refusal stays, check in the \
                 RAM console that the role of {origin} exists and may assume {}",
                self.role()
            )),
            Signer::RamUser | Signer::Supplied | Signer::IdentityProvider => None,
        }
    }

    /// A policy of the caller, the trust policy of the role or an external id can be missing. The
    /// message of STS names the cause only for root accounts.
    fn no_permission(&self) -> String {
        if self.message.contains("root account") {
            return self.root_account();
        }
        if self.signer == Signer::IdentityProvider {
            return self.untrusted_provider();
        }
        let caller = self.caller();
        let (permission, trust) = (
            format!("attach AliyunSTSAssumeRoleAccess to {caller}"),
            format!("let the trust policy of {} name it", self.role()),
        );
        let steps = if self.message.contains("trust") {
            format!(
                "let the trust policy of {} name {caller}; and attach AliyunSTSAssumeRoleAccess to it",
                self.role()
            )
        } else {
            format!("{permission}; and {trust}")
        };
        let external_id = match &self.profile.external_id {
            Some(_) => "external_id must be the sts:ExternalId of that policy",
            None => "if that policy has a condition sts:ExternalId, set external_id",
        };
        format!("in the RAM console: {steps}; {external_id}")
    }

    fn root_account(&self) -> String {
        let origin = &self.origin;
        match self.signer {
            Signer::RamUser => format!(
                "{origin} has the key of an Alibaba Cloud account, which cannot assume a role: create \
                 a RAM user (RAM console, Identities > Users) and put its AccessKey there"
            ),
            _ => format!(
                "{origin} supplies the key of an Alibaba Cloud account, which cannot assume a role: \
                 let it supply credentials of a RAM user or of a role"
            ),
        }
    }

    /// Returns the name of the party that signs the call.
    fn signer_name(&self) -> String {
        let origin = &self.origin;
        match self.signer {
            Signer::RamUser => format!("the RAM user of {origin}"),
            Signer::InstanceRole => origin.clone(),
            Signer::ProfileRole => format!("the role of {origin}"),
            Signer::Supplied => format!("the RAM user or role of {origin}"),
            Signer::IdentityProvider => format!("the provider of {origin}"),
        }
    }

    /// Returns the name of the party that signs the call, with its part in the call.
    fn caller(&self) -> String {
        let name = self.signer_name();
        match self.signer {
            Signer::InstanceRole => format!("{name}, which is the role that calls"),
            Signer::ProfileRole => format!("{name}, which signs the call"),
            Signer::RamUser | Signer::Supplied | Signer::IdentityProvider => name,
        }
    }

    fn untrusted_provider(&self) -> String {
        let message = &self.message;
        // The messages of AssumeRoleWithOIDC on the vendor's page.
        if message.contains("is not valid") || message.contains("no such") {
            return "correct provider_arn: RAM console, Integrations > SSO > Role-based SSO lists \
                    the providers"
                .to_owned();
        }
        let trust = format!(
            "let the trust policy of {} name that provider, and its conditions (audience, issuer, \
             subject) fit the token",
            self.role()
        );
        format!("check provider_arn; {trust}: RAM console, Identities > Roles > Trust Policy")
    }

    fn refused_token(&self) -> String {
        let origin = &self.origin;
        match self.code {
            "AuthenticationFail.OIDCToken.AudienceNotMatch" => {
                "have the token issued for an audience that the provider lists: sts.aliyuncs.com"
                    .to_owned()
            }
            "AuthenticationFail.OIDCToken.IssuerNotMatch" => {
                format!("check provider_arn: {origin} has a token of another issuer")
            }
            "AuthenticationFail.IDPMetadata.Invalid" => {
                "upload the metadata of the identity provider again: RAM console, Integrations > \
                 SSO > Role-based SSO"
                    .to_owned()
            }
            _ => format!("look at what writes {origin}: STS does not accept it"),
        }
    }

    fn missing_entity(&self) -> String {
        match self.code {
            "EntityNotExist.Role" | "EntityNotExist.RoleArn" => format!(
                "correct role_arn, or create {}: RAM console, Identities > Roles; the number in \
                 role_arn is that of the account which has the role",
                self.role()
            ),
            "EntityNotExist.SAMLProvider" => {
                "correct provider_arn, or create the SAML provider: RAM \
                 console, Integrations > SSO > Role-based SSO"
                    .to_owned()
            }
            _ => "correct role_arn and provider_arn: the message names what does not exist"
                .to_owned(),
        }
    }

    fn missing_token(&self) -> String {
        let origin = &self.origin;
        match self.signer {
            Signer::RamUser => format!(
                "{origin} has the key of a session, without its security token: put the AccessKey of \
                 a RAM user there, which begins with LTAI"
            ),
            Signer::Supplied => format!(
                "{origin} gives the key of a session without its security token: let it give the \
                 token too, or the key of a RAM user"
            ),
            Signer::InstanceRole | Signer::ProfileRole | Signer::IdentityProvider => {
                CHANGED_REQUEST.to_owned()
            }
        }
    }

    fn unknown_key(&self) -> String {
        let origin = &self.origin;
        match self.signer {
            Signer::RamUser => format!(
                "check the AccessKey id in {origin}; if it was deleted, create another AccessKey: RAM \
                 console, Identities > Users > the user"
            ),
            Signer::Supplied => format!(
                "STS does not know the key that {origin} gives: its session has ended, or the \
                 AccessKey was deleted"
            ),
            Signer::IdentityProvider => CHANGED_REQUEST.to_owned(),
            Signer::InstanceRole | Signer::ProfileRole => self.ended_or_changed(),
        }
    }

    fn disabled_key(&self) -> String {
        let origin = &self.origin;
        let is_key = matches!(
            self.code,
            "InvalidAccessKeyId.Inactive" | "Forbidden.AccessKeyDisabled"
        );
        match self.signer {
            Signer::RamUser if is_key => format!(
                "enable the AccessKey (RAM console, Identities > Users > the user), or put another \
                 one in {origin}"
            ),
            Signer::Supplied if is_key => format!(
                "if {origin} gives the AccessKey of a RAM user, enable that AccessKey (RAM console, \
                 Identities > Users > the user), or let {origin} give another one; otherwise the \
                 session is disabled, and {origin} has to give a new one"
            ),
            Signer::InstanceRole | Signer::ProfileRole if is_key => self.ended_or_changed(),
            _ => format!(
                "ask the administrator of the account: it does not let {} call STS",
                self.signer_name()
            ),
        }
    }

    fn wrong_secret(&self) -> String {
        let origin = &self.origin;
        // The client has compared the string to sign of both sides.
        let is_unchanged = self.message.contains("both sides signed the same text");
        let remedy = match self.signer {
            Signer::RamUser => format!(
                "check the AccessKey secret in {origin}; the console shows a secret only once: create \
                 another AccessKey if it is lost"
            ),
            Signer::Supplied => format!("check the AccessKey secret that {origin} gives"),
            Signer::InstanceRole | Signer::ProfileRole if is_unchanged => {
                return self.ended_or_changed();
            }
            Signer::InstanceRole | Signer::ProfileRole | Signer::IdentityProvider => {
                return CHANGED_REQUEST.to_owned();
            }
        };
        if is_unchanged {
            return remedy;
        }
        format!("{remedy}; if the secret is right, a proxy changes the requests")
    }

    /// Returns the hint for a session that stsd or the metadata service renews.
    fn ended_or_changed(&self) -> String {
        let ended = self.ended_session();
        let hint = ended.unwrap_or_else(|| CHANGED_REQUEST.to_owned());
        format!(
            "the session of {} has ended or is disabled: {hint}",
            self.origin
        )
    }

    fn role(&self) -> &str {
        let role = self.profile.role_arn.as_ref();
        role.map_or("the role", RoleArn::as_str)
    }
}
