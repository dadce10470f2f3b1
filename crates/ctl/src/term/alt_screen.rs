//! The alternate screen of the terminal. The terminal's state is restored on every exit except
//! SIGKILL.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::AsFd as _,
    io::Errno,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH},
    flag,
    low_level::{emulate_default_handler, pipe},
};

use crate::term::{
    keys::{Key, KeyDecoder},
    style::{Line, strip_if_needed, terminal_size},
};

/// Switches to the alternate screen and hides the cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";

/// Shows the cursor and switches back.
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// Moves the cursor home; erases a line, and the rest of the screen.
const HOME: &str = "\u{1b}[H";
const ERASE_LINE: &str = "\u{1b}[2K";
const ERASE_REST: &str = "\u{1b}[J";

/// The terminal while the alternate screen is shown.
pub(crate) struct AltScreen {
    /// The original settings, if stdin is the terminal as well.
    saved: Option<Termios>,
    /// Becomes readable after a signal.
    wake_reader: UnixStream,
    wake_writer: UnixStream,
    raised: Vec<(i32, Arc<AtomicBool>)>,
    keys: KeyDecoder,
}

/// The reason why a wait has ended.
pub(crate) enum UserInput {
    /// The timeout has passed.
    Timeout,
    /// The size of the terminal has changed, or the process was continued.
    Redraw,
    /// Keys, [`Key::Quit`] not among them; empty for keys without a meaning.
    Keys(Vec<Key>),
    /// A key that quits.
    Quit,
    /// A signal that terminates the process.
    Signal(i32),
}

impl AltScreen {
    /// Enters the alternate screen, and reads keys if stdin is a terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let (wake_reader, wake_writer) = UnixStream::pair()?;
        wake_reader.set_nonblocking(true)?;
        let mut raised = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH] {
            let flag = Arc::new(AtomicBool::new(false));
            flag::register(signal, Arc::clone(&flag))?;
            pipe::register(signal, wake_writer.try_clone()?)?;
            raised.push((signal, flag));
        }
        let mut screen = Self {
            saved: None,
            wake_reader,
            wake_writer,
            raised,
            keys: KeyDecoder::default(),
        };
        screen.set_up()?;
        Ok(screen)
    }

    /// Returns a socket that ends a wait when it is written to.
    pub(crate) fn waker(&self) -> io::Result<UnixStream> {
        self.wake_writer.try_clone()
    }

    /// Draws lines over the previous ones, in one write to avoid flicker.
    pub(crate) fn draw(&self, lines: impl FnOnce(usize, usize) -> Vec<Line>) -> io::Result<()> {
        let (rows, width) = terminal_size(&io::stdout()).unwrap_or((24, 80));
        let lines = lines(rows, width);
        let lines: Vec<_> = lines
            .iter()
            .take(rows)
            .map(|line| strip_if_needed(line.render(Some(width)), &io::stdout()))
            .collect();
        write(&frame(&lines, rows))
    }

    /// Waits for a key, a signal or the waker, at most for `time`.
    pub(crate) fn wait(&mut self, time: Duration) -> io::Result<UserInput> {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(&self.wake_reader, PollFlags::IN)];
        if self.saved.is_some() {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        let time = Timespec::try_from(time).ok();
        match poll(&mut fds, time.as_ref()) {
            Ok(0) => return Ok(UserInput::Timeout),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let keys = fds.get(1).is_some_and(|it| !it.revents().is_empty());
        let mut bytes = [0; 64];
        let _ = (&self.wake_reader).read(&mut bytes);
        for (signal, raised) in &self.raised {
            match (raised.swap(false, Ordering::Relaxed), *signal) {
                (false, _) | (true, SIGWINCH) => {}
                (true, SIGTSTP) => {
                    self.restore();
                    let _ = emulate_default_handler(SIGTSTP);
                    self.set_up()?;
                    break;
                }
                (true, signal) => return Ok(UserInput::Signal(signal)),
            }
        }
        if keys {
            let mut typed = [0; 64];
            let count = rustix::io::read(stdin.as_fd(), &mut typed)?;
            let keys = self.keys.decode(&typed[..count]);
            // A count of 0 is a closed terminal.
            return Ok(match count == 0 || keys.contains(&Key::Quit) {
                true => UserInput::Quit,
                false => UserInput::Keys(keys),
            });
        }
        Ok(UserInput::Redraw)
    }

    fn set_up(&mut self) -> io::Result<()> {
        let stdin = io::stdin();
        if stdin.is_terminal() && self.saved.is_none() {
            let saved = tcgetattr(&stdin)?;
            let mut raw = saved.clone();
            // Keys are read one by one and not echoed.
            raw.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
            tcsetattr(&stdin, OptionalActions::Now, &raw)?;
            self.saved = Some(saved);
        }
        write(ENTER)
    }

    fn restore(&mut self) {
        let _ = write(LEAVE);
        if let Some(saved) = self.saved.take() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &saved);
        }
    }
}

impl Drop for AltScreen {
    fn drop(&mut self) {
        self.restore();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Returns what draws lines on a screen. A line is erased before it is drawn: after a line as wide as
/// the terminal the cursor is in the last column, so that an erasure would remove its last character.
fn frame(lines: &[String], rows: usize) -> String {
    let mut frame = HOME.to_owned();
    for (index, line) in lines.iter().enumerate() {
        let separator = if index == 0 { "" } else { "\r\n" };
        frame.push_str(&format!("{separator}{ERASE_LINE}{line}"));
    }
    if lines.len() < rows {
        frame.push_str("\r\n");
        frame.push_str(ERASE_REST);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn frame_erases_no_line_after_its_text() {
        let lines = ["a full row".to_owned(), "q leaves".to_owned()];
        let short = "\u{1b}[H\u{1b}[2Ka full row\r\n\u{1b}[2Kq leaves";
        assert_eq!(frame(&lines, 2), short);
        assert_eq!(frame(&lines, 3), format!("{short}\r\n\u{1b}[J"));
    }
}
