//! TLS in front of the emulated STS, with an authority that no program trusts yet.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{Process, TestEnv, clients};

/// A server that speaks TLS and passes all bytes on to the emulated STS.
pub struct TlsFront {
    /// The address and the port.
    pub address: String,
    /// The file with the authority.
    pub authority: PathBuf,
    _process: Process,
}

impl TlsFront {
    /// Starts a front; `name` is a part of its file names. The arguments are those of
    /// `clients/python/tls_front.py`.
    ///
    /// # Panics
    /// When the front does not start.
    #[must_use]
    pub fn start(env: &TestEnv, name: &str, arguments: &[&str]) -> Self {
        let authority = env.path(&format!("{name}.pem"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/tls_front.py");
        let mut command = Command::new(clients().join("python/bin/python"));
        command.arg(script).args(arguments);
        command.args([
            "--to",
            env.emulator().sts_url().strip_prefix("http://").unwrap(),
        ]);
        command.arg("--certificate").arg(&authority);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command, &env.path(&format!("{name}.log")));
        let line: Value = serde_json::from_str(&process.first_line()).unwrap();
        Self {
            address: line["address"].as_str().unwrap().to_owned(),
            authority,
            _process: process,
        }
    }

    /// Returns the line of the configuration that names the front as STS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("endpoint = \"https://{}\"\n", self.address)
    }
}
