//! The HTTP client of the tests: raw bytes to an emulator in this process.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several test programs, each using a part; a test fails by panicking"
)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use stsd_emulator::{
    Clock, Emulator, Options, account,
    http::request::HttpRequest,
    oss::signature,
    sts::signature::{
        acs3,
        claim::{ClaimedSignature, Scheme},
        rpc_v1,
    },
};

pub const KEY: &str = "LTAIEXAMPLEUPLOADER01";
pub const SECRET: &str = "ExampleSecretOfUploader000001";
pub const UPLOAD: &str = "acs:ram::100000000000001:role/oss-upload";
pub const READ: &str = "acs:ram::100000000000001:role/oss-read";

/// Tables beside those of the default account model.
const MORE_TABLES: &str = r#"
[[user]]
name = "stranger"
[[user.key]]
id = "LTAIEXAMPLESTRANGER01"
secret = "ExampleSecretOfStranger000001"
[[user.key]]
id = "LTAIEXAMPLEINACTIVE01"
secret = "ExampleSecretInactive00000001"
status = "inactive"

[[role]]
name = "guarded"
trusts = ["user/uploader"]
external_id = "partner-1"
policy = '{"Version":"1","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
"#;

/// An emulator whose clock stands still.
pub struct TestEmulator {
    pub server: Emulator,
    pub clock: Clock,
}

pub fn start() -> TestEmulator {
    start_with(&format!("{}{MORE_TABLES}", account::DEFAULT_MODEL), None)
}

pub fn start_with(account: &str, max_session_lifetime: Option<Duration>) -> TestEmulator {
    start_at(
        account,
        max_session_lifetime,
        "2026-01-01T00:00:00Z".parse().unwrap(),
    )
}

pub fn start_at(
    account: &str,
    max_session_lifetime: Option<Duration>,
    now: Timestamp,
) -> TestEmulator {
    let clock = Clock::manual(now);
    let options = Options {
        clock: clock.clone(),
        max_session_lifetime,
        ..Options::default()
    };
    let server = Emulator::start(account::parse(account).unwrap(), options).unwrap();
    TestEmulator { server, clock }
}

impl TestEmulator {
    pub fn sts(&self) -> SocketAddr {
        self.server.sts_address()
    }

    pub fn oss(&self) -> SocketAddr {
        self.server.oss_address()
    }

    /// Adds a valid fault.
    pub fn script(&self, json: &str) {
        let answer = self.control("POST", "faults", json);
        assert_eq!(answer.status, 200, "{json}: {}", answer.text());
    }

    pub fn control(&self, method: &str, name: &str, body: &str) -> Answer {
        exchange(
            self.sts(),
            method,
            &format!("/_emulator/{name}"),
            &[],
            body.as_bytes(),
        )
    }

    pub fn imds(&self) -> SocketAddr {
        self.server.imds_address()
    }

    /// Returns the token or assertion of a valid request.
    pub fn mint(&self, name: &str, request: &Value) -> String {
        let answer = self.control("POST", name, &request.to_string());
        assert_eq!(answer.status, 200, "{request}: {}", answer.text());
        let made = answer.json();
        let (_, made) = made.as_object().unwrap().iter().next().unwrap();
        made.as_str().unwrap().to_owned()
    }

    /// Returns the response to an unsigned call with a form.
    pub fn anonymous(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        let form = anonymous_form(action, parameters);
        let kind = ("content-type", "application/x-www-form-urlencoded");
        exchange(self.sts(), "POST", "/", &[kind], form.as_bytes())
    }

    pub fn stats(&self) -> Value {
        self.control("GET", "stats", "").json()
    }

    /// Assumes a role as the user `uploader`.
    pub fn session(&self, role: &str, policy: Option<&str>) -> Credentials {
        let mut call = Call::assume(self, role);
        if let Some(policy) = policy {
            call.set("Policy", policy);
        }
        let answer = call.send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        Credentials::from(&answer.json())
    }
}

