//! The socket: whether the daemon answers, and whether another user could replace the socket.

use std::{
    fs::{self, Metadata},
    io::ErrorKind,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use rustix::process::geteuid;
use stsd_client::{Error, Status};

use super::context::DiagnosticContext;
use crate::report::{Finding, Severity};

pub(super) fn check(context: &DiagnosticContext) -> Vec<Finding> {
    let mut findings = vec![daemon(context)];
    let is_lease = context.status.as_ref().is_ok_and(|it| it.pid == 0);
    if let Some(found) = directory(&context.socket, context.is_system) {
        // The socket of a lease is at a path of its owner's choice.
        if !is_lease || found.severity == Severity::Ok {
            findings.push(found);
        }
    }
    findings.extend(file(context));
    if let Ok(status) = &context.status {
        findings.extend(version(status));
        findings.extend(status.protections.iter().map(|it| {
            // For a protection that is not in force, the remark is the fix.
            match (it.holds, it.name.as_str()) {
                (true, _) => Finding::ok(&it.name, &it.remark),
                // Another process can read every key.
                (false, "tracing") => Finding::fault(&it.name, "not in force", &it.remark),
                (false, _) => Finding::warning(&it.name, "not in force", &it.remark),
            }
        }));
    }
    findings
}

/// Returns whether the daemon answers.
fn daemon(context: &DiagnosticContext) -> Finding {
    match &context.status {
        Ok(status) => {
            let (version, pid) = (&status.daemon_version, status.pid);
            let which = context.which_of_two.as_ref();
            let which = which.map_or_else(String::new, |it| format!("; {it}"));
            Finding::ok("daemon", format!("stsd {version}, pid {pid}{which}"))
        }
        Err(Error::NotReachable {
            source,
            lacks_runtime_dir: false,
            ..
        }) if source.kind() == ErrorKind::ConnectionRefused => {
            let shown = context.socket.display();
            let remark = format!("no process listens at {shown}: a daemon that has exited left it");
            Finding::fault(
                "daemon",
                remark,
                "start it with `stsd`, which replaces the socket",
            )
        }
        Err(error) => {
            let (said, hint) = (error.to_string(), error.hint());
            // The message has the side to upgrade after the semicolon.
            match said.rsplit_once("; ") {
                Some((said, fix)) if matches!(error, Error::Protocol(_)) => {
                    Finding::fault("daemon", said, format!("{fix}; {hint}"))
                }
                _ => Finding::fault("daemon", said, hint),
            }
        }
    }
}

/// Returns a warning if the versions of the daemon and stsctl differ.
fn version(status: &Status) -> Option<Finding> {
    let (theirs, ours) = (&status.daemon_version, env!("CARGO_PKG_VERSION"));
    // A lease does not report the daemon's version.
    (theirs != ours && status.pid != 0).then(|| {
        let remark = format!("the daemon is {theirs}, stsctl is {ours}");
        let fix = "install both from one package, and start the daemon again: \
                   systemctl --user restart stsd.service, or SIGUSR2 without systemd";
        Finding::warning("version", remark, fix)
    })
}

/// Returns whether only the owner can create a socket in the directory.
fn directory(socket: &Path, is_system: bool) -> Option<Finding> {
    let path = match socket.parent() {
        Some(path) if !path.as_os_str().is_empty() => path,
        _ => Path::new("."),
    };
    let metadata = fs::metadata(path).ok()?;
    let what = "socket's directory";
    let shown = path.display();
    if let Some(foreign) = foreign_owner(what, path, &metadata, is_system) {
        return Some(foreign);
    }
    let mode = metadata.mode() & 0o7777;
    // chmod is no fix for a directory of another user, or for a shared one such as /tmp.
    let is_shared = mode & 0o1000 != 0 || metadata.uid() != geteuid().as_raw();
    let is_root = path.parent().is_none();
    if !is_system && (is_shared || is_root) && mode & 0o077 != 0 {
        let remark = format!("{shown} has mode {mode:04o}: others can look in, or stand there");
        let fix = "have the socket in a directory that is yours alone: leave STSD_SOCKET unset, \
                   or point it there";
        return Some(Finding::fault(what, remark, fix));
    }
    let (open, right) = if is_system {
        (mode & 0o022 != 0, "0755")
    } else {
        (mode & 0o077 != 0, "0700")
    };
    Some(if open {
        let remark = format!("{shown} has mode {mode:04o}: others can look in, or stand there");
        Finding::fault(what, remark, format!("chmod {right} {shown}"))
    } else {
        Finding::ok(what, format!("{shown} has mode {mode:04o}"))
    })
}

/// Returns the state of the socket file: type, owner and mode.
fn file(context: &DiagnosticContext) -> Option<Finding> {
    let metadata = fs::metadata(&context.socket).ok()?;
    let (what, shown) = ("socket", context.socket.display());
    if !metadata.file_type().is_socket() {
        let remark = format!("{shown} is not a socket");
        let fix = "move it away and start `stsd`, or point STSD_SOCKET at the socket";
        return Some(Finding::fault(what, remark, fix));
    }
    if let Some(foreign) = foreign_owner(what, &context.socket, &metadata, context.is_system) {
        return Some(foreign);
    }
    let mode = metadata.mode() & 0o777;
    Some(if !context.is_system && mode & 0o077 != 0 {
        let remark = format!("{shown} has mode {mode:04o}: its directory alone keeps others out");
        Finding::warning(what, remark, format!("chmod 0600 {shown}"))
    } else {
        Finding::ok(what, format!("{shown} has mode {mode:04o}"))
    })
}

/// Returns a fault if a file of a user's daemon belongs to another user than this one or root.
fn foreign_owner(what: &str, path: &Path, metadata: &Metadata, is_system: bool) -> Option<Finding> {
    let (owner, own) = (metadata.uid(), geteuid().as_raw());
    (!is_system && owner != own && owner != 0).then(|| {
        let shown = path.display();
        let remark = format!("{shown} belongs to the user {owner}, and you are {own}");
        let fix = format!(
            "point STSD_SOCKET at a socket of your own, and find out why the user {owner} created \
             this one"
        );
        Finding::fault(what, remark, fix)
    })
}
