//! A terminal with a program at it: what the program writes is what a screen shows, and
//! keys go where a person's would.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZero,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::process::exit;

/// How often it is looked, and how often before it is given up.
const PAUSE: Duration = Duration::from_millis(20);
const LOOKS: u32 = 3000;

/// A program at a terminal. Whatever goes, goes with it.
pub struct Terminal {
    child: Child,
    /// The side of whoever types and looks.
    ours: File,
    /// Held so that the screen is still there when the program has ended.
    _theirs: OwnedFd,
    seen: Arc<Mutex<Seen>>,
    before: Termios,
}

/// What has come so far.
struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts a program at a terminal of so many rows and columns, which is its controlling
    /// one. The terminal has colours.
    #[must_use]
    pub fn start(command: &Command, (rows, columns): (u16, u16)) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, size(rows, columns)).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap();
        let mut options = File::options();
        let theirs = options.read(true).write(true);
        let theirs = theirs.open(path.to_str().unwrap()).unwrap();
        let before = tcgetattr(&theirs).unwrap();

        // It makes the terminal on its stdin the controlling one; std has no way to it.
        let mut started = Command::new("setsid");
        started.arg("--ctty");
        // Whoever started us may ignore what a person's keys send; a person's shell does not.
        started.args(["env", "--default-signal"]);
        started.arg(command.get_program());
        started.args(command.get_args());
        started.env("TERM", "xterm-256color");
        for name in [
            "NO_COLOR",
            "CLICOLOR",
            "CLICOLOR_FORCE",
            "CI",
            "COLUMNS",
            "LINES",
        ] {
            started.env_remove(name);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => started.env(name, value),
                None => started.env_remove(name),
            };
        }
        let end = || theirs.try_clone().unwrap();
        let child = started.stdin(end()).stdout(end()).stderr(end());
        let child = child.spawn().unwrap();

        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(some(rows), some(columns), 1000),
            bytes: Vec::new(),
        }));
        let ours = File::from(ours);
        let (mut read, fills) = (ours.try_clone().unwrap(), Arc::clone(&seen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while has_more(&read, PollTimeout::NONE) {
                // Read under the lock: whoever has it knows that nothing is on its way.
                let mut seen = fills.lock().unwrap();
                let Ok(count @ 1..) = read.read(&mut buffer) else {
                    return;
                };
                seen.screen.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            child,
            ours,
            _theirs: theirs.into(),
            seen,
            before,
        }
    }

    /// Returns the program's process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn type_keys(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let mut seen = self.seen.lock().unwrap();
        seen.screen.screen_mut().set_size(some(rows), some(columns));
        tcsetwinsize(&self.ours, size(rows, columns)).unwrap();
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().cast_signed()), signal).unwrap();
    }

    /// Returns what the screen shows now.
    #[must_use]
    pub fn screen(&self) -> vt100::Screen {
        self.seen.lock().unwrap().screen.screen().clone()
    }

    /// Returns the lines that the screen shows now.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let screen = self.screen();
        let (_, columns) = screen.size();
        screen.rows(0, columns.get()).collect()
    }

    /// Returns all that was written to the terminal.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contents().contains(text));
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut(&vt100::Screen) -> bool) {
        for _ in 0..LOOKS {
            if is_so(&self.screen()) {
                return;
            }
            thread::sleep(PAUSE);
        }
        let screen = self.screen().contents();
        panic!("the screen never came to this: {what}\n{screen}");
    }

    /// Waits for the program's end, and until all it has written is on the screen; returns
    /// its exit code, or minus the signal that has ended it.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let status = self.wait();
        // What it has written is in the terminal's buffer until it is read.
        while {
            let _seen = self.seen.lock().unwrap();
            has_more(&self.ours, PollTimeout::ZERO)
        } {
            thread::sleep(PAUSE);
        }
        let code = status.code().or(status.signal().map(|it| -it));
        code.expect("a code or a signal")
    }

    /// Tells whether the terminal is as the program has found it.
    #[must_use]
    pub fn is_as_before(&self) -> bool {
        let (now, screen) = (tcgetattr(&self.ours).unwrap(), self.screen());
        let modes = |it: &Termios| (it.local_modes, it.input_modes, it.output_modes);
        modes(&now) == modes(&self.before) && !screen.alternate_screen() && !screen.hide_cursor()
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        exit(&mut self.child, PAUSE * LOOKS).unwrap_or_else(|| {
            let screen = self.screen().contents();
            panic!("process {} did not end\n{screen}", self.id());
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until there is something to be read; tells whether there is.
fn has_more(terminal: &File, bound: PollTimeout) -> bool {
    let mut watched = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, bound).unwrap() > 0
}

/// A terminal has one of each at least.
fn some(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
