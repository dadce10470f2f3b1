//! Pieces of the daemon's configuration that many stories use.

/// A profile that has all rights in `examplebucket`.
pub const UPLOAD: &str = "[profile.oss-upload]\nsource = \"uploader\"\n\
    role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";

/// The line of a profile that names the role of [`UPLOAD`].
pub const UPLOAD_ROLE_LINE: &str = "role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";

/// The number of a user that has no name on this machine.
pub const STRANGER: u32 = 64_001;

/// The number of a group that has no name on this machine.
pub const GROUP: u32 = 64_100;

/// Returns the profile [`UPLOAD`] with another name, and with rules unless `allow` is empty.
#[must_use]
pub fn upload_profile(name: &str, allow: &[String]) -> String {
    let profile = UPLOAD.replace("oss-upload]", &format!("{name}]"));
    if allow.is_empty() {
        return profile;
    }
    format!("{profile}allow = {allow:?}\n")
}
