//! The edits of an environment in the syntax of a shell. Values may hold any byte, so each is
//! quoted by the rules of that shell.

use std::{io::Write as _, os::unix::ffi::OsStrExt as _};

use anyhow::{Result, bail};
use zeroize::Zeroizing;

use crate::{
    cli::Shell,
    env_vars::{EnvEdit, EnvEdits},
    term::stdout,
};

/// Prints the edits in one write, so that a shell evaluates all of them or none.
pub(crate) fn print(edits: &EnvEdits, shell: Shell) -> Result<()> {
    stdout::write(&render(edits, shell)?)
}

fn render(edits: &EnvEdits, shell: Shell) -> Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    for (name, edit) in edits {
        let value = match edit {
            EnvEdit::Set(value) => Some(value.as_bytes()),
            EnvEdit::Unset => None,
        };
        match (shell, value) {
            (Shell::Sh, Some(value)) => {
                write!(text, "export {name}=")?;
                // Within single quotes, only a single quote is special.
                quote(&mut text, value, |byte| match byte {
                    b'\'' => Some(b"'\\''"),
                    _ => None,
                });
                text.push(b'\n');
            }
            (Shell::Sh, None) => writeln!(text, "unset {name}")?,
            (Shell::Fish, Some(value)) => {
                write!(text, "set -gx {name} ")?;
                quote(&mut text, value, |byte| match byte {
                    b'\'' => Some(b"\\'"),
                    b'\\' => Some(b"\\\\"),
                    _ => None,
                });
                text.push(b'\n');
            }
            // -g, because erasing a universal variable would affect all shells of the user;
            // `or true`, because erasing a missing variable fails.
            (Shell::Fish, None) => writeln!(text, "set -eg {name}; or true")?,
            (Shell::Dotenv, Some(value)) => {
                write!(text, "{name}=")?;
                write_dotenv(&mut text, name, value)?;
                text.push(b'\n');
            }
            // A dotenv file can only set variables, and some readers distinguish empty from unset.
            (Shell::Dotenv, None) => writeln!(text, "# must not be set: {name}")?,
        }
    }
    Ok(text)
}

fn quote(text: &mut Vec<u8>, value: &[u8], escape: impl Fn(u8) -> Option<&'static [u8]>) {
    text.push(b'\'');
    for &byte in value {
        match escape(byte) {
            Some(escaped) => text.extend_from_slice(escaped),
            None => text.push(byte),
        }
    }
    text.push(b'\'');
}

/// Writes a value that all readers parse alike, and rejects any other: docker takes quotes as part
/// of the value, other readers need them.
fn write_dotenv(text: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<()> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_*".contains(byte);
    let quotable = |byte: &u8| !matches!(byte, b'\'' | b'\\' | b'\n' | b'\r');
    if value.iter().all(plain) {
        text.extend_from_slice(value);
    } else if value.iter().all(quotable) {
        quote(text, value, |_| None);
    } else {
        bail!("{name} holds what the readers of such files read differently; use --shell sh");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, process::Command};

    use super::render;
    use crate::{
        cli::Shell,
        env_vars::{EnvEdit, EnvEdits},
    };

    fn one(value: &[u8]) -> EnvEdits {
        let value = OsString::from_vec(value.to_vec());
        vec![("A", EnvEdit::Set(value)), ("B", EnvEdit::Unset)]
    }

    #[test]
    fn shell_script_restores_every_byte() {
        let all: Vec<u8> = (1..=255).collect();
        for value in [
            &all[..],
            b"",
            b"'",
            b"\\'",
            b"$(id)`id`\"\n\n",
            b"-n",
            b"\xe4\xb8",
        ] {
            let mut script = render(&one(value), Shell::Sh).unwrap().to_vec();
            script.extend_from_slice(b"printf '%s' \"$A\"; [ -z \"${B+x}\" ]");
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(OsString::from_vec(script));
            let output = shell.env("B", "old").output().unwrap();
            assert!(output.status.success(), "{value:?}");
            assert_eq!(output.stdout, value);
        }
    }

    #[test]
    fn env_is_rendered_in_the_syntax_of_each_shell() {
        let check = |shell, value: &[u8], expected: &str| {
            let text = render(&one(value), shell).unwrap();
            assert_eq!(String::from_utf8(text.to_vec()).unwrap(), expected);
        };
        check(Shell::Sh, b"a'b", "export A='a'\\''b'\nunset B\n");
        check(
            Shell::Fish,
            b"a'b\\c",
            "set -gx A 'a\\'b\\\\c'\nset -eg B; or true\n",
        );
        check(
            Shell::Dotenv,
            b"CAIS+/=",
            "A=CAIS+/=\n# must not be set: B\n",
        );
        check(
            Shell::Dotenv,
            b"a $b #c",
            "A='a $b #c'\n# must not be set: B\n",
        );
        for value in [&b"a'b"[..], b"a\\b", b"a\nb"] {
            assert!(render(&one(value), Shell::Dotenv).is_err());
        }
    }
}
