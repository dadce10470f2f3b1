//! The words that are not used, and where one is in a text.

/// Persons, furniture and metaphors. A phrase comes before the word that it contains.
const WORDS: &str = "those who,one who,who,whom,whoever,whomever,nobody,somebody,everybody,anybody,\
    someone,everyone,anyone,door,doors,desk,desks,guest,guests,seat,seats,bell,bells,room,rooms,\
    house,houses,crowd,crowds";

/// The openings that a doc comment must not have.
const OPENERS: &str = "Decides,Tells whether,Says that,Says what,Looks whether";

/// Returns every word of the list that stands in `text` as a whole word, in any case.
pub(super) fn in_text(text: &str) -> Vec<&'static str> {
    let text = text.to_ascii_lowercase();
    let mut found = Vec::new();
    let mut before = ' ';
    let mut end = 0;
    for (index, c) in text.char_indices() {
        let rest = &text[index..];
        if index >= end
            && !is_word_part(before)
            && let Some(word) = WORDS.split(',').find(|it| starts_with_word(rest, it))
        {
            end = index + word.len();
            // The name of a format argument is code.
            if before != '{' || !text[end..].starts_with([':', '}']) {
                found.push(word);
            }
        }
        before = c;
    }
    found
}

/// Returns the opening of the list with which `text` begins.
pub(super) fn opener(text: &str) -> Option<&'static str> {
    OPENERS.split(',').find(|it| starts_with_word(text, it))
}

fn starts_with_word(text: &str, word: &str) -> bool {
    let rest = text.strip_prefix(word);
    rest.is_some_and(|rest| !rest.starts_with(is_word_part))
}

/// Returns `true` for a character of identifiers and words.
pub(super) fn is_word_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
