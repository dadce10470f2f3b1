//! Tables of cases: modes, names and chains.

use super::{Disposition, Plan, plan};

fn read(text: &str) -> Plan {
    plan(text.as_bytes(), |name| {
        ("access_key_file", format!("{name}.key"))
    })
    .unwrap()
}

/// One profile, named `p`, with these fields.
fn one(fields: &str) -> Plan {
    read(&format!("{{\"profiles\":[{{\"name\":\"p\",{fields}}}]}}"))
}

#[track_caller]
fn check(fields: &str, added: &str) {
    let plan = one(fields);
    assert_eq!(plan.addition(), added, "{}", plan.report());
    toml::from_str::<toml::Table>(added).unwrap();
}

#[track_caller]
fn refused(fields: &str, reason: &str) {
    let plan = one(fields);
    let Disposition::Skipped(said) = &plan.outcomes[0].disposition else {
        panic!("{fields} is taken: {}", plan.addition());
    };
    assert!(said.contains(reason), "{said}");
    assert!(plan.tables.is_empty() && plan.secrets.is_empty());
    assert!(!plan.report().contains("SECRET"), "{}", plan.report());
}

const KEY: &str = r#""access_key_id":"LTAIX","access_key_secret":"SECRET""#;
const ROLE: &str = r#""ram_role_arn":"acs:ram::1:role/r","ram_session_name":"app""#;

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
    // What OIDC does not say, the environment does.
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
    refused(r#""mode":"Ak2""#, "mode ak2 is none");
    refused(r#""mode":"""#, "no mode");
    refused(r#""access_key_id":"LTAIX""#, "no mode");
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
        r#""mode":"AK","access_key_id":"LTAIX","access_key_secret":"SECRET","access_key_secret":"SECRET2""#,
        "\"access_key_secret\" twice",
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
    assert_eq!(one(&uri("http://127.0.0.1:8080/x")).tables.len(), 2);
    assert_eq!(one(&uri("http://[::1]:8080/x")).tables.len(), 2);
}

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
    // What passes on what comes is no role.
    let instance = r#"{"name":"i","mode":"EcsRamRole"}"#.to_owned();
    let plan = list(&[chain("c", "i"), instance]);
    assert_eq!(of(&plan, "c").as_str(), Some("i-instance"));

    // An OIDC token is none to chain on, though its role is in the environment.
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
    assert_eq!(named(&["é"]), [""; 0]);
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

#[test]
fn profile_with_another_sts_endpoint_has_a_remark() {
    let role = |name: &str, more: &str| {
        format!(r#"{{"name":"{name}","mode":"RamRoleArn",{KEY},{ROLE},"region_id":"cn-x"{more}}}"#)
    };
    let list = |all: &[String]| read(&format!("{{\"profiles\":[{}]}}", all.join(",")));
    assert_eq!(list(&[role("a", "")]).region, None);
    let plan = list(&[
        role("a", ""),
        role("b", r#","sts_region":"cn-beijing""#),
        role("c", r#","sts_endpoint":"sts-vpc.cn-beijing.aliyuncs.com""#),
        role("d", r#","sts_endpoint":"https://sts.aliyuncs.com""#),
        role("e", r#","sts_endpoint":"sts.example.com""#),
    ]);
    assert_eq!(plan.region.unwrap().lines(), "region = \"cn-beijing\"\n");
    let remarks: Vec<_> = plan.outcomes.iter().map(|it| it.remarks.len()).collect();
    assert_eq!(remarks, [0, 0, 1, 0, 1]);
}

#[test]
fn existing_table_stays_and_is_not_added_again() {
    let text = format!(
        r#"{{"profiles":[{{"name":"k","mode":"AK",{KEY}}},
        {{"name":"c","mode":"ChainableRamRoleArn","source_profile":"k",{ROLE}}}]}}"#
    );
    let config: toml::Table = toml::from_str(&read(&text).addition()).unwrap();
    let mut again = read(&text);
    again.merge_into(&config);
    assert!(again.tables.is_empty() && again.secrets.is_empty());
    assert!(
        again
            .outcomes
            .iter()
            .all(|it| it.disposition == Disposition::AlreadyPresent)
    );

    // Half of it is there.
    let mut half = read(&text);
    let source = "[source.k]\ntype = \"access-key\"\naccess_key_file = \"k.key\"\n";
    half.merge_into(&toml::from_str(source).unwrap());
    assert_eq!(half.tables.len(), 1);
    assert!(half.secrets.is_empty());

    let mut other = read(&text);
    let source = source.replace("k.key", "mine.key");
    other.merge_into(&toml::from_str(&source).unwrap());
    assert!(other.tables.is_empty());
    for outcome in &other.outcomes {
        let Disposition::Skipped(reason) = &outcome.disposition else {
            panic!("{outcome:?}")
        };
        assert!(reason.contains("[source.k] is there already"), "{reason}");
    }
}

#[test]
fn stale_secrets_and_long_lived_keys_are_reported() {
    let plan = read(&format!(
        r#"{{"profiles":[
        {{"name":"x","mode":"External","process_command":"/i","access_key_id":"STS.Abc",
          "access_key_secret":"SECRET","sts_token":"SECRET","sts_expiration":1}},
        {{"name":"k","mode":"AK",{KEY}}},
        {{"name":"o","mode":"OAuth","oauth_refresh_token":"SECRET"}},
        {{"name":"s","mode":"CloudSSO","access_token":"SECRET"}}]}}"#
    ));
    let login = &plan.outcomes[3].stale_secrets[0];
    assert!(login.contains("a login's secrets stand in it in clear text (access_token)"));
    assert!(plan.outcomes[0].stale_secrets[0].contains("of STS.Abc stand in it in clear text"));
    assert_eq!(plan.long_lived, ["k", "o"]);
    assert!(!plan.report().contains("SECRET"));
}

#[test]
fn command_arguments_are_reported_as_visible() {
    let of = |command: &str| {
        let text = format!(
            r#"{{"profiles":[{{"name":"x","mode":"External","process_command":"{command}"}}]}}"#
        );
        read(&text).report()
    };
    let report = of("/i --pass SECRET");
    assert!(report.contains("a secret among its arguments"), "{report}");
    assert!(!report.contains("SECRET"), "{report}");
    assert!(!of("/i").contains("arguments"));
}

#[test]
fn ini_file_of_the_sdks_is_converted() {
    let ini = "\u{feff}# mine\r\n[ default ]\r\nType = access_key ; a comment\r\n\
        access_key_id=LTAIX\r\naccess_key_secret = \"SECRET\" # one more\r\n\r\n\
        [r]\ntype=ram_role_arn\naccess_key_id=LTAIY\naccess_key_secret='SECRET#2'\n\
        role_arn=acs:ram::1:role/r\nrole_session_name=app\n\
        policy={\"Version\": \"1\", \"Statement\": []}\n\
        [i]\ntype: ecs_ram_role\nrole_name: worker\n\
        [o]\ntype=oidc_role_arn\nrole_arn=acs:ram::1:role/r\n\
        oidc_provider_arn=acs:ram::1:oidc-provider/p\noidc_token_file_path=/t\n\
        [t]\ntype=sts\n[p]\ntype=rsa_key_pair\nprivate_key_file=/SECRET\n\
        [off]\nenable=false\ntype=access_key\n[n]\n";
    let plan = read(ini);
    let config: toml::Table = toml::from_str(&plan.addition()).unwrap();
    let names =
        |kind: &str| -> Vec<String> { config[kind].as_table().unwrap().keys().cloned().collect() };
    assert_eq!(
        names("source"),
        ["default", "i-instance", "o-oidc", "r-user"]
    );
    assert_eq!(names("profile"), ["i", "o", "r"]);
    assert!(plan.secrets[0].text.expose().contains("\"SECRET\"\n"));
    assert!(plan.secrets[1].text.expose().contains("\"SECRET#2\"\n"));
    let report = plan.report();
    for line in [
        "t (StsToken): not taken",
        "off (AK): not taken: it is switched off",
        "n (no mode)",
    ] {
        assert!(report.contains(line), "{report}");
    }
}

#[test]
fn invalid_profile_file_is_reported_unquoted() {
    let check = |bytes: &[u8], problem: &str| {
        let error = plan(bytes, |name| ("access_key_file", name.to_owned()))
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    };
    check(b"", "it is empty");
    check(b"\xef\xbb\xbf \n", "it is empty");
    check(b"{", "ends in the middle");
    check(
        b"{\"profiles\":[{\"access_key_secret\":\"SECRET",
        "ends in the middle, at line 1",
    );
    check(
        b"{\"a\"\n:SECRET}",
        "not JSON as aliyun-cli writes it, at line 2",
    );
    check(b"{\"profiles\":{}}", "no list");
    check(
        b"{\"profiles\":[\"SECRET\"]}",
        "profile number 1 in it is no object",
    );
    check(b"{\"profiles\":[]}", "no profile");
    check(b"{\"profiles\":null}", "no profile");
    check(b"{}", "no \"profiles\"");
    check(b"{\"profiles\":[],\"profiles\":[]}", "twice");
    check(b"{\"a\":1}\n\xffSECRET", "not UTF-8, at line 2");
    check(b"SECRET", "line 1 is no section");
    check(
        b"access_key_secret=SECRET",
        "line 1 is before the first section",
    );
    check(b"[a]\nSECRET\n", "line 2 is no section");
    check(b"[\"SECRET\"]", "not JSON as");
    check(b"[{\"access_key_secret\": \"SECRET\"}]", "not JSON as");
    check(b"[a = \"SECRET\"]", "line 1 is");
    check(b"# nothing\n", "no profile");
    let many = format!("{{\"profiles\":[{}{{}}]}}", "{},".repeat(1000));
    check(many.as_bytes(), "more than 1000");
}

#[test]
fn excluded_table_excludes_only_its_dependents() {
    let plan = || {
        read(&format!(
            r#"{{"profiles":[{{"name":"a","mode":"RamRoleArn",{KEY},{ROLE}}},
            {{"name":"a.b","mode":"EcsRamRole"}},
            {{"name":"c","mode":"ChainableRamRoleArn","source_profile":"a",{ROLE}}}]}}"#
        ))
    };
    let check = |key: &str, left: &[bool]| {
        let mut plan = plan();
        assert_eq!(
            plan.exclude(key, "it is so"),
            left.contains(&false),
            "{key}"
        );
        plan.merge_into(&toml::Table::new());
        let taken = plan
            .outcomes
            .iter()
            .map(|it| it.disposition == Disposition::Converted);
        assert_eq!(taken.collect::<Vec<_>>(), left, "{key}");
        assert_eq!(plan.secrets.len(), usize::from(left[0]));
    };
    check("source.a-user.access_key_file", &[false, true, false]);
    check("profile.a.duration", &[false, true, false]);
    check("profile.a", &[false, true, false]);
    check("profile.a.b.source", &[true, false, true]);
    check("profile.c.policy", &[true, true, false]);
    check("profile.x", &[true, true, true]);
    check("region", &[true, true, true]);
}

