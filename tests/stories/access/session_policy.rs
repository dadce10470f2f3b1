//! Session policies: they remove rights and never add any.

use e2e::TestEnv;

/// Starts a daemon with a profile without a policy and two with one.
fn start_env() -> TestEnv {
    let role = "source = \"uploader\"\nrole_arn = \"acs:ram::100000000000001:role/";
    let profiles = format!(
        "[profile.plain]\n{role}oss-upload\"\n\
         [profile.narrow]\n{role}oss-upload\"\npolicy_file = \"narrow.json\"\n\
         [profile.wide]\n{role}oss-read\"\npolicy_file = \"wide.json\"\n"
    );
    let mut env = TestEnv::without_daemon(&[]);
    let narrow = "{\n  \"Version\": \"1\",\n  \"Statement\": [{\"Effect\": \"Allow\", \
        \"Action\": \"oss:GetObject\", \"Resource\": \"acs:oss:*:*:examplebucket/public/*\"}]\n}\n";
    let wide = "{\"Version\": \"1\", \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}}";
    env.write("narrow.json", narrow, 0o600);
    env.write("wide.json", wide, 0o600);
    env.write_config(&profiles);
    env.start_daemon();
    env
}

#[test]
fn narrower_session_policy_denies_other_operations() {
    let env = start_env();
    let denied = |operation: &[&str]| {
        let error = env.oss_with_profile("narrow", operation, "x").unwrap_err();
        assert!(error.contains("AccessDenied"), "{operation:?}: {error}");
    };
    for key in ["public/a", "private/a"] {
        env.oss_with_profile("plain", &["put", "examplebucket", key], "text")
            .unwrap();
    }
    let read = env.oss_with_profile("narrow", &["get", "examplebucket", "public/a"], "");
    assert_eq!(read, Ok("text".into()));
    denied(&["get", "examplebucket", "private/a"]);
    denied(&["put", "examplebucket", "public/a"]);
    denied(&["delete", "examplebucket", "public/a"]);
    denied(&["list", "examplebucket"]);
}

#[test]
fn wider_session_policy_grants_nothing_extra() {
    let env = start_env();
    env.oss_with_profile("plain", &["put", "examplebucket", "a"], "text")
        .unwrap();
    assert_eq!(
        env.oss_with_profile("wide", &["get", "examplebucket", "a"], ""),
        Ok("text".into())
    );
    for operation in [
        &["put", "examplebucket", "a"][..],
        &["delete", "examplebucket", "a"],
        &["get", "otherbucket", "a"],
        &["list", "otherbucket"],
    ] {
        let error = env.oss_with_profile("wide", operation, "x").unwrap_err();
        assert!(error.contains("AccessDenied"), "{operation:?}: {error}");
    }
}
