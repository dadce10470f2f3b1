//! A wall clock that somebody sets while a program runs. The kernel's own is everybody's,
//! and no namespace has another; so the program gets a `clock_gettime` of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The wall clock of the programs that were started with it.
pub struct WallClock {
    /// By how many seconds it is wrong.
    wrong_by: PathBuf,
    library: PathBuf,
}

impl WallClock {
    /// Makes one in a directory, which is right so far.
    ///
    /// # Panics
    /// Without a C compiler; but then nothing of this could have been built.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let library = directory.join("wall_clock.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wall_clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        let status = compiler.arg(&library).arg(source).status().unwrap();
        assert!(status.success());
        let clock = Self {
            wrong_by: directory.join("wrong_by"),
            library,
        };
        clock.set(0);
        clock
    }

    /// Gives the clock to a program that is about to be started.
    pub fn give(&self, program: &mut Command) {
        program.env("LD_PRELOAD", &self.library);
        program.env("STSD_STORY_CLOCK", &self.wrong_by);
    }

    /// Sets it, by how many seconds it is to be wrong from now on.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, wrong_by: i64) {
        let new = self.wrong_by.with_extension("new");
        fs::write(&new, wrong_by.to_string()).unwrap();
        // At once: the program may be looking.
        fs::rename(new, &self.wrong_by).unwrap();
    }
}
