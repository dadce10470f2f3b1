//! Clocks that move while a program runs. The wall clock is everybody's, and no namespace has
//! another one; the boot-time clock is moved for no program that has threads. So the program
//! gets a `clock_gettime` of ours.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The clocks of the programs that were started with them.
pub struct Clocks {
    /// By how many seconds each is ahead.
    ahead_by: PathBuf,
    library: PathBuf,
    wall: Cell<i64>,
    boot: Cell<u64>,
}

impl Clocks {
    /// Makes some in a directory, which are right so far.
    ///
    /// # Panics
    /// Without a C compiler; but then nothing of this could have been built.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let library = directory.join("clocks.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/clocks.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        let status = compiler.arg(&library).arg(source).status().unwrap();
        assert!(status.success());
        let clocks = Self {
            ahead_by: directory.join("ahead_by"),
            library,
            wall: Cell::new(0),
            boot: Cell::new(0),
        };
        clocks.write();
        clocks
    }

    /// Gives the clocks to a program that is about to be started.
    pub fn give(&self, program: &mut Command) {
        program.env("LD_PRELOAD", &self.library);
        program.env("STSD_STORY_CLOCKS", &self.ahead_by);
    }

    /// Sets the wall clock, by how many seconds it is to be ahead from now on.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, ahead_by: i64) {
        self.wall.set(ahead_by);
        self.write();
    }

    /// Moves the boot-time clock as a suspend moves it: timers, which run by the monotonic
    /// one, have stood still.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn suspend(&self, length: Duration) {
        self.boot.set(self.boot.get() + length.as_secs());
        self.write();
    }

    fn write(&self) {
        let new = self.ahead_by.with_extension("new");
        fs::write(&new, format!("{} {}", self.wall.get(), self.boot.get())).unwrap();
        // At once: the program may be looking.
        fs::rename(new, &self.ahead_by).unwrap();
    }
}
