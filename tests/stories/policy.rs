//! A session policy takes away and never gives.

use e2e::Kit;

/// Profiles with session policies beside the plain one.
fn kit() -> Kit {
    let role = "source = \"uploader\"\nrole_arn = \"acs:ram::100000000000001:role/";
    let profiles = format!(
        "[profile.plain]\n{role}oss-upload\"\n\
         [profile.narrow]\n{role}oss-upload\"\npolicy_file = \"narrow.json\"\n\
         [profile.wide]\n{role}oss-read\"\npolicy_file = \"wide.json\"\n"
    );
    let mut kit = Kit::without_daemon(&[]);
    let narrow = "{\n  \"Version\": \"1\",\n  \"Statement\": [{\"Effect\": \"Allow\", \
        \"Action\": \"oss:GetObject\", \"Resource\": \"acs:oss:*:*:examplebucket/public/*\"}]\n}\n";
    let wide = "{\"Version\": \"1\", \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}}";
    kit.write("narrow.json", narrow, 0o600);
    kit.write("wide.json", wide, 0o600);
    kit.write_config(&profiles);
    kit.start_daemon();
    kit
}

#[test]
fn a_narrower_session_policy_denies_what_it_should() {
    let kit = kit();
    let denied = |operation: &[&str]| {
        let error = kit.oss_with("narrow", operation, "x").unwrap_err();
        assert!(error.contains("AccessDenied"), "{operation:?}: {error}");
    };
    for key in ["public/a", "private/a"] {
        kit.oss_with("plain", &["put", "examplebucket", key], "text")
            .unwrap();
    }
    let read = kit.oss_with("narrow", &["get", "examplebucket", "public/a"], "");
    assert_eq!(read, Ok("text".into()));
    denied(&["get", "examplebucket", "private/a"]);
    denied(&["put", "examplebucket", "public/a"]);
    denied(&["delete", "examplebucket", "public/a"]);
    denied(&["list", "examplebucket"]);
}

#[test]
fn a_wider_session_policy_grants_nothing_extra() {
    let kit = kit();
    kit.oss_with("plain", &["put", "examplebucket", "a"], "text")
        .unwrap();
    assert_eq!(
        kit.oss_with("wide", &["get", "examplebucket", "a"], ""),
        Ok("text".into())
    );
    for operation in [
        &["put", "examplebucket", "a"][..],
        &["delete", "examplebucket", "a"],
        &["get", "otherbucket", "a"],
        &["list", "otherbucket"],
    ] {
        let error = kit.oss_with("wide", operation, "x").unwrap_err();
        assert!(error.contains("AccessDenied"), "{operation:?}: {error}");
    }
}
