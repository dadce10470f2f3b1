//! One request to OSS by HTTPS, signed by the example client of the project (`stsd-oss-client`).

use std::time::Duration;

use e2e::block_on;
use reqwest::{Client, Method, Response, Url};
use stsd_oss_client::{Credentials, Refusal, UnsignedRequest};
use stsd_sts::client_builder;

use crate::{
    clock::{in_words, proxies, timed},
    settings::Settings,
};

/// Timeouts of a connection, and of a whole request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A bucket.
pub(crate) struct Oss<'a> {
    settings: &'a Settings,
    /// Scheme, host and port, with the bucket in the host if the host has a name.
    url: Url,
    has_bucket_in_host: bool,
    client: Client,
}

/// An answer of OSS.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) request_id: Option<String>,
    /// The code of a refusal.
    pub(crate) code: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl<'a> Oss<'a> {
    /// Returns a client of the bucket.
    ///
    /// # Errors
    /// There is no certificate authority, or the proxy cannot be used.
    pub(crate) fn new(settings: &'a Settings) -> Result<Self, String> {
        let mut url = Url::parse(settings.oss.as_str()).map_err(|error| error.to_string())?;
        let name = url.domain().filter(|it| *it != "localhost");
        let host = name.map(|it| format!("{}.{it}", settings.bucket));
        if let Some(host) = &host {
            url.set_host(Some(host.as_str()))
                .map_err(|error| error.to_string())?;
        }
        let builder = client_builder(&url, &proxies()).map_err(|error| error.to_string())?;
        let builder = builder.connect_timeout(CONNECT_TIMEOUT);
        let client = builder.timeout(REQUEST_TIMEOUT).build().map_err(in_words)?;
        Ok(Self {
            settings,
            url,
            has_bucket_in_host: host.is_some(),
            client,
        })
    }

    /// Sends a request about an object; also returns the milliseconds.
    ///
    /// # Errors
    /// The cause of a missing answer.
    pub(crate) fn send(
        &self,
        method: Method,
        key: &str,
        body: &[u8],
        credentials: &Credentials,
    ) -> (Result<Answer, String>, u128) {
        let bucket = &self.settings.bucket;
        let signed = UnsignedRequest {
            method: method.as_str(),
            bucket,
            key,
            query: &[],
            region: &self.settings.region,
        }
        .sign(credentials);
        // The signature is over the path with the bucket in both cases.
        let path = match self.has_bucket_in_host {
            true => &signed.target[bucket.len() + 1..],
            false => &signed.target,
        };
        let mut url = self.url.clone();
        url.set_path(path);
        let mut request = self.client.request(method, url).body(body.to_vec());
        for (name, value) in &signed.headers {
            request = request.header(*name, value);
        }
        timed(|| block_on(async { read(request.send().await.map_err(in_words)?).await }))
    }
}

async fn read(response: Response) -> Result<Answer, String> {
    let status = response.status();
    let header = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let (request_id, in_header) = (header("x-oss-request-id"), header("x-oss-err"));
    let body = response.bytes().await.map_err(in_words)?.to_vec();
    let code = match status.is_success() {
        true => None,
        false => Refusal::parse(in_header.as_deref(), &body).code,
    };
    Ok(Answer {
        status: status.as_u16(),
        request_id,
        code,
        body,
    })
}