/// `source = "ops"` means a source before it means a profile.
#[test]
fn import_never_changes_what_a_source_name_refers_to() {
    let check = |profiles: &str, config: &str, reason: &str| {
        let mut plan = read(&format!("{{\"profiles\":[{profiles}]}}"));
        plan.merge_into(&toml::from_str(config).unwrap());
        let last = plan.outcomes.last().unwrap();
        match &last.disposition {
            Disposition::Skipped(said) => {
                assert!(!reason.is_empty() && said.contains(reason), "{said}")
            }
            other => assert!(reason.is_empty(), "{other:?}"),
        }
    };
    let key = format!(r#"{{"name":"ops","mode":"AK",{KEY}}}"#);
    let chain = "[source.base]\ntype = \"ecs-role\"\n[profile.ops]\nsource = \"base\"\n";
    let deep = "[profile.deep]\nsource = \"ops\"\nrole_arn = \"acs:ram::1:role/d\"\n";
    check(
        &key,
        &format!("{chain}{deep}"),
        "[profile.deep] there builds on the profile ops",
    );
    // No profile builds on it.
    check(&key, chain, "");

    let chained = format!(
        r#"{{"name":"ops","mode":"RamRoleArn",{KEY},{ROLE}}},
        {{"name":"deep","mode":"ChainableRamRoleArn","source_profile":"ops",{ROLE}}}"#
    );
    let other = "[source.ops]\ntype = \"ecs-role\"\n";
    check(&chained, other, "[source.ops] is there already");
    check(&chained, "", "");
}
