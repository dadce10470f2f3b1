//! The table of the error codes of STS. Codes and messages are those of the vendor's pages.

use stsd_model::RoleSessionName;
use stsd_sts::{Refusal, StsError};

use super::for_error;
use crate::profile::{
    CachedIdentity, Cause, IdentityProvider, Profile, ResolveContext, ResolveFuture, Signer,
};

const NOT_AUTHORIZED: &str =
    "You are not authorized to do this action. You should be authorized by RAM.";

const NO_TRUST: &str = "No permission perform sts:AssumeRole on this Role. Maybe you are not \
                        authorized to perform sts:AssumeRole or the specified role does not trust you";

const ROOT: &str = "Roles may not be assumed by root accounts.";

/// An identity that is never resolved.
#[derive(Debug)]
struct Named(Signer, &'static str);

impl IdentityProvider for Named {
    fn resolve<'a>(&'a self, _: ResolveContext<'a>) -> ResolveFuture<'a> {
        unreachable!("no test resolves the identity")
    }

    fn describe(&self) -> String {
        self.1.to_owned()
    }

    fn signer(&self) -> Signer {
        self.0
    }
}

const KEY_FILE: (Signer, &str) = (Signer::RamUser, "the key file /k");
const INSTANCE: (Signer, &str) = (
    Signer::InstanceRole,
    "the role worker of the metadata service",
);
const CHAIN: (Signer, &str) = (Signer::ProfileRole, "profile base");
const COMMAND: (Signer, &str) = (Signer::Supplied, "the command /opt/issue");
const TOKEN: (Signer, &str) = (Signer::IdentityProvider, "the file /t");

fn profile(signer: (Signer, &'static str), external_id: Option<&str>) -> Profile {
    Profile {
        source: CachedIdentity::new(&["named"], Named(signer.0, signer.1)),
        external_id: external_id.map(Into::into),
        ..Profile::sample()
    }
}

fn refusal(code: &str, message: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        message: message.to_owned(),
        request_id: "R".to_owned(),
        http_status: 400,
    }
}

fn denied(code: &str, message: &str, signer: (Signer, &'static str)) -> String {
    let error = StsError::Denied(refusal(code, message));
    let (cause, _, hint) = for_error(&error, &profile(signer, None));
    assert_eq!(cause, Cause::Denied);
    hint
}

#[track_caller]
fn check(code: &str, message: &str, signer: (Signer, &'static str), words: &[&str]) {
    let hint = denied(code, message, signer);
    for word in words {
        assert!(
            hint.contains(word),
            "{code}: {message}: {hint:?} without {word:?}"
        );
    }
}

#[test]
fn missing_permission_names_the_signer_and_the_role() {
    const ROLE: &str = "acs:ram::1:role/oss-upload";
    let policy = "AliyunSTSAssumeRoleAccess";
    for (signer, caller) in [
        (KEY_FILE, "the RAM user of the key file /k"),
        (
            INSTANCE,
            "the role worker of the metadata service, which is the role that calls",
        ),
        (CHAIN, "the role of profile base"),
        (COMMAND, "the RAM user or role of the command /opt/issue"),
    ] {
        let words = [policy, caller, ROLE, "trust policy", "set external_id"];
        check("NoPermission", NOT_AUTHORIZED, signer, &words);
        check("NoPermission", NO_TRUST, signer, &words);
        let first = denied("NoPermission", NO_TRUST, signer);
        assert!(
            first.starts_with("in the RAM console: let the trust policy"),
            "{first}"
        );
    }
    for signer in [INSTANCE, CHAIN] {
        let hint = denied("NoPermission", NOT_AUTHORIZED, signer);
        assert!(!hint.contains("RAM user"), "{hint}");
    }
    check(
        "NoPermission",
        NOT_AUTHORIZED,
        TOKEN,
        &["provider_arn", ROLE],
    );
}

#[test]
fn missing_permission_with_an_external_id_names_the_id() {
    let error = StsError::Denied(refusal("NoPermission", NOT_AUTHORIZED));
    let (_, _, hint) = for_error(&error, &profile(KEY_FILE, Some("secret-id")));
    assert!(
        hint.contains("external_id must be the sts:ExternalId"),
        "{hint}"
    );
    assert!(!hint.contains("secret-id"), "{hint}");
}

#[test]
fn root_account_is_named_and_no_policy_is_asked_for() {
    for (signer, words) in [
        (
            KEY_FILE,
            "the key file /k has the key of an Alibaba Cloud account",
        ),
        (
            COMMAND,
            "the command /opt/issue supplies the key of an Alibaba Cloud account",
        ),
    ] {
        check("NoPermission", ROOT, signer, &[words, "RAM user"]);
        let hint = denied("NoPermission", ROOT, signer);
        assert!(!hint.contains("AliyunSTSAssumeRoleAccess"), "{hint}");
    }
}

#[test]
fn each_documented_code_has_a_hint_of_its_own() {
    for (code, signer, words) in [
        (
            "EntityNotExist.Role",
            KEY_FILE,
            "create acs:ram::1:role/oss-upload",
        ),
        ("EntityNotExist.RoleArn", KEY_FILE, "role_arn"),
        (
            "EntityNotExist.SAMLProvider",
            TOKEN,
            "create the SAML provider",
        ),
        ("EntityNotExist.OIDCProvider", TOKEN, "provider_arn"),
        (
            "InvalidParameter.DurationSeconds",
            KEY_FILE,
            "lower duration",
        ),
        ("InvalidParameter.RoleArn", KEY_FILE, "correct role_arn"),
        (
            "InvalidParameter.RoleSessionName",
            KEY_FILE,
            "role_session_name",
        ),
        ("InvalidParameter.ExternalId", KEY_FILE, "external_id"),
        (
            "InvalidParameter.SourceIdentity",
            KEY_FILE,
            "source_identity",
        ),
        ("InvalidParameter.SerialNumber", KEY_FILE, "MFA"),
        ("InvalidParameter.TokenCode", KEY_FILE, "MFA"),
        ("InvalidParameter.PolicyGrammar", KEY_FILE, "policy_file"),
        ("InvalidParameter.PolicySize", KEY_FILE, "policy_file"),
        ("InvalidParameter.OIDCProviderArn", TOKEN, "provider_arn"),
        ("InvalidParameter.OIDCToken", TOKEN, "token"),
        ("InvalidParameter.ContentType", KEY_FILE, "proxy"),
        ("InvalidParameter.Format", KEY_FILE, "proxy"),
        ("MissingParameter.RoleArn", KEY_FILE, "role_arn"),
        ("MissingRoleArn", KEY_FILE, "role_arn"),
        ("MissingRoleSessionName", KEY_FILE, "role_session_name"),
        ("MissingTimestamp", KEY_FILE, "proxy"),
        (
            "MissingSecurityToken",
            COMMAND,
            "without its security token",
        ),
        (
            "InvalidAccessKeyId.NotFound",
            KEY_FILE,
            "check the AccessKey id in the key file /k",
        ),
        (
            "InvalidAccessKeyId.NotFound",
            CHAIN,
            "the session of profile base has ended or is disabled",
        ),
        (
            "InvalidAccessKeyId.Inactive",
            KEY_FILE,
            "enable the AccessKey",
        ),
        (
            "Forbidden.AccessKeyDisabled",
            KEY_FILE,
            "enable the AccessKey",
        ),
        ("Forbidden", KEY_FILE, "administrator"),
        (
            "SignatureDoesNotMatch",
            KEY_FILE,
            "check the AccessKey secret in the key file /k",
        ),
        (
            "SignatureDoesNotMatch",
            COMMAND,
            "that the command /opt/issue gives",
        ),
        ("IncompleteSignature", KEY_FILE, "proxy"),
        (
            "AuthenticationFail.NoPermission",
            TOKEN,
            "let the trust policy of acs:ram::1:role/oss-upload",
        ),
        (
            "AuthenticationFail.OIDCToken.AudienceNotMatch",
            TOKEN,
            "sts.aliyuncs.com",
        ),
        (
            "AuthenticationFail.OIDCToken.IssuerNotMatch",
            TOKEN,
            "another issuer",
        ),
        ("AuthenticationFail.OIDCToken.Invalid", TOKEN, "the file /t"),
        (
            "AuthenticationFail.SAMLAssertion.Invalid",
            TOKEN,
            "the file /t",
        ),
        (
            "AuthenticationFail.IDPMetadata.Invalid",
            TOKEN,
            "metadata of the identity provider",
        ),
        (
            "AuthenticationFail.ApiUsername",
            KEY_FILE,
            "the key file /k",
        ),
        (
            "AuthenticationFail.ApiPassword",
            KEY_FILE,
            "the key file /k",
        ),
        ("InvalidTimeStamp.Format", KEY_FILE, "proxy"),
        ("IllegalTimestamp", KEY_FILE, "proxy"),
        ("InvalidAction.NotFound", KEY_FILE, "endpoint"),
        ("InvalidApi.NotFound", KEY_FILE, "endpoint"),
        ("InvalidVersion", KEY_FILE, "another service"),
        ("NoSuchVersion", KEY_FILE, "another service"),
        ("InvalidProduct.NotFound", KEY_FILE, "another service"),
        ("InvalidProtocol.NeedSsl", KEY_FILE, "https://"),
        ("UnsupportedHTTPMethod", KEY_FILE, "proxy"),
        ("InvalidSignatureMethod", KEY_FILE, "proxy"),
    ] {
        check(code, "m", signer, &[words]);
        let hint = denied(code, "m", signer);
        assert!(!hint.contains("troubleshoot"), "{code}: {hint}");
    }
    check(
        "SomethingNew",
        "m",
        KEY_FILE,
        &["https://api.alibabacloud.com/troubleshoot"],
    );
}

#[test]
fn refused_provider_is_told_from_missing_trust() {
    for message in [
        "Parameter OIDCProviderArn is not valid",
        "No such OIDC Provider registered.",
    ] {
        check(
            "AuthenticationFail.NoPermission",
            message,
            TOKEN,
            &["correct provider_arn"],
        );
        let hint = denied("AuthenticationFail.NoPermission", message, TOKEN);
        assert!(!hint.contains("trust"), "{hint}");
    }
    check(
        "AuthenticationFail.NoPermission",
        "There is no permission",
        TOKEN,
        &["trust policy"],
    );
}

#[test]
fn wrong_secret_is_told_from_a_changed_request() {
    let same = "the access key secret does not belong to the access key id (both sides signed the \
                same text)";
    assert!(!denied("SignatureDoesNotMatch", same, KEY_FILE).contains("proxy"));
    check(
        "SignatureDoesNotMatch",
        "Specified signature is not matched",
        KEY_FILE,
        &["proxy"],
    );
}

#[test]
fn expired_and_mismatched_credentials_have_different_hints() {
    let hint = |code: &str| {
        let error = StsError::SourceExpired(refusal(code, "m"));
        for_error(&error, &profile(COMMAND, None)).2
    };
    assert!(hint("InvalidSecurityToken.Expired").starts_with("renew what the command"));
    assert!(hint("AuthenticationFail.OIDCToken.Expired").starts_with("renew"));
    assert!(hint("InvalidSecurityToken.Malformed").contains("does not belong to its key"));
    assert!(hint("InvalidSecurityToken.MismatchWithAccessKey").contains("of one session"));
}

/// Each code of the signing key, by each signer: words of the hint, and words that are wrong there.
#[test]
fn hint_about_the_key_depends_on_the_signer() {
    const SAME: &str = "both sides signed the same text";
    const CONSOLE: &str = "Identities > Users";
    let by_user: &[&str] = &["the user", "LTAI", "create another", "RAM user"];
    for (code, message, expected) in [
        (
            "InvalidAccessKeyId.Inactive",
            "m",
            [
                "put another one in the key file /k",
                "ECS console",
                "stsctl refresh",
                "let the command /opt/issue give another one",
                "administrator",
            ],
        ),
        (
            "Forbidden.AccessKeyDisabled",
            "m",
            [
                "put another one in the key file /k",
                "ECS console",
                "stsctl refresh",
                "let the command /opt/issue give another one",
                "administrator",
            ],
        ),
        (
            "Forbidden",
            "m",
            [
                "let the RAM user of the key file /k call STS",
                "let the role worker of the metadata service call STS",
                "let the role of profile base call STS",
                "let the RAM user or role of the command /opt/issue call STS",
                "let the provider of the file /t call STS",
            ],
        ),
        (
            "InvalidAccessKeyId.NotFound",
            "m",
            [
                CONSOLE,
                "ECS console",
                "stsctl refresh",
                "or the AccessKey was deleted",
                "proxy",
            ],
        ),
        (
            "MissingSecurityToken",
            "m",
            [
                "begins with LTAI",
                "proxy",
                "proxy",
                "let it give the token too",
                "proxy",
            ],
        ),
        (
            "SignatureDoesNotMatch",
            "m",
            [
                "create another AccessKey",
                "no proxy",
                "no proxy",
                "that the command /opt/issue gives",
                "no proxy",
            ],
        ),
        (
            "SignatureDoesNotMatch",
            SAME,
            [
                "create another AccessKey",
                "ECS console",
                "stsctl refresh",
                "that the command /opt/issue gives",
                "no proxy",
            ],
        ),
        (
            "InvalidParameter.TokenCode",
            "m",
            [
                "the RAM user of the key file /k",
                "of the role worker of the metadata service and of acs:ram::1:role/oss-upload",
                "the role of profile base",
                "the RAM user or role of",
                "the provider of the file /t",
            ],
        ),
    ] {
        for (signer, words) in [KEY_FILE, INSTANCE, CHAIN, COMMAND, TOKEN]
            .into_iter()
            .zip(expected)
        {
            check(code, message, signer, &[words]);
            let hint = denied(code, message, signer);
            let is_users = matches!(signer.0, Signer::RamUser | Signer::Supplied);
            let wrong = by_user.iter().find(|it| !is_users && hint.contains(**it));
            assert_eq!(wrong, None, "{code}, {signer:?}: {hint}");
        }
    }
    for code in [
        "InvalidSecurityToken.Expired",
        "InvalidSecurityToken.Malformed",
        "InvalidSecurityToken.MismatchWithAccessKey",
    ] {
        for (signer, words) in [
            (INSTANCE, "the metadata service renews"),
            (CHAIN, "stsctl refresh"),
        ] {
            let error = StsError::SourceExpired(refusal(code, "m"));
            let (_, _, hint) = for_error(&error, &profile(signer, None));
            assert!(
                hint.contains(words) && !hint.contains("renew what"),
                "{code}: {hint}"
            );
        }
    }
}

/// The limits are those of the configuration.
#[test]
fn session_name_hint_has_the_limit_of_the_configuration() {
    let hint = denied("InvalidParameter.RoleSessionName", "m", KEY_FILE);
    assert!(hint.contains("2 to 64 characters"), "{hint}");
    assert!(RoleSessionName::new(&"x".repeat(64)).is_ok());
    assert!(RoleSessionName::new(&"x".repeat(65)).is_err());
}

#[test]
fn region_without_an_endpoint_is_named() {
    const REASON: &str =
        "no connection (failed to lookup address information: Name or service not known)";
    let hint_by = |endpoint: &str, way: &str| {
        let error = StsError::Unreachable {
            endpoint: endpoint.to_owned(),
            reason: format!("{REASON}{way}"),
            fault: None,
        };
        let (cause, _, hint) = for_error(&error, &profile(KEY_FILE, None));
        assert_eq!(cause, Cause::Unreachable);
        hint
    };
    let hint = |endpoint: &str| hint_by(endpoint, "");
    let by_proxy = hint_by("sts.aliyuncs.com", ", by the proxy http://p (HTTPS_PROXY)");
    assert!(by_proxy.contains("the proxy"), "{by_proxy}");
    let regional = hint("sts.cn-hangzou.aliyuncs.com");
    assert!(
        regional.starts_with("correct region: cn-hangzou has no STS"),
        "{regional}"
    );
    let vpc = hint("sts-vpc.cn-hangzhou.aliyuncs.com:443");
    assert!(
        vpc.contains("vpc = true") && vpc.contains("correct region"),
        "{vpc}"
    );
    let other = hint("sts.example.com");
    assert!(other.starts_with("correct endpoint"), "{other}");
    let global = hint("sts.aliyuncs.com");
    assert!(global.starts_with("check the name servers"), "{global}");
    for (hint, host) in [(other, "sts.example.com"), (global, "sts.aliyuncs.com")] {
        assert!(hint.contains(&format!("getent hosts {host}")), "{hint}");
    }
}

#[test]
fn failure_of_the_service_names_the_issuer_if_it_is_the_cause() {
    let hint = |code: &str| {
        let error = StsError::Unavailable(refusal(code, "m"));
        for_error(&error, &profile(TOKEN, None)).2
    };
    let broken = hint("AuthenticationFail.OIDCToken.IssuerConfigurationBroken");
    assert!(
        broken.contains(".well-known/openid-configuration"),
        "{broken}"
    );
    assert!(hint("ServiceUnavailable").starts_with("wait"));
    assert!(hint("InternalError").starts_with("wait"));
}
