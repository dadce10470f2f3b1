//! The lines that are commonest in such programs, with and without Landlock, and below a process with
//! the number 1.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use e2e::{TestEnv, UPLOAD};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{DOCUMENT, is_installed, profiles, wait_for_success, write};

/// The surroundings of a daemon.
#[derive(Debug, Clone, Copy)]
struct Surroundings {
    /// The kernel refuses Landlock.
    has_landlock: bool,
    /// The daemon is the process with the number 1 of a namespace.
    is_process_1: bool,
}

/// Starts a daemon in surroundings; returns `false`, and reports it, where the machine has none.
fn start_in(env: &mut TestEnv, surroundings: Surroundings, variables: &[(&str, &str)]) -> bool {
    let daemon = env.daemon_command();
    let mut words: Vec<String> = Vec::new();
    let mut add = |text: &str| words.extend(text.split(' ').map(str::to_owned));
    if !surroundings.has_landlock {
        if !is_installed("strace", "strace") {
            return false;
        }
        add("strace -qq -f -o /dev/null -e trace=landlock_create_ruleset");
        add("-e inject=landlock_create_ruleset:error=ENOSYS");
    }
    if surroundings.is_process_1 {
        let trial = Command::new("unshare")
            .args(["-pf", "--mount-proc", "true"])
            .output();
        if !trial.is_ok_and(|it| it.status.success()) {
            e2e::not_run("no namespace of processes here");
            return false;
        }
        add("unshare -pf --mount-proc --kill-child=KILL");
    }
    words.push(daemon.get_program().to_str().unwrap().to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    for (name, value) in daemon.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.envs(variables.iter().copied());
    env.start_daemon_with(command);
    true
}

/// Returns the numbers of the daemon and all other processes below the one that the kit has started,
/// with their states.
fn descendants(env: &TestEnv) -> Vec<(u32, u32, char)> {
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|it| {
        let pid = it.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(it.path().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        Some((pid, fields.next()?.parse().ok()?, state))
    });
    let stats: Vec<(u32, u32, char)> = stats.collect();
    let mut found = vec![(env.daemon().id(), 0, 'S')];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next].0;
        found.extend(stats.iter().filter(|(_, its, _)| *its == parent));
        next += 1;
    }
    found
}

fn zombies(env: &TestEnv) -> usize {
    let all = descendants(env);
    all.iter().filter(|(_, _, state)| *state == 'Z').count()
}

/// A proxy that refuses each request and counts them.
fn refusing_proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (url, count)
}

/// Returns the lines that are commonest in such programs. Each says its name first.
fn common_lines(env: &TestEnv) -> String {
    let mut lines = vec![
        ("dev-null", "cat /nonexistent/file 2>/dev/null || true"),
        (
            "mktemp",
            "t=$(mktemp); d=$(mktemp -d); echo kept > \"$t\"; mv \"$t\" \"$d/t\"",
        ),
        (
            "here-document",
            "long=$(printf '%70000s' x); [ \"$(cat <<END\n$long\nEND\n)\" = \"$long\" ]",
        ),
        (
            "pipe",
            "[ \"$(printf 'b\\na\\n' | sort | head -n 1)\" = a ]",
        ),
        ("background", "sleep 600 &"),
        ("lock", "exec 9> \"$HOME/.cache/lock\"; flock 9"),
        (
            "cache",
            "mkdir -p \"$HOME/.cache/tool\"; echo x > \"$HOME/.cache/tool/x\"",
        ),
        ("stderr", "echo said > /dev/stderr"),
        ("locale", "[ \"$LC_ALL$TZ\" = C.UTF-8Asia/Shanghai ]"),
    ];
    if is_installed("curl", "curl") {
        lines.push((
            "curl",
            "[ \"$(curl -s -o $TMPDIR/x -w '%{http_connect}' https://vault.invalid/ || :)\" = 403 ]",
        ));
    }
    if is_installed("age", "age") {
        let made = Command::new("sh")
            .args([
                "-c",
                "umask 077; age-keygen -o age.key && echo plain | age -e -i age.key -o age.enc",
            ])
            .current_dir(env.path(""))
            .output();
        assert!(made.unwrap().status.success());
        lines.push(("age", "[ \"$(age -d -i AT/age.key AT/age.enc)\" = plain ]"));
    }
    let at = env.path("");
    let at = at.to_str().unwrap().trim_end_matches('/');
    lines
        .into_iter()
        .map(|(name, line)| {
            format!(
                "echo step {name} >&2\n{}\n",
                line.replace("AT/", &format!("{at}/"))
            )
        })
        .collect()
}

