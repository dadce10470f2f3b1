//! The known name that a mistyped one probably means.

/// Minimum number of characters for each mistake in a name.
const MIN_CHARS_PER_MISTAKE: usize = 3;

/// Returns the question after the known name that is the most similar to a text; `None` if no name is
/// similar.
pub(crate) fn hint<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let distance = |name: &str| strsim::damerau_levenshtein(name, text);
    let others = known.into_iter().filter(|it| *it != text);
    let near = others.min_by_key(|it| distance(it))?;
    let max_distance = text.chars().count() / MIN_CHARS_PER_MISTAKE;
    (distance(near) <= max_distance).then(|| format!("did you mean {near}?"))
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn most_similar_name_with_few_mistakes_is_named() {
        let check = |text, expected: Option<&str>| {
            let found = hint(text, ["oss-upload", "oss-read", "ram"]);
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("oss-uplod", Some("did you mean oss-upload?"));
        check("oss-raed", Some("did you mean oss-read?"));
        check("rma", Some("did you mean ram?"));
        check("ra", None);
        check("backup", None);
        check("", None);
    }
}
