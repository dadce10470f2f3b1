//! The identity of an ECS instance: the session of its RAM role, from the metadata service.
//!
//! Version 2 of the service requires a token. Each resolution requests a token with a TTL of a
//! minute: a resolution comes once in hours, so that a kept token would save one request and be one
//! more secret in memory. The service replaces the credentials before they expire, so that a
//! resolution at half of the remaining lifetime returns the next ones.

use std::sync::Arc;

use reqwest::{Method, StatusCode, Url};
use stsd_sts::{Proxies, SecretText};
use tokio::time::timeout;
use tracing::info;
use url::Host;

use super::{
    credentials_document::ReceivedAt,
    http_client::{self, Answer, FetchError, TOTAL_TIMEOUT},
};
use crate::{
    profile,
    profile::{
        IdentityProvider, ResolveContext, ResolveFuture, ResolvedIdentity, Signer, SourceError,
    },
};

const TOKEN_TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";

/// The TTL of a token: long enough for one resolution.
const TOKEN_TTL_SECONDS: &str = "60";

const ROLES_PATH: &str = "/latest/meta-data/ram/security-credentials/";

/// The hint for a service that may have no tokens.
const OTHER_VERSION_HINT: &str = "check that no other program answers at this address; if the \
                                  service has only version 1, set allow_v1 = true";

/// The hint for a service that requires a token and has given none.
const TOKEN_REQUIRED_HINT: &str = "the instance requires tokens (HttpTokens=required): let the token \
                                   request reach the service, and remove allow_v1";

/// The hint for a lost reply. The reply to the token request alone has a hop limit, of 1 by default.
const HOP_LIMIT_HINT: &str = "in a container the reply with the token is lost, because its hop limit \
                              is 1: let stsd use the network of the host, or raise the instance's \
                              HttpPutResponseHopLimit to 2; outside of a container, check that this \
                              is an ECS instance";

/// The hint for status 403, which no version of the service changes.
const SWITCHED_OFF_HINT: &str = "switch on the instance's metadata (ModifyInstanceMetadataOptions, \
                                 HttpEndpoint=enabled), and check that no firewall rule of this \
                                 machine or pod forbids this user to reach the service";

/// The address of a metadata service: a scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataEndpoint(Url);

/// The address is not that of a metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a metadata endpoint is http://ADDRESS[:PORT], with nothing after it and a literal address \
     that is loopback, link-local or 100.100.100.200"
)]
pub struct InvalidMetadataEndpoint;

/// The identity of an instance by its role.
#[derive(Debug)]
pub struct EcsRole {
    endpoint: MetadataEndpoint,
    role: Option<String>,
    /// Without a token, send requests of version 1.
    allow_v1: bool,
}

/// The result of the request for a token.
enum Token {
    /// The token.
    Given(SecretText),
    /// No token, so that requests of version 1 are sent.
    Missing { problem: String, hint: &'static str },
}

impl MetadataEndpoint {
    /// The address on each instance.
    pub const DEFAULT: &str = "http://100.100.100.200";

    /// Parses an address. The service supplies the identity over plain HTTP, and therefore must be on
    /// this machine or its host, without name resolution and routing.
    ///
    /// # Errors
    /// [`InvalidMetadataEndpoint`].
    pub fn new(text: &str) -> Result<Self, InvalidMetadataEndpoint> {
        let url = Url::parse(text).map_err(|_| InvalidMetadataEndpoint)?;
        let near = match url.host() {
            Some(Host::Ipv4(it)) => {
                it.is_loopback() || it.is_link_local() || it.octets() == [100, 100, 100, 200]
            }
            Some(Host::Ipv6(it)) => it.is_loopback() || it.is_unicast_link_local(),
            _ => false,
        };
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        (url.scheme() == "http" && near && bare)
            .then_some(Self(url))
            .ok_or(InvalidMetadataEndpoint)
    }

    /// Returns the address, which holds no secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }
}

impl EcsRole {
    /// Returns the provider of `role`; of the role that the metadata name for `None`.
    #[must_use]
    pub fn new(endpoint: MetadataEndpoint, role: Option<String>, allow_v1: bool) -> Self {
        Self {
            endpoint,
            role,
            allow_v1,
        }
    }

