//! The file of an account model, and the errors of an invalid one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use stsd_emulator::{
    account::{self, DEFAULT_MODEL},
    duration::parse_duration,
};

/// Checks the error of the default account model with one text replaced.
fn check(old: &str, new: &str, expected: &str) {
    assert!(DEFAULT_MODEL.contains(old), "{old}");
    let error = account::parse(&DEFAULT_MODEL.replacen(old, new, 1)).unwrap_err();
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert!(chain.contains(expected), "{chain}");
}

#[test]
fn default_account_model_is_valid() {
    account::parse(DEFAULT_MODEL).unwrap();
    let _ = account::default_model();
}

#[test]
fn invalid_account_model_names_table_and_value() {
    check("max_session", "maximum", "unknown field `maximum`");
    check("account =", "acount =", "unknown field `acount`");
    check(
        "\"100000000000001\"",
        "\"mine\"",
        "account \"mine\": must be digits",
    );
    check(
        "max_session = \"1h\"",
        "max_session = \"59m\"",
        "max_session must be 1h to 12h",
    );
    check(
        "max_session = \"1h\"",
        "max_session = \"13h\"",
        "max_session must be 1h to 12h",
    );
    check(
        "user/uploader",
        "uploader",
        "which is none of user/NAME, role/NAME",
    );
    check(
        "user/uploader",
        "user/absent",
        "role \"oss-upload\": trusts \"absent\", which is not defined",
    );
    check(
        "role/oss-upload",
        "role/nothing",
        "trusts \"nothing\", which is not defined",
    );
    check("\"active\"", "\"asleep\"", "unknown variant `asleep`");
    check(
        "\"oss-read\"",
        "\"oss-upload\"",
        "role \"oss-upload\" is defined twice",
    );
    check(
        "\"oidc-provider/demo\"",
        "\"oidc-provider/other\"",
        "trusts \"other\", which is not defined",
    );
    check(
        "service/ecs",
        "service/other",
        "trusts \"other\", which is not defined",
    );
    check(
        "role = \"instance\"",
        "role = \"oss-read\"",
        "instance \"oss-read\": the role does not trust service/ecs",
    );
    check(
        "role = \"instance\"",
        "role = \"absent\"",
        "instance \"absent\": no role has this name",
    );
    check(
        "replaced_before_end = \"30m\"",
        "replaced_before_end = \"6h\"",
        "replaced_before_end must be shorter than credential_life",
    );
    check(
        "credential_life = \"6h\"",
        "credential_life = \"long\"",
        "credential_life \"long\" is no positive duration like 6h",
    );
    check(
        "client_ids = [\"sts.aliyuncs.com\"]",
        "client_ids = []",
        "oidc_provider \"demo\": has no client_ids",
    );
    check(
        "issuer = \"https://saml.example.com/metadata\"",
        "issuer = \"\"",
        "saml_provider \"demo\": has no issuer",
    );
    check(
        "\"otherbucket\"",
        "\"examplebucket\"",
        "bucket \"examplebucket\" is defined twice",
    );
    check(
        "\"otherbucket\"",
        "\"a/b\"",
        "bucket \"a/b\": must be a bucket name without",
    );
    check(
        "LTAIEXAMPLEUPLOADER01",
        "STS.X",
        "key \"STS.X\": is no long-lived key",
    );
    check(
        "\"Effect\": \"Allow\",",
        "\"Effect\": \"Allow\", \"Condition\": {},",
        "the policy of role \"oss-upload\": the emulator does not evaluate the policy element Condition",
    );
    check("\"Version\": \"1\",", "", "Version must be \"1\"");
}

#[test]
fn duration_is_positive_and_has_unit() {
    for (text, seconds) in [("60s", 60), ("15m", 900), ("1h", 3600), ("1h30m", 5400)] {
        assert_eq!(parse_duration(text).unwrap().as_secs(), seconds, "{text}");
    }
    for invalid in ["", "60", "-60s", "soon", "1 fortnight"] {
        assert!(parse_duration(invalid).is_none(), "{invalid}");
    }
}
