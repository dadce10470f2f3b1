//! The client of STS. Each call is one exchange: build, sign, send, read, classify.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Client, Response,
    header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER},
};
use zeroize::Zeroizing;

use crate::{
    CallerIdentity, Endpoint, NoAnswer, Proxies, RoleSession, SecretText, SetupError, SignedForm,
    StsError, answer::parse_json, client_builder, error::Circumstances, sign,
};

/// The version of the API.
const API_VERSION: &str = "2015-04-01";

/// The official SDKs use the same value.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From the first byte sent to the last one read.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Far above the largest answer seen (tokens are about 1 KB), and small enough that a
/// hostile answer costs nothing.
const LARGEST_ANSWER: usize = 256 * 1024;

/// The credentials a request is signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCredentials {
    /// The AccessKey id. An identifier, not a secret.
    pub access_key_id: String,
    /// The AccessKey secret.
    pub access_key_secret: SecretText,
    /// Present when the credentials are themselves temporary.
    pub security_token: Option<SecretText>,
}

/// The identity of a call, as STS verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Credentials, which sign the request.
    Credentials(SourceCredentials),
    /// A token of an OIDC provider, which the service verifies.
    Oidc {
        /// `acs:ram::<account>:oidc-provider/<name>`.
        provider_arn: String,
        /// A JSON web token. As secret as a password until it expires.
        token: SecretText,
    },
    /// An assertion of a SAML provider, which the service verifies.
    Saml {
        /// `acs:ram::<account>:saml-provider/<name>`.
        provider_arn: String,
        /// The assertion, base64.
        assertion: SecretText,
    },
}

/// The parameters of AssumeRole. Shapes are checked by the service, and by stsd before.
#[derive(Debug, Clone, Copy)]
pub struct AssumeRole<'a> {
    /// `acs:ram::<account>:role/<name>`.
    pub role_arn: &'a str,
    /// 2 to 64 characters of `[A-Za-z0-9.@_-]`; appears in the audit trail.
    pub role_session_name: &'a str,
    /// 900 s up to the role's own maximum.
    pub duration: Duration,
    /// A session policy of at most 2,048 characters: the effective right is role AND policy.
    pub policy: Option<&'a str>,
    /// The external id that a role of another account may require. Only with credentials.
    pub external_id: Option<&'a str>,
    /// The source identity: the user on whose behalf the session is used. Only with credentials.
    pub source_identity: Option<&'a str>,
}

/// A client of one STS endpoint. Certificate authorities are loaded by the first call.
#[derive(Debug, Clone)]
pub struct Sts {
    endpoint: Endpoint,
    proxies: Arc<Proxies>,
    http: OnceLock<Client>,
}