    async fn fetch_credentials(
        &self,
        context: ResolveContext<'_>,
    ) -> Result<ResolvedIdentity, SourceError> {
        let token = self.token().await?;
        let role = match &self.role {
            Some(role) => role.clone(),
            None => self.discover(&token).await?,
        };
        let asked = context.clock.boot();
        let answer = self.read(&format!("{ROLES_PATH}{role}"), &token).await?;
        let subject = format!("the role {role} of {}", self.service());
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let hint = "attach that role to the instance, or leave role_name out to use the \
                            role that the instance has";
                let problem = "does not exist (status 404): the instance has another role, or none";
                return Err(SourceError::new(subject, problem, hint));
            }
            status => return Err(self.unexpected_status(status, &token)),
        }
        let got = ReceivedAt {
            asked,
            date: None,
            clock: context.clock,
        };
        answer.session(&subject, got)
    }

    /// Requests a token; a service without one is asked by version 1, if `allow_v1` is set.
    async fn token(&self) -> Result<Token, SourceError> {
        let ttl = [(TOKEN_TTL_HEADER, TOKEN_TTL_SECONDS)];
        let (problem, hint) = match self.send(Method::PUT, "/latest/api/token", &ttl).await {
            // A request of version 1 would fail in the same way.
            Err(error @ FetchError::Unreachable(_)) => return Err(self.no_answer(&error)),
            Ok(answer) if answer.status == StatusCode::OK => {
                let token = answer.text.trim();
                let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
                if (1..=4096).contains(&token.len()) && plain {
                    return Ok(Token::Given(SecretText::from(token.to_owned())));
                }
                ("answers without a valid token".to_owned(), None)
            }
            Ok(answer) => {
                let hint = (answer.status == StatusCode::FORBIDDEN).then_some(SWITCHED_OFF_HINT);
                let status = answer.status.as_u16();
                (format!("gives no token (status {status})"), hint)
            }
            Err(error @ FetchError::TimedOut) => {
                (format!("gives no token: it {error}"), Some(HOP_LIMIT_HINT))
            }
            Err(error) if self.allow_v1 => (error.to_string(), None),
            Err(error) => return Err(self.no_answer(&error)),
        };
        if self.allow_v1 {
            info!("{} {problem}: continuing without a token", self.service());
            let hint = hint.unwrap_or(TOKEN_REQUIRED_HINT);
            return Ok(Token::Missing { problem, hint });
        }
        let hint = hint.unwrap_or(OTHER_VERSION_HINT);
        Err(SourceError::new(self.service(), problem, hint))
    }

    /// Requests the name of the instance's role.
    async fn discover(&self, token: &Token) -> Result<String, SourceError> {
        let answer = self.read(ROLES_PATH, token).await?;
        let role = answer.text.trim();
        let problem = match answer.status {
            StatusCode::OK if role.is_empty() => "has no role for this instance",
            StatusCode::OK => match profile::role_name(role) {
                Ok(role) => return Ok(role),
                Err(_) => "answers without a valid role name",
            },
            StatusCode::NOT_FOUND => "has no role for this instance (status 404)",
            status => return Err(self.unexpected_status(status, token)),
        };
        let hint = "attach a RAM role to the instance, or set role_name";
        Err(SourceError::new(self.service(), problem, hint))
    }

    async fn read(&self, path: &str, token: &Token) -> Result<Answer, SourceError> {
        let header = match token {
            Token::Given(token) => Some((TOKEN_HEADER, token.expose())),
            Token::Missing { .. } => None,
        };
        let answer = self.send(Method::GET, path, header.as_slice()).await;
        answer.map_err(|error| self.no_answer(&error))
    }

    /// Sends a request without a proxy: no proxy can reach the service, and none must see it.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Answer, FetchError> {
        let request = http_client::request(method, self.endpoint.at(path), headers)?;
        http_client::send(request, &Arc::new(Proxies::default())).await
    }

    fn no_answer(&self, error: &FetchError) -> SourceError {
        let hint = "the service answers only on an ECS instance, and in a container if the container's \
                    network allows; metadata_endpoint sets another address";
        SourceError::new(self.service(), error.to_string(), hint)
    }

    fn unexpected_status(&self, status: StatusCode, token: &Token) -> SourceError {
        let refusal = format!("refuses to answer (status {})", status.as_u16());
        let (problem, hint) = match (status.as_u16(), token) {
            (401 | 403, Token::Missing { problem, hint }) => (
                format!("{problem}, and without a token it {refusal}"),
                *hint,
            ),
            (401, Token::Given(_)) => (
                refusal,
                "check that no proxy between this machine and the service removes the token's header",
            ),
            (403, Token::Given(_)) => (refusal, SWITCHED_OFF_HINT),
            _ => (refusal, "the error may be temporary; stsd retries"),
        };
        SourceError::new(self.service(), problem, hint)
    }

    fn service(&self) -> String {
        format!("the metadata service at {}", self.endpoint.0.authority())
    }
}

impl IdentityProvider for EcsRole {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let fetch_credentials = timeout(TOTAL_TIMEOUT, self.fetch_credentials(context)).await;
            fetch_credentials.unwrap_or_else(|_| Err(self.no_answer(&FetchError::TimedOut)))
        })
    }

    fn describe(&self) -> String {
        match &self.role {
            Some(role) => format!("the role {role} of {}", self.service()),
            None => format!("the instance's role, of {}", self.service()),
        }
    }

    fn signer(&self) -> Signer {
        Signer::InstanceRole
    }
}

#[cfg(test)]
mod tests;
