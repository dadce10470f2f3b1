//! A template of a role session name on its first line; then the user's name, the host's and
//! the profile's, a line each. Whatever they are, STS takes what comes out.
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
