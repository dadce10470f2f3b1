//! Clocks that a story shifts while a program runs. All processes share the wall clock, which no
//! namespace changes, and a time namespace changes the boot-time clock only before a program has
//! threads. The kit therefore preloads a `clock_gettime` into the program.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The wall clock and the boot-time clock of the programs that were started with them.
pub struct ShiftedClocks {
    /// The file with the seconds by which each clock is ahead.
    offsets: PathBuf,
    library: PathBuf,
    wall: Cell<i64>,
    boot: Cell<u64>,
}

impl ShiftedClocks {
    /// Returns clocks without an offset, with their files in a directory.
    ///
    /// # Panics
    /// When the C compiler does not start, which the build of the project needs as well.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let library = directory.join("shifted_clocks.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/shifted_clocks.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        let status = compiler.arg(&library).arg(source).status().unwrap();
        assert!(status.success());
        let clocks = Self {
            offsets: directory.join("clock-offsets"),
            library,
            wall: Cell::new(0),
            boot: Cell::new(0),
        };
        clocks.write();
        clocks
    }

    /// Adds the clocks to a command before its start.
    pub fn preload_into(&self, program: &mut Command) {
        program.env("LD_PRELOAD", &self.library);
        program.env("STSD_STORY_CLOCKS", &self.offsets);
    }

    /// Sets the seconds by which the wall clock is ahead; negative is behind.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set_wall_clock(&self, seconds_ahead: i64) {
        self.wall.set(seconds_ahead);
        self.write();
    }

    /// Moves the boot-time clock forward, as a suspend does. Timers run by the monotonic clock, which
    /// a suspend stops.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn suspend(&self, length: Duration) {
        self.boot.set(self.boot.get() + length.as_secs());
        self.write();
    }

    fn write(&self) {
        let new = self.offsets.with_extension("new");
        fs::write(&new, format!("{} {}", self.wall.get(), self.boot.get())).unwrap();
        // Atomically, because the program reads the file at any moment.
        fs::rename(new, &self.offsets).unwrap();
    }
}
