//! What a world file may say, and how a mistake in one is named.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use stsd_emulator::{
    World,
    account::model::{BUILT_IN, parse_duration},
};

/// The built-in world with one text in it replaced by another.
fn check(old: &str, new: &str, saying: &str) {
    assert!(BUILT_IN.contains(old), "{old}");
    let error = World::parse(&BUILT_IN.replacen(old, new, 1)).unwrap_err();
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert!(chain.contains(saying), "{chain}");
}

#[test]
fn the_built_in_world_is_a_good_one() {
    World::parse(BUILT_IN).unwrap();
    let _ = World::built_in();
}

#[test]
fn a_mistake_in_a_world_is_named() {
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
        "user/nobody",
        "role \"oss-upload\": trusts \"nobody\", which is nobody here",
    );
    check(
        "role/oss-upload",
        "role/nothing",
        "trusts \"nothing\", which is nobody here",
    );
    check("\"active\"", "\"asleep\"", "unknown variant `asleep`");
    check(
        "\"oss-read\"",
        "\"oss-upload\"",
        "role \"oss-upload\" is there twice",
    );
    check(
        "\"oidc-provider/demo\"",
        "\"oidc-provider/other\"",
        "trusts \"other\", which is nobody here",
    );
    check(
        "service/ecs",
        "service/other",
        "trusts \"other\", which is nobody here",
    );
    check(
        "role = \"instance\"",
        "role = \"oss-read\"",
        "instance \"oss-read\": the role does not trust service/ecs",
    );
    check(
        "role = \"instance\"",
        "role = \"nobody\"",
        "instance \"nobody\": there is no such role",
    );
    check(
        "replaced_before_end = \"30m\"",
        "replaced_before_end = \"6h\"",
        "replaced_before_end must be shorter than credential_life",
    );
    check(
        "credential_life = \"6h\"",
        "credential_life = \"long\"",
        "is not one like 6h",
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
        "bucket \"examplebucket\" is there twice",
    );
    check(
        "\"otherbucket\"",
        "\"a/b\"",
        "bucket \"a/b\": is no bucket name",
    );
    check(
        "LTAIEXAMPLEUPLOADER01",
        "STS.X",
        "key \"STS.X\": is no long-term key",
    );
    check(
        "\"Effect\": \"Allow\",",
        "\"Effect\": \"Allow\", \"Condition\": {},",
        "the policy of role \"oss-upload\": the policy element Condition is not supported here",
    );
    check("\"Version\": \"1\",", "", "Version must be \"1\"");
}

#[test]
fn a_duration_is_positive_and_has_a_unit() {
    for (text, seconds) in [("60s", 60), ("15m", 900), ("1h", 3600), ("1h30m", 5400)] {
        assert_eq!(parse_duration(text).unwrap().as_secs(), seconds, "{text}");
    }
    for odd in ["", "60", "-60s", "soon", "1 fortnight"] {
        assert!(parse_duration(odd).is_none(), "{odd}");
    }
}
