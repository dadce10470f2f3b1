//! The modes of profiles, and the values of each.

use super::{KEY, ROLE, check, one, refused};

#[test]
fn renewable_modes_are_converted() {
    check(
        &format!(r#""mode":"AK",{KEY}"#),
        "[source.p]\ntype = \"access-key\"\naccess_key_file = \"p.key\"\n",
    );
    check(
        &format!(
            r#""mode":"RamRoleArn",{KEY},{ROLE},"expired_seconds":5400,"external_id":"ext","policy":"{{\"Version\":\"1\",\"Statement\":[]}}""#
        ),
        "[source.p-user]\ntype = \"access-key\"\naccess_key_file = \"p-user.key\"\n\n\
         [profile.p]\nsource = \"p-user\"\nrole_arn = \"acs:ram::1:role/r\"\n\
         role_session_name = \"app\"\nduration = \"90m\"\n\
         policy = '{\"Version\":\"1\",\"Statement\":[]}'\nexternal_id = \"ext\"\n",
    );
    check(
        r#""mode":"EcsRamRole""#,
        "[source.p-instance]\ntype = \"ecs-role\"\n\n[profile.p]\nsource = \"p-instance\"\n",
    );
    check(
        &format!(r#""mode":"RamRoleArnWithRoleName","ram_role_name":"worker",{ROLE}"#),
        "[source.p-instance]\ntype = \"ecs-role\"\nrole_name = \"worker\"\n\n\
         [profile.p]\nsource = \"p-instance\"\nrole_arn = \"acs:ram::1:role/r\"\n\
         role_session_name = \"app\"\n",
    );
    check(
        r#""mode":"External","process_command":"/opt/issue --as 'a b' \"c\" d\\ e""#,
        "[source.p-process]\ntype = \"process\"\n\
         command = [\"/opt/issue\", \"--as\", \"a b\", \"c\", \"d e\"]\n\n\
         [profile.p]\nsource = \"p-process\"\n",
    );
    check(
        r#""mode":"CredentialsURI","credentials_uri":"https://h/SECRET""#,
        "[source.p-uri]\ntype = \"uri\"\nuri_file = \"p-uri.uri\"\n\n\
         [profile.p]\nsource = \"p-uri\"\n",
    );
    check(
        &format!(
            r#""mode":"OIDC","oidc_provider_arn":"acs:ram::1:oidc-provider/demo","oidc_token_file":"/run/t",{ROLE}"#
        ),
        "[source.p-oidc]\ntype = \"oidc\"\nprovider_arn = \"acs:ram::1:oidc-provider/demo\"\n\
         token_file = \"/run/t\"\n\n[profile.p]\nsource = \"p-oidc\"\n\
         role_arn = \"acs:ram::1:role/r\"\nrole_session_name = \"app\"\n",
    );
    // The environment has the values that the profile lacks.
    check(
        r#""mode":"OIDC""#,
        "[source.p-oidc]\ntype = \"oidc\"\n\n[profile.p]\nsource = \"p-oidc\"\n",
    );
}

#[test]
fn mode_is_matched_without_case() {
    for mode in ["ak", "Ak", "AK", " ak "] {
        assert_eq!(
            one(&format!(r#""mode":"{mode}",{KEY}"#)).tables.len(),
            1,
            "{mode}"
        );
    }
    refused(r#""mode":"Ak2""#, "mode Ak2 is none");
    refused(r#""mode":"""#, "no mode");
    refused(r#""access_key_id":"LTAIX""#, "no mode");
}

/// The cases of `AutoModeRecognition` in aliyun-cli's `config/profile.go`, in its order.
#[test]
fn missing_mode_is_inferred_as_aliyun_cli_does() {
    const PAIR: &str = r#""private_key":"SECRET","key_pair_name":"k""#;
    const TOKEN: &str =
        r#""oidc_provider_arn":"acs:ram::1:oidc-provider/p","oidc_token_file":"/t""#;
    for (fields, mode) in [
        (KEY.to_owned(), "AK"),
        (format!(r#"{KEY},"sts_token":"SECRET",{ROLE}"#), "StsToken"),
        (format!("{KEY},{ROLE}"), "RamRoleArn"),
        (format!(r#"{KEY},"ram_role_name":"worker",{PAIR}"#), "AK"),
        (
            format!(r#""access_key_id":"LTAIX",{PAIR},"ram_role_name":"worker""#),
            "RsaKeyPair",
        ),
        (
            r#""private_key":"SECRET","ram_role_name":"worker""#.to_owned(),
            "EcsRamRole",
        ),
        (
            r#""ram_role_name":"worker","process_command":"/i""#.to_owned(),
            "EcsRamRole",
        ),
        (
            format!(r#""process_command":"/i",{TOKEN},{ROLE}"#),
            "External",
        ),
        (
            format!(r#"{TOKEN},{ROLE},"cloud_sso_sign_in_url":"u""#),
            "OIDC",
        ),
        (
            format!(r#"{TOKEN},"cloud_sso_sign_in_url":"u""#),
            "CloudSSO",
        ),
        (
            r#""cloud_sso_sign_in_url":"u","bearer_token":"SECRET""#.to_owned(),
            "CloudSSO",
        ),
        (r#""bearer_token":"SECRET""#.to_owned(), "BearerToken"),
        // aliyun-cli infers neither of these modes.
        (r#""credentials_uri":"https://h/x""#.to_owned(), "no mode"),
        (r#""oauth_refresh_token":"SECRET""#.to_owned(), "no mode"),
        (r#""mode":null"#.to_owned(), "no mode"),
    ] {
        for empty in ["", r#","mode":"""#] {
            let plan = one(&format!(
                "{fields}{}",
                if fields.contains("mode") { "" } else { empty }
            ));
            assert_eq!(plan.outcomes[0].mode, mode, "{fields}");
            let report = plan.report();
            let is_taken = !plan.tables.is_empty();
            let remark = format!("it has no mode: by its keys, aliyun-cli reads it as {mode}\n");
            assert_eq!(report.contains(&remark), is_taken, "{report}");
            assert!(!report.contains("SECRET"), "{report}");
        }
    }
    check(
        &format!("{KEY},{ROLE}"),
        "[source.p-user]\ntype = \"access-key\"\naccess_key_file = \"p-user.key\"\n\n\
         [profile.p]\nsource = \"p-user\"\nrole_arn = \"acs:ram::1:role/r\"\n\
         role_session_name = \"app\"\n",
    );
}

#[test]
fn unrenewable_mode_is_skipped_with_its_reason() {
    refused(
        r#""mode":"StsToken","access_key_id":"STS.x","access_key_secret":"SECRET","sts_token":"SECRET""#,
        "it ends",
    );
    refused(r#""mode":"CloudSSO","access_token":"SECRET""#, "browser");
    refused(
        r#""mode":"OAuth","oauth_refresh_token":"SECRET""#,
        "refresh token changes",
    );
    refused(r#""mode":"RsaKeyPair","private_key":"SECRET""#, "key pair");
    refused(
        r#""mode":"BearerToken","bearer_token":"SECRET""#,
        "no AccessKey",
    );
    refused(r#""mode":"Anonymous""#, "no identity");
}

#[test]
fn profile_with_a_value_that_stsd_rejects_is_skipped() {
    let role = |fields: &str| format!(r#""mode":"RamRoleArn",{KEY},{fields}"#);
    refused(&role(r#""ram_session_name":"app""#), "no ram_role_arn");
    refused(&role(r#""ram_role_arn":"arn:aws:x""#), "ram_role_arn");
    let with = |more: &str| role(&format!("{ROLE},{more}"));
    refused(&with(r#""expired_seconds":899"#), "900 to 43200");
    refused(&with(r#""expired_seconds":"an hour""#), "seconds");
    refused(&with(r#""expired_seconds":1.5"#), "seconds");
    refused(&with(r#""policy":"SECRET""#), "policy");
    refused(&with(r#""external_id":"SECRET ID""#), "external_id");
    refused(
        r#""mode":"AK","access_key_id":"STS.x","access_key_secret":"SECRET""#,
        "session",
    );
    refused(
        r#""mode":"AK","access_key_id":"SECRET KEY","access_key_secret":"SECRET""#,
        "access_key_id is none",
    );
    refused(
        r#""mode":"AK","access_key_id":"LTAIX""#,
        "no access_key_secret",
    );
    refused(
        r#""mode":"AK","access_key_id":7,"access_key_secret":"SECRET""#,
        "access_key_id is a number where a text should stand",
    );
    refused(
        r#""mode":"AK","access_key_id":"LTAIX","access_key_secret":["SECRET"]"#,
        "a list where a text",
    );
    refused(
        r#""mode":"OIDC","oidc_token_file":"token.jwt""#,
        "absolute path",
    );
}

#[test]
fn command_is_converted_exactly_or_skipped() {
    let command = |line: &str| {
        let line = serde_json::Value::from(line);
        format!(r#""mode":"External","process_command":{line}"#)
    };
    for line in [
        "/a | b",
        "/a; b",
        "/a $HOME",
        "/a \"$HOME\"",
        "/a `id`",
        "/a > /b",
        "/a && /b",
    ] {
        refused(&command(line), "written for a shell");
    }
    refused(&command("issue"), "absolute path");
    refused(&command("./issue"), "absolute path");
    refused(&command("A=b /issue"), "absolute path");
    refused(&command("/a 'b"), "quote");
    refused(&command("/a \\"), "quote");
    refused(&command("''"), "absolute path");
    refused(&command("/usr/bin/sts-shim dev"), "asking itself");
    refused(&command("/usr/bin/env sts-shim dev"), "asking itself");
    refused(&command("/usr/bin/stsctl get dev"), "asking itself");
    check(
        &command("/a '' \"\" x* ~ '$A' \"\\$A\" \\;"),
        "[source.p-process]\ntype = \"process\"\n\
         command = [\"/a\", \"\", \"\", \"x*\", \"~\", \"$A\", \"$A\", \";\"]\n\n\
         [profile.p]\nsource = \"p-process\"\n",
    );
}

#[test]
fn unsafe_credentials_uri_is_skipped() {
    let uri = |uri: &str| format!(r#""mode":"CredentialsURI","credentials_uri":"{uri}""#);
    let secret = "0123456789abcdef".repeat(4);
    refused(
        &uri(&format!("http://127.0.0.1:7787/{secret}/dev")),
        "asking itself",
    );
    refused(&uri("http://example.com/SECRET"), "without TLS");
    refused(&uri("ftp://example.com/SECRET"), "neither");
    refused(&uri("SECRET"), "no URL");
    refused(r#""mode":"CredentialsURI""#, "not in the file");
    refused(&uri("http://localhost.example:7002/x"), "without TLS");
    refused(&uri("http://user:SECRET@127.0.0.1/x"), "a user, a password");
    refused(&uri("https://h/x#SECRET"), "a fragment");
    refused(
        &uri(&format!("http://localhost:1/{secret}/dev")),
        "asking itself",
    );
    refused(
        &uri("http://100.100.100.200/latest/meta-data/ram/security-credentials/a%2Fb"),
        "ram_role_name",
    );
    refused(
        &uri("http://100.100.100.200/latest/user-data"),
        "without TLS",
    );
    assert_eq!(one(&uri("http://127.0.0.1:8080/x")).tables.len(), 2);
    assert_eq!(one(&uri("http://[::1]:8080/x")).tables.len(), 2);
}

#[test]
fn localhost_in_a_credentials_uri_becomes_127_0_0_1() {
    let plan =
        one(r#""mode":"CredentialsURI","credentials_uri":"http://localhost:7002/x?k=SECRET""#);
    assert_eq!(
        plan.secrets[0].text.expose(),
        "http://127.0.0.1:7002/x?k=SECRET\n"
    );
    let report = plan.report();
    assert!(
        report.contains("localhost in its credentials_uri becomes 127.0.0.1"),
        "{report}"
    );
    // TLS needs the name.
    let plan = one(r#""mode":"CredentialsURI","credentials_uri":"https://localhost/x""#);
    assert_eq!(plan.secrets[0].text.expose(), "https://localhost/x\n");
    assert!(
        plan.outcomes[0]
            .remarks
            .iter()
            .all(|it| !it.contains("localhost"))
    );
}

#[test]
fn metadata_uri_becomes_an_instance_role() {
    let uri = "http://100.100.100.200/latest/meta-data/ram/security-credentials/";
    check(
        &format!(r#""mode":"CredentialsURI","credentials_uri":"{uri}worker""#),
        "[source.p-instance]\ntype = \"ecs-role\"\nrole_name = \"worker\"\n\n\
         [profile.p]\nsource = \"p-instance\"\n",
    );
    check(
        &format!(r#""mode":"CredentialsURI","credentials_uri":"{uri}""#),
        "[source.p-instance]\ntype = \"ecs-role\"\n\n[profile.p]\nsource = \"p-instance\"\n",
    );
}
