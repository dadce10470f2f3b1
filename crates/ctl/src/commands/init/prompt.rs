//! Decides how somebody at a terminal is asked, and that a secret is not shown there.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Result, bail};
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
use crate::error::usage;

/// No AccessKey is longer.
const MAX_SECRET_BYTES: usize = 1024;

/// Somebody who reads and types.
pub(super) struct Prompter<'a>(&'a SignalMask);

impl<'a> Prompter<'a> {
    /// Finds whether there is one.
    pub(super) fn detect(signals: &'a SignalMask) -> Option<Self> {
        let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        is_terminal.then_some(Self(signals))
    }

    /// Says something.
    pub(super) fn print(&self, text: &str) -> Result<()> {
        Ok(writeln!(
            io::stderr(),
            "{}",
            crate::term::style::escape_control(text)
        )?)
    }

    /// Asks until an answer is good; an empty one is the usual one, where there is one.
    pub(super) fn ask(
        &self,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<Result<(), String>>,
    ) -> Result<String> {
        loop {
            let shown = match default {
                Some("") => " [none]".to_owned(),
                Some(default) => format!(" [{default}]"),
                None => String::new(),
            };
            write!(io::stderr(), "{question}{shown}: ")?;
            let mut line = String::new();
            if io::stdin().read_line(&mut line)? == 0 {
                writeln!(io::stderr())?;
                return usage("there is nobody who answers; nothing is changed");
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

    /// Asks for what nobody may see, until it is good.
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

/// The terminal while nothing that is typed is shown; it is set back on the way out.
struct EchoOffGuard(Termios);

impl EchoOffGuard {
    fn set() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut echo_off = before.clone();
        // Ctrl-C is a key like another, so that the terminal is set back before it ends us.
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

/// Reads a line key by key; nothing where Ctrl-C ends it.
fn read_line(guard: &DeferGuard<'_>) -> Result<Option<Zeroizing<Vec<u8>>>> {
    // A buffer that grew would leave copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    let mut key = [0; 1];
    loop {
        if guard.is_pending() {
            return Ok(Some(line));
        }
        let stdin = io::stdin();
        let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        // A signal may come just before we wait.
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
            // Ctrl-D where nothing was typed is the end.
            4 if line.is_empty() => return Ok(None),
            4 => break,
            8 | 127 => {
                line.pop();
            }
            // Ctrl-U begins anew.
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
