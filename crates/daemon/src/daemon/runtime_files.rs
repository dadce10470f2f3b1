//! The files that the daemon writes by its configuration: the audit and the exports.

use std::io::ErrorKind;

use stsd_codes::Code;

use crate::{
    audit::{AuditFile, AuditFileError, AuditOutput, AuditStdout},
    config::{AuditDestination, Config, ConfigErrors},
    runtime::{atomic_file, program},
};

/// Opens the destination of the audit; `None` if the configuration has none.
pub(super) fn open_audit(config: &Config) -> Result<Option<AuditOutput>, ConfigErrors> {
    let named = match &config.audit {
        None => return Ok(None),
        Some(AuditDestination::File(named)) => named,
        Some(AuditDestination::Stdout) => {
            let output = AuditStdout::open().map_err(|error| {
                let problem = format!("the standard output cannot be used: {error}");
                ConfigErrors::whole_file(&config.path, "audit.file", &problem)
            })?;
            return Ok(Some(AuditOutput::Stdout(output)));
        }
    };
    let opened = AuditFile::open(&named.path);
    let refused = |error: AuditFileError| {
        config.file_error(Code::ConfigOutputFile, named, &error, &error.hint())
    };
    opened
        .map(|file| Some(AuditOutput::File(file)))
        .map_err(|error| ConfigErrors::from(vec![refused(error)]))
}

/// Checks that the files of the audit and of the exports, and the paths of programs, can be written
/// under the confinement of the process. Leaves no new file behind.
///
/// # Errors
/// [`ConfigErrors`], one for each file and path that cannot.
pub fn check_runtime_files(config: &Config) -> Result<(), ConfigErrors> {
    let audit = config.audit_file().and_then(|named| {
        let checked = AuditFile::check_directory(&named.path);
        match named.path.symlink_metadata() {
            Err(error) if checked.is_ok() && error.kind() == ErrorKind::NotFound => {
                atomic_file::check_writable(&named.path).err().map(|error| {
                    config.file_error(Code::ConfigOutputFile, named, &error, &error.hint())
                })
            }
            _ => checked
                .and_then(|()| AuditFile::open(&named.path).map(drop))
                .err()
                .map(|error| {
                    config.file_error(Code::ConfigOutputFile, named, &error, &error.hint())
                }),
        }
    });
    let others = check_writable_paths(config).err();
    let others = others.into_iter().flat_map(|it| it.errors);
    match audit.into_iter().chain(others).collect::<Vec<_>>() {
        errors if errors.is_empty() => Ok(()),
        errors => Err(ConfigErrors::from(errors)),
    }
}

/// Checks that the files of the exports, and the paths of programs, can be written under the
/// confinement of the process.
///
/// # Errors
/// [`ConfigErrors`], one for each path that cannot.
pub(super) fn check_writable_paths(config: &Config) -> Result<(), ConfigErrors> {
    let files = config.files.iter().filter_map(|file| {
        let error = atomic_file::check_writable(&file.path).err()?;
        Some(config.file_error(Code::ConfigOutputFile, file, &error, &error.hint()))
    });
    let paths = config.writable.iter().filter_map(|it| {
        let error = program::check_writable(&it.path).err()?;
        let problem = format!("{}: {error}", it.path.display());
        Some(config.file_error(Code::ConfigProgram, it, &problem, program::UNWRITABLE_HINT))
    });
    match files.chain(paths).collect::<Vec<_>>() {
        errors if errors.is_empty() => Ok(()),
        errors => Err(ConfigErrors::from(errors)),
    }
}
