//! The environment, the files, the exit codes and the references of each page.

use super::roff;

type Item = (&'static str, &'static str);

/// The variables of all commands: those with which a client finds its daemon, and those of the
/// terminal.
const VARIABLES: &[Item] = &[
    ("STSD_SOCKET", "The socket of the daemon, without --socket."),
    (
        "STSD_SERVER_UID",
        "A user whose daemon is accepted, besides this user and root.",
    ),
    (
        "XDG_RUNTIME_DIR",
        "The directory with the socket of the user's daemon.",
    ),
    ("NO_COLOR", "Any value: no colours."),
];

/// The variables of the commands that read or write the configuration of the daemon.
const OF_CONFIG: &[Item] = &[
    ("STSD_CONFIG", "The configuration of the daemon."),
    (
        "XDG_CONFIG_HOME",
        "The directory with the configuration of the user's daemon.",
    ),
];

const OF_ALIYUN_FILES: &[Item] = &[
    (
        "ALIBABA_CLOUD_CONFIG_FILE",
        "The file of aliyun-cli, in place of the one in the home directory.",
    ),
    (
        "ALIBABA_CLOUD_CREDENTIALS_FILE",
        "The file of the SDKs, in place of the one in the home directory.",
    ),
];

const SOCKETS: &[Item] = &[
    (
        "$XDG_RUNTIME_DIR/stsd/stsd.sock",
        "The socket of the user's daemon.",
    ),
    ("/run/stsd/stsd.sock", "The socket of the machine's daemon."),
];

const CONFIGS: &[Item] = &[
    (
        "~/.config/stsd/config.toml",
        "The configuration of the user's daemon, with the fragments ~/.config/stsd/config.d/*.toml.",
    ),
    (
        "/etc/stsd/config.toml",
        "The configuration of the machine's daemon, with the fragments /etc/stsd/config.d/*.toml.",
    ),
];

const ALIYUN_FILES: &[Item] = &[
    ("~/.aliyun/config.json", "The profiles of aliyun-cli."),
    ("~/.alibabacloud/credentials", "The profiles of the SDKs."),
];

const TOOL_FILES: &[Item] = &[
    ("~/.aliyun/config.json", "The file of aliyun-cli."),
    ("~/.ossutilconfig", "The file of ossutil 1."),
    ("~/.aws/config", "The file of the tools with an SDK of AWS."),
    ("~/.config/rclone/rclone.conf", "The file of rclone."),
];

const EXIT_CODES: &[Item] = &[
    ("0", "Done."),
    ("1", "Any other failure; standard error has the reason."),
    ("2", "The command line or the configuration cannot be used."),
    ("3", "The daemon cannot be reached."),
    ("4", "The profile is unknown."),
    ("5", "A rule does not allow the request."),
    ("6", "There are no valid credentials yet."),
    ("7", "STS has refused the role session."),
    (
        "8",
        "The daemon and stsctl speak different versions of the protocol.",
    ),
];

/// Returns the section with the variables.
pub(super) fn environment(command: &str) -> String {
    let own: &[&[Item]] = match command {
        "init" => &[OF_CONFIG],
        "import" | "doctor" => &[OF_CONFIG, OF_ALIYUN_FILES],
        "explain" => &[&[(
            "LC_ALL, LC_MESSAGES, LANG",
            "The language: Chinese if the first that is set begins with zh.",
        )]],
        "man" => &[&[(
            "SOURCE_DATE_EPOCH",
            "The date of the pages, in seconds since 1970-01-01 UTC.",
        )]],
        _ => &[],
    };
    let all = match command {
        "man" | "completions" | "demo" | "explain" => own.concat(),
        _ => [own.concat(), VARIABLES.to_vec()].concat(),
    };
    list("ENVIRONMENT", &all, roff::bold)
}

