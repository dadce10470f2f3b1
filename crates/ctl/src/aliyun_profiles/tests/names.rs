//! The names of profiles and sources, and chains of profiles.

use super::{KEY, ROLE, read};
use crate::aliyun_profiles::{Disposition, Plan};

#[test]
fn chain_ends_at_existing_profile() {
    let chain = |name: &str, source: &str| {
        format!(
            r#"{{"name":"{name}","mode":"ChainableRamRoleArn","source_profile":"{source}",{ROLE}}}"#
        )
    };
    let list = |all: &[String]| read(&format!("{{\"profiles\":[{}]}}", all.join(",")));
    let key = format!(r#"{{"name":"k","mode":"AK",{KEY}}}"#);
    let role = format!(r#"{{"name":"r","mode":"RamRoleArn",{KEY},{ROLE}}}"#);
    let of = |plan: &Plan, name: &str| -> toml::Value {
        let config: toml::Table = toml::from_str(&plan.addition()).unwrap();
        config["profile"][name]["source"].clone()
    };

    let plan = list(&[chain("c", "k"), key.clone()]);
    assert_eq!(of(&plan, "c").as_str(), Some("k"));
    // On a role, and not on the key below it.
    let plan = list(&[chain("d", "c"), chain("c", "r"), role.clone()]);
    assert_eq!(of(&plan, "c").as_str(), Some("r"));
    assert_eq!(of(&plan, "d").as_str(), Some("c"));
    assert_eq!(plan.tables.len(), 4);
    // A profile that passes a session through has no role.
    let instance = r#"{"name":"i","mode":"EcsRamRole"}"#.to_owned();
    let plan = list(&[chain("c", "i"), instance]);
    assert_eq!(of(&plan, "c").as_str(), Some("i-instance"));

    // A chain builds on the profile of an OIDC token, and not on the token, although only the
    // environment has the role.
    let oidc = r#"{"name":"o","mode":"OIDC"}"#.to_owned();
    let plan = list(&[chain("c", "o"), oidc]);
    assert_eq!(of(&plan, "c").as_str(), Some("o"));

    let reasons = |plan: &Plan| -> Vec<String> {
        let each = plan.outcomes.iter().map(|it| match &it.disposition {
            Disposition::Skipped(reason) => reason.clone(),
            _ => String::new(),
        });
        each.collect()
    };
    let plan = list(&[chain("a", "b"), chain("b", "a"), chain("c", "a")]);
    assert_eq!(
        reasons(&plan),
        [
            "it goes in a circle: a → b → a",
            "it goes in a circle: b → a → b",
            "it goes in a circle: a → b → a"
        ]
    );
    let plan = list(&[chain("a", "a"), chain("b", "x"), chain("c", "b")]);
    assert_eq!(
        reasons(&plan),
        [
            "it goes in a circle: a → a",
            "its source_profile x is not in this file",
            "its source_profile leads to x, which is not in this file"
        ]
    );
    let long = (1..9).map(|it| chain(&format!("c{it}"), &format!("c{}", it - 1)));
    let chained = |first: String| {
        let all: Vec<_> = [first].into_iter().chain(long.clone()).collect();
        reasons(&list(&all))
            .iter()
            .filter(|it| !it.is_empty())
            .count()
    };
    assert_eq!(chained(key.replace("\"k\"", "\"c0\"")), 0);
    assert_eq!(chained(role.replace("\"r\"", "\"c0\"")), 1);
    let token = r#"{"name":"t","mode":"StsToken"}"#.to_owned();
    let plan = list(&[token, chain("c", "t")]);
    assert_eq!(reasons(&plan)[1], "it needs t, which cannot be taken");
}

#[test]
fn profiles_with_one_key_share_one_source() {
    let plan = read(&format!(
        r#"{{"profiles":[{{"name":"r","mode":"RamRoleArn",{KEY},{ROLE}}},
        {{"name":"s","mode":"RamRoleArn",{KEY},{ROLE}}},{{"name":"k","mode":"AK",{KEY}}}]}}"#
    ));
    assert_eq!(plan.secrets.len(), 1);
    assert_eq!(plan.secrets[0].name, "k");
    assert_eq!(plan.tables.len(), 3);
    let text = plan.secrets[0].text.expose();
    assert_eq!(
        text,
        "access_key_id = \"LTAIX\"\naccess_key_secret = \"SECRET\"\n"
    );
    assert!(!plan.secrets[0].redacted.contains("SECRET"));
}

#[test]
fn profile_name_is_adapted_and_never_shared() {
    let named = |names: &[&str]| {
        let each = names.iter().map(|it| {
            let name = serde_json::Value::from(*it);
            format!(r#"{{"name":{name},"mode":"EcsRamRole"}}"#)
        });
        let plan = read(&format!(
            "{{\"profiles\":[{}]}}",
            each.collect::<Vec<_>>().join(",")
        ));
        let config: toml::Table = toml::from_str(&plan.addition()).unwrap();
        let profiles = config.get("profile").and_then(|it| it.as_table());
        let names: Vec<_> = profiles.into_iter().flat_map(|it| it.keys()).collect();
        names
            .iter()
            .map(|it| it.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&["a b"]), ["a-b"]);
    assert_eq!(named(&["_é.x"]), ["x"]);
    assert_eq!(named(&["a.b"]), ["a.b"]);
    assert_eq!(
        named(&["生产", "a", "测试"]),
        ["a", "profile-1", "profile-3"]
    );
    assert_eq!(named(&["生产", "profile-1"]), ["profile-1"]);
    assert_eq!(named(&[""]), [""; 0]);
    assert_eq!(named(&["a", "a"]), [""; 0]);
    assert_eq!(named(&["a b", "a/b"]), [""; 0]);
    assert_eq!(named(&["a b", "a-b"]), ["a-b"]);
    assert_eq!(named(&[&"x".repeat(80)]), ["x".repeat(64)]);
    let plan =
        read("{\"profiles\":[{\"mode\":\"AK\"}, {\"name\":\"\\u001b[2J\",\"mode\":\"AK\"}]}");
    assert!(
        plan.report()
            .starts_with("profile number 1 (AK): not taken: it has no name\n")
    );
    assert!(!plan.report().contains('\u{1b}'));
}

#[test]
fn source_name_differs_from_profile_names() {
    let plan = read(&format!(
        r#"{{"profiles":[{{"name":"p","mode":"RamRoleArn",{KEY},{ROLE}}},
        {{"name":"p-user","mode":"EcsRamRole"}}]}}"#
    ));
    let config: toml::Table = toml::from_str(&plan.addition()).unwrap();
    let sources: Vec<_> = config["source"].as_table().unwrap().keys().collect();
    assert_eq!(sources, ["p-user-instance", "p-user2"]);
}
