//! An editor for one section of an INI file. It works on lines: every other line, comment and
//! line ending stays to the byte.

use std::ops::Range;

use anyhow::{Result, bail, ensure};

/// The lines of a file, each with its line ending.
pub(crate) struct Ini<'a> {
    lines: Vec<&'a str>,
}

/// A key and a value for a section.
pub(crate) struct Pair {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    /// An existing value stays. A missing line of a multi-line value is added.
    pub(crate) unless_there: bool,
}

impl Pair {
    pub(crate) fn new(key: &'static str, value: impl Into<String>) -> Self {
        Self {
            key,
            value: value.into(),
            unless_there: false,
        }
    }

    pub(crate) fn unless_there(self) -> Self {
        Self {
            unless_there: true,
            ..self
        }
    }

    /// Returns the key and the text of the second line of a multi-line value.
    fn below(&self) -> Option<(&str, &str)> {
        let line = self.value.strip_prefix('\n')?.trim();
        Some((line.split_once('=')?.0.trim(), line))
    }

    /// Returns the pair as lines with the file's line ending.
    fn line(&self, end: &str) -> String {
        let value = self.value.replace('\n', end);
        let line = format!("{} = {value}", self.key);
        line.replace(&format!(" {end}"), end) + end
    }
}

impl<'a> Ini<'a> {
    /// Parses a text. The errors do not quote it, because it may hold secrets.
    pub(crate) fn read(text: &'a str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let mut in_section = false;
        for (number, line) in lines.iter().enumerate() {
            let number = number + 1;
            ensure!(!line.contains('\0'), "line {number} is not text");
            match kind(line) {
                Kind::Header(_) => in_section = true,
                Kind::Nothing | Kind::Below => {}
                Kind::Pair(..) if in_section => {}
                Kind::Pair(..) => bail!("line {number} is before the first section"),
                Kind::Unreadable => bail!("line {number} is no section and no key with a value"),
            }
        }
        Ok(Self { lines })
    }

    /// Returns the range of the lines below a section's header.
    pub(crate) fn section(&self, name: &str) -> Result<Option<Range<usize>>> {
        let header = |line: &str| matches!(kind(line), Kind::Header(_));
        let is_it = |it: &(usize, &&str)| match kind(it.1) {
            Kind::Header(found) => words(found).eq(words(name)),
            _ => false,
        };
        let mut found = self.lines.iter().enumerate().filter(is_it);
        let Some((begins, _)) = found.next() else {
            return Ok(None);
        };
        ensure!(found.next().is_none(), "it has the section [{name}] twice");
        let begins = begins + 1;
        let length = self.lines[begins..].iter().position(|it| header(it));
        let ends = length.map_or(self.lines.len(), |it| begins + it);
        Ok(Some(begins..ends))
    }

    /// Returns the value of a key in a section.
    pub(crate) fn value(&self, section: &str, key: &str) -> Result<Option<&'a str>> {
        let Some(range) = self.section(section)? else {
            return Ok(None);
        };
        let found = self.find(&range, key)?;
        Ok(found.and_then(|at| match kind(self.lines[at]) {
            Kind::Pair(_, value) => Some(value),
            _ => None,
        }))
    }

    /// Returns `true` if `is_it` accepts a key of the section, given in lower case.
    pub(crate) fn has_key(&self, section: &str, is_it: fn(&str) -> bool) -> Result<bool> {
        let range = self.section(section)?.unwrap_or_default();
        Ok(self.lines[range].iter().any(|line| match kind(line) {
            Kind::Pair(key, _) => is_it(&key.to_ascii_lowercase()),
            _ => false,
        }))
    }

    /// Returns the value of a key nested below another key of a section.
    pub(crate) fn value_below(
        &self,
        section: &str,
        key: &str,
        inner: &str,
    ) -> Result<Option<&'a str>> {
        let range = self.section(section)?.unwrap_or_default();
        let found = self.find(&range, key)?;
        Ok(found.and_then(|at| self.below(at..range.end, inner)))
    }

    /// Returns the value of a key in the lines below the first line of a range.
    fn below(&self, range: Range<usize>, inner: &str) -> Option<&'a str> {
        self.lines[range]
            .iter()
            .skip(1)
            .take_while(|it| matches!(kind(it), Kind::Below | Kind::Nothing))
            .filter(|it| matches!(kind(it), Kind::Below))
            .filter_map(|it| it.split_once('='))
            .find(|it| it.0.trim().eq_ignore_ascii_case(inner))
            .map(|it| it.1.trim())
    }

    fn find(&self, range: &Range<usize>, key: &str) -> Result<Option<usize>> {
        let is_it = |at: &usize| match kind(self.lines[*at]) {
            Kind::Pair(found, _) => found.eq_ignore_ascii_case(key),
            _ => false,
        };
        let mut found = range.clone().filter(is_it);
        let first = found.next();
        ensure!(
            found.next().is_none(),
            "one of its sections has {key} twice"
        );
        Ok(first)
    }
}

