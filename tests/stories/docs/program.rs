//! Decides which programs of the documents are run: those whose first line says by which command,
//! and by that.

use std::fs;

use e2e::clients;

use super::{page::Block, shell, world::World};

/// What is not run here, and why: what of its text tells it, and the reason.
pub(crate) const NOT_RUN: [(&str, &str); 1] = [(
    "import polars",
    "the SDKs that are installed here have no polars",
)];

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
    fs::write(world.kit.path("work").join(name), text).unwrap();
    let modules = world.kit.path("work/node_modules");
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
