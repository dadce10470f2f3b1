//! Decides what each tool is told of a profile: a snippet to paste, or its own file changed
//! by that much, or a look whether it works to the end.

mod alibaba;
mod check;
mod document;
mod env_overrides;
mod http_get;
mod oss;
mod s3;

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use document::Needs;
use env_overrides::Shadow;
use rustix::process::geteuid;
use serde_json::json;
use stsd_client::{Client, SecretText};

use crate::{
    cli::Setup,
    commands::{doctor, doctor::Verdict},
    edit::{
        file,
        file::{Place, Written},
    },
    error::Usage,
    subprocess,
    term::stdout::say,
};

/// A consumer of credentials.
struct Tool {
    name: &'static str,
    /// What it is, for the list.
    about: &'static str,
    way: Way,
    snippet: fn(&Wanted) -> Result<String>,
    /// Where the snippet goes, in a sentence.
    note: &'static str,
    needs: Needs,
    shadows: &'static [Shadow],
}

/// How credentials come to a tool.
enum Way {
    /// By what an entry of its file names.
    File(TheirFile),
    /// By what an entry of another tool's file names.
    FileOfAnother(TheirFile),
    /// By the shim's command line, which is pasted somewhere.
    Shim,
    /// By the URL in its environment, where `exec` has put it.
    Url,
    /// The same, but it looks at no URL without the secret in a file.
    UrlWithFile,
    /// By keys in its environment.
    Keys,
}

/// A tool's own file.
struct TheirFile {
    path: fn() -> Result<PathBuf>,
    /// Returns its text with our entry, of what is there.
    with: fn(Option<&str>, &Wanted) -> Result<String>,
    /// Returns what our entry names.
    names: fn(&str, &Wanted) -> Result<Named>,
    /// It holds a secret by our entry.
    private: bool,
}

/// What an entry names.
enum Named {
    Command(String),
    Url(String),
}

/// What was typed, and what the machine adds.
struct Wanted {
    profile: String,
    /// What the tool calls it.
    name: String,
    region: Option<String>,
    /// The shim's command line.
    command: String,
    /// Only where the tool's file has to hold it.
    url: Option<SecretText>,
}

/// All of them, in the order of the list.
fn tools() -> impl Iterator<Item = &'static Tool> {
    [alibaba::TOOLS, oss::TOOLS, s3::TOOLS]
        .into_iter()
        .flatten()
}

/// Every name that can be typed.
pub(crate) fn names() -> Vec<&'static str> {
    tools().map(|tool| tool.name).collect()
}

/// Which program is a tool, where the tool is one.
const PROGRAMS: &[(&str, &str)] = &[
    ("aliyun", "aliyun-cli"),
    ("terraform", "terraform"),
    ("ossutil64", "ossutil1"),
    ("ossutil", "ossutil1"),
    ("ossutil", "ossutil2"),
    ("ossfs", "ossfs"),
    ("ossfs2", "ossfs2"),
    ("aws", "aws"),
    ("rclone", "rclone"),
    ("duckdb", "duckdb"),
];

/// Returns the tools that are installed here, with whether they have a file of their own to
/// write. Both versions of ossutil are called the same.
pub(crate) fn installed() -> Vec<(&'static str, bool)> {
    let is_there = |tool: &&Tool| {
        let mut programs = PROGRAMS.iter().filter(|(_, it)| *it == tool.name);
        programs.any(|(program, _)| subprocess::find(program).is_some())
    };
    let with_file = |tool: &Tool| (tool.name, matches!(tool.way, Way::File(_)));
    tools().filter(is_there).map(with_file).collect()
}

