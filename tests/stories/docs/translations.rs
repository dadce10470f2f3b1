//! The tutorial, whose policies and program are run unchanged, and the Chinese pages, which have the
//! code and headings of the English ones.

use std::{fs, path::Path, process::Command};

use e2e::{TestEnv, clients, upload_lines};
use serde_json::Value;

/// A block of code with its language.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    lines: Vec<String>,
}

/// The parts of a page that are the same in every language.
#[derive(Default)]
struct Page {
    blocks: Vec<Block>,
    /// The level of each heading, in their order.
    headings: Vec<usize>,
}

impl Page {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut page = Self::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let lines = lines.by_ref().take_while(|line| *line != "```");
                page.blocks.push(Block {
                    language: language.to_owned(),
                    lines: lines.map(str::to_owned).collect(),
                });
            } else if line.starts_with('#') {
                page.headings
                    .push(line.chars().take_while(|it| *it == '#').count());
            }
        }
        page
    }

    /// Returns the texts of the blocks in a language.
    fn of(&self, language: &str) -> Vec<String> {
        let blocks = self.blocks.iter().filter(|it| it.language == language);
        blocks.map(|it| it.lines.join("\n")).collect()
    }
}

/// Returns a line without its comment, which is translated.
fn without_comment(line: &str) -> &str {
    let comment = line.starts_with("# ").then_some(0);
    let comment = comment.or_else(|| line.find(" # "));
    line[..comment.unwrap_or(line.len())].trim_end()
}

#[test]
fn chinese_pages_have_the_code_and_headings_of_the_english() {
    let pages = [
        ("README.md", "README.zh-CN.md"),
        ("docs/tutorial.md", "docs/zh/tutorial.md"),
        ("docs/programs.md", "docs/zh/programs.md"),
        ("docs/recipes.md", "docs/zh/recipes.md"),
        ("docs/configuration.md", "docs/zh/configuration.md"),
        ("docs/migration.md", "docs/zh/migration.md"),
        ("docs/operations.md", "docs/zh/operations.md"),
        ("docs/faq.md", "docs/zh/faq.md"),
        ("docs/platforms.md", "docs/zh/platforms.md"),
        ("docs/containers.md", "docs/zh/containers.md"),
        ("docs/stability.md", "docs/zh/stability.md"),
    ];
    for (english, chinese) in pages {
        let (one, other) = (Page::read(english), Page::read(chinese));
        assert!(!one.headings.is_empty(), "{english} has headings");
        for (number, (one, other)) in one.blocks.iter().zip(&other.blocks).enumerate() {
            let code = |block: &Block| {
                let lines = block.lines.iter().map(|it| without_comment(it).to_owned());
                (block.language.clone(), lines.collect::<Vec<_>>())
            };
            assert_eq!(code(one), code(other), "{chinese}, block {}", number + 1);
        }
        assert_eq!(one.blocks.len(), other.blocks.len(), "blocks of {chinese}");
        assert_eq!(one.headings, other.headings, "headings of {chinese}");
    }
}

/// The account of the tutorial.
const ACCOUNT: &str = "acs:ram::123456789012:";

/// Returns the account model of a reader of the tutorial, with the policies that it shows.
fn world(policies: &[String]) -> String {
    let [user, role, trust, _] = policies else {
        panic!("a policy of the user, two of the role, one of a session: {policies:?}");
    };
    let trust: Value = serde_json::from_str(trust).unwrap();
    let trusted = trust["Statement"][0]["Principal"]["RAM"].as_str().unwrap();
    let trusted = trusted.strip_prefix(ACCOUNT).unwrap();
    format!(
        "account = \"123456789012\"\n\
         [[user]]\nname = \"uploader\"\npolicy = '''{user}'''\n\
         [[user.key]]\nid = \"LTAIEXAMPLEUPLOADER01\"\nsecret = \"{}\"\n\
         [[role]]\nname = \"oss-upload\"\ntrusts = [\"{trusted}\"]\npolicy = '''{role}'''\n\
         [[bucket]]\nname = \"examplebucket\"\nregion = \"cn-hongkong\"\n",
        e2e::KEY_SECRET
    )
}

/// Starts an emulator and a daemon as the tutorial has them, with short sessions.
fn followed(tutorial: &Page) -> (tempfile::TempDir, TestEnv) {
    let policies = tutorial.of("json");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("world.toml");
    fs::write(&file, world(&policies)).unwrap();
    let file = file.to_str().unwrap();
    let mut env = TestEnv::without_daemon(&["--world", file, "--session-life", "12s"]);
    env.write("web.json", &policies[3], 0o600);
    let profile = |name: &str| {
        let role = format!("{ACCOUNT}role/oss-upload");
        format!("[profile.{name}]\nsource = \"uploader\"\nrole_arn = \"{role}\"\n")
    };
    // The default port may be in use on this machine.
    let http = "[http]\nlisten = \"127.0.0.1:0\"";
    let (all, web) = (profile("oss-upload"), profile("web"));
    env.write_config(&format!("{all}{web}policy_file = \"web.json\"\n{http}\n"));
    env.start_daemon();
    fs::create_dir(env.path("home")).unwrap();
    (place, env)
}

#[test]
fn tutorial_policies_allow_exactly_what_the_tutorial_says() {
    let (_place, env) = followed(&Page::read("docs/tutorial.md"));
    let put = |profile: &str, key: &str| {
        let outcome = env.oss_with_profile(profile, &["put", "examplebucket", key], "text");
        outcome.map_err(|said| assert!(said.contains("AccessDenied"), "{profile} {key}: {said}"))
    };
    assert!(put("oss-upload", "backups/0").is_ok());
    assert!(put("oss-upload", "elsewhere/0").is_err());
    assert!(put("web", "backups/web/0").is_ok());
    assert!(put("web", "backups/0").is_err());
    let read = env.oss_with_profile("oss-upload", &["get", "examplebucket", "backups/0"], "");
    assert!(
        read.as_ref().is_err_and(|it| it.contains("AccessDenied")),
        "{read:?}"
    );
}

#[test]
fn tutorial_program_uploads_through_renewals() {
    let tutorial = Page::read("docs/tutorial.md");
    let (_place, env) = followed(&tutorial);
    let [program] = &tutorial.of("python")[..] else {
        panic!("one program");
    };
    env.write("upload.py", program, 0o600);
    let mut command = Command::new(clients().join("python/bin/python"));
    command.arg(env.path("upload.py"));
    upload_lines(&env, command, "backups");
}
