//! The mask of the report: names, numbers and keys of the account are replaced in every text that comes
//! from a program or a service.

use stsd_oss_client::Credentials;

use crate::settings::Settings;

/// The explanation of the replaced texts, for the report.
pub(crate) const LEGEND: &str = "\
masked     <account> the account id, <role> the role's name, <bucket> the bucket's name,
           <key-id> an AccessKey id, <secret> a secret or a token, <key-file> the path of the
           key file, <directory> the private directory, <digits> any other number of ten or
           more digits";

/// Minimum length of a run of digits that may be a number of an account or a user.
const MIN_MASKED_DIGITS: usize = 10;

/// Minimum length of a text in a key file that may be an AccessKey id or a secret.
const MIN_KEY_CHARS: usize = 12;

/// The texts to replace, the longest first.
pub(crate) struct Mask(Vec<(String, &'static str)>);

impl Mask {
    pub(crate) fn new(settings: &Settings, directory: &str) -> Self {
        let role = &settings.role;
        let mut mask = Self(Vec::new());
        mask.add(directory, "<directory>");
        mask.add(&settings.bucket, "<bucket>");
        mask.add(&role.account, "<account>");
        mask.add(&role.name, "<role>");
        for (text, name) in settings.key.texts() {
            if text.len() >= MIN_KEY_CHARS {
                mask.add(&text, name);
            }
        }
        mask
    }

    /// Adds the id, the secret and the token of a session.
    pub(crate) fn add_session(&mut self, session: &Credentials) {
        self.add(&session.id, "<key-id>");
        self.add(&session.secret, "<secret>");
        self.add(&session.token, "<secret>");
    }

    fn add(&mut self, text: &str, name: &'static str) {
        if !text.is_empty() {
            self.0.push((text.to_owned(), name));
            self.0
                .sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        }
    }

    /// Returns a text with every known and every similar text replaced, in one line.
    pub(crate) fn text(&self, text: &str) -> String {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let known = self.0.iter();
        let masked = known.fold(words, |text, (known, name)| text.replace(known, name));
        similar(&masked)
    }

    /// Returns a request id as the service has sent it, if it has the form of one.
    pub(crate) fn request_id(&self, id: &str) -> String {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match id.len() <= 64 && id.bytes().all(is_id) {
            true => self
                .0
                .iter()
                .fold(id.to_owned(), |id, (known, name)| id.replace(known, name)),
            false => "<not an id>".to_owned(),
        }
    }
}

/// Replaces texts with the form of an AccessKey id, and long runs of digits.
fn similar(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| is_word(c) != is_word(first));
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        masked.push_str(match run {
            it if it.starts_with("LTAI") || it.starts_with("STS.") => "<key-id>",
            it if has_long_number(it) => "<digits>",
            it => it,
        });
    }
    masked
}

fn has_long_number(word: &str) -> bool {
    let mut numbers = word.split(|c: char| !c.is_ascii_digit());
    numbers.any(|it| it.len() >= MIN_MASKED_DIGITS)
}

#[cfg(test)]
mod tests {
    use stsd_oss_client::Credentials;

    use super::{Mask, similar};

    #[test]
    fn similar_texts_are_masked() {
        let check = |text: &str, expected: &str| assert_eq!(similar(text), expected);
        check("key LTAI5tExample1, used", "key <key-id>, used");
        check("STS.NUabc_d: refused", "<key-id>: refused");
        check("user u1234567890123 é", "user <digits> é");
        check(
            "at sts.cn-hongkong.aliyuncs.com:443",
            "at sts.cn-hongkong.aliyuncs.com:443",
        );
        check("900 s, 20261130", "900 s, 20261130");
    }

    #[test]
    fn longest_known_text_is_replaced_first() {
        let mut mask = Mask(Vec::new());
        mask.add("abc", "<role>");
        mask.add("abc-files", "<bucket>");
        mask.add_session(&Credentials {
            id: "TMP.1".to_owned(),
            secret: "x+y".to_owned(),
            token: "t/t".to_owned(),
        });
        let text = mask.text("abc-files of abc:\n TMP.1 x+y t/t");
        assert_eq!(text, "<bucket> of <role>: <key-id> <secret> <secret>");
    }

    #[test]
    fn request_id_with_another_form_is_not_shown() {
        let mask = Mask(Vec::new());
        let id = "534B371674E88A4D89060000";
        assert_eq!(mask.request_id(id), id);
        assert_eq!(mask.request_id("a b"), "<not an id>");
    }
}