pub(crate) fn run(client: &Client, socket: Option<&Path>, typed: &Setup) -> Result<ExitCode> {
    let Some(name) = &typed.tool else {
        list(typed.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let tool = tools().find(|it| it.name == name);
    let tool = tool.context("clap takes the names of tools alone")?;
    let mut wanted = Wanted::of(socket, typed)?;
    if typed.check {
        let findings = check::examine(tool, &wanted, client, socket);
        let worst = doctor::tell(&findings)?;
        return Ok(ExitCode::from(u8::from(worst == Verdict::Fault)));
    }
    let file = match &tool.way {
        Way::File(file) => Some(file),
        _ => None,
    };
    if typed.write && file.is_some() {
        is_known(client, &wanted.profile)?;
    }
    if file.is_some_and(|it| it.private) {
        let url = client.url(&wanted.profile)?;
        wanted.url = Some(url.url);
    }
    match (typed.write, file) {
        (false, _) => {
            let snippet = (tool.snippet)(&wanted)?;
            let mut stderr = io::stderr().lock();
            let _ = writeln!(stderr, "{}", tool.note);
            drop(stderr);
            say(snippet.trim_end())?;
        }
        (true, None) => bail!(Usage(format!(
            "there is no file to write for {}; without --write the snippet is printed",
            tool.name
        ))),
        (true, Some(file)) => write(file, &wanted)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(as_json: bool) -> Result<()> {
    if as_json {
        let all = tools().map(|tool| {
            let writes = matches!(tool.way, Way::File(_));
            json!({"tool": tool.name, "about": tool.about, "writes": writes})
        });
        return say(&serde_json::to_string_pretty(&all.collect::<Vec<_>>())?);
    }
    for tool in tools() {
        let file = match &tool.way {
            Way::File(_) => " (--write)",
            _ => "",
        };
        say(&format!("{:20}{}{file}", tool.name, tool.about))?;
    }
    Ok(())
}

/// Whether there is a profile is said at once; the rest is for the way, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks whether there is such a profile; a daemon that says nothing to it may do so later.
fn is_known(client: &Client, profile: &str) -> Result<()> {
    const UNKNOWN: u8 = 4;
    match client.credentials(profile, Duration::ZERO, PATIENCE) {
        Err(error) if error.exit_code() == UNKNOWN => Err(error.into()),
        _ => Ok(()),
    }
}

fn write(file: &TheirFile, wanted: &Wanted) -> Result<()> {
    let path = (file.path)()?;
    let shown = path.display();
    let _lock = file::lock(&path)?;
    let place = Place::look(&path)?;
    let text =
        (file.with)(place.text()?, wanted).with_context(|| format!("{shown} is left as it is"))?;
    match place.put(&text, file.private)? {
        Written::Unchanged => say(&format!("{shown}: is as it should be")),
        Written::New => say(&format!("{shown}: written")),
        Written::Changed(backup) => say(&format!(
            "{shown}: changed; what was there before the first change is in {}",
            backup.display()
        )),
    }?;
    if file.private {
        say("it holds the secret of the URLs: mode 0600, and anew after `stsctl url --rotate`")?;
    }
    Ok(())
}

impl Wanted {
    fn of(socket: Option<&Path>, typed: &Setup) -> Result<Self> {
        let profile = typed.profile.clone().unwrap_or_default();
        let name = typed.name.clone().unwrap_or_else(|| profile.clone());
        for (what, text) in [("a profile", &profile), ("a tool's name for it", &name)] {
            if !is_name(text) {
                bail!(Usage(format!(
                    "{what} is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit"
                )));
            }
        }
        if let Some(region) = &typed.region
            && (!region
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
                || region.is_empty()
                || region.starts_with("oss-"))
        {
            bail!(Usage("a region is such as cn-hangzhou".to_owned()));
        }
        let shim = match &typed.shim {
            Some(shim) => shim.clone(),
            None => find_shim()?,
        };
        let mut command = unquoted(&shim)?.to_owned();
        if let Some(socket) = socket.map(Path::to_owned).or_else(own_socket) {
            let socket = std::path::absolute(socket)?;
            command = format!("{command} --socket {}", unquoted(&socket)?);
        }
        Ok(Self {
            command: format!("{command} {profile}"),
            profile,
            name,
            region: typed.region.clone(),
            url: None,
        })
    }

    /// Returns the region, which this tool cannot do without.
    fn region(&self) -> Result<&str> {
        let missing = || Usage("say where the buckets are: --region cn-hangzhou".to_owned());
        Ok(self.region.as_deref().ok_or_else(missing)?)
    }
}

/// Returns the socket that only this environment knows of: a tool that is started elsewhere
/// would not find it.
fn own_socket() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|it| !it.is_empty());
    if let Some(path) = variable("STSD_SOCKET") {
        return Some(path.into());
    }
    let runtime = PathBuf::from(variable("XDG_RUNTIME_DIR")?);
    let usual = format!("/run/user/{}", geteuid().as_raw());
    let socket = runtime.join("stsd/stsd.sock");
    Some(socket).filter(|it| runtime != Path::new(&usual) && it.exists())
}

/// What the daemon takes for a profile's name, and no file's syntax minds.
fn is_name(text: &str) -> bool {
    let inner = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    let begins = text
        .bytes()
        .next()
        .is_some_and(|it| it.is_ascii_alphanumeric());
    begins && text.len() <= 64 && text.bytes().all(inner)
}

/// Some tools split a command at white space, some give it to a shell, some refuse a `$`: a
/// path in it has to be the same to all of them.
fn unquoted(path: &Path) -> Result<&str> {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"/._-+@".contains(&it);
    let text = path
        .to_str()
        .filter(|it| it.bytes().all(plain) && it.starts_with('/'));
    let shown = path.display();
    let refusal = || {
        Usage(format!(
            "{shown} cannot stand in a command line without quotes, which half of the tools do \
             not understand: an absolute path of A-Z a-z 0-9 / . _ - + @ is needed"
        ))
    };
    Ok(text.ok_or_else(refusal)?)
}

/// Finds the shim beside this program, else where a shell would.
fn find_shim() -> Result<PathBuf> {
    subprocess::find("sts-shim")
        .context("sts-shim is neither beside stsctl nor in PATH; name it with --shim")
}

/// Returns a path below the user's home.
fn at_home(rest: &str) -> Result<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|it| it.is_absolute());
    Ok(home
        .context("HOME says nothing, so there is no file")?
        .join(rest))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Wanted, Way, is_name, tools, unquoted};

    fn sample() -> Wanted {
        Wanted {
            profile: "oss-upload".to_owned(),
            name: "oss-upload".to_owned(),
            region: Some("cn-hongkong".to_owned()),
            command: "/usr/bin/sts-shim oss-upload".to_owned(),
            url: Some("http://127.0.0.1:7787/SECRET/oss-upload".to_owned().into()),
        }
    }

    #[test]
    fn the_documents_have_the_text_that_is_printed() {
        let page = include_str!("../../../../docs/programs.md");
        for tool in tools() {
            let snippet = (tool.snippet)(&sample()).unwrap();
            let section = page
                .split("\n## ")
                .find(|it| it.starts_with(&format!("`{}`", tool.name)));
            let section = section.unwrap_or_else(|| panic!("no section {}", tool.name));
            assert!(
                section.contains(&format!("\n{}\n```", snippet.trim_end())),
                "{snippet}"
            );
        }
    }

    #[test]
    fn what_is_written_is_found_again_and_stays_as_it_is() {
        for tool in tools() {
            let Way::File(file) = &tool.way else { continue };
            let wanted = sample();
            let text = (file.with)(None, &wanted).unwrap();
            assert_eq!(
                (file.with)(Some(&text), &wanted).unwrap(),
                text,
                "{}",
                tool.name
            );
            let snippet = (tool.snippet)(&wanted).unwrap();
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            assert!(
                bare(&text).contains(&bare(&snippet)),
                "{}: {text}",
                tool.name
            );
        }
    }

    #[test]
    fn what_needs_quotes_does_not_get_into_a_command_line() {
        assert!(unquoted(Path::new("/usr/local/bin/sts-shim")).is_ok());
        for path in [
            "sts-shim", "/a b/c", "/$a", "/a'b", "/a;b", "/~", "/a*", "/é", "",
        ] {
            assert!(unquoted(Path::new(path)).is_err(), "{path}");
        }
        for name in ["", "-a", "a b", "a]", "a\n", "../a", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("oss-upload.2"));
    }
}
