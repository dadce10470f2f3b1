//! Stories with the programs for ARM on another machine: qemu-user runs the daemon, stsctl and the shim;
//! the emulator of the cloud and the stories are this machine's.

use std::{env, fs, path::Path, process::Command};

use crate::{
    apt,
    dist::{self, Architecture},
    nextest,
    notes::Notes,
    process::{Outcome, say, succeeds, target},
};

/// The emulated programs.
const PROGRAMS: [&str; 3] = ["stsd", "stsctl", "sts-shim"];

/// The stories, by parts of their names.
const STORIES: [&str; 7] = [
    "serve::credentials::",
    "refresh::rotation::",
    "access::lease::",
    "http::endpoint::",
    "ctl::import::",
    "ctl::init::",
    "platform::restart::",
];

/// Stories of these groups that do not run under qemu-user, with the reason.
const NOT_RUN: [(&str, &str); 6] = [
    (
        "ctl::init::init_dialog",
        "the prompt hides the secret by an ioctl that qemu-user 7.2 does not know",
    ),
    ("ctl::init::ctrl_c", "the same prompt"),
    (
        "without_a_usable_audit_file",
        "qemu-user 7.2 has no Landlock, which refuses the second file",
    ),
    ("other_user", "the namespace has one user"),
    ("system_daemon", "the namespace has one user"),
    ("ten_thousand", "it measures latencies"),
];

/// Makes the kernel run programs for ARM with qemu, in a mount and user namespace of the command: nothing
/// changes on the machine. The flag F opens the interpreter now, so that the daemon's sandbox need not
/// find it. The magic and the mask are those of Debian's package.
const NAMESPACE: &str = r#"
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc &&
printf '%s%s%s' ':qemu-aarch64:M::' \
    '\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:' \
    '\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F' \
    >/proc/sys/fs/binfmt_misc/register &&
exec "$@"
"#;

/// Builds the programs for ARM, and runs the stories with them.
pub(crate) fn run(notes: &mut Notes) -> Outcome {
    if env::consts::ARCH == Architecture::Aarch64.kernel_name() {
        say("this machine is one: all other steps run these programs");
        return Ok(());
    }
    let built = dist::build_first(Architecture::Aarch64)?;
    let programs = target().join("aarch64/programs");
    fs::create_dir_all(&programs).map_err(|error| error.to_string())?;
    for name in PROGRAMS {
        let copied = fs::copy(built.all.join(name), programs.join(name));
        copied.map_err(|error| format!("{name}: {error}"))?;
    }
    apt::ensure(&["qemu-user-static"]);
    let shim = programs.join("sts-shim");
    let is_emulated = |wrapper: &[&str]| {
        let mut probe = wrapped(wrapper, &Command::new(&shim));
        succeeds(probe.arg("--version"))
    };
    let namespace: Vec<&str> = "unshare --user --map-root-user --mount sh -c"
        .split(' ')
        .chain([NAMESPACE, "sh"])
        .collect();
    // The kernel may know qemu already.
    let wrapper = match (is_emulated(&[]), is_emulated(&namespace)) {
        (true, _) => &[][..],
        (false, true) => &namespace,
        (false, false) => {
            notes.not_run(
                "the programs for aarch64: the kernel runs them neither by a registered qemu-user \
                 nor by one in a user namespace (Linux 6.7, /usr/bin/qemu-aarch64-static)",
            );
            return Ok(());
        }
    };
    for (story, reason) in NOT_RUN {
        notes.not_run(format!("aarch64 under qemu-user: {story}: {reason}"));
    }
    let stories = nextest::emulated_stories(&programs, &STORIES, &NOT_RUN.map(|(name, _)| name))?;
    nextest::noted(&mut wrapped(wrapper, &stories), notes)
}

/// Returns a command that is the last argument of another one.
fn wrapped(wrapper: &[&str], command: &Command) -> Command {
    let Some((program, arguments)) = wrapper.split_first() else {
        let mut same = Command::new(command.get_program());
        copy_settings(command, same.args(command.get_args()));
        return same;
    };
    let mut outer = Command::new(program);
    outer.args(arguments).arg(command.get_program());
    copy_settings(command, outer.args(command.get_args()));
    outer
}

/// Copies the variables and the working directory of a command.
fn copy_settings(from: &Command, to: &mut Command) {
    let variables = from.get_envs();
    to.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    to.current_dir(from.get_current_dir().unwrap_or(Path::new(".")));
}
