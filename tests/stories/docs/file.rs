//! Decides which blocks of the documents are files, which their commands then find: those whose
//! paragraph names one, in the folder of the configuration or beside the reader.

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

/// What may be a file, and what its name ends in then.
const LANGUAGES: [&str; 3] = ["json", "python", "toml"];
const ENDINGS: [&str; 4] = [".json", ".key", ".py", ".toml"];

const CONFIGURATION: &str = "~/.config/stsd/";

/// What a paragraph says of a block that is added to what the file has.
const ADDED: [&str; 2] = ["to the end of `", "` 末尾"];

/// The file that a block is, as its paragraph has it: the first one that is named.
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

/// Tells whether the daemon is to write where it has not: its sandbox then needs a restart.
pub(crate) fn is_a_new_place(block: &Block) -> bool {
    block.text.contains(".file]\npath = ")
}

/// Writes a block that is a file; returns where.
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
    // One that an editor has ended with a line is added to with the next.
    let before = if added { "\n" } else { "" };
    write!(file, "{before}{}", world.here(&block.text)).unwrap();
    let secret = paragraph.contains("0600");
    if secret {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    Some(path)
}
