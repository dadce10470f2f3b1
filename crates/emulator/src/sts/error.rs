//! The errors of the emulated STS, each with its code, HTTP status and message.
//!
//! Codes and messages are those of the STS API's published error table. Its pages disagree on
//! some statuses; the emulator has the more frequent one.

/// The reason for which STS refused a request. The text is the `Message` of the reply.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the code it prints")]
pub enum StsError {
    #[error("{0} is mandatory for this action.")]
    Missing(&'static str),
    #[error("{0} is mandatory for this action.")]
    MissingParameter(&'static str),
    #[error("Specified api is not found, please check your url and method.")]
    ActionNotFound,
    #[error("Specified parameter Version is not valid.")]
    InvalidVersion,
    #[error("The HTTP method is not supported for this action.")]
    UnsupportedHttpMethod,
    #[error("Specified signature method is not valid.")]
    InvalidSignatureMethod,
    #[error("Specified parameter Format is not valid.")]
    InvalidFormat,
    #[error("The request signature does not conform to Aliyun standards. {0}")]
    IncompleteSignature(String),
    #[error("Specified access key is not found.")]
    AccessKeyNotFound,
    #[error("Specified access key is disabled.")]
    AccessKeyInactive,
    #[error("Specified time stamp or date value is not well formatted.")]
    TimeStampFormat,
    #[error("Specified time stamp or date value is expired.")]
    TimeStampExpired,
    #[error(
        "Specified signature is not matched with our calculation. server string to sign is:{0}"
    )]
    SignatureDoesNotMatch(String),
    #[error("Specified signature nonce was used already.")]
    NonceUsed,
    #[error("Specified SecurityToken is malformed.")]
    TokenMalformed,
    #[error("Specified SecurityToken mismatch with the AccessKey.")]
    TokenMismatch,
    #[error("Specified SecurityToken is expired.")]
    TokenExpired,
    #[error("The parameter {0} is wrongly formed.")]
    InvalidParameter(&'static str),
    // The service has the same text for roles with a longer `max_session`.
    #[error("The Min/Max value of DurationSeconds is 15min/1hr.")]
    DurationSeconds,
    #[error("The parameter Policy has not passed grammar check.")]
    PolicyGrammar,
    #[error("The size of Policy must be smaller than 2048 bytes.")]
    PolicySize,
    #[error("The specified Role not exists .")]
    RoleNotFound,
    #[error("You are not authorized to do this action. You should be authorized by RAM.")]
    NoPermission,
    #[error("{0}")]
    Untrusted(&'static str),
    #[error("This JsonWebToken is expired.")]
    OidcTokenExpired,
    #[error("The audience of this JsonWebToken is no client id of the OIDC Provider.")]
    OidcTokenAudience,
    #[error("The issuer of this JsonWebToken is not that of the OIDC Provider.")]
    OidcTokenIssuer,
    #[error("This JsonWebToken is not valid.")]
    OidcTokenInvalid,
    #[error("The specified SAML Provider not exists.")]
    SamlProviderNotFound,
    #[error("The SAML Assertion is expired.")]
    SamlAssertionExpired,
    #[error("The SAML Assertion is not valid.")]
    SamlAssertionInvalid,
    #[error("The request body is larger than this service takes.")]
    RequestTooLarge,
    #[error("{message}")]
    Scripted {
        code: String,
        status: u16,
        message: String,
    },
}

impl StsError {
    /// Returns the `Code` of the reply.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Missing(name) => format!("Missing{name}"),
            Self::MissingParameter(name) => format!("MissingParameter.{name}"),
            Self::InvalidParameter(name) => format!("InvalidParameter.{name}"),
            Self::Scripted { code, .. } => code.clone(),
            other => other.fixed_code().to_owned(),
        }
    }

    fn fixed_code(&self) -> &'static str {
        match self {
            Self::ActionNotFound => "InvalidAction.NotFound",
            Self::InvalidVersion => "InvalidVersion",
            Self::UnsupportedHttpMethod => "UnsupportedHTTPMethod",
            Self::InvalidSignatureMethod => "InvalidSignatureMethod",
            Self::InvalidFormat => "InvalidParameter.Format",
            Self::IncompleteSignature(_) => "IncompleteSignature",
            Self::AccessKeyNotFound => "InvalidAccessKeyId.NotFound",
            Self::AccessKeyInactive => "InvalidAccessKeyId.Inactive",
            Self::TimeStampFormat => "InvalidTimeStamp.Format",
            Self::TimeStampExpired => "InvalidTimeStamp.Expired",
            Self::SignatureDoesNotMatch(_) => "SignatureDoesNotMatch",
            Self::NonceUsed => "SignatureNonceUsed",
            Self::TokenMalformed => "InvalidSecurityToken.Malformed",
            Self::TokenMismatch => "InvalidSecurityToken.MismatchWithAccessKey",
            Self::TokenExpired => "InvalidSecurityToken.Expired",
            Self::DurationSeconds => "InvalidParameter.DurationSeconds",
            Self::PolicyGrammar => "InvalidParameter.PolicyGrammar",
            Self::PolicySize => "InvalidParameter.PolicySize",
            Self::RoleNotFound => "EntityNotExist.Role",
            Self::NoPermission => "NoPermission",
            Self::Untrusted(_) => "AuthenticationFail.NoPermission",
            Self::OidcTokenExpired => "AuthenticationFail.OIDCToken.Expired",
            Self::OidcTokenAudience => "AuthenticationFail.OIDCToken.AudienceNotMatch",
            Self::OidcTokenIssuer => "AuthenticationFail.OIDCToken.IssuerNotMatch",
            Self::OidcTokenInvalid => "AuthenticationFail.OIDCToken.Invalid",
            Self::SamlProviderNotFound => "EntityNotExist.SAMLProvider",
            Self::SamlAssertionExpired => "AuthenticationFail.SAMLAssertion.Expired",
            Self::SamlAssertionInvalid => "AuthenticationFail.SAMLAssertion.Invalid",
            Self::RequestTooLarge => "RequestTooLarge",
            Self::Missing(_)
            | Self::MissingParameter(_)
            | Self::InvalidParameter(_)
            | Self::Scripted { .. } => "InternalError",
        }
    }

    /// Returns the HTTP status of the reply.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::ActionNotFound
            | Self::AccessKeyNotFound
            | Self::RoleNotFound
            | Self::SamlProviderNotFound => 404,
            Self::NoPermission | Self::Untrusted(_) => 403,
            Self::OidcTokenExpired
            | Self::OidcTokenAudience
            | Self::OidcTokenIssuer
            | Self::OidcTokenInvalid
            | Self::SamlAssertionExpired
            | Self::SamlAssertionInvalid => 401,
            Self::RequestTooLarge => 413,
            Self::Scripted { status, .. } => *status,
            _ => 400,
        }
    }
}
