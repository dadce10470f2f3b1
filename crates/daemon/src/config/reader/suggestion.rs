//! The known name that a mistyped one is near to, and the text of a value in a message.

use stsd_document::Printable;

/// Maximum length of a value in a message, in characters.
const MAX_SHOWN_CHARS: usize = 60;

/// Maximum length of an unknown key in a message. Known keys are shorter; an AccessKey secret has 30
/// characters.
pub(super) const MAX_SHOWN_NAME_CHARS: usize = 24;

/// Minimum length of a part of a name that stands for the name, such as `arn` for `role_arn`.
const MIN_PART_CHARS: usize = 3;

/// Maximum number of names that a hint lists.
const MAX_LISTED: usize = 20;

/// The known name that is nearest to a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Near<'a> {
    pub name: &'a str,
    /// The text differs by a mistake in spelling. Otherwise it is a part of the name.
    pub is_misspelt: bool,
}

/// Returns the known name that is nearest to a text: a third of its letters is wrong at most, or the
/// text is the beginning or the end of the name. Case, `-` and `_` make no difference.
pub(super) fn nearest<'a>(
    text: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<Near<'a>> {
    // The time is the product of both lengths.
    if text.len() > MAX_SHOWN_CHARS {
        return None;
    }
    let text = plain(text);
    let max_distance = (text.chars().count() / 3).clamp(1, 3);
    let distance = |name: &str| {
        let name = plain(name);
        let is_part = text.len() >= MIN_PART_CHARS
            && (name.starts_with(&text) || name.ends_with(&text) || text.starts_with(&name));
        match strsim::damerau_levenshtein(&name, &text) {
            distance if distance <= max_distance => Some(distance),
            distance if is_part => Some(max_distance + distance),
            _ => None,
        }
    };
    let near = known.into_iter().filter_map(|it| Some((distance(it)?, it)));
    let (distance, name) = near.min_by_key(|(distance, _)| *distance)?;
    Some(Near {
        name,
        is_misspelt: distance <= max_distance,
    })
}

/// Returns the hint for an unknown name: the nearest one, or all known names.
pub(super) fn with_names(text: &str, known: &[&str]) -> String {
    match nearest(text, known.iter().copied()) {
        Some(near) => format!("did you mean {}?", near.name),
        None => format!("there are: {}", listed(known)),
    }
}

/// Returns a value for a message: quoted, on one line, and shortened.
pub(super) fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(MAX_SHOWN_CHARS).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    format!("\"{}\"", Printable(&text))
}

fn listed(known: &[&str]) -> String {
    match known {
        [] => "none".to_owned(),
        _ if known.len() > MAX_LISTED => {
            let more = known.len() - MAX_LISTED;
            format!("{} and {more} more", known[..MAX_LISTED].join(", "))
        }
        _ => known.join(", "),
    }
}

fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '-' | '_'));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::{nearest, shown};

    #[test]
    fn mistyped_name_has_its_nearest_known_name() {
        let keys = [
            "source",
            "role_arn",
            "duration",
            "policy",
            "policy_file",
            "allow",
        ];
        let long = "role_arn".repeat(9);
        let near = |text| nearest(text, keys).map(|it| (it.name, it.is_misspelt));
        let check = |text, name: Option<&str>| {
            assert_eq!(near(text).map(|it| it.0), name, "{text}");
        };
        check("role_arm", Some("role_arn"));
        check("sorce", Some("source"));
        check("role-arn", Some("role_arn"));
        check("RoleArn", Some("role_arn"));
        check("role", Some("role_arn"));
        check("arn", Some("role_arn"));
        check("durations", Some("duration"));
        check("policyfile", Some("policy_file"));
        check("colour", None);
        check("x", None);
        check("", None);
        check(&long, None);
        assert_eq!(near("role_arm"), Some(("role_arn", true)));
        assert_eq!(near("arn"), Some(("role_arn", false)));
    }

    #[test]
    fn shown_value_is_printable_and_short() {
        assert_eq!(shown("a\u{1b}[2J"), "\"a\\u{1b}[2J\"");
        assert_eq!(shown(&"x".repeat(99)).chars().count(), 63);
    }
}
