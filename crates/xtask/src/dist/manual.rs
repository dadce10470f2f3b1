//! The manual pages: those of stsctl, which it prints itself, and those in `man`.

use std::{fs, path::Path, process::Command};

use super::{Release, at, output};
use crate::process::Outcome;

/// Writes all pages into a directory.
pub(crate) fn write(
    release: &Release,
    source: &Path,
    programs: &Path,
    directory: &Path,
) -> Outcome {
    let mut stsctl = Command::new(programs.join("stsctl"));
    stsctl.args(["man", "--directory"]).arg(directory);
    output(stsctl.env("SOURCE_DATE_EPOCH", &release.epoch))?;
    let pages = source.join("man");
    for entry in fs::read_dir(&pages).map_err(at(&pages))? {
        let path = entry.map_err(at(&pages))?.path();
        let page = fs::read_to_string(&path).map_err(at(&path))?;
        let page = page.replace("@VERSION@", &release.version);
        let page = page.replace("@DATE@", &release.date);
        let written = directory.join(path.file_name().unwrap_or_default());
        fs::write(&written, page).map_err(at(&written))?;
    }
    Ok(())
}
