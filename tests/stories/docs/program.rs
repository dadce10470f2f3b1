//! Decides which programs of the documents are run: those whose first line says by which command,
//! by that; and those that are a file which their page runs, by its commands.

use std::fs;

use e2e::clients;

use super::{
    file,
    page::{Block, Page},
    shell,
    world::World,
};

pub(crate) const LANGUAGES: [&str; 2] = ["python", "js"];

/// What is not run here, and why: what of its text tells it, and the reason.
pub(crate) const NOT_RUN: [(&str, &str); 1] = [(
    "import polars",
    "the SDKs that are installed here have no polars",
)];

pub(crate) fn is_one(block: &Block) -> bool {
    LANGUAGES.contains(&block.language.as_str())
}

/// Tells whether it is a file that the page's own commands run.
pub(crate) fn is_run_by_a_command(page: &Page, block: &Block) -> bool {
    let paragraph = page.above(block);
    let Some(name) = file::name(&paragraph, block) else {
        return false;
    };
    let runs = page.blocks.iter().filter(|it| shell::is_run(it));
    let mut commands = runs.flat_map(shell::commands);
    commands.any(|it| it.split(' ').any(|word| word == name))
}

/// Says why a program is not run, if that is known.
pub(crate) fn reason(block: &Block) -> Option<&'static str> {
    let known = NOT_RUN.iter().find(|(text, _)| block.text.contains(text));
    known.map(|(_, reason)| *reason)
}

/// Runs a program as its first line says.
///
/// # Errors
/// Says where it is, and what was said.
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
    // So that it counts lines as the document does, and finds its modules beside it.
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
