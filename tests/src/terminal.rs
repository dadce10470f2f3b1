//! A pseudo-terminal with a program: a screen shows the program's output, and a story types keys.

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

use crate::process::wait_for_exit;

/// The pause between two looks at the screen.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of looks at the screen for a condition: 60 s of pauses.
const MAX_POLLS: u32 = 3000;

/// A program at a terminal. The program is killed when the terminal is dropped.
pub struct Terminal {
    child: Child,
    /// The side of the test.
    master: File,
    /// The side of the program, open so that the output can be read after the program's end.
    _slave: OwnedFd,
    output: Arc<Mutex<TerminalOutput>>,
    /// The modes at the start.
    initial: Termios,
}

/// The output so far.
struct TerminalOutput {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts a program with a controlling terminal of that many rows and columns, and with colours.
    ///
    /// # Panics
    /// When the system has no terminal, or the program does not start.
    #[must_use]
    pub fn start(command: &Command, (rows, columns): (u16, u16)) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, size(rows, columns)).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let mut options = File::options();
        let slave = options.read(true).write(true);
        let slave = slave.open(path.to_str().unwrap()).unwrap();
        let initial = tcgetattr(&slave).unwrap();

        // setsid makes the terminal on stdin the controlling one, which std cannot.
        let mut started = Command::new("setsid");
        started.arg("--ctty");
        // The test runner may ignore the signals that keys send; a login shell does not.
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
        let end = || slave.try_clone().unwrap();
        let child = started.stdin(end()).stdout(end()).stderr(end());
        let child = child.spawn().unwrap();

        let output = Arc::new(Mutex::new(TerminalOutput {
            screen: vt100::Parser::new(at_least_one(rows), at_least_one(columns), 1000),
            bytes: Vec::new(),
        }));
        let master = File::from(master);
        let (mut read, fills) = (master.try_clone().unwrap(), Arc::clone(&output));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while has_more(&read, PollTimeout::NONE) {
                // Read under the lock: while a test holds it, no output is in between.
                let mut output = fills.lock().unwrap();
                let Ok(count @ 1..) = read.read(&mut buffer) else {
                    return;
                };
                output.screen.process(&buffer[..count]);
                output.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            child,
            master,
            _slave: slave.into(),
            output,
            initial,
        }
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types keys.
    ///
    /// # Panics
    /// When the terminal is closed.
    pub fn type_keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn resize(&self, rows: u16, columns: u16) {
        let mut output = self.output.lock().unwrap();
        output
            .screen
            .screen_mut()
            .set_size(at_least_one(rows), at_least_one(columns));
        tcsetwinsize(&self.master, size(rows, columns)).unwrap();
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    /// When the program has ended.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().cast_signed()), signal).unwrap();
    }

    /// Returns the screen as it is now.
    ///
    /// # Panics
    /// When the reader has panicked.
    #[must_use]
    pub fn screen(&self) -> vt100::Screen {
        self.output.lock().unwrap().screen.screen().clone()
    }

    /// Returns the lines of the screen as it is now.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let screen = self.screen();
        let (_, columns) = screen.size();
        screen.rows(0, columns.get()).collect()
    }

    /// Returns the whole output.
    ///
    /// # Panics
    /// When the reader has panicked.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.output.lock().unwrap().bytes.clone()
    }

    /// Waits until the screen shows a text.
    ///
    /// # Panics
    /// When the screen does not show it.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contents().contains(text));
    }

    /// Waits for a condition of the screen.
    ///
    /// # Panics
    /// When it does not become true.
    #[track_caller]
    pub fn wait_until(&self, description: &str, mut condition: impl FnMut(&vt100::Screen) -> bool) {
        for _ in 0..MAX_POLLS {
            if condition(&self.screen()) {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        let screen = self.screen().contents();
        panic!("the screen did not show in time: {description}\n{screen}");
    }

    /// Waits for the program's exit and for the rest of its output; returns the exit code, or minus
    /// the number of the signal.
    ///
    /// # Panics
    /// When the program does not end.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> i32 {
        let status = self.wait();
        // The output stays in the terminal's buffer until the reader has taken it.
        while {
            let _output = self.output.lock().unwrap();
            has_more(&self.master, PollTimeout::ZERO)
        } {
            thread::sleep(POLL_INTERVAL);
        }
        let code = status.code().or(status.signal().map(|it| -it));
        code.expect("a code or a signal")
    }

    /// Returns `true` if the modes are those before the start, and the cursor and the main screen are
    /// visible.
    ///
    /// # Panics
    /// When the system refuses the modes.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        let (now, screen) = (tcgetattr(&self.master).unwrap(), self.screen());
        let modes = |it: &Termios| (it.local_modes, it.input_modes, it.output_modes);
        modes(&now) == modes(&self.initial) && !screen.alternate_screen() && !screen.hide_cursor()
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child, POLL_INTERVAL * MAX_POLLS).unwrap_or_else(|| {
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

/// Waits for output of the program; returns `true` if there is some.
fn has_more(terminal: &File, bound: PollTimeout) -> bool {
    let mut watched = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, bound).unwrap() > 0
}

fn at_least_one(number: u16) -> NonZero<u16> {
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
