//! README.md from the start to the first object in the bucket: its blocks and commands, in their
//! order, word for word.
//!
//! The story replaces the addresses of the cloud by those of the emulator, the AccessKey by one of
//! the emulator, and the port by a free one. `backup.py`, which is the reader's own program, is
//! examples/python/upload_oss2.py.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Instant,
};

use e2e::{Action, measured, program};

use super::{
    file,
    page::{Block, Page, pages, root},
    shell,
    world::World,
};

/// The account of the README's role, which the emulator has as well.
const ACCOUNT: &str = "123456789012";

struct Reader {
    readme: Page,
    world: World,
    /// The line of the last block.
    line: usize,
}

impl Reader {
    /// Returns the next block that has these words.
    #[track_caller]
    fn block(&mut self, words: &str) -> Block {
        let mut blocks = self.readme.blocks.iter();
        let block = blocks.find(|it| it.line > self.line && it.text.contains(words));
        let block =
            block.unwrap_or_else(|| panic!("README.md has no {words} behind what was read"));
        self.line = block.line;
        block.clone()
    }

    /// Returns the next command of a program in the text.
    #[track_caller]
    fn inline(&mut self, program: &str) -> String {
        let codes = self.readme.codes();
        let mut commands = codes
            .into_iter()
            .filter(|(line, code)| *line > self.line && code.split(' ').next() == Some(program));
        commands.next().map(|it| it.1).unwrap()
    }

    /// Writes the file that the paragraph above a block names.
    fn write(&self, block: &Block) {
        assert_ne!(
            self.world.here(&block.text),
            block.text,
            "nothing of the cloud is in {}",
            block.place()
        );
        let path = file::put(&self.world, &self.readme, block);
        assert!(path.is_some(), "{}: no file is named", block.place());
    }

    fn typed(&self, words: &str) -> Command {
        let mut command = self.world.command("bash");
        command.args(["-eu", "-c", &self.world.here(words)]);
        command
    }

    fn said(&self, output: &Output) -> String {
        let said = [&output.stdout[..], &output.stderr].concat();
        e2e::assert_no_secrets("the output of a README command", &said);
        String::from_utf8(said).unwrap()
    }
}

/// Runs a step and reports its time.
#[expect(
    clippy::disallowed_methods,
    reason = "the time is reported and not judged"
)]
fn timed<T>(what: &str, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = step();
    measured(&format!("{what}: {:.0?}", start.elapsed()));
    done
}

#[test]
fn readme_steps_put_an_object_into_the_bucket() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = world_file(directory.path().join("world.toml"));
    let world = timed("the emulated cloud starts", || {
        World::without_daemon(&["--world", cloud.to_str().unwrap()])
    });
    let readme = pages()
        .into_iter()
        .find(|it| it.name == "README.md")
        .unwrap();
    let line = readme
        .prose
        .iter()
        .position(|it| it == "## Use it")
        .unwrap();
    let mut reader = Reader {
        readme,
        world,
        line,
    };

    let init = reader.block("stsctl init");
    let output = timed("stsctl init, without a terminal", || {
        reader.typed(&init.text).output().unwrap()
    });
    let said = reader.said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("missing: --region, --access-key-id"),
        "{said}"
    );

    let key = reader.block("access_key_id");
    let config = reader.block("[profile.oss-upload]");
    timed("two files by hand", || {
        reader.write(&key);
        reader.write(&config);
    });
    let check = reader.inline("stsd");
    assert_eq!(check, "stsd --check");
    let output = timed(&check, || reader.typed(&check).output().unwrap());
    assert!(output.status.success(), "{}", reader.said(&output));

    timed("stsd, until it answers", || reader.world.start());

    let exec = reader.block("stsctl exec");
    let upload = root().join("examples/python/upload_oss2.py");
    fs::copy(upload, reader.world.env.path("work/backup.py")).unwrap();
    fs::write(reader.world.env.path("input"), "the first line\n").unwrap();
    let calls = |reader: &Reader| reader.world.env.emulator().calls(Action::OssPutObject);
    assert_eq!(calls(&reader), 0);
    for command in shell::commands(&exec) {
        let input = File::open(reader.world.env.path("input")).unwrap();
        let output = timed(&command, || {
            let mut typed = reader.typed(&command);
            typed.stdin(Stdio::from(input)).output().unwrap()
        });
        assert!(
            output.status.success(),
            "{command}: {}",
            reader.said(&output)
        );
    }
    assert_eq!(calls(&reader), 1);
    let socket = reader.world.env.path("runtime/stsd/stsd.sock");
    let shim = format!(
        "{} --socket {} oss-upload",
        program("sts-shim").display(),
        socket.display()
    );
    let found = reader
        .world
        .env
        .oss_with_process(&shim, &["get", "examplebucket", "lines/0"], "");
    assert_eq!(found.as_deref(), Ok("the first line\n"));
    assert_eq!(
        reader.world.env.emulator().calls(Action::AssumeRole),
        1,
        "for all of it"
    );
}

/// Writes the built-in account model with the README's account; returns its path.
fn world_file(path: PathBuf) -> PathBuf {
    let mut command = Command::new(program("stsd-emulator"));
    let output = command.arg("--print-world").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    fs::write(&path, text.replace("100000000000001", ACCOUNT)).unwrap();
    path
}