/// Returns the text with these pairs in a section.
pub(crate) fn with_section(text: &str, name: &str, pairs: &[Pair]) -> Result<String> {
    let ini = Ini::read(text)?;
    let end = match ini.lines.first() {
        Some(line) if line.ends_with("\r\n") => "\r\n",
        _ => "\n",
    };
    let mut lines: Vec<String> = ini.lines.iter().map(|it| (*it).to_owned()).collect();
    match ini.section(name)? {
        Some(range) => {
            let mut last = range.start;
            for at in range.clone() {
                if !matches!(kind(ini.lines[at]), Kind::Nothing) {
                    last = at + 1;
                }
            }
            let mut new = Vec::new();
            for pair in pairs {
                match ini.find(&range, pair.key)? {
                    None => new.push(pair.line(end)),
                    Some(at) if pair.unless_there => {
                        if let Some((inner, line)) = pair.below()
                            && ini.below(at..range.end, inner).is_none()
                        {
                            add_below(&mut lines, at, line, end);
                        }
                    }
                    Some(at) => replace(&mut lines[at], pair, end),
                }
            }
            if !new.is_empty() {
                finish(&mut lines[last - 1], end);
            }
            lines.splice(last..last, new);
        }
        None => {
            if let Some(line) = lines.last_mut() {
                finish(line, end);
            }
            if lines.last().is_some_and(|it| !it.trim().is_empty()) {
                lines.push(end.to_owned());
            }
            lines.push(format!("[{name}]{end}"));
            lines.extend(pairs.iter().map(|it| it.line(end)));
        }
    }
    let mark = if text.starts_with('\u{feff}') {
        "\u{feff}"
    } else {
        ""
    };
    Ok(mark.to_owned() + &lines.concat())
}

fn replace(line: &mut String, pair: &Pair, end: &str) {
    if let Kind::Pair(_, value) = kind(line)
        && value != pair.value
    {
        *line = pair.line(end);
    }
}

/// Adds a line below a key, with the indentation of the existing lines.
fn add_below(lines: &mut [String], at: usize, line: &str, end: &str) {
    let next = lines.get(at + 1).map_or("", String::as_str);
    let indent = match kind(next) {
        Kind::Below => &next[..next.len() - next.trim_start().len()],
        _ => "    ",
    };
    let added = format!("{indent}{line}{end}");
    finish(&mut lines[at], end);
    lines[at].push_str(&added);
}

/// Adds a missing line ending.
fn finish(line: &mut String, end: &str) {
    if !line.ends_with('\n') {
        line.push_str(end);
    }
}

enum Kind<'a> {
    Header(&'a str),
    Pair(&'a str, &'a str),
    /// Part of the value above it.
    Below,
    /// An empty line or a comment.
    Nothing,
    Unreadable,
}