impl Sts {
    /// Returns a client; nothing is loaded and nothing is connected yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, proxies: Arc<Proxies>) -> Self {
        Self {
            endpoint,
            proxies,
            http: OnceLock::new(),
        }
    }

    /// Prepares the HTTP client as the first call does.
    ///
    /// # Errors
    /// [`StsError::Unreachable`]: there is no certificate authority, or the proxy cannot be used.
    pub fn prepare(&self) -> Result<(), StsError> {
        self.http().map(drop)
    }

    /// Returns the HTTP client, which is made once. A failure is not kept: authorities that are
    /// installed later are found.
    fn http(&self) -> Result<&Client, StsError> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let builder = client_builder(&self.endpoint.url(), &self.proxies);
        let builder = builder.map_err(|error| self.not_set_up(&error))?;
        let client = builder
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .build()
            .map_err(|error| {
                unreachable(&self.endpoint, &NoAnswer::of_direct(&error.without_url()))
            })?;
        Ok(self.http.get_or_init(|| client))
    }

    fn not_set_up(&self, error: &SetupError) -> StsError {
        StsError::Unreachable {
            endpoint: self.endpoint.authority().to_owned(),
            reason: error.to_string(),
            fault: Some(error.fault()),
        }
    }

    /// Returns the error of a request without an answer.
    async fn no_answer(&self, error: reqwest::Error) -> StsError {
        let url = self.endpoint.url();
        let why = NoAnswer::of(error, &url, &self.proxies).await;
        unreachable(&self.endpoint, &why)
    }

    /// Exchanges an identity for a session of a role: by AssumeRole, AssumeRoleWithOIDC or
    /// AssumeRoleWithSAML, depending on the identity. `now` is as for
    /// [`assume_role`](Self::assume_role).
    ///
    /// # Errors
    /// [`StsError`]: each variant names the next step.
    pub async fn exchange(
        &self,
        proof: &Proof,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> Result<RoleSession, StsError> {
        match proof {
            Proof::Credentials(source) => self.assume_role(source, request, now).await,
            Proof::Oidc {
                provider_arn,
                token,
            } => {
                let proof = [
                    ("OIDCProviderArn", provider_arn.as_str()),
                    ("OIDCToken", token.expose()),
                ];
                let mut parameters = request.parameters();
                parameters.push(("RoleSessionName", request.role_session_name.into()));
                self.unsigned("AssumeRoleWithOIDC", parameters, proof, token, now)
                    .await
            }
            Proof::Saml {
                provider_arn,
                assertion,
            } => {
                let proof = [
                    ("SAMLProviderArn", provider_arn.as_str()),
                    ("SAMLAssertion", assertion.expose()),
                ];
                // The session's name is in the assertion.
                let parameters = request.parameters();
                self.unsigned("AssumeRoleWithSAML", parameters, proof, assertion, now)
                    .await
            }
        }
    }

    /// Exchanges `source` for a session of a role. `now` is the time to sign with, by the
    /// service's clock as far as it is known; the service accepts 15 minutes either way.
    ///
    /// # Errors
    /// [`StsError`]: each variant names the next step.
    pub async fn assume_role(
        &self,
        source: &SourceCredentials,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> Result<RoleSession, StsError> {
        let mut parameters = request.parameters();
        parameters.push(("RoleSessionName", request.role_session_name.into()));
        let optional = [
            ("ExternalId", request.external_id),
            ("SourceIdentity", request.source_identity),
        ];
        parameters.extend(
            optional
                .into_iter()
                .filter_map(|(k, v)| Some((k, v?.into()))),
        );
        let parameters = parameters.iter().map(|(k, v)| (*k, v.as_ref())).collect();
        let (body, server_date) = self.call("AssumeRole", parameters, source, now).await?;
        RoleSession::parse(&body, server_date)
    }

    /// Returns the identity behind `source`. The call needs no permission.
    ///
    /// # Errors
    /// [`StsError`]: each variant names the next step.
    pub async fn caller_identity(
        &self,
        source: &SourceCredentials,
        now: Timestamp,
    ) -> Result<CallerIdentity, StsError> {
        let call = self.call("GetCallerIdentity", Vec::new(), source, now);
        parse_json(&call.await?.0)
    }

    /// Connects as every call does and sends a `HEAD` request. Any answer is a success.
    ///
    /// # Errors
    /// [`StsError::Unreachable`], with the reason.
    pub async fn reach(&self) -> Result<(), StsError> {
        let request = self.http()?.head(self.endpoint.url());
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.no_answer(error).await),
        }
    }

    async fn call(
        &self,
        action: &str,
        mut parameters: Vec<(&str, &str)>,
        source: &SourceCredentials,
        now: Timestamp,
    ) -> Result<(Zeroizing<Vec<u8>>, Option<Timestamp>), StsError> {
        let timestamp = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let nonce = uuid::Uuid::new_v4().to_string();
        parameters.extend([
            ("Action", action),
            ("Version", API_VERSION),
            ("Format", "JSON"),
            ("AccessKeyId", &source.access_key_id),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &timestamp),
        ]);
        let token = source.security_token.as_ref();
        parameters.extend(token.map(|token| ("SecurityToken", token.expose())));

        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), Zeroizing::new((*v).to_owned()));
        let signed = sign::string_to_sign("POST", &parameters.iter().map(owned).collect());
        let form = SignedForm::new("POST", parameters, &source.access_key_secret);
        let secrets: Vec<_> = [&source.access_key_secret]
            .into_iter()
            .chain(token)
            .collect();
        self.post(form.body(), &signed, &secrets).await
    }

    /// Makes a call without a signature. The token or assertion is a parameter in the body,
    /// because a URL is logged in many places.
    async fn unsigned(
        &self,
        action: &str,
        parameters: Vec<(&str, Cow<'_, str>)>,
        proof: [(&str, &str); 2],
        secret: &SecretText,
        now: Timestamp,
    ) -> Result<RoleSession, StsError> {
        let timestamp = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let nonce = uuid::Uuid::new_v4().to_string();
        let common = [
            ("Action", action),
            ("Version", API_VERSION),
            ("Format", "JSON"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &timestamp),
        ];
        let parameters = parameters.iter().map(|(k, v)| (*k, v.as_ref()));
        let parameters = parameters.chain(proof).chain(common);
        let parameters = parameters.map(|(k, v)| (k.to_owned(), Zeroizing::new(v.to_owned())));
        let body = sign::form(&parameters.collect());
        let (body, server_date) = self.post(body, "", &[secret]).await?;
        RoleSession::parse(&body, server_date)
    }

    /// Sends a form. `signed` and `secrets` are removed from the message of a refusal.
    async fn post(
        &self,
        form: Zeroizing<String>,
        signed: &str,
        secrets: &[&SecretText],
    ) -> Result<(Zeroizing<Vec<u8>>, Option<Timestamp>), StsError> {
        let request = self
            .http()?
            .post(self.endpoint.url())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(bytes::Bytes::from_owner(form));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.no_answer(error).await),
        };
        let circumstances = Circumstances {
            http_status: response.status().as_u16(),
            server_date: server_date(response.headers()),
            retry_after: retry_after(response.headers()),
        };
        let succeeded = response.status().is_success();
        let body = self.read(response).await?;
        if succeeded {
            return Ok((body, circumstances.server_date));
        }
        Err(StsError::parse(&body, &circumstances, signed, secrets))
    }

    /// Reads an answer up to [`LARGEST_ANSWER`]; it may hold secrets, so it is wiped.
    async fn read(&self, mut response: Response) -> Result<Zeroizing<Vec<u8>>, StsError> {
        let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST_ANSWER => {
                    return Err(StsError::unreadable("the answer is too large"));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                Err(error) if error.is_timeout() => {
                    return Err(unreachable(
                        &self.endpoint,
                        &NoAnswer::of_direct(&error.without_url()),
                    ));
                }
                Err(_) => return Err(StsError::unreadable("the answer ends too early")),
            }
        }
    }
}

