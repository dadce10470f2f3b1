//! The hints of codes about the request itself, which are the same for each signer.

/// Returns the hint for a parameter that the configuration sets.
pub(super) fn for_parameter(code: &str) -> Option<&'static str> {
    let parameter = code
        .strip_prefix("InvalidParameter.")
        .or_else(|| code.strip_prefix("MissingParameter."))
        .or_else(|| code.strip_prefix("Missing"))?;
    Some(match parameter {
        "DurationSeconds" => {
            "lower duration, or raise the role's maximum session duration: RAM console, Identities > \
             Roles > the role"
        }
        "RoleArn" => {
            "correct role_arn: acs:ram::ACCOUNT_NUMBER:role/ROLE_NAME, as RAM console, Identities > \
             Roles > the role shows it"
        }
        "RoleSessionName" => {
            "set role_session_name to 2 to 64 characters of A-Z a-z 0-9 . @ _ -: its variables may \
             have given another text"
        }
        "PolicyGrammar" | "PolicySize" | "Policy" => {
            "correct the policy: policy, policy_file, or what stsctl lease was given"
        }
        "ExternalId" => {
            "correct external_id: 2 to 1224 characters of A-Z a-z 0-9 _ + = , . @ : / -"
        }
        "SourceIdentity" => {
            "correct source_identity: 2 to 64 characters of A-Z a-z 0-9 _ + = , . @ -"
        }
        "OIDCProviderArn" | "SAMLProviderArn" => "correct provider_arn",
        "OIDCToken" | "SAMLAssertion" => "check what writes the token or assertion",
        _ => return None,
    })
}

/// Returns the hint for a code that STS gives only to a request which stsd does not send.
pub(super) fn for_protocol(code: &str) -> Option<&'static str> {
    const FAMILIES: [&str; 9] = [
        "IllegalTimestamp",
        "IncompleteSignature",
        "InvalidAction",
        "InvalidApi",
        "InvalidParameter.",
        "InvalidSignatureMethod",
        "InvalidTimeStamp",
        "Missing",
        "Unsupported",
    ];
    const OTHER_SERVICE: [&str; 3] = ["InvalidProduct", "InvalidVersion", "NoSuchVersion"];
    if code == "InvalidProtocol.NeedSsl" {
        return Some("set endpoint to an address that begins with https://");
    }
    if OTHER_SERVICE.iter().any(|it| code.starts_with(it)) {
        return Some("correct endpoint: another service than STS answers there");
    }
    let is_protocol = FAMILIES.iter().any(|it| code.starts_with(it));
    is_protocol.then_some(
        "check endpoint, and that no proxy between this machine and STS changes the requests",
    )
}