fn common_lines_work_in(surroundings: Surroundings) {
    let mut env = TestEnv::without_daemon(&[]);
    fs::create_dir_all(env.path("home/.cache")).unwrap();
    let home = env.path("home");
    let lines = common_lines(&env);
    write(&env, &format!("{lines}cat <<'END'\n{DOCUMENT}\nEND"));
    env.write_config(&profiles(&env, "writable = [\"home/.cache\"]\n"));
    let (proxy, requests) = refusing_proxy();
    let variables = [
        ("HOME", home.to_str().unwrap()),
        ("HTTPS_PROXY", proxy.as_str()),
        ("no_proxy", "127.0.0.1"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "Asia/Shanghai"),
    ];
    if !start_in(&mut env, surroundings, &variables) {
        return;
    }
    wait_for_success(&env);
    assert_eq!(env.document(&["plain"])["AccessKeyId"], "STS.OfAProgram");
    assert!(env.path("home/.cache/tool/x").exists());
    let confined = env.client().status().unwrap().protections;
    let confined = confined
        .iter()
        .any(|it| it.name == "writing files" && it.holds);
    assert!(surroundings.has_landlock || !confined);
    if is_installed("curl", "curl") {
        assert!(
            requests.load(Ordering::Relaxed) > 0,
            "the proxy was not asked"
        );
    }
    // Neither a temporary directory nor a process is left.
    let left = fs::read_dir(env.path("run")).unwrap().flatten();
    let left: Vec<_> = left.map(|it| it.file_name()).collect();
    assert!(
        left.iter()
            .all(|it| !it.to_str().unwrap().contains("program")),
        "{left:?}"
    );
    env.wait_until("no process is left", || {
        let daemon =
            1 + usize::from(surroundings.is_process_1) + usize::from(!surroundings.has_landlock);
        descendants(&env).len() == daemon
    });
    end(&env);
}

/// Ends the daemon, which would survive strace.
fn end(env: &TestEnv) {
    if let Some((daemon, ..)) = descendants(env).last() {
        let _ = kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGKILL);
    }
}

#[test]
fn common_lines_of_programs_work() {
    common_lines_work_in(Surroundings {
        has_landlock: true,
        is_process_1: false,
    });
}

#[test]
fn common_lines_of_programs_work_without_landlock() {
    common_lines_work_in(Surroundings {
        has_landlock: false,
        is_process_1: false,
    });
}

#[test]
fn common_lines_of_programs_work_below_process_1() {
    common_lines_work_in(Surroundings {
        has_landlock: true,
        is_process_1: true,
    });
}

#[test]
fn common_lines_of_programs_work_below_process_1_without_landlock() {
    common_lines_work_in(Surroundings {
        has_landlock: false,
        is_process_1: true,
    });
}

#[test]
fn orphans_of_programs_are_reaped_by_process_1() {
    let mut env = TestEnv::without_daemon(&[]);
    // One orphan in the process group, one outside, and one that a session leader leaves behind.
    let orphans = "sleep 600 &\nsetsid sleep 0.3 &\nsetsid sh -c 'sleep 0.2 & exit 0' &\n";
    write(&env, &format!("{orphans}cat <<'END'\n{DOCUMENT}\nEND"));
    env.write_config(&profiles(&env, ""));
    let surroundings = Surroundings {
        has_landlock: true,
        is_process_1: true,
    };
    if !start_in(&mut env, surroundings, &[]) {
        return;
    }
    for _ in 0..20 {
        wait_for_success(&env);
    }
    env.wait_until("all processes of the programs are reaped", || {
        zombies(&env) == 0 && descendants(&env).len() == 2
    });
}

#[test]
fn start_without_threads_names_the_failed_step() {
    if !is_installed("strace", "strace") {
        return;
    }
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let daemon = env.daemon_command();
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o", "/dev/null", "-e", "trace=clone3"]);
    // As the seccomp filter of an old container runtime does.
    strace
        .args(["-e", "inject=clone3:error=EPERM"])
        .arg(daemon.get_program());
    for (name, value) in daemon.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    let output = strace.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(
            "stsd: the thread of the event loop cannot be started: Operation not permitted"
        ),
        "{said}"
    );
}
