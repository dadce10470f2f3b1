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
