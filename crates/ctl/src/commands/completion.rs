//! The completion of a shell: clap's static script, and the names of the profiles, for which the
//! script asks `stsctl` itself at each completion.

use std::{ffi::OsString, path::PathBuf, sync::mpsc, thread, time::Duration};

use anyhow::Result;
use clap::{Arg, ArgAction, Command};
use clap_complete::Shell;
use stsd_client::Client;
use stsd_model::ProfileName;

use crate::{
    cli::CompletionShell,
    help,
    term::stdout::{self, print_line},
};

/// The first word of the command line of the scripts. It is no command of the help: its arguments are
/// the words of another command line.
const COMPLETE_PROFILES: &str = "complete-profiles";

/// Time for the daemon to name its profiles; without an answer the shell offers none.
const PROFILE_NAMES_TIMEOUT: Duration = Duration::from_secs(1);

/// The function of zsh that clap generates, and its first line.
const ZSH_FUNCTION: &str = "_stsctl() {\n";

/// Appended for bash: the names of the profiles in place of the other words.
const BASH: &str = r#"
_stsctl_or_profiles() {
    local name names=()
    while IFS= read -r name; do
        names+=("$name")
    done < <("$1" complete-profiles -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if ((${#names[@]})); then
        COMPREPLY=("${names[@]}")
    else
        _stsctl "$@"
    fi
}
complete -F _stsctl_or_profiles -o bashdefault -o default stsctl
"#;

/// Inserted at the beginning of the function of zsh.
const ZSH: &str = r#"    local -a profiles
    profiles=(${(f)"$("${(Q)words[1]}" complete-profiles -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#profiles )); then
        compadd -a profiles
        return
    fi
"#;

/// Appended for fish.
const FISH: &str = r#"
function __fish_stsctl_profiles
    set -l words (commandline -opc) (commandline -ct)
    command $words[1] complete-profiles -- $words[2..-1] 2>/dev/null
end
complete -c stsctl -a "(__fish_stsctl_profiles)"
"#;

/// Prints the completion script of a shell.
pub(super) fn print_script(shell: CompletionShell) -> Result<()> {
    stdout::write(script(shell)?.as_bytes())
}

fn script(shell: CompletionShell) -> Result<String> {
    let generator = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut help::command(), "stsctl", &mut script);
    let script = String::from_utf8(script)?;
    Ok(match shell {
        CompletionShell::Bash => script + BASH,
        CompletionShell::Zsh => script.replacen(ZSH_FUNCTION, &format!("{ZSH_FUNCTION}{ZSH}"), 1),
        CompletionShell::Fish => script + FISH,
    })
}

/// Returns the words of the command line that a shell completes, up to the word at the cursor; `None`
/// for a command line of a user.
pub(crate) fn words_to_complete(
    mut arguments: impl Iterator<Item = OsString>,
) -> Option<Vec<String>> {
    let first = arguments.nth(1)?;
    let lossy = |it: OsString| it.to_string_lossy().into_owned();
    let is_separator = |it: &OsString| it == "--";
    (first == COMPLETE_PROFILES).then(|| arguments.skip_while(is_separator).map(lossy).collect())
}

/// Prints the names of the profiles that continue the last word, if that word is a profile. Without
/// a daemon, and after any error, nothing is printed.
pub(crate) fn print_profiles(words: &[String]) {
    let Some((socket, prefix)) = profile_word(&help::command(), words) else {
        return;
    };
    let client = socket.map_or_else(Client::from_environment, Client::at);
    let (answer, answers) = mpsc::channel();
    let _ = thread::Builder::new().spawn(move || {
        let _ = answer.send(client.without_retries().status());
    });
    let Ok(Ok(status)) = answers.recv_timeout(PROFILE_NAMES_TIMEOUT) else {
        return;
    };
    let names = status.profiles.iter().map(|it| it.name.as_str());
    // The shell may expand other characters.
    for name in names.filter(|it| it.starts_with(prefix) && ProfileName::is_valid(it)) {
        if print_line(name).is_err() {
            return;
        }
    }
}

/// Returns the value of `--socket` and the last word, if the last word is a profile; else `None`.
fn profile_word<'a>(stsctl: &Command, words: &'a [String]) -> Option<(Option<PathBuf>, &'a str)> {
    let (last, before) = words.split_last()?;
    if last.starts_with('-') {
        return None;
    }
    let mut words = before.iter().map(String::as_str).peekable();
    let (mut command, mut position, mut socket) = (stsctl, 0, None);
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix('-') else {
            match command.find_subcommand(word) {
                Some(found) => command = found,
                None => position += 1,
            }
            continue;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None if takes_value(command, option) => {
                // The readline of bash splits words at the equals sign.
                words.next_if_eq(&"=");
                (option, Some(words.next()?))
            }
            None => (option, None),
        };
        // The same option of `lease` is its second socket.
        if name == "-socket" && command.has_subcommands() {
            socket = value.map(PathBuf::from);
        }
    }
    let argument = positional(command, position)?;
    let is_profile = matches!(argument.get_id().as_str(), "profile" | "profiles");
    is_profile.then_some((socket, last))
}

/// Returns `true` if an option, without its first hyphen, has a value in the next word. `--` is no
/// option.
fn takes_value(command: &Command, option: &str) -> bool {
    let mut options = command.get_arguments().filter(|it| !it.is_positional());
    let is_it = |it: &Arg| match option.strip_prefix('-') {
        Some(long) => it.get_long() == Some(long),
        None => it.get_short().is_some_and(|it| option == it.to_string()),
    };
    let found = options.find(|it| is_it(it));
    found.is_some_and(|it| it.get_action().takes_values())
}

/// Returns the positional argument at a position; the last one may take several words.
fn positional(command: &Command, position: usize) -> Option<&Arg> {
    let all: Vec<_> = command.get_positionals().collect();
    let is_repeated = |it: &&Arg| matches!(it.get_action(), ArgAction::Append);
    let last = all.last().copied().filter(is_repeated);
    all.get(position).copied().or(last)
}

#[cfg(test)]
mod tests {
    use super::{BASH, COMPLETE_PROFILES, FISH, ZSH, ZSH_FUNCTION, profile_word, script};
    use crate::{cli::CompletionShell, help};

    #[test]
    fn scripts_ask_for_the_profiles() {
        for part in [BASH, ZSH, FISH] {
            assert!(part.contains(&format!(" {COMPLETE_PROFILES} -- ")));
        }
        let zsh = script(CompletionShell::Zsh).unwrap();
        assert_eq!(zsh.matches(ZSH_FUNCTION).count(), 1);
        assert!(zsh.contains(ZSH));
        assert!(script(CompletionShell::Bash).unwrap().contains(BASH));
        assert!(script(CompletionShell::Fish).unwrap().contains(FISH));
    }

    #[test]
    fn word_is_a_profile_by_its_position() {
        let command = help::command();
        let word = |line: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let (socket, prefix) = profile_word(&command, &words)?;
            let socket = socket.map(|it| it.display().to_string());
            Some((socket.unwrap_or_default(), prefix.to_owned()))
        };
        let check = |line: &str, socket: &str, prefix: &str| {
            let expected = (socket.to_owned(), prefix.to_owned());
            assert_eq!(word(line), Some(expected), "{line}");
        };
        check("get ", "", "");
        check("get oss", "", "oss");
        check("get --min-life 20m oss", "", "oss");
        check("get --min-life=20m oss", "", "oss");
        check("get --min-life = 20m oss", "", "oss");
        check("status a b ", "", "");
        check("log -n 5 a", "", "a");
        check("setup aliyun-cli ", "", "");
        check("exec --static oss", "", "oss");
        check("--socket /a/b get ", "/a/b", "");
        check("--socket=/a/b env --shell fish o", "/a/b", "o");
        check("--socket = /a/b lease --socket /c o", "/a/b", "o");
        for line in [
            "",
            "ge",
            "get --min",
            "get --min-life ",
            "get --min-life = 2",
            "get a ",
            "exec oss-upload ",
            "exec oss-upload -- ",
            "setup ",
            "init ",
            "import ",
            "lease a --socket ",
            "--socket ",
        ] {
            assert_eq!(word(line), None, "{line}");
        }
    }
}
