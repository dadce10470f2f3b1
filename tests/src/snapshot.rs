//! Long output of the programs, compared with files: `snapshots/` beside each story file.
//!
//! `INSTA_UPDATE=always cargo xtask e2e NAME` writes the files anew; `git diff` then shows the changed
//! words. The gate never writes them.

use std::fmt::Write as _;

use nix::unistd::geteuid;

use crate::{TestEnv, program};

/// The shortest port number that [`OutputLog`] masks: lower ones are constants of the stories.
const MIN_MASKED_PORT: u16 = 1024;

/// The output of one or several runs, without the values that differ from run to run.
pub struct OutputLog {
    /// Texts and their replacements.
    replacements: Vec<(String, &'static str)>,
    text: String,
}

impl OutputLog {
    /// Returns an empty log for programs of an environment.
    #[must_use]
    pub fn new(env: &TestEnv) -> Self {
        let directory = env.path("").display().to_string();
        let programs = program("stsd").parent().unwrap().display().to_string();
        let owner = format!("belongs to uid {} and", geteuid());
        Self {
            replacements: vec![
                (directory.trim_end_matches('/').to_owned(), "[DIR]"),
                (programs, "[BIN]"),
                (owner, "belongs to uid [UID] and"),
            ],
            text: String::new(),
        }
    }

    /// Replaces one more text.
    #[must_use]
    pub fn masking(mut self, text: &str, replacement: &'static str) -> Self {
        self.replacements.push((text.to_owned(), replacement));
        self
    }

    /// Adds the output of a run below a title: the input that matters.
    pub fn add(&mut self, title: &str, output: &str) {
        let (title, output) = (self.masked(title.trim_end()), self.masked(output));
        for line in title.lines() {
            let _ = writeln!(self.text, "# {line}");
        }
        self.text.push_str(output.trim_end());
        self.text.push_str("\n\n");
    }

    /// Returns the whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.trim_end()
    }

    fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, replacement) in &self.replacements {
            text = text.replace(value, replacement);
        }
        mask_requests(&mask_keys(&mask_ports(&text)))
    }
}

/// Asserts that a text is the one in the snapshot file of that name.
#[macro_export]
macro_rules! assert_output {
    ($name:expr, $text:expr) => {{
        let mut settings = ::insta::Settings::clone_current();
        settings.set_omit_expression(true);
        settings.bind(|| ::insta::assert_snapshot!($name, $text));
    }};
}

/// Replaces ports of 127.0.0.1 that the system has picked.
fn mask_ports(text: &str) -> String {
    let is_port = |it: char| it.is_ascii_digit();
    mask_after(text, "127.0.0.1:", is_port, |port| {
        let is_picked = port.parse::<u16>().is_ok_and(|it| it >= MIN_MASKED_PORT);
        is_picked.then_some("[PORT]")
    })
}

/// Replaces the ids of issued AccessKeys.
fn mask_keys(text: &str) -> String {
    let is_id = |it: char| it.is_ascii_alphanumeric();
    mask_after(text, "STS.", is_id, |id| {
        (!id.is_empty()).then_some("[KEY]")
    })
}

/// Replaces the request ids of STS.
fn mask_requests(text: &str) -> String {
    let is_id = |it: char| it.is_ascii_hexdigit() || it == '-';
    mask_after(text, "(request ", is_id, |_| Some("[ID]"))
}

/// Replaces the value behind each `prefix`, as far as its characters match, unless `replacement`
/// returns `None` for it.
fn mask_after(
    text: &str,
    prefix: &str,
    is_value: impl Fn(char) -> bool,
    replacement: impl Fn(&str) -> Option<&'static str>,
) -> String {
    let mut parts = text.split(prefix);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|it: char| !is_value(it)).unwrap_or(part.len());
        let (value, rest) = part.split_at(end);
        masked += prefix;
        masked += replacement(value).unwrap_or(value);
        masked += rest;
    }
    masked
}
