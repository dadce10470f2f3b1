//! The examples of each command.

/// The purpose of a command line, and the command line.
pub(crate) type Example = (&'static str, &'static str);

/// The examples of `stsctl` itself: the first commands of a user.
pub(crate) const MAIN_EXAMPLES: &[Example] = &[
    (
        "Set up the daemon and a first profile",
        "stsctl init --profile oss-upload",
    ),
    (
        "Run a program with the credentials of that profile",
        "stsctl exec oss-upload -- python backup.py",
    ),
    ("Find out why a profile has no credentials", "stsctl doctor"),
];

/// Returns the examples of a command.
pub(crate) fn examples(command: &str) -> &'static [Example] {
    match command {
        "init" => &[
            (
                "Ask for region, key and role",
                "stsctl init --profile oss-upload",
            ),
            (
                "Add a profile with the key that is configured already",
                "stsctl init --profile backup --use-source NAME --role oss-backup",
            ),
        ],
        "import" => &[
            (
                "Show what would be imported from ~/.aliyun/config.json",
                "stsctl import",
            ),
            (
                "Import it, with the keys in the keyring",
                "stsctl import --write --keeper keyring",
            ),
        ],
        "setup" => &[
            ("List the tools", "stsctl setup"),
            (
                "Let aliyun-cli use a profile",
                "stsctl setup aliyun-cli oss-upload --region cn-hongkong --write",
            ),
            (
                "Check that aliyun-cli would get credentials",
                "stsctl setup aliyun-cli oss-upload --check",
            ),
        ],
        "doctor" => &[("Check everything", "stsctl doctor")],
        "explain" => &[(
            "Show the cause and the fix of an error code",
            "stsctl explain no-daemon",
        )],
        "demo" => &[("Run the demonstration", "stsctl demo")],
        "exec" => &[
            (
                "Run a program that gets renewed credentials from a URL",
                "stsctl exec oss-upload -- python backup.py",
            ),
            (
                "Run a program that supports keys only, for 30 minutes at least",
                "stsctl exec oss-upload --static --min-life 30m -- ./upload.sh",
            ),
        ],
        "get" => &[
            (
                "Print credentials that are valid for 20 minutes at least",
                "stsctl get oss-upload --min-life 20m",
            ),
            (
                "Print the expiration alone",
                "stsctl get oss-upload | jq -r .expiration",
            ),
        ],
        "env" => &[
            (
                "Set the variables in this shell",
                "eval \"$(stsctl env oss-upload)\"",
            ),
            (
                "Write them for docker run --env-file",
                "stsctl env oss-upload --static --shell dotenv > upload.env",
            ),
        ],
        "url" => &[
            (
                "Print the URL for ALIBABA_CLOUD_CREDENTIALS_URI",
                "stsctl url oss-upload",
            ),
            ("Make all URLs invalid", "stsctl url --rotate"),
        ],
        "lease" => &[(
            "Let a container use a profile for an hour",
            "stsctl lease oss-upload --policy p.json --ttl 1h --socket /tmp/a/s.sock",
        )],
        "status" => &[
            ("Follow the profiles; q leaves", "stsctl status --watch"),
            (
                "Check two profiles in a health check",
                "stsctl status --health oss-upload backup",
            ),
        ],
        "log" => &[
            (
                "Show the last 50 events of a profile and exit",
                "stsctl log oss-upload -n 50 --no-follow",
            ),
            ("Follow all events as JSON", "stsctl log --json"),
        ],
        "metrics" => &[(
            "Write the counters for the node exporter",
            "stsctl metrics > /var/lib/node_exporter/stsd.prom",
        )],
        "refresh" => &[(
            "Get new credentials after a change of the role",
            "stsctl refresh oss-upload",
        )],
        "reload" => &[("Use a changed configuration", "stsctl reload")],
        "completions" => &[(
            "Complete commands and profiles in this bash",
            "source <(stsctl completions bash)",
        )],
        "man" => &[
            ("Read the manual page", "stsctl man | man -l -"),
            (
                "Write all pages for man(1)",
                "stsctl man --directory ~/.local/share/man/man1",
            ),
        ],
        _ => &[],
    }
}
