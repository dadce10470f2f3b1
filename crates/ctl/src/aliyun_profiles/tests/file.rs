//! The file as a whole: its form, and the remarks about it.

use super::{KEY, ROLE, read};
use crate::aliyun_profiles::{Disposition, NotImported, ossutil_keys, plan, stale_secrets};

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
        role(
            "f",
            r#","sts_endpoint":" http://sts.cn-beijing.aliyuncs.com/""#,
        ),
    ]);
    assert_eq!(plan.region.unwrap().lines(), "region = \"cn-beijing\"\n");
    let remarks: Vec<_> = plan.outcomes.iter().map(|it| it.remarks.len()).collect();
    assert_eq!(remarks, [0, 0, 1, 0, 1, 0]);
}

/// The kinds of secrets that stay in a file have different advice.
#[test]
fn each_kind_of_secret_has_its_own_finding() {
    let file = format!(
        r#"{{"profiles":[
        {{"name":"x","mode":"External","process_command":"/i","access_key_id":"STS.Abc",
          "access_key_secret":"SECRET","sts_token":"SECRET","sts_expiration":1}},
        {{"name":"k","mode":"AK",{KEY}}},
        {{"name":"n",{KEY}}},
        {{"name":"bad","mode":"AK","access_key_id":"no id","access_key_secret":"SECRET"}},
        {{"name":"o","mode":"OAuth","oauth_refresh_token":"SECRET"}},
        {{"name":"s","mode":"CloudSSO","access_token":"SECRET"}},
        {{"name":"t","mode":"StsToken","access_key_id":"STS.a","access_key_secret":"SECRET","sts_token":"SECRET"}},
        {{"name":"p","mode":"RsaKeyPair","private_key":"SECRET"}},
        {{"name":"b","mode":"BearerToken","bearer_token":"SECRET"}},
        {{"name":"e","mode":"EcsRamRole"}}]}}"#
    );
    let plan = read(&file);
    assert_eq!(plan.long_lived, ["k", "n", "bad"]);
    let remark = |at: usize| plan.outcomes[at].stale_secrets.join("");
    assert!(
        remark(0).contains("of STS.Abc stand in it in clear text"),
        "{}",
        remark(0)
    );
    for at in [4, 5] {
        assert!(
            remark(at).contains("a login of aliyun-cli stands in it"),
            "{}",
            remark(at)
        );
        assert!(!remark(at).contains("stsd"), "{}", remark(at));
    }
    assert!(!plan.report().contains("SECRET"));

    let stale = stale_secrets(file.as_bytes()).unwrap();
    assert_eq!(stale.written_back, ["x"]);
    assert_eq!(stale.long_lived, ["k", "n"]);
    assert_eq!(stale.logins, ["o", "s"]);
    let labels =
        |list: &[NotImported]| -> Vec<String> { list.iter().map(|it| it.label.clone()).collect() };
    assert_eq!(labels(&stale.unimportable), ["bad"]);
    assert_eq!(labels(&stale.unusable), ["p", "b"]);
    // Import and doctor give the same reason.
    for (at, found) in [
        (3, &stale.unimportable[0]),
        (7, &stale.unusable[0]),
        (8, &stale.unusable[1]),
    ] {
        let Disposition::Skipped(reason) = &plan.outcomes[at].disposition else {
            panic!("{:?}", plan.outcomes[at]);
        };
        assert_eq!(&found.reason, reason);
    }
}

#[test]
fn session_in_the_sdks_file_is_no_long_lived_secret() {
    let stale = stale_secrets(
        b"[t]\ntype=sts\naccess_key_id=STS.a\naccess_key_secret=SECRET\nsecurity_token=SECRET\n",
    )
    .unwrap();
    assert!(stale.long_lived.is_empty() && stale.unimportable.is_empty());
    assert!(stale.has_secret);
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

/// aliyun-cli knows `OIDC`, and the SDKs `oidc_role_arn` alone.
#[test]
fn mode_of_aliyun_cli_is_no_type_of_the_sdks_file() {
    for name in ["oidc", "OIDC", "AK", "External", "CredentialsURI"] {
        let plan = read(&format!(
            "[a]\ntype = {name}\nrole_arn = acs:ram::1:role/r\naccess_key_id = LTAIX\n"
        ));
        let line = format!("a ({name}): not taken: its type {name} is none of the SDKs\n");
        assert!(plan.report().contains(&line), "{}", plan.report());
    }
    let plan = read("[a]\ntype = ECS_RAM_ROLE\n");
    assert_eq!(plan.tables.len(), 2);
}

/// Go's `encoding/json` ignores the case of keys, and the last of equal keys counts.
#[test]
fn json_keys_are_read_as_aliyun_cli_reads_them() {
    let plan = read(
        r#"{"current":"d","Profiles":[{"Name":"d","Mode":"AK","Access_Key_Id":"LTAIOLD",
        "access_key_id":"LTAIX","ACCESS_KEY_ID":null,"Access_Key_Secret":"SECRET"}]}"#,
    );
    assert_eq!(plan.long_lived, ["d"]);
    let text = plan.secrets[0].text.expose();
    assert!(text.contains("LTAIX") && text.contains("SECRET"));
    assert!(
        plan.report().starts_with("d (AK): taken: "),
        "{}",
        plan.report()
    );
    let file = br#"{"profiles":[{"Name":"d","Mode":"AK","Access_Key_Id":"LTAIX","Access_Key_Secret":"SECRET"}]}"#;
    let stale = stale_secrets(file).unwrap();
    assert_eq!(stale.long_lived, ["d"]);
    assert!(stale.has_secret);
}

