//! Profiles as aliyun-cli writes them.

use e2e::Home;
use serde_json::{Value, json};

pub(super) fn key(id: &str) -> Value {
    json!({"access_key_id": id, "access_key_secret": format!("ExampleSecretOf{id}")})
}

pub(super) fn role() -> Value {
    json!({
        "ram_role_arn": "acs:ram::100000000000001:role/oss-upload",
        "ram_session_name": "me"
    })
}

/// Returns a profile with these fields.
pub(super) fn profile(name: &str, mode: &str, fields: &[Value]) -> Value {
    let mut profile = json!({"name": name, "mode": mode, "region_id": "cn-hangzhou"});
    for more in fields {
        let more = more.as_object().unwrap().clone();
        profile.as_object_mut().unwrap().extend(more);
    }
    profile
}

/// Returns a profile of each mode. The command and the token file exist.
pub(super) fn every_mode(home: &Home) -> Value {
    home.put("bin/issue", "#!/bin/sh\nexit 1\n", 0o755);
    home.put("token.jwt", "a.b.c", 0o600);
    let at_home = |name: &str| home.file(name).to_str().unwrap().to_owned();
    let session = json!({
        "access_key_id": "STS.Written", "access_key_secret": "EmulatedSecretX",
        "sts_token": "EmulatedTokenX", "sts_expiration": 1_900_000_000
    });
    json!([
        profile("ak", "AK", &[key("LTAIAK")]),
        profile("token", "StsToken", std::slice::from_ref(&session)),
        profile(
            "role",
            "RamRoleArn",
            &[key("LTAIROLE"), role(), json!({"expired_seconds": 3600})]
        ),
        profile("ecs", "EcsRamRole", &[json!({"ram_role_name": "worker"})]),
        profile(
            "ecs-role",
            "RamRoleArnWithRoleName",
            &[json!({"ram_role_name": "worker"}), role()]
        ),
        profile(
            "chain",
            "ChainableRamRoleArn",
            &[json!({"source_profile": "ak"}), role()]
        ),
        profile(
            "pair",
            "RsaKeyPair",
            &[json!({"private_key": "ExampleSecretOfPair", "key_pair_name": "k"})]
        ),
        profile(
            "external",
            "External",
            &[
                json!({"process_command": format!("{} --pass ExampleSecretOfExternal", at_home("bin/issue"))}),
                session,
            ]
        ),
        profile(
            "uri",
            "CredentialsURI",
            &[json!({"credentials_uri": "https://issuer.example/ExampleSecretOfUri"})]
        ),
        profile(
            "oidc",
            "OIDC",
            &[
                json!({
                    "oidc_provider_arn": "acs:ram::100000000000001:oidc-provider/demo",
                    "oidc_token_file": at_home("token.jwt")
                }),
                role(),
            ]
        ),
        profile(
            "sso",
            "CloudSSO",
            &[json!({"access_token": "ExampleSecretOfSso"})]
        ),
        profile(
            "oauth",
            "OAuth",
            &[json!({"oauth_refresh_token": "ExampleSecretOfOauth"})]
        ),
        profile(
            "bearer",
            "BearerToken",
            &[json!({"bearer_token": "ExampleSecretOfBearer"})]
        ),
        profile("anonymous", "Anonymous", &[]),
    ])
}
