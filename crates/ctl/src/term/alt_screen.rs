//! Decides how a terminal is drawn on in place, and that it is as before afterwards,
//! whatever ends us but a SIGKILL.

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

use crate::term::style::{Line, fit, size};

/// The other screen of the terminal, without a cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";

/// Back again.
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// The upper left corner; the rest of a line, and of the screen, made empty.
const HOME: &str = "\u{1b}[H";
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";

/// The terminal while it is drawn on.
pub(crate) struct Screen {
    /// How it was set, if it is what we read from as well.
    before: Option<Termios>,
    /// Becomes readable when a signal has come.
    alarm: UnixStream,
    rings: UnixStream,
    came: Vec<(i32, Arc<AtomicBool>)>,
}

/// What somebody at the terminal, or the time, wants.
pub(crate) enum Wish {
    /// The time is over.
    Time,
    /// The same again: the terminal is of another size, or ours again.
    Redraw,
    /// No more.
    Leave,
    /// A signal that ends us.
    Die(i32),
}

impl Screen {
    /// Takes the terminal behind stdout, and the keys if stdin is it as well.
    pub(crate) fn take() -> io::Result<Self> {
        let (alarm, rings) = UnixStream::pair()?;
        alarm.set_nonblocking(true)?;
        let mut came = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH] {
            let flag = Arc::new(AtomicBool::new(false));
            flag::register(signal, Arc::clone(&flag))?;
            pipe::register(signal, rings.try_clone()?)?;
            came.push((signal, flag));
        }
        let mut screen = Self {
            before: None,
            alarm,
            rings,
            came,
        };
        screen.enter()?;
        Ok(screen)
    }

    /// Returns what ends a wait when it is written to.
    pub(crate) fn bell(&self) -> io::Result<UnixStream> {
        self.rings.try_clone()
    }

    /// Draws lines over what was there, in one write so that nothing flickers.
    pub(crate) fn draw(&self, lines: impl FnOnce(usize, usize) -> Vec<Line>) -> io::Result<()> {
        let (rows, width) = size(&io::stdout()).unwrap_or((24, 80));
        let lines = lines(rows, width);
        let lines: Vec<_> = lines
            .iter()
            .take(rows)
            .map(|line| fit(line.shown(Some(width)), &io::stdout()) + REST_OF_LINE)
            .collect();
        write(&format!("{HOME}{}{REST_OF_SCREEN}", lines.join("\r\n")))
    }

    /// Waits until somebody wants something, for `time` at the most.
    pub(crate) fn wait(&mut self, time: Duration) -> io::Result<Wish> {
        let stdin = io::stdin();
        let mut looked = vec![PollFd::new(&self.alarm, PollFlags::IN)];
        if self.before.is_some() {
            looked.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        let time = Timespec::try_from(time).ok();
        match poll(&mut looked, time.as_ref()) {
            Ok(0) => return Ok(Wish::Time),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let keys = looked.get(1).is_some_and(|it| !it.revents().is_empty());
        let mut rung = [0; 64];
        let _ = (&self.alarm).read(&mut rung);
        for (signal, came) in &self.came {
            match (came.swap(false, Ordering::Relaxed), *signal) {
                (false, _) | (true, SIGWINCH) => {}
                (true, SIGTSTP) => {
                    self.leave();
                    let _ = emulate_default_handler(SIGTSTP);
                    self.enter()?;
                    break;
                }
                (true, signal) => return Ok(Wish::Die(signal)),
            }
        }
        if keys {
            let mut typed = [0; 64];
            let count = rustix::io::read(stdin.as_fd(), &mut typed)?;
            // Ctrl-D, where it is not a signal, and a terminal that has gone.
            if count == 0 || typed[..count].iter().any(|key| b"qQ\x04".contains(key)) {
                return Ok(Wish::Leave);
            }
        }
        Ok(Wish::Redraw)
    }

    fn enter(&mut self) -> io::Result<()> {
        let stdin = io::stdin();
        if stdin.is_terminal() && self.before.is_none() {
            let before = tcgetattr(&stdin)?;
            let mut quiet = before.clone();
            // Keys are read as they come, and are not drawn.
            quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
            tcsetattr(&stdin, OptionalActions::Now, &quiet)?;
            self.before = Some(before);
        }
        write(ENTER)
    }

    fn leave(&mut self) {
        let _ = write(LEAVE);
        if let Some(before) = self.before.take() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
