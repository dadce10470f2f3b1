//! Prompts at a terminal, without echo for secrets.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::Style;
use anyhow::{Error, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::AsFd as _,
    io::Errno,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{consts::SIGINT, low_level::emulate_default_handler};
use stsd_client::SecretText;
use zeroize::{Zeroize as _, Zeroizing};

use super::deferred_signals::{DeferGuard, SignalMask};
use crate::{
    error::{CliError, usage},
    term::style,
};

/// Larger than any AccessKey secret.
const MAX_SECRET_BYTES: usize = 1024;

/// A terminal for prompts.
pub(super) struct Prompter<'a>(&'a SignalMask);

impl<'a> Prompter<'a> {
    /// Returns a prompter if stdin and stderr are terminals.
    pub(super) fn detect(signals: &'a SignalMask) -> Option<Self> {
        let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        is_terminal.then_some(Self(signals))
    }

    /// Prints a text to stderr, between words if it is wider than the terminal.
    pub(super) fn print(&self, text: &str) -> Result<()> {
        let indent = if text.starts_with("  ") { "  " } else { "" };
        let width = style::terminal_width(&io::stderr());
        for line in style::wrap(Style::new(), (indent, indent), text, width) {
            writeln!(io::stderr(), "{}", line.render(width))?;
        }
        if text.ends_with('\n') {
            writeln!(io::stderr())?;
        }
        Ok(())
    }

    /// Prints an error and its hint; another answer may mend it.
    pub(super) fn print_error(&self, error: &Error) -> Result<()> {
        let hint = error.downcast_ref::<CliError>().map(|it| &*it.hint);
        let hint = hint.or(error
            .downcast_ref::<stsd_client::Error>()
            .map(stsd_client::Error::hint));
        self.print(&format!("  {error:#}"))?;
        match hint {
            Some(hint) if !hint.is_empty() => self.print(&format!("  hint: {hint}")),
            _ => Ok(()),
        }
    }

    /// Asks until an answer passes the check; an empty answer selects the default.
    pub(super) fn ask(
        &self,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<Result<(), String>>,
    ) -> Result<String> {
        loop {
            let shown = match default {
                None | Some("") => String::new(),
                Some(default) => format!(" [{default}]"),
            };
            write!(io::stderr(), "{question}{shown}: ")?;
            let mut line = String::new();
            if io::stdin().read_line(&mut line)? == 0 {
                writeln!(io::stderr())?;
                return usage("the input ended before an answer; nothing is changed");
            }
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default,
                ("", None) => continue,
                (answer, _) => answer,
            };
            match check(answer)? {
                Ok(()) => return Ok(answer.to_owned()),
                Err(problem) => self.print(&format!("  {problem}"))?,
            }
        }
    }

    /// Asks for a secret, without echo, until it passes the check.
    pub(super) fn ask_secret(
        &self,
        question: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<SecretText> {
        loop {
            let secret = read_secret(question, self.0)?;
            let problem = check(secret.expose());
            match problem {
                _ if secret.is_empty() => {}
                Ok(()) => return Ok(secret),
                Err(problem) => self.print(&format!("  {problem}"))?,
            }
        }
    }
}

/// Turns off the echo; restores the terminal when it is dropped.
struct EchoOffGuard(Termios);

impl EchoOffGuard {
    fn set() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut echo_off = before.clone();
        // Without ISIG, Ctrl-C is a byte, so that the terminal is restored before the process ends.
        echo_off.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&stdin, OptionalActions::Flush, &echo_off)?;
        Ok(Self(before))
    }
}

impl Drop for EchoOffGuard {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        let _ = writeln!(io::stderr());
    }
}

fn read_secret(question: &str, signals: &SignalMask) -> Result<SecretText> {
    let guard = signals.defer();
    let echo_off = EchoOffGuard::set()?;
    write!(io::stderr(), "{question} (it is not shown): ")?;
    let typed = read_line(&guard);
    drop(echo_off);
    drop(guard);
    let Some(typed) = typed? else {
        let _ = emulate_default_handler(SIGINT);
        return usage("interrupted; nothing is changed");
    };
    let text = std::str::from_utf8(&typed).unwrap_or("\u{fffd}");
    Ok(text.trim().to_owned().into())
}

/// Reads a line byte by byte; `None` after Ctrl-C.
fn read_line(guard: &DeferGuard<'_>) -> Result<Option<Zeroizing<Vec<u8>>>> {
    // A reallocation would leave copies in memory.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    let mut key = [0; 1];
    loop {
        if guard.is_pending() {
            return Ok(Some(line));
        }
        let stdin = io::stdin();
        let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        // The timeout bounds the delay of a signal that arrives just before poll.
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let count = rustix::io::read(stdin.as_fd(), &mut key)?;
        match key[0] {
            _ if count == 0 => bail!("the terminal has gone"),
            b'\r' | b'\n' => break,
            3 => return Ok(None),
            // Ctrl-D on an empty line ends the input.
            4 if line.is_empty() => return Ok(None),
            4 => break,
            8 | 127 => {
                line.pop();
            }
            // Ctrl-U clears the line.
            21 => {
                line.zeroize();
                line.reserve_exact(MAX_SECRET_BYTES + 1);
            }
            byte if line.len() <= MAX_SECRET_BYTES => line.push(byte),
            _ => {}
        }
    }
    key.zeroize();
    Ok(Some(line))
}