#[derive(Debug, Clone)]
pub struct Credentials {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl From<&Value> for Credentials {
    fn from(answer: &Value) -> Self {
        let field = |name: &str| answer["Credentials"][name].as_str().unwrap().to_owned();
        Self {
            id: field("AccessKeyId"),
            secret: field("AccessKeySecret"),
            token: Some(field("SecurityToken")),
        }
    }
}

/// One STS call, valid unless a test changes a field.
pub struct Call {
    address: SocketAddr,
    pub method: &'static str,
    pub in_form: bool,
    pub parameters: Vec<(String, String)>,
    pub secret: String,
    pub signature: Option<String>,
}

impl Call {
    pub fn new(emulator: &TestEmulator, action: &str) -> Self {
        static NONCES: AtomicU64 = AtomicU64::new(0);
        let nonce = NONCES.fetch_add(1, Ordering::SeqCst).to_string();
        let mut call = Self {
            address: emulator.sts(),
            method: "POST",
            in_form: true,
            parameters: Vec::new(),
            secret: SECRET.to_owned(),
            signature: None,
        };
        let now = emulator
            .clock
            .now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        for (name, value) in [
            ("Action", action),
            ("Version", "2015-04-01"),
            ("Format", "JSON"),
            ("AccessKeyId", KEY),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &now),
        ] {
            call.set(name, value);
        }
        call
    }

    pub fn assume(emulator: &TestEmulator, role: &str) -> Self {
        let mut call = Self::new(emulator, "AssumeRole");
        call.set("RoleArn", role);
        call.set("RoleSessionName", "tester");
        call
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.parameters.push((name.to_owned(), value.to_owned()));
    }

    pub fn remove(&mut self, name: &str) {
        self.parameters.retain(|(known, _)| known != name);
    }

    pub fn sign_as(&mut self, credentials: &Credentials) {
        self.set("AccessKeyId", &credentials.id);
        self.secret.clone_from(&credentials.secret);
        self.remove("SecurityToken");
        if let Some(token) = &credentials.token {
            self.set("SecurityToken", token);
        }
    }

    pub fn send(&self) -> Answer {
        Answer::read(&raw(self.address, &self.bytes()))
    }

    /// Returns the bytes of the whole request.
    pub fn bytes(&self) -> Vec<u8> {
        let signed = ClaimedSignature {
            scheme: Scheme::RpcV1,
            access_key_id: String::new(),
            timestamp: String::new(),
            nonce: String::new(),
            security_token: None,
            string_to_sign: rpc_v1::string_to_sign(self.method, &self.parameters),
            canonical_request: String::new(),
            signature: String::new(),
        };
        let mut pairs = self.parameters.clone();
        let signature = self.signature.clone();
        let signature = signature.unwrap_or_else(|| signed.expected(&self.secret));
        pairs.push(("Signature".to_owned(), signature));
        let form = form(&pairs);
        let (target, body) = match self.in_form {
            true => ("/".to_owned(), form),
            false => (format!("/?{form}"), String::new()),
        };
        let kind = ("content-type", "application/x-www-form-urlencoded");
        request_bytes(self.method, &target, &[kind], body.as_bytes())
    }
}

/// Returns a correctly signed ACS3 request with these headers beside those of the signature.
pub fn acs3_bytes(
    emulator: &TestEmulator,
    headers: &[(&str, &str)],
    target: &str,
    signed: &str,
) -> Vec<u8> {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let now = emulator
        .clock
        .now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let mut all = vec![
        ("host", "127.0.0.1"),
        ("x-acs-version", "2015-04-01"),
        ("x-acs-date", &now),
        ("x-acs-content-sha256", empty),
    ];
    all.extend_from_slice(headers);
    let draft = format!("ACS3-HMAC-SHA256 Credential={KEY},SignedHeaders={signed},Signature=0");
    let mut unsigned = all.clone();
    unsigned.push(("authorization", &draft));
    let request = HttpRequest::new("POST", target, unsigned, Vec::new());
    let signature = match acs3::parse(&request) {
        Ok(claims) => claims.unwrap().expected(SECRET),
        // The response of the server is the subject of the test.
        Err(_) => "0".to_owned(),
    };
    let authorization = draft.replace("Signature=0", &format!("Signature={signature}"));
    all.push(("authorization", &authorization));
    request_bytes("POST", target, &all, b"")
}

