//! Decides which file of another tool is read, and how: as it is, and never waited for.

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// No tool has a configuration that is longer.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A file of another tool.
pub struct ToolFile {
    /// The content of the file.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The permission bits of the file.
    pub mode: u32,
}

/// Returns the files that aliyun-cli and the SDKs would read, whether they are there or not.
pub fn default_paths() -> Vec<PathBuf> {
    let variable = |name| env::var_os(name).filter(|it: &OsString| !it.is_empty());
    let home = variable("HOME").map(PathBuf::from);
    let at_home = |rest: &str| home.as_ref().map(|it| it.join(rest));
    let named = |name| variable(name).map(PathBuf::from);
    let config = named("ALIBABA_CLOUD_CONFIG_FILE").or_else(|| at_home(".aliyun/config.json"));
    let credentials = named("ALIBABA_CLOUD_CREDENTIALS_FILE").map_or_else(
        || {
            let names = [".alibabacloud/credentials", ".alibabacloud/credentials.ini"];
            names.iter().filter_map(|it| at_home(it)).collect()
        },
        |it| vec![it],
    );
    config.into_iter().chain(credentials).collect()
}

/// Returns the one of them that is there, and the second.
pub fn find_default() -> Result<(PathBuf, Option<PathBuf>)> {
    let all = default_paths();
    let mut there = all.iter().filter(|it| it.symlink_metadata().is_ok());
    match there.next() {
        Some(first) => Ok((first.clone(), there.next().cloned())),
        None => {
            let mut names = String::new();
            for path in &all {
                let _ = write!(names, " {}", path.display());
            }
            bail!("there is no file to import; looked for:{names}")
        }
    }
}

/// Reads a file of another tool: a regular one, not longer than such a file is, without ever
/// waiting for it.
pub fn read(path: &Path) -> Result<ToolFile> {
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .context("cannot be read")?;
    let metadata = file.metadata()?;
    ensure!(metadata.is_file(), "it is not a regular file");
    ensure!(
        metadata.len() <= MAX_FILE_BYTES,
        "it is larger than 1 MiB, as no such file is"
    );
    let size = usize::try_from(metadata.len())?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    let mode = metadata.mode() & 0o7777;
    Ok(ToolFile { bytes, mode })
}
