//! The files of aliyun-cli and the SDKs: their default paths, and a bounded read that never
//! blocks.

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

/// Larger than the configuration of any tool.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A file of another tool.
pub struct ToolFile {
    /// The content of the file.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The permission bits of the file.
    pub mode: u32,
}

/// Returns the paths that aliyun-cli and the SDKs read; the files may be missing.
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

/// Returns the path of ossutil's file; `None` without a home.
pub fn ossutil_path() -> Option<PathBuf> {
    let home = env::var_os("HOME").filter(|it| !it.is_empty())?;
    Some(PathBuf::from(home).join(".ossutilconfig"))
}

/// Returns the first existing default file, and the second if there are two.
///
/// # Errors
/// When none of the default files exists.
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

/// Reads a regular file of limited size without blocking on a FIFO.
///
/// # Errors
/// When the file cannot be read, is not regular, or is larger than 1 MiB.
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
