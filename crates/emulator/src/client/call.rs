//! What the client was told, the one call it makes, and how a refusal reads.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lexopt::prelude::*;

use crate::{
    client::{
        credentials::{self, CredentialsError},
        http::{self, Answer},
        sign::Unsigned,
    },
    clock::Clock,
};

/// The help text.
pub const HELP: &str = "\
stsd-oss-client: one OSS call with credentials from a credential process

Usage: stsd-oss-client [OPTIONS] put|get|head|delete BUCKET KEY
       stsd-oss-client [OPTIONS] list BUCKET [PREFIX]

  --endpoint URL              like http://127.0.0.1:PORT (required)
  --region REGION             like cn-hongkong (required)
  --credential-process 'CMD'  prints AccessKeyId, AccessKeySecret and SecurityToken as
                              JSON (required); split at spaces, no shell
  --help, --version

put reads standard input, get writes standard output, head prints the headers and
list the keys. A refusal is printed on standard error; the exit code is 1.
";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
    /// Make one call.
    Call(Call),
}

/// One call.
#[derive(Debug)]
pub struct Call {
    authority: String,
    region: String,
    credential_process: String,
    verb: Verb,
    bucket: String,
    key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Put,
    Get,
    Head,
    List,
    Delete,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There was nothing to sign with.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The service was not reached, or its answer was not HTTP.
    #[error("cannot ask {authority}")]
    Exchange {
        /// Who was asked.
        authority: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The service said no.
    #[error("{code}: {message}")]
    Refused {
        /// The service's code.
        code: String,
        /// Its message.
        message: String,
    },
    /// Standard input or output failed.
    #[error("cannot read or write the object's bytes")]
    Local(#[source] io::Error),
}

/// Reads a command line.
///
/// # Errors
///
/// Something is missing, unknown, or has another form.
pub fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (mut endpoint, mut region, mut process) = (None, None, None);
    let mut words = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("endpoint") => endpoint = Some(parser.value()?.string()?),
            Long("region") => region = Some(parser.value()?.string()?),
            Long("credential-process") => process = Some(parser.value()?.string()?),
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("version") | Short('V') => return Ok(Command::Version),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let mut words = words.into_iter();
    let verb = match words.next().as_deref() {
        Some("put") => Verb::Put,
        Some("get") => Verb::Get,
        Some("head") => Verb::Head,
        Some("list") => Verb::List,
        Some("delete") => Verb::Delete,
        Some(other) => {
            return Err(format!("{other:?} is none of put, get, head, list, delete").into());
        }
        None => return Err("no verb".into()),
    };
    let bucket = words.next().ok_or("no bucket")?;
    let key = words.next().unwrap_or_default();
    if key.is_empty() && verb != Verb::List {
        return Err("no key".into());
    }
    if let Some(extra) = words.next() {
        return Err(format!("{extra:?} is one word too many").into());
    }
    let endpoint = endpoint.ok_or("--endpoint is missing")?;
    let authority = endpoint
        .strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/'))
        .filter(|rest| !rest.contains('/'))
        .ok_or("--endpoint must be like http://127.0.0.1:PORT")?;
    Ok(Command::Call(Call {
        authority: authority.to_owned(),
        region: region.ok_or("--region is missing")?,
        credential_process: process.ok_or("--credential-process is missing")?,
        verb,
        bucket,
        key,
    }))
}

/// Makes the call: bytes from `input` for a put, the result to `output`.
///
/// # Errors
///
/// No credentials, no answer, or a refusal. No error holds a secret.
pub fn run(
    call: &Call,
    input: &mut dyn io::Read,
    output: &mut dyn io::Write,
) -> Result<(), Failure> {
    let mut body = Vec::new();
    if call.verb == Verb::Put {
        input.read_to_end(&mut body).map_err(Failure::Local)?;
    }
    let credentials = credentials::ask(&call.credential_process)?;
    let is_list = call.verb == Verb::List;
    let mut token = String::new();
    loop {
        let mut query = Vec::new();
        if is_list {
            query = vec![
                ("list-type", "2"),
                ("encoding-type", "url"),
                ("max-keys", "1000"),
            ];
            // An empty value is signed as a bare name, so none is sent.
            if !call.key.is_empty() {
                query.push(("prefix", call.key.as_str()));
            }
            if !token.is_empty() {
                query.push(("continuation-token", token.as_str()));
            }
        }
        let signed = Unsigned {
            method: call.verb.method(),
            bucket: &call.bucket,
            key: if is_list { "" } else { &call.key },
            query: &query,
            region: &call.region,
        }
        .sign(&credentials, &Clock::system());
        let answer = http::exchange(
            &call.authority,
            call.verb.method(),
            &signed.target,
            &signed.headers,
            &body,
        )
        .map_err(|source| Failure::Exchange {
            authority: call.authority.clone(),
            source,
        })?;
        if !(200..300).contains(&answer.status) {
            return Err(refusal(&answer));
        }
        call.verb.show(&answer, output).map_err(Failure::Local)?;
        let text = String::from_utf8_lossy(&answer.body);
        match element(&text, "NextContinuationToken") {
            Some(next) if is_list => token = next,
            _ => return Ok(()),
        }
    }
}

impl Verb {
    fn method(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Get | Self::List => "GET",
            Self::Head => "HEAD",
            Self::Delete => "DELETE",
        }
    }

    fn show(self, answer: &Answer, output: &mut dyn io::Write) -> io::Result<()> {
        match self {
            Self::Put | Self::Delete => {}
            Self::Get => output.write_all(&answer.body)?,
            Self::Head => {
                for (name, value) in answer.headers() {
                    writeln!(output, "{name}: {value}")?;
                }
            }
            Self::List => {
                let text = String::from_utf8_lossy(&answer.body);
                for part in text.split("<Contents>").skip(1) {
                    let key = element(part, "Key").unwrap_or_default();
                    writeln!(output, "{}", crate::encoding::unescape(&key))?;
                }
            }
        }
        output.flush()
    }
}

/// The service's code and message, and nothing else of its answer: a refused
/// signature's answer repeats the string to sign, with the token in it.
fn refusal(answer: &Answer) -> Failure {
    let in_header = answer
        .header("x-oss-err")
        .and_then(|text| STANDARD.decode(text).ok());
    let xml = in_header.as_ref().unwrap_or(&answer.body);
    let xml = String::from_utf8_lossy(xml);
    Failure::Refused {
        code: element(&xml, "Code").unwrap_or_else(|| format!("HTTP {}", answer.status)),
        message: element(&xml, "Message").unwrap_or_else(|| "no reason given".to_owned()),
    }
}

/// The text of an XML document's first element of that name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&");
    Some(text)
}
