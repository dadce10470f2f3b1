//! The line of a program's stderr that an error may quote. A program prints secrets to stdout, and
//! some print them to stderr as well (`set -x`, `curl -v`), so that a line is quoted only if no part
//! of the line can be a secret.

use std::collections::BTreeSet;

use stsd_secret::is_part_of_a_secret;

use super::foreign_text::sanitize;

/// Maximum number of lines that are tried, from the last one on.
const MAX_LINES: usize = 20;

/// Minimum number of letters of a line that says something.
const MIN_LETTERS: usize = 3;

/// Minimum length of a word of the output that may also be a part of a longer word.
const MIN_PART_CHARS: usize = 4;

/// Minimum length of a word of a variable's value that must not be shown.
const MIN_VALUE_PART_BYTES: usize = 6;

/// Length of a part of a longer word that must not be shown.
const MAX_VALUE_PART_BYTES: usize = 8;

/// Words before a value that is a secret.
const SECRET_NAMES: [&str; 16] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "authorization",
    "bearer",
    "basic",
    "cookie",
    "signature",
    "assertion",
    "samlresponse",
    "jwt",
    "key",
];

/// The text that a line must not show.
pub(super) struct Hidden<'a> {
    /// The output of the program.
    pub stdout: &'a str,
    /// The names and values of variables whose values may be secrets. A value is replaced by the
    /// variable's name.
    pub variables: &'a [(String, String)],
}

/// Returns the last line of stderr that holds no secret, cut to a length and with unprintable
/// characters escaped.
pub(super) fn quotable_line(stderr: &str, hidden: &Hidden<'_>) -> Option<String> {
    let printed: BTreeSet<_> = words(hidden.stdout).collect();
    let lines: Vec<_> = stderr
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|it| it.chars().filter(|c| c.is_alphabetic()).count() >= MIN_LETTERS)
        .collect();
    let can_be_secret = |line: &str| {
        is_like_a_secret(line)
            || is_part_of_a_secret(line)
            || has_word_of(line, &printed)
            || hidden
                .variables
                .iter()
                .any(|(_, value)| has_part_of(line, value))
    };
    let mut above = lines.len();
    for line in lines.iter().rev().take(MAX_LINES) {
        above -= 1;
        let line = with_names(line, hidden.variables);
        // The last line of an encoded secret may be short.
        let may_continue = !line.contains(char::is_whitespace)
            && above
                .checked_sub(1)
                .is_some_and(|it| can_be_secret(lines[it]));
        if !may_continue && !can_be_secret(&line) {
            return Some(sanitize(&line));
        }
    }
    None
}

/// Returns the line with the names of variables in the place of their values.
fn with_names(line: &str, variables: &[(String, String)]) -> String {
    let shown = variables.iter().filter(|(_, value)| value.len() > 2);
    shown.fold(line.to_owned(), |line, (name, value)| {
        line.replace(value.as_str(), &format!("${name}"))
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|it| !it.is_empty())
}

/// Returns `true` if the line has a word of the output, or a longer word with one in it.
fn has_word_of(line: &str, printed: &BTreeSet<&str>) -> bool {
    let is_in = |word: &&str| word.chars().count() >= MIN_PART_CHARS && line.contains(*word);
    words(line).any(|word| printed.contains(word)) || printed.iter().any(is_in)
}

/// Returns `true` if the line has a word of the value, or a part of a long word.
fn has_part_of(line: &str, value: &str) -> bool {
    let bytes = line.as_bytes();
    words(value)
        .map(str::as_bytes)
        .filter(|it| it.len() >= MIN_VALUE_PART_BYTES)
        .flat_map(|it| it.windows(it.len().min(MAX_VALUE_PART_BYTES)))
        .any(|part| bytes.windows(part.len()).any(|it| it == part))
}

/// Returns `true` if a part of the line looks like a key, a token or a password.
fn is_like_a_secret(line: &str) -> bool {
    let separators = |c: char| c.is_whitespace() || "\"'`‘’“”,;:/()[]{}<>|=".contains(c);
    // A trace of a shell or of curl shows all arguments and headers.
    line.starts_with(['+', '>', '<'])
        || line.contains("-----BEGIN")
        || has_user_information(line)
        || has_named_secret(line)
        || line.split(separators).any(is_mixed)
        || line
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '+')
            .any(is_token)
}

/// Returns `true` for a URL with a user or a password in it.
fn has_user_information(line: &str) -> bool {
    line.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ', '"', '\'']).next();
        authority.is_some_and(|it| it.contains('@'))
    })
}

/// Returns `true` if the name of a secret precedes a value: `name=value`, `name: value`,
/// `--name value`. The name of a file may precede an error: `uploader.key: Permission denied`.
fn has_named_secret(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| {
        lower.match_indices(name).any(|(at, _)| {
            let before = &lower[..at];
            let word = before
                .rsplit(char::is_whitespace)
                .next()
                .unwrap_or_default();
            let rest = lower[at + name.len()..]
                .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-".contains(c))
                .trim_start_matches(['"', '\'']);
            let is_path = word.contains('/') || word.ends_with('.');
            let is_option = word.starts_with('-');
            match rest.chars().next() {
                Some('=') => true,
                Some(':') => !is_path && !rest[1..].trim().is_empty(),
                Some(' ') => is_option || ["bearer", "basic"].contains(name),
                _ => false,
            }
        })
    })
}