/// Returns the section with the files.
pub(super) fn files(command: &str) -> String {
    let all: &[&[Item]] = match command {
        "man" | "completions" | "demo" | "explain" => &[],
        "init" => &[CONFIGS, SOCKETS],
        "import" => &[ALIYUN_FILES, CONFIGS],
        "doctor" => &[SOCKETS, CONFIGS, ALIYUN_FILES],
        "setup" => &[TOOL_FILES, SOCKETS],
        "reload" | "stsctl" => &[SOCKETS, CONFIGS],
        _ => &[SOCKETS],
    };
    list("FILES", &all.concat(), roff::italic)
}

/// Returns the section with the exit codes.
pub(super) fn exit_status(command: &str) -> String {
    let only = |codes: &[&str]| {
        let all = EXIT_CODES.iter().copied();
        all.filter(|(code, _)| codes.contains(code)).collect()
    };
    let all: Vec<Item> = match command {
        "completions" | "man" | "demo" | "explain" => only(&["0", "1", "2"]),
        "doctor" => vec![
            ("0", "No check has found a problem."),
            ("1", "The worst finding is a warning."),
            ("2", "The command line cannot be used."),
            ("9", "A check has found a fault."),
        ],
        "status" => with_codes(&[(
            "9",
            "With --health: all profiles are fresh, and the daemon has a lasting problem.",
        )]),
        "exec" => with_codes(&[
            ("126", "The program cannot be started."),
            ("127", "The program does not exist."),
            ("other", "The exit code of the program."),
        ]),
        "stsctl" => with_codes(&[("9", "stsctl doctor, stsctl status --health: a fault.")]),
        _ => EXIT_CODES.to_vec(),
    };
    list("EXIT STATUS", &all, roff::bold)
}

/// Returns the section with the related pages.
pub(super) fn see_also(command: &str) -> String {
    let pages: &[&str] = match command {
        "stsctl" => &[
            "sts-shim(1)",
            "stsd-config(5)",
            "stsd-errors(7)",
            "stsd-protocol(7)",
            "stsd(8)",
        ],
        "init" | "import" => &["stsctl(1)", "stsctl-setup(1)", "stsd-config(5)", "stsd(8)"],
        "setup" => &["stsctl(1)", "stsctl-url(1)", "sts-shim(1)"],
        "doctor" => &["stsctl(1)", "stsctl-status(1)", "stsd-config(5)", "stsd(8)"],
        "demo" => &["stsctl(1)", "stsd-emulator(1)", "stsd-oss-client(1)"],
        "exec" => &["stsctl(1)", "stsctl-env(1)", "stsctl-url(1)", "sts-shim(1)"],
        "env" => &["stsctl(1)", "stsctl-exec(1)", "stsctl-url(1)"],
        "url" => &["stsctl(1)", "stsctl-exec(1)", "stsd-config(5)"],
        "get" => &["stsctl(1)", "stsctl-exec(1)", "sts-shim(1)"],
        "lease" => &["stsctl(1)", "stsd-config(5)", "stsd-protocol(7)"],
        "status" => &["stsctl(1)", "stsctl-doctor(1)", "stsctl-log(1)", "stsd(8)"],
        "explain" => &["stsctl(1)", "stsctl-doctor(1)", "stsd-errors(7)"],
        "reload" => &["stsctl(1)", "stsd-config(5)", "stsd(8)"],
        _ => &["stsctl(1)", "stsctl-status(1)", "stsd(8)"],
    };
    let page = |page: &&str| {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        format!("{}({section}", roff::bold(name))
    };
    let pages: Vec<_> = pages.iter().map(page).collect();
    format!("{}{}\n", roff::section("SEE ALSO"), pages.join(",\n"))
}

fn with_codes(own: &[Item]) -> Vec<Item> {
    [EXIT_CODES, own].concat()
}

/// Returns a section with a list; an empty text without items.
fn list(name: &str, items: &[Item], term: fn(&str) -> String) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items = items.iter();
    let items = items.map(|(name, description)| roff::item(&term(name), description));
    items.fold(roff::section(name), |section, item| section + &item)
}