impl<'a> AssumeRole<'a> {
    /// Returns the parameters that all AssumeRole calls have in common.
    fn parameters(&self) -> Vec<(&'static str, Cow<'a, str>)> {
        let duration = self.duration.as_secs().to_string();
        let mut parameters = vec![
            ("RoleArn", self.role_arn.into()),
            ("DurationSeconds", duration.into()),
        ];
        parameters.extend(self.policy.map(|policy| ("Policy", policy.into())));
        parameters
    }
}

fn unreachable(endpoint: &Endpoint, why: &NoAnswer) -> StsError {
    StsError::Unreachable {
        endpoint: endpoint.authority().to_owned(),
        reason: why.to_string(),
        fault: why.fault,
    }
}

fn server_date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    // HTTP says GMT where RFC 2822 allows an offset; jiff reads both.
    let zoned = rfc2822::parse(text).ok()?;
    Some(zoned.timestamp())
}

/// Reads the throttle hint: `x-acs-retry-after`, in milliseconds as the official Python
/// SDK reads it (alibabacloud_tea_openapi `utils.py`; no page gives the unit), else the
/// standard `Retry-After` in seconds. The caller bounds the value.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let hint = number("x-acs-retry-after")
        .map(Duration::from_millis)
        .or_else(|| number(RETRY_AFTER.as_str()).map(Duration::from_secs))?;
    (!hint.is_zero()).then_some(hint)
}