fn kind(line: &str) -> Kind<'_> {
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
        return Kind::Nothing;
    }
    if line.starts_with([' ', '\t']) {
        return Kind::Below;
    }
    if let Some(rest) = trimmed.strip_prefix('[') {
        return rest
            .split_once(']')
            .map_or(Kind::Unreadable, |it| Kind::Header(it.0));
    }
    match trimmed.split_once('=') {
        Some((key, value)) => Kind::Pair(key.trim(), value.trim()),
        None => Kind::Unreadable,
    }
}

/// Returns the words of a header: parsers treat `[profile x]` and `[ profile  "x" ]` alike.
fn words(header: &str) -> impl Iterator<Item = &str> {
    header
        .split_whitespace()
        .map(|it| it.trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::{Ini, Pair, with_section};

    fn pairs() -> [Pair; 3] {
        [
            Pair::new("credential_process", "/usr/bin/sts-shim x"),
            Pair::new("region", "oss-cn-hongkong").unless_there(),
            Pair::new("s3", "\n    addressing_style = virtual").unless_there(),
        ]
    }

    #[test]
    fn ini_edit_changes_one_section_and_is_idempotent() {
        let ours = "credential_process = /usr/bin/sts-shim x\nregion = oss-cn-hongkong\n\
            s3 =\n    addressing_style = virtual\n";
        let check = |before: &str, after: &str| {
            let changed = with_section(before, "profile x", &pairs()).unwrap();
            assert_eq!(changed, after, "{before:?}");
            assert_eq!(with_section(after, "profile x", &pairs()).unwrap(), after);
        };
        check("", &format!("[profile x]\n{ours}"));
        check(
            "# a\n[default]\nb=c",
            &format!("# a\n[default]\nb=c\n\n[profile x]\n{ours}"),
        );
        check("[a]\n\n", &format!("[a]\n\n[profile x]\n{ours}"));
        check(
            "[ profile \"x\" ]\nREGION=mine\nunknown = 1\n  below = 2\n\n# of y\n[profile y]\nz=1\n",
            "[ profile \"x\" ]\nREGION=mine\nunknown = 1\n  below = 2\n\
             credential_process = /usr/bin/sts-shim x\ns3 =\n    addressing_style = virtual\n\
             \n# of y\n[profile y]\nz=1\n",
        );
        check(
            "[profile x]\ncredential_process = /old/sts-shim x\n; mine\ns3 =\n  a = b\nregion=c",
            "[profile x]\ncredential_process = /usr/bin/sts-shim x\n; mine\ns3 =\n  addressing_style = virtual\n  a = b\nregion=c",
        );
        check(
            &format!("[profile x]\n{}", ours.replace("virtual", "path")),
            &format!("[profile x]\n{}", ours.replace("virtual", "path")),
        );
        let in_dos = |text: &str| text.replace('\n', "\r\n");
        check(
            &in_dos("\u{feff}[a]\nb=c\n"),
            &in_dos(&format!("\u{feff}[a]\nb=c\n\n[profile x]\n{ours}")),
        );
    }

    #[test]
    fn invalid_ini_file_is_not_edited() {
        for (text, says) in [
            ("a=b\n", "line 1"),
            ("[a]\nb=c\nno pair\n", "line 3"),
            ("[a\n", "line 1"),
            ("[a]\nb=\0\n", "line 2"),
            ("[profile x]\n[profile \"x\"]\n", "twice"),
            ("[profile x]\nregion=a\nregion=b\n", "twice"),
        ] {
            let error = with_section(text, "profile x", &pairs()).unwrap_err();
            assert!(error.to_string().contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn ini_value_is_found_in_its_section_only() {
        let ini = Ini::read("[a]\nk = 1\n[b]\nk = 2\n[c]\n").unwrap();
        assert_eq!(ini.value("b", "K").unwrap(), Some("2"));
        assert_eq!(ini.value("c", "k").unwrap(), None);
        assert_eq!(ini.value("d", "k").unwrap(), None);
    }
}
