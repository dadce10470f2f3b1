//! The scripts of the packages: files of `packaging`, one after the other.

use std::{fs, path::Path};

use super::at;

/// Returns the script that consists of files of `packaging`. All scripts begin with the functions of
/// `functions.sh`.
pub(crate) fn script(source: &Path, files: &[&str]) -> Result<String, String> {
    let files = ["functions.sh"].iter().chain(files);
    let texts = files.map(|file| {
        let path = source.join("packaging").join(file);
        fs::read_to_string(&path).map_err(at(&path))
    });
    texts.collect()
}
