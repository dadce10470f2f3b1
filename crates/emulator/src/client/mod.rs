//! A small OSS client with a signer of its own, for the demonstration and the stories.
//!
//! It takes credentials as every SDK can: by running a credential process.

mod http;
mod sign_v4;

use std::process::Command;

use serde::Deserialize;

pub use http::{Answer, HttpError};

use crate::clock::Clock;

/// What a credential process prints, as far as this client reads it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) access_key_secret: String,
    pub(crate) security_token: String,
}

/// Where OSS is and as whom to speak with it.
pub struct Client {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// Such as `cn-hongkong`.
    pub region: String,
    /// Who we are.
    pub credentials: Credentials,
}

/// Why an operation failed; no variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The credential process does not start or fails; its own stderr says why.
    #[error("the credential process {program} failed: {reason}")]
    Process {
        /// The program.
        program: String,
        /// How it ended.
        reason: String,
    },
    /// The credential process printed something else; it is not quoted.
    #[error("the credential process printed no credentials")]
    NoCredentials,
    /// No HTTP answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// OSS refused.
    #[error("{code}: {message} (HTTP {status})")]
    Refused {
        /// The service's code.
        code: String,
        /// The service's message.
        message: String,
        /// The HTTP status.
        status: u16,
    },
}

impl Credentials {
    /// Runs a credential process: words separated by white space, no shell, stderr passed
    /// through.
    ///
    /// # Errors
    /// [`ClientError::Process`] and [`ClientError::NoCredentials`].
    pub fn from_process(command: &str) -> Result<Self, ClientError> {
        let mut words = command.split_whitespace();
        let program = words.next().unwrap_or_default().to_owned();
        let failed = |reason: String| ClientError::Process {
            program: program.clone(),
            reason,
        };
        let output = Command::new(&program)
            .args(words)
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(output.status.to_string()));
        }
        serde_json::from_slice(&output.stdout).map_err(|_| ClientError::NoCredentials)
    }
}

impl Client {
    /// Makes one request and returns the body of its answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn request(
        &self,
        method: &str,
        bucket: &str,
        key: &str,
        body: &[u8],
    ) -> Result<Answer, ClientError> {
        let now = Clock::system().now();
        let headers = sign_v4::headers(self, method, bucket, key, now);
        let path = sign_v4::path(bucket, key);
        let answer = http::exchange(&self.endpoint, method, &path, &headers, body)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let element = |name: &str| {
            let rest = text.split_once(&format!("<{name}>"))?.1;
            Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
        };
        Err(ClientError::Refused {
            code: element("Code").unwrap_or_else(|| "no code".to_owned()),
            message: element("Message").unwrap_or_default(),
            status: answer.status,
        })
    }
}
