//! Programs in the documents. A program whose first line names a command is run by that command; a
//! program that is a file is run by the commands of its page.

use std::fs;

use e2e::clients;

use super::{
    file,
    page::{Block, Page},
    shell,
    world::World,
};

pub(crate) const LANGUAGES: [&str; 2] = ["python", "js"];

/// Programs that are not run: a part of their text, and the reason.
pub(crate) const NOT_RUN: [(&str, &str); 1] = [(
    "import polars",
    "the SDKs that are installed here have no polars",
)];

pub(crate) fn is_one(block: &Block) -> bool {
    LANGUAGES.contains(&block.language.as_str())
}

/// Returns `true` if the program is a file that a command of its page runs.
pub(crate) fn is_run_by_a_command(page: &Page, block: &Block) -> bool {
    let paragraph = page.above(block);
    let Some(name) = file::name(&paragraph, block) else {
        return false;
    };
    let runs = page.blocks.iter().filter(|it| shell::is_run(it));
    let mut commands = runs.flat_map(shell::commands);
    commands.any(|it| it.split(' ').any(|word| word == name))
}

/// Returns the reason for which a program is not run, or `None`.
pub(crate) fn reason(block: &Block) -> Option<&'static str> {
    let known = NOT_RUN.iter().find(|(text, _)| block.text.contains(text));
    known.map(|(_, reason)| *reason)
}

/// Runs a program as its first line says.
///
/// # Errors
/// The place of the program, and its output.
pub(crate) fn run(world: &World, block: &Block) -> Result<(), String> {
    let first = block.text.lines().next().unwrap_or_default();
    let Some(typed) = first
        .strip_prefix("# ")
        .or_else(|| first.strip_prefix("// "))
    else {
        return Err(format!(
            "{}: its first line does not say how it is run",
            block.place()
        ));
    };
    let name = typed
        .split(' ')
        .find(|it| it.starts_with("program."))
        .unwrap_or("program");
    // Empty lines keep the line numbers of the document; the modules are in the same directory.
    let text = format!("{}{}", "\n".repeat(block.line), world.here(&block.text));
    fs::write(world.env.path("work").join(name), text).unwrap();
    let modules = world.env.path("work/node_modules");
    if !modules.exists() {
        std::os::unix::fs::symlink(clients().join("node/node_modules"), modules).unwrap();
    }
    let typed = Block {
        text: format!("{typed}\n"),
        language: "sh".to_owned(),
        ..block.clone()
    };
    shell::look(&typed)?;
    shell::run(world, &typed)
}
