//! The address of a session bus, parsed into the Unix socket that it names.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use percent_encoding::percent_decode;

use crate::KeyringError;

/// The Unix socket of a session bus, by its path or its abstract name.
///
/// Other transports are refused: `tcp:` would send secrets over a network, and
/// `unixexec:` and `autolaunch:` start programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusAddress(PathBuf);

impl BusAddress {
    /// Returns the address that D-Bus's own libraries choose: the value of
    /// `DBUS_SESSION_BUS_ADDRESS`, or else the socket `bus` in `XDG_RUNTIME_DIR`. The program reads
    /// both variables.
    ///
    /// # Errors
    /// When neither is set, or when the address names no Unix socket.
    pub fn of_session(
        address: Option<&OsStr>,
        runtime_directory: Option<&OsStr>,
    ) -> Result<Self, KeyringError> {
        let set = |value: &&OsStr| !value.is_empty();
        if let Some(address) = address.filter(set) {
            return Self::parse(address);
        }
        let directory = runtime_directory.filter(set);
        let directory = directory.ok_or(KeyringError::NoAddress)?;
        Ok(Self(Path::new(directory).join("bus")))
    }

    /// Parses an address in D-Bus's notation: `unix:path=/run/user/1000/bus`. Of several
    /// addresses, the first that is a Unix socket is used.
    ///
    /// # Errors
    /// [`KeyringError::NoUnixSocket`] when none is.
    pub fn parse(address: &OsStr) -> Result<Self, KeyringError> {
        let mut addresses = address.as_bytes().split(|&byte| byte == b';');
        addresses
            .find_map(unix_socket)
            .map(Self)
            .ok_or(KeyringError::NoUnixSocket)
    }

    /// Returns the socket's path; an abstract name begins with a zero byte, as it does for tokio.
    pub(crate) fn socket(&self) -> &Path {
        &self.0
    }
}

fn unix_socket(address: &[u8]) -> Option<PathBuf> {
    let pairs = address.strip_prefix(b"unix:")?;
    pairs.split(|&byte| byte == b',').find_map(|pair| {
        let (start, value): (&[u8], _) = if let Some(value) = pair.strip_prefix(b"path=") {
            (b"", value)
        } else {
            (b"\0", pair.strip_prefix(b"abstract=")?)
        };
        let name: Vec<u8> = percent_decode(value).collect();
        // A zero byte inside would be another socket than the one that was meant.
        if name.is_empty() || name.contains(&0) {
            return None;
        }
        Some(OsString::from_vec([start, &name].concat()).into())
    })
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, path::Path};

    use super::BusAddress;
    use crate::KeyringError;

    #[test]
    fn dbus_address_is_parsed_to_its_socket() {
        let check = |address: &str, socket: Option<&str>| {
            let read = BusAddress::parse(OsStr::new(address)).ok();
            let read = read.as_ref().map(BusAddress::socket);
            assert_eq!(read, socket.map(Path::new), "{address}");
        };
        check("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus"));
        check("unix:path=/tmp/a%20b,guid=00ff", Some("/tmp/a b"));
        check("unix:guid=00ff,path=/tmp/a", Some("/tmp/a"));
        check("unix:abstract=/tmp/dbus-x", Some("\0/tmp/dbus-x"));
        check("tcp:host=localhost,port=1;unix:path=/tmp/a", Some("/tmp/a"));
        check("unixexec:path=/bin/sh", None);
        check("tcp:host=localhost,port=1", None);
        check("autolaunch:", None);
        check("unix:path=", None);
        check("unix:path=/tmp/a%00b", None);
        check("unix:tmpdir=/tmp", None);
        check("/run/user/1000/bus", None);
    }

    #[test]
    fn missing_bus_address_defaults_to_the_runtime_directory() {
        let check = |address: &str, directory: &str| {
            BusAddress::of_session(Some(OsStr::new(address)), Some(OsStr::new(directory)))
        };
        let at = |socket: &str| BusAddress(socket.into());
        assert_eq!(check("unix:path=/a", "/run/user/1").unwrap(), at("/a"));
        assert_eq!(check("", "/run/user/1").unwrap(), at("/run/user/1/bus"));
        assert!(matches!(check("", ""), Err(KeyringError::NoAddress)));
        // An invalid address is an error, and not ignored.
        let wrong = check("tcp:host=a", "/run/user/1");
        assert!(matches!(wrong, Err(KeyringError::NoUnixSocket)));
    }
}