#[test]
fn region_is_checked_as_the_daemon_checks_it() {
    for (field, value, region) in [
        ("sts_region", "oss-cn-hangzhou", None),
        (
            "sts_region",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            None,
        ),
        ("sts_endpoint", "sts.oss-cn-hangzhou.aliyuncs.com", None),
        ("sts_region", "CN-hangzhou", Some("cn-hangzhou")),
        (
            "sts_endpoint",
            "sts.cn-hangzhou.aliyuncs.com:443",
            Some("cn-hangzhou"),
        ),
        (
            "sts_endpoint",
            "STS.cn-hangzhou.Aliyuncs.com",
            Some("cn-hangzhou"),
        ),
    ] {
        let plan = read(&format!(
            r#"{{"profiles":[{{"name":"a","mode":"RamRoleArn",{KEY},{ROLE},"{field}":"{value}"}}]}}"#
        ));
        let found = plan.region.as_ref().map(|it| it.name.as_str());
        assert_eq!(found, region, "{value}");
        let remark = plan.report().contains("is not accepted: ");
        assert_eq!(remark, region.is_none(), "{}", plan.report());
    }
}

#[test]
fn oidc_profile_without_a_variable_is_skipped() {
    let outcome = |is_set: fn(&str) -> bool| {
        let mut plan = read(r#"{"profiles":[{"name":"o","mode":"OIDC"}]}"#);
        let is_any = plan.exclude_without_variables(is_set);
        assert_eq!(is_any, plan.report().contains("not taken"));
        plan.report()
    };
    assert!(outcome(|_| true).contains("taken: [source.o-oidc]"));
    let report = outcome(|_| false);
    for name in ["PROVIDER_ARN", "TOKEN_FILE", "ROLE_ARN"] {
        assert!(report.contains(name), "{report}");
    }
    let report = outcome(|name| name != "ALIBABA_CLOUD_ROLE_ARN");
    assert!(
        report.contains("without them: ALIBABA_CLOUD_ROLE_ARN;"),
        "{report}"
    );
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
    check(b"{\"profiles\":[{}],\"Profiles\":[]}", "no profile");
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
    let own = "stsctl init takes";
    check(
        b"[Credentials]\naccessKeyID=LTAI\naccessKeySecret=SECRET\n",
        "the file of ossutil",
    );
    check(b"[Credentials]\naccessKeySecret=SECRET\n", own);
    check(
        b"[default]\naws_access_key_id=SECRET\n",
        "a file of the AWS SDKs",
    );
    check(
        b"[default]\naliyun_access_key_id=SECRET\n",
        "aliyuncli for Python",
    );
    let many = format!("{{\"profiles\":[{}{{}}]}}", "{},".repeat(1000));
    check(many.as_bytes(), "more than 1000");
}

/// Python's configparser, which the SDK for Python uses, continues a value on indented lines.
#[test]
fn indented_line_of_an_ini_value_continues_the_value() {
    let plan = read(
        "[r]\ntype=ram_role_arn\naccess_key_id=LTAIY\naccess_key_secret=SECRET\n\
         role_arn=acs:ram::1:role/r\nrole_session_name=app\n\
         policy={\"Version\": \"1\",\n  \"Statement\": [\n\t]}\n  # a comment\n\
         \n  role_name = worker\n",
    );
    let config: toml::Table = toml::from_str(&plan.addition()).unwrap();
    let policy = config["profile"]["r"]["policy"].as_str().unwrap();
    assert_eq!(policy, "{\"Version\": \"1\",\n\"Statement\": [\n]}");
    assert!(!plan.report().contains("SECRET"));
}

#[test]
fn ossutil_file_with_a_session_holds_no_long_lived_key() {
    let keys = |text: &str| ossutil_keys(text.as_bytes()).unwrap();
    let keyed = "[Credentials]\naccessKeyID=LTAI\naccessKeySecret=SECRET\n";
    assert_eq!(keys(keyed), ["Credentials"]);
    assert_eq!(keys(&format!("{keyed}stsToken=SECRET\n")), [""; 0]);
    assert_eq!(
        keys("[profile x]\naccess-key-secret = SECRET\n"),
        ["profile x"]
    );
    assert_eq!(keys("[AkService]\necsAk=http://127.0.0.1:1/x\n"), [""; 0]);
}