/// Returns `true` for a long word with upper case, lower case and digits.
fn is_mixed(word: &str) -> bool {
    let has = |is: fn(&char) -> bool| word.chars().any(|c| is(&c));
    word.len() >= 16
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_digit)
}

/// Returns `true` for a word that no language has: letters with digits, or a long one in mixed case.
fn is_token(word: &str) -> bool {
    let letters = word.chars().filter(char::is_ascii_alphabetic).count();
    let upper = word.chars().filter(char::is_ascii_uppercase).count();
    let has_digits = word.chars().any(|c| c.is_ascii_digit());
    match word.len() {
        0..10 => false,
        10..16 => has_digits && letters > 0,
        16..20 => has_digits || !is_camel_case(word),
        20..24 => has_digits || (0 < upper && upper < letters),
        _ => true,
    }
}

/// Returns `true` for a word whose upper-case letters can be the beginnings of words.
fn is_camel_case(word: &str) -> bool {
    let upper = word.chars().filter(char::is_ascii_uppercase).count();
    upper <= word.len() / 4 || upper == word.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the quoted line of a program that printed `stdout`.
    #[track_caller]
    fn check_output(stderr: &str, stdout: &str, expected: Option<&str>) {
        let variables = [
            ("VAULT_ADDR", "https://vault.example.com:8200"),
            ("PIN", "736251"),
            ("HTTPS_PROXY", "http://jo:hunter2@proxy:3128"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let hidden = Hidden {
            stdout,
            variables: &variables,
        };
        assert_eq!(
            quotable_line(stderr, &hidden).as_deref(),
            expected,
            "{stderr}"
        );
    }

    #[track_caller]
    fn check(stderr: &str, expected: Option<&str>) {
        check_output(stderr, "", expected);
    }

    #[test]
    fn messages_of_common_programs_are_quoted() {
        for line in [
            "/usr/local/bin/issue: line 3: /home/jo/.cache/x: Permission denied",
            "cat: /etc/stsd/uploader.key: Permission denied",
            "gpg: decryption failed: No secret key",
            "gpg: failed to start agent '/usr/bin/gpg-agent': Permission denied",
            "Error: stsd/uploader is not in the password store.",
            "curl: (7) Failed to connect to vault port 8200: Connection refused",
            "ERROR: InvalidAccessKeyId.NotFound",
            "Error: token expired",
            "age: error: no identity matched any of the recipients",
            "mktemp: failed to create file via template '/tmp/tmp.XXXXXXXXXX': Permission denied",
        ] {
            check(line, Some(line));
            check(&format!("{line}\r\n \n}}\n"), Some(line));
        }
        check(
            "a \u{1b}[31mred\u{1b}[0m line",
            Some("a \\u{1b}[31mred\\u{1b}[0m line"),
        );
        check("", None);
        let long = "word ".repeat(100);
        check(&long, Some(&format!("{}…", &long[..200])));
    }

    #[test]
    fn lines_that_can_hold_a_secret_are_not_quoted() {
        for line in [
            "AccessKeySecret: b",
            "password=hunter2",
            "using secret_id \"x\": \"y\", token: abc",
            "{\"AccessKeySecret\":\"b\"}",
            "login with --password hunter2 failed",
            "> Authorization: Bearer abc",
            "Bearer abcdefgh was refused",
            "+ curl -u jo:hunter2 https://vault",
            "++ login hunter2",
            "cannot reach http://jo:pw@proxy:3128",
            "used LTAI5tExample0001",
            "used hvs.CAESIJ1abcdefgh",
            "used ExampleSecretOfUploader000001",
            "used EmulatedSecretOfNobody",
            "used aB3-xY9_zK1-pQ7_mN5",
            "used 6f2b61c1-1f6e-4c3b-9c77-0123456789ab",
            "used AbCdEfGhIjKlMnOpQr",
            "used abcdefghijklmnopqrstuvwxyz",
            "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nabc=",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            check(line, None);
            check(&format!("the reason\n{line}\n"), Some("the reason"));
        }
    }

    #[test]
    fn words_of_the_output_and_of_variables_are_not_quoted() {
        check_output("failed with b", r#"{"AccessKeySecret":"b"}"#, None);
        check_output("failed with xhunterx", "hunter", None);
        check_output("failed\nwith hunter", "hunter", Some("failed"));
        check_output("failed", "hunter", Some("failed"));
        check("the pin is 736251", Some("the pin is $PIN"));
        check("the pin is 1736251x", Some("the pin is 1$PINx"));
        let refused = "Get https://vault.example.com:8200/v1/sys: connection refused";
        check(refused, Some("Get $VAULT_ADDR/v1/sys: connection refused"));
        check("no route to vault.example.com", None);
        check("407 for hunter2", None);
        check("cannot resolve xvault2.examplex", None);
    }

    #[test]
    fn part_of_a_secret_of_the_daemon_is_not_quoted() {
        stsd_secret::lock_pages(|_| {});
        let secret = stsd_secret::SecretText::from("my other car is a bicycle".to_owned());
        check("it is: my other car is a bicycle", None);
        drop(secret);
    }
}
