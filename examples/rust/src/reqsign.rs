//! Gives reqsign, which signs for OSS, the credentials that stsd keeps fresh, and reads an
//! object with it.
//!
//! `reqsign PROFILE REGION BUCKET OBJECT [ENDPOINT]`; the endpoint, `http://host:port`, is for
//! an emulated OSS and is spoken to without TLS, because this example brings no HTTP client.

use std::{
    env,
    error::Error,
    time::{Duration, SystemTime},
};

use reqsign_aliyun_oss::{Credential, RequestSigner, SigningVersion};
use reqsign_core::{Context, ProvideCredential, Signer, time::Timestamp};
use stsd_client::{AsyncClient, Watched};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Maximum time for which a signature waits for the first credentials.
const PATIENCE: Duration = Duration::from_secs(10);

/// A watched profile as a provider of reqsign. A program needs to copy this part only.
#[derive(Debug)]
struct Stsd(Watched);

impl ProvideCredential for Stsd {
    type Credential = Credential;

    async fn provide_credential(&self, _: &Context) -> reqsign_core::Result<Option<Credential>> {
        let ready = timeout(PATIENCE, self.0.ready()).await;
        let failed = |reason: String| reqsign_core::Error::unexpected(reason);
        let current = match ready {
            Ok(current) => current.map_err(|failure| failed(failure.to_string()))?,
            Err(_) => {
                let failure = self.0.failure().map(|it| it.to_string());
                return Err(failed(
                    failure.unwrap_or_else(|| "no credentials yet".into()),
                ));
            }
        };
        // By the clock that reqsign compares it with.
        let expires = SystemTime::now() + current.remaining();
        let expires = expires
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Some(Credential {
            access_key_id: current.access_key_id.clone(),
            access_key_secret: current.access_key_secret.expose().to_owned(),
            security_token: Some(current.security_token.expose().to_owned()),
            expires_in: Some(Timestamp::from_second(expires.as_secs().cast_signed())?),
        }))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (profile, region, bucket, object, endpoint) = match &arguments[..] {
        [profile, region, bucket, object] => (profile, region, bucket, object, None),
        [profile, region, bucket, object, endpoint] => (
            profile,
            region,
            bucket,
            object,
            endpoint.strip_prefix("http://"),
        ),
        _ => return Err("usage: reqsign PROFILE REGION BUCKET OBJECT [http://HOST:PORT]".into()),
    };
    let watched = AsyncClient::from_environment().watch(profile);
    let signing = RequestSigner::new(bucket)
        .with_region(region)
        .with_signing_version(SigningVersion::V4);
    let signer = Signer::new(Context::new(), Stsd(watched), signing);

    let uri = match endpoint {
        Some(address) => format!("http://{address}/{bucket}/{object}"),
        None => format!("https://{bucket}.oss-{region}.aliyuncs.com/{object}"),
    };
    let (mut request, ()) = http::Request::get(uri).body(())?.into_parts();
    signer.sign(&mut request, None).await?;
    match endpoint {
        Some(address) => print!("{}", get(address, &request).await?),
        // The signed request, for any HTTP client.
        None => println!("signed, with {} headers", request.headers.len()),
    }
    Ok(())
}

/// Sends a request without TLS; returns the body of the answer.
async fn get(address: &str, request: &http::request::Parts) -> Result<String, Box<dyn Error>> {
    let mut text = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n", request.uri.path());
    for (name, value) in &request.headers {
        if name != "host" {
            text += &format!("{name}: {}\r\n", value.to_str()?);
        }
    }
    text += "Connection: close\r\n\r\n";
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("{}: {body}", head.lines().next().unwrap_or_default()).into());
    }
    Ok(body.to_owned())
}