/// One OSS call, signed correctly for `region`.
pub struct Oss<'a> {
    pub emulator: &'a TestEmulator,
    pub credentials: &'a Credentials,
    pub region: &'a str,
    pub version: u8,
    /// `true` to sign the bucket in the path, also with another one in `Host`.
    pub signs_path: bool,
}

impl<'a> Oss<'a> {
    pub fn new(emulator: &'a TestEmulator, credentials: &'a Credentials) -> Self {
        Self {
            emulator,
            credentials,
            region: "cn-hongkong",
            version: 4,
            signs_path: false,
        }
    }

    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        Answer::read(&raw(
            self.emulator.oss(),
            &self.bytes(method, target, headers, body),
        ))
    }

    pub fn bytes(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<u8> {
        let now = self.emulator.clock.now();
        let date = match self.version {
            4 => now.strftime("%Y%m%dT%H%M%SZ").to_string(),
            _ => now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        };
        let id = &self.credentials.id;
        let draft = match self.version {
            4 => format!(
                "OSS4-HMAC-SHA256 Credential={id}/{}/{}/oss/aliyun_v4_request,Signature=0",
                &date[..8],
                self.region
            ),
            _ => format!("OSS {id}:0"),
        };
        let mut all = vec![("x-oss-date", date.as_str())];
        if self.version == 4 {
            all.push(("x-oss-content-sha256", "UNSIGNED-PAYLOAD"));
        }
        if let Some(token) = &self.credentials.token {
            all.push(("x-oss-security-token", token));
        }
        // A header of the test replaces the default one.
        all.retain(|(name, _)| !headers.iter().any(|(own, _)| own == name));
        all.extend_from_slice(headers);
        all.retain(|(_, value)| !value.is_empty());
        let mut unsigned = all.clone();
        unsigned.push(("authorization", &draft));
        let request = HttpRequest::new(method, target, unsigned, Vec::new());
        let mut addressed = request.clone();
        if self.signs_path {
            addressed.headers.retain(|(name, _)| name != "host");
        }
        let address = signature::signed_address(&addressed, |_| true, |_| None);
        let signature = match signature::parse(&request, &address) {
            Ok(claim) => claim.unwrap().expected(&self.credentials.secret),
            Err(_) => "0".to_owned(),
        };
        let authorization = match self.version {
            4 => draft.replace("Signature=0", &format!("Signature={signature}")),
            _ => format!("OSS {id}:{signature}"),
        };
        all.push(("authorization", &authorization));
        request_bytes(method, target, &all, body)
    }
}

/// Returns the form of an unsigned call.
pub fn anonymous_form(action: &str, parameters: &[(&str, &str)]) -> String {
    let common = [
        ("Action", action),
        ("Version", "2015-04-01"),
        ("Format", "JSON"),
    ];
    // A parameter of the test replaces the default one.
    let common = common
        .iter()
        .filter(|(name, _)| !parameters.iter().any(|(own, _)| own == name));
    let pairs: Vec<(String, String)> = common
        .chain(parameters)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    form(&pairs)
}

/// A response, with the received part of its body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no response: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        Self {
            status: status.parse().unwrap(),
            headers: lines
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "the header {name} occurs twice");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// Returns the text of the first XML element of that name.
    pub fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    pub fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        text.split(&format!("<{name}>"))
            .skip(1)
            .map(|rest| rest.split(&format!("</{name}>")).next().unwrap().to_owned())
            .collect()
    }
}

pub fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    Answer::read(&raw(address, &request_bytes(method, target, headers, body)))
}

pub fn request_bytes(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.push_str("host: 127.0.0.1\r\n");
    }
    let own = ["connection", "content-length", "expect"];
    for (name, value) in headers {
        if !own.contains(&name.to_ascii_lowercase().as_str()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!(
        "connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sends bytes, and returns all bytes until the connection is closed or reset.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    rest(open(address, bytes))
}

pub fn open(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

pub fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    bytes
}

pub fn form(pairs: &[(String, String)]) -> String {
    let escape = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    pairs.join("&")
}
