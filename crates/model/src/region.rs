//! The name of a region, as far as it is a part of the host name of an STS endpoint.

use crate::Invalid;

/// Maximum length of a region that makes a host name, in bytes.
const MAX_REGION_BYTES: usize = 40;

/// Checks a region of STS: 1 to 40 of `[a-z0-9-]`, without a hyphen at either end, and not in the
/// spelling of OSS.
///
/// # Errors
/// [`Invalid`], with the allowed values.
pub fn region(text: &str) -> Result<(), Invalid> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let has_edge = text.starts_with('-') || text.ends_with('-');
    let fits = (1..=MAX_REGION_BYTES).contains(&text.len());
    if !fits || has_edge || !text.bytes().all(allowed) {
        return Err(Invalid::new(
            "a region is at most 40 lower-case letters, digits and hyphens, such as cn-hongkong",
        ));
    }
    if text.starts_with("oss-") {
        return Err(Invalid::new(
            "oss-… is the spelling of OSS; a region of STS has no such prefix, as in cn-hangzhou",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::region;

    #[test]
    fn region_is_a_part_of_a_host_name() {
        for text in ["cn-hongkong", "a", "1-x", &"x".repeat(40)] {
            assert_eq!(region(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "-x",
            "x-",
            "CN-hangzhou",
            "a.b",
            "é",
            "oss-cn-hangzhou",
            &"x".repeat(41),
        ] {
            assert!(region(text).is_err(), "{text}");
        }
    }
}
