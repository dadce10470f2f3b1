//! README.md from its first line to the first object in the bucket: the commands of its quick start, in
//! their order, word for word, for a user without a configuration and without systemd.
//!
//! The story replaces the region by the address of the emulator, the AccessKey by one of the emulator,
//! and the port by a free one. `backup.py`, which is the reader's own program, is
//! examples/python/upload_oss2.py.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use e2e::{Action, KEY_SECRET, Terminal, measured, program};

use super::{
    page::{pages, root},
    shell,
    world::World,
};

/// The account of the README's role, which the emulator has as well.
const ACCOUNT: &str = "123456789012";

/// The largest number of words of the README before the first upload.
const MAX_WORDS: usize = 150;

const SIZE: (u16, u16) = (40, 80);

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
fn readme_commands_put_an_object_into_the_bucket() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = world_file(directory.path().join("world.toml"));
    let mut world = timed("the emulated cloud starts", || {
        World::without_daemon(&["--world", cloud.to_str().unwrap()])
    });
    // A machine without systemd.
    fs::write(world.env.path("bin/systemctl"), "#!/bin/sh\nexit 1\n").unwrap();
    let readme = pages().into_iter().find(|it| it.name == "README.md");
    let readme = readme.unwrap();
    let commands = readme.blocks.iter().find(|it| it.language == "sh").unwrap();
    let shown = readme
        .blocks
        .iter()
        .find(|it| it.language == "text")
        .unwrap();
    let commands = shell::commands(commands);
    let [init, exec, status] = &commands[..] else {
        panic!("three commands: {commands:?}");
    };

    let screen = timed(init, || run_init(&world, init));
    assert_shows(&screen, &shown.text);
    assert!(screen.contains("Start the daemon:    stsd &"), "{screen}");
    world.use_a_free_port();
    timed("stsd, until it answers", || world.start());

    let upload = root().join("examples/python/upload_oss2.py");
    fs::copy(upload, world.env.path("work/backup.py")).unwrap();
    fs::write(world.env.path("input"), "the first line\n").unwrap();
    let calls = |world: &World| world.env.emulator().calls(Action::OssPutObject);
    assert_eq!(calls(&world), 0);
    for command in [exec, status] {
        let input = File::open(world.env.path("input")).unwrap();
        let mut typed = world.command("bash");
        typed.args(["-eu", "-c", command]).stdin(Stdio::from(input));
        let output = timed(command, || typed.output().unwrap());
        let said = [&output.stdout[..], &output.stderr].concat();
        e2e::assert_no_secrets(command, &said);
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{command}: {said}");
    }
    assert_eq!(calls(&world), 1);
    let socket = world.env.path("runtime/stsd/stsd.sock");
    let shim = format!(
        "{} --socket {} oss-upload",
        program("sts-shim").display(),
        socket.display()
    );
    let get = ["get", "examplebucket", "lines/0"];
    let found = world.env.oss_with_process(&shim, &get, "");
    assert_eq!(found.as_deref(), Ok("the first line\n"));
}

#[test]
fn readme_has_few_words_before_the_first_upload() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (before, _) = readme.split_once("stsctl exec").unwrap();
    let words = before.split_whitespace().count();
    measured(&format!("{words} words before the first upload"));
    assert!(words <= MAX_WORDS, "{words}");
    assert!(readme.lines().count() <= 120);
}

/// Runs `stsctl init` at a terminal and answers as the README does; returns the screen.
fn run_init(world: &World, init: &str) -> String {
    let endpoint = format!("stsctl init --endpoint {} ", world.env.emulator().sts_url());
    let mut command = world.command("bash");
    command.args(["-eu", "-c", &init.replace("stsctl init ", &endpoint)]);
    let mut terminal = Terminal::start(&command, SIZE);
    for (question, answer) in [
        ("AccessKey id of the RAM user: ", "LTAIEXAMPLEUPLOADER01"),
        ("Its AccessKey secret (it is not shown): ", KEY_SECRET),
        ("Role that programs get, its name or ARN: ", "oss-upload"),
        ("the keyring [file]: ", ""),
    ] {
        terminal.wait_for(question);
        terminal.type_keys(&format!("{answer}\n"));
    }
    let code = terminal.wait_for_exit();
    e2e::assert_no_secrets(init, &terminal.bytes());
    let screen = terminal.screen().contents();
    assert_eq!(code, 0, "{screen}");
    screen
}

/// Checks that the screen shows the lines of the README, up to the first word that differs by run. The
/// region is not asked for, because the story names the endpoint.
fn assert_shows(screen: &str, readme: &str) {
    let lines: Vec<_> = readme.lines().skip(1).collect();
    assert!(lines.len() > 3, "{readme}");
    for line in lines {
        let fixed = line.split(" STS.").next().unwrap();
        assert!(screen.contains(fixed.trim_end()), "{fixed}: {screen}");
    }
}

/// Writes the built-in account model with the README's account; returns its path.
fn world_file(path: PathBuf) -> PathBuf {
    let mut command = Command::new(program("stsd-emulator"));
    let output = command.arg("--print-world").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    fs::write(&path, text.replace("100000000000001", ACCOUNT)).unwrap();
    path
}
