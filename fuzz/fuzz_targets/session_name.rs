//! A template of a role session name, and the names of user, host and profile, one a line. STS accepts
//! each name that results.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stsd::profile::{NameParts, ProfileName, RoleSessionName};
use stsd_fuzz as _;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let template = line();
    let parts = NameParts {
        user: line().to_owned(),
        host: line().to_owned(),
        pid: u32::MAX,
        instance_id: || Some("i-0\u{e9}".to_owned()),
    };
    let Ok(profile) = ProfileName::new(line()).or_else(|_| ProfileName::new("oss-upload")) else {
        unreachable!("the second name is one");
    };
    let Ok(name) = RoleSessionName::expand(template, &parts, &profile) else {
        return;
    };
    let name = name.as_str();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".@_-".contains(&byte);
    assert!(
        (2..=64).contains(&name.len()) && name.bytes().all(allowed),
        "{name:?}"
    );
});
