//! Splits a `process_command` into words and checks that they run without a shell and by an
//! absolute path, as SDKs and stsd run them.

use super::parsed_profile::SkipReason;

/// Characters that require a shell. Globs (`*`, `?`, `~`) are passed to the program
/// literally, as SDKs pass them.
const SHELL: &str = "|&;<>$`";

/// Programs of this project, which would request credentials from the daemon that runs them.
const OURS: [&str; 3] = ["sts-shim", "stsctl", "stsd"];

/// Splits a command by the POSIX rules for white space, quotes and `\`.
pub(super) fn words(command: &str) -> Result<Vec<String>, SkipReason> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = command.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return unclosed(),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => match rest.next() {
                            Some('\n') => {}
                            Some(c) if "\"\\$`".contains(c) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return unclosed(),
                        },
                        Some('$' | '`') => return needs_shell(),
                        Some(c) => word.push(c),
                        None => return unclosed(),
                    }
                }
            }
            '\\' => match rest.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return unclosed(),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            c if SHELL.contains(c) => return needs_shell(),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    runnable(words)
}

fn runnable(words: Vec<String>) -> Result<Vec<String>, SkipReason> {
    let refuse = |problem: &str| Err(problem.to_owned());
    let name = |word: &String| word.rsplit('/').next().unwrap_or_default().to_owned();
    if words.iter().any(|it| OURS.contains(&name(it).as_str())) {
        return refuse(
            "its command asks stsd, which would be asking itself: it is a profile that gets \
             credentials from here, not one that gives them",
        );
    }
    if words.iter().any(|it| it.contains(char::is_control)) {
        return refuse("its process_command holds control characters");
    }
    match words.first() {
        None => refuse("its process_command is empty"),
        Some(program) if !program.starts_with('/') => refuse(
            "its command is not named by an absolute path, so that it would be another one in \
             another directory or with another PATH",
        ),
        Some(_) => Ok(words),
    }
}

fn needs_shell<T>() -> Result<T, SkipReason> {
    Err(
        "its process_command is written for a shell, and no shell runs it here: put it into a \
         script and name that by its absolute path, or put quotes around what is meant as it is"
            .to_owned(),
    )
}

fn unclosed<T>() -> Result<T, SkipReason> {
    Err("its process_command ends in the middle of a quote".to_owned())
}
