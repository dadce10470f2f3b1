//! Blocks of the documents that are files: the paragraph above such a block names the file, in the
//! folder of the configuration or in the working directory.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use super::{
    page::{Block, Page},
    world::World,
};

/// The languages of blocks that can be files, and the extensions of their names.
const LANGUAGES: [&str; 3] = ["json", "python", "toml"];
const ENDINGS: [&str; 4] = [".json", ".key", ".py", ".toml"];

const CONFIGURATION: &str = "~/.config/stsd/";

/// The words of a paragraph whose block is appended to the file.
const ADDED: [&str; 2] = ["to the end of `", "` 末尾"];

/// Returns the file name of a block: the first name in its paragraph.
pub(crate) fn name<'a>(paragraph: &'a str, block: &Block) -> Option<&'a str> {
    let plain = |it: &&str| {
        let name = it.strip_prefix(CONFIGURATION).unwrap_or(it);
        let word = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        name.chars().all(word) && ENDINGS.iter().any(|ending| name.ends_with(ending))
    };
    let mut names = paragraph.split('`').skip(1).step_by(2).filter(plain);
    let name = names.next();
    name.filter(|_| LANGUAGES.contains(&block.language.as_str()))
}

/// Returns `true` if the block exports to a new directory, for which the sandbox needs a restart.
pub(crate) fn is_a_new_place(block: &Block) -> bool {
    block.text.contains(".file]\npath = ")
}

/// Writes a block that is a file; returns its path.
pub(crate) fn put(world: &World, page: &Page, block: &Block) -> Option<PathBuf> {
    let paragraph = page.above(block);
    let name = name(&paragraph, block)?;
    let path = match name.strip_prefix("~/") {
        Some(name) => world.env.path("home").join(name),
        None => world.env.path("work").join(name),
    };
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let added = ADDED.iter().any(|it| paragraph.contains(it));
    let mut options = OpenOptions::new();
    options.create(true).append(added);
    options.write(true).truncate(!added);
    let mut file = options.open(&path).unwrap();
    // An editor ends a file with a newline; the block begins on the next line.
    let before = if added { "\n" } else { "" };
    write!(file, "{before}{}", world.here(&block.text)).unwrap();
    let secret = paragraph.contains("0600");
    if secret {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    Some(path)
}
