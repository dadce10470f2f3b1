//! The emulator: its addresses, its counters, and its control address.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use minreq::Method;
use serde_json::{Value, json};

use crate::{Action, Fault, Process, program};

/// The URLs by HTTPS, and the file with the certificate of the authority.
#[derive(Debug, Clone)]
pub struct HttpsUrls {
    /// The URL of the emulated STS.
    pub sts: String,
    /// The URL of the emulated OSS.
    pub oss: String,
    /// The path of the file.
    pub authority: String,
}

/// A running emulator of STS, OSS and the instance metadata.
pub struct EmulatorHandle {
    process: Process,
    sts: String,
    oss: String,
    imds: String,
    https: Option<HttpsUrls>,
}

impl EmulatorHandle {
    /// Starts an emulator with arguments; its stderr goes to `log`.
    ///
    /// # Panics
    /// When it does not print its addresses.
    #[must_use]
    pub fn start(arguments: &[&str], log: &Path) -> Self {
        let mut command = Command::new(program("stsd-emulator"));
        command.args(arguments).arg("--exit-with-stdin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command, log);
        let line = process.first_line();
        let addresses: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Self {
            sts: address("sts"),
            oss: address("oss"),
            imds: address("imds"),
            https: addresses["ca"].as_str().map(|authority| HttpsUrls {
                sts: address("sts_https"),
                oss: address("oss_https"),
                authority: authority.to_owned(),
            }),
            process,
        }
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the URL of the emulated STS.
    #[must_use]
    pub fn sts_url(&self) -> &str {
        &self.sts
    }

    /// Returns the URL of the emulated OSS.
    #[must_use]
    pub fn oss_url(&self) -> &str {
        &self.oss
    }

    /// Returns the URL of the emulated instance metadata.
    #[must_use]
    pub fn imds_url(&self) -> &str {
        &self.imds
    }

    /// Returns the URLs by HTTPS; `None` without `--tls`.
    #[must_use]
    pub fn https(&self) -> Option<HttpsUrls> {
        self.https.clone()
    }

    /// Returns the number of calls of an action, of every outcome.
    #[must_use]
    pub fn calls(&self, action: Action) -> u64 {
        let stats = self.stats();
        let outcomes = stats["calls"][action.name()].as_object();
        outcomes.map_or(0, |it| it.values().filter_map(Value::as_u64).sum())
    }

    /// Returns the number of calls of an action that had an outcome: `ok`, or an error code.
    #[must_use]
    pub fn outcomes(&self, action: Action, outcome: &str) -> u64 {
        let stats = self.stats();
        stats["calls"][action.name()][outcome].as_u64().unwrap_or(0)
    }

    /// Returns the number of issued sessions that are still valid by the emulator's clock.
    ///
    /// # Panics
    /// When the answer has no such number.
    #[must_use]
    pub fn live_sessions(&self) -> u64 {
        self.stats()["sessions_live"].as_u64().unwrap()
    }

    /// Injects a fault into every call of an action, until
    /// [`clear_faults`](Self::clear_faults).
    pub fn inject_fault(&self, action: Action, fault: Fault) {
        self.post_fault(&json!({"action": action.name(), "fault": fault.to_json()}));
    }

    /// Injects a fault into the next call of an action.
    pub fn inject_fault_once(&self, action: Action, fault: Fault) {
        self.post_fault(&json!({"action": action.name(), "times": 1, "fault": fault.to_json()}));
    }

    /// Returns the number of faults in force. A fault for the next call is in force until that call
    /// has arrived.
    ///
    /// # Panics
    /// When the answer has no such list.
    #[must_use]
    pub fn pending_faults(&self) -> usize {
        let answer: Value = serde_json::from_str(&self.control(Method::Get, "faults", "")).unwrap();
        answer["faults"].as_array().unwrap().len()
    }

    /// Removes all faults. A call that hangs ends without a reply, a delayed one with its reply.
    pub fn clear_faults(&self) {
        self.control(Method::Delete, "faults", "");
    }

    /// Replaces the credentials of the emulated instance.
    pub fn rotate_instance_credentials(&self) {
        self.control(Method::Post, "imds/rotate", "");
    }

    /// Disables an AccessKey of the RAM user.
    pub fn disable_key(&self, id: &str) {
        let request = json!({"id": id, "status": "inactive"});
        self.control(Method::Post, "keys", &request.to_string());
    }

    /// Returns a token of the emulated OIDC provider. `fields` are those of the control request
    /// that differ from the default: `life`, `audience`, `issuer`, `algorithm`, `begins_in`.
    ///
    /// # Panics
    /// When the emulator refuses the request.
    #[must_use]
    pub fn oidc_token(&self, fields: &Value) -> String {
        let mut request =
            json!({"provider": "demo", "subject": "system:serviceaccount:jobs:uploader"});
        overwrite(&mut request, fields);
        let answer = self.control(Method::Post, "oidc/token", &request.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Returns an assertion of the emulated SAML provider. `fields` are those of the control request
    /// that differ from the default: `life`, `audience`, `issuer`.
    ///
    /// # Panics
    /// When the emulator refuses the request.
    #[must_use]
    pub fn saml_assertion(&self, fields: &Value) -> String {
        let mut request =
            json!({"provider": "demo", "subject": "operator", "roles": ["oss-upload"]});
        overwrite(&mut request, fields);
        let answer = self.control(Method::Post, "saml/assertion", &request.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["assertion"].as_str().unwrap().to_owned()
    }

    fn stats(&self) -> Value {
        serde_json::from_str(&self.control(Method::Get, "stats", "")).unwrap()
    }

    fn post_fault(&self, script: &Value) {
        self.control(Method::Post, "faults", &script.to_string());
    }

    /// Makes a request at the control address; returns the body of the answer.
    fn control(&self, method: Method, path: &str, body: &str) -> String {
        let request = minreq::Request::new(method, format!("{}/_emulator/{path}", self.sts))
            .with_header("content-type", "application/json")
            .with_body(body);
        let answer = request.send().unwrap();
        let text = answer.as_str().unwrap();
        let is_good = (200..300).contains(&answer.status_code);
        assert!(is_good, "{path}: {} {text}", answer.status_code);
        text.to_owned()
    }
}

/// Copies the keys of one object into another.
fn overwrite(object: &mut Value, fields: &Value) {
    for (key, value) in fields.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
}
