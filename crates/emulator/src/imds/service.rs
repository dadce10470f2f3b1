//! The metadata service of an emulated instance, as it stands at 100.100.100.200: tokens,
//! the instance's role, and that role's credential.
//!
//! The vendor documents neither what a request without a good token is answered with nor
//! the form of errors; here it is 403 without a token, 401 with one that is not or no
//! longer good, and a page of HTML.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    clock::{iso_seconds, shifted},
    encoding::{LETTERS_AND_DIGITS, escape_xml, random_text},
    http::{reply::Reply, request::HttpRequest},
    state::{Cloud, Now, hold},
    sts::issue::{Credential, Twist, Unminted},
};

const TTL: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aliyun-ecs-metadata-token";
const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials";

/// How many tokens are remembered; past it all are forgotten, and asked for again.
const LIMIT: usize = 10_000;

/// The name of the instance, and so of its sessions.
const INSTANCE: &str = "i-emulated000000001";

/// An instance, as a world describes it.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) role: String,
    pub(crate) region: String,
    /// Whether metadata is there without a token, too.
    pub(crate) v1: bool,
    pub(crate) credential_life: Duration,
    pub(crate) replaced_before_end: Duration,
}

/// What the service remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    tokens: HashMap<String, Timestamp>,
    held: Option<Held>,
}

/// The role's credential of the moment.
#[derive(Debug, Clone)]
struct Held {
    credential: Credential,
    issued: Timestamp,
}

/// What a request is for; faults and counters name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted<'a> {
    Token,
    Role,
    Credentials(&'a str),
    Other(&'a str),
}

impl<'a> Wanted<'a> {
    fn of(request: &'a HttpRequest) -> Self {
        if request.path == TOKEN_PATH {
            return Self::Token;
        }
        match request.path.strip_prefix(ROLE_PATH) {
            Some("" | "/") => Self::Role,
            Some(rest) => match rest.strip_prefix('/') {
                Some(role) => Self::Credentials(role.trim_end_matches('/')),
                None => Self::Other(&request.path),
            },
            None => Self::Other(&request.path),
        }
    }
}

/// The name a request is counted under.
pub(crate) fn counted_name(request: &HttpRequest) -> &'static str {
    match Wanted::of(request) {
        Wanted::Token => "imds:Token",
        Wanted::Role => "imds:Role",
        Wanted::Credentials(_) => "imds:Credentials",
        Wanted::Other(_) => "imds:other",
    }
}

pub(crate) fn answer(cloud: &Cloud, request: &HttpRequest, now: Now, twist: Twist) -> Reply {
    let wanted = Wanted::of(request);
    let decided = match (request.method.as_str(), wanted) {
        ("PUT", Wanted::Token) => token(cloud, request, now),
        ("GET", Wanted::Token) | ("PUT", _) => Err(Refusal::MethodNotAllowed),
        ("GET", wanted) => {
            check_token(cloud, request, now).and_then(|()| read(cloud, wanted, now, twist))
        }
        _ => Err(Refusal::MethodNotAllowed),
    };
    decided.unwrap_or_else(|refused| {
        let (status, name) = refused.parts();
        refusal(name.to_owned(), status, &format!("{status} - {name}"))
    })
}

#[derive(Debug, Clone, Copy)]
enum Refusal {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
}

impl Refusal {
    fn parts(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "BadRequest"),
            Self::Unauthorized => (401, "Unauthorized"),
            Self::Forbidden => (403, "Forbidden"),
            Self::NotFound => (404, "NotFound"),
            Self::MethodNotAllowed => (405, "MethodNotAllowed"),
        }
    }
}

/// An error: a page, as such services have.
pub(crate) fn refusal(code: String, status: u16, message: &str) -> Reply {
    let text = escape_xml(message);
    let page = format!(
        "<!DOCTYPE html><html><head><title>{text}</title></head>\
         <body><h1>{text}</h1></body></html>\n"
    );
    let mut reply = Reply::ok("text/html", page);
    reply.status = status;
    reply.outcome = code;
    reply
}

/// The document of a credential that is not there: a `Code`, and status 200 all the same.
pub(crate) fn unsuccessful(cloud: &Cloud, code: &str) -> Reply {
    let now = iso_seconds(cloud.clock.now());
    document(&json!({ "Code": code, "LastUpdated": now }))
}

fn document(value: &Value) -> Reply {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    Reply::ok("text/plain", text)
}

fn token(cloud: &Cloud, request: &HttpRequest, now: Now) -> Result<Reply, Refusal> {
    let seconds = request
        .header(TTL)
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (1..=21_600).contains(seconds))
        .ok_or(Refusal::BadRequest)?;
    // Has a text that marks it as a secret, as all that is handed out here has.
    let text = format!(
        "EmulatedTokenOfMetadata{}",
        random_text(LETTERS_AND_DIGITS, 33)
    );
    let ends = shifted(now.truly, SignedDuration::from_secs(seconds));
    let mut memory = hold(&cloud.metadata);
    if memory.tokens.len() >= LIMIT {
        memory.tokens.clear();
    }
    memory.tokens.insert(text.clone(), ends);
    Ok(Reply::ok("text/plain", text))
}

fn check_token(cloud: &Cloud, request: &HttpRequest, now: Now) -> Result<(), Refusal> {
    let without = cloud.world.instance.as_ref().is_some_and(|it| it.v1);
    match request.header(TOKEN) {
        None if without => Ok(()),
        None => Err(Refusal::Forbidden),
        Some(token) => match hold(&cloud.metadata).tokens.get(token) {
            Some(ends) if *ends > now.truly => Ok(()),
            _ => Err(Refusal::Unauthorized),
        },
    }
}

fn read(cloud: &Cloud, wanted: Wanted<'_>, now: Now, twist: Twist) -> Result<Reply, Refusal> {
    let instance = cloud.world.instance.as_ref().ok_or(Refusal::NotFound)?;
    let text = |text: &str| Ok(Reply::ok("text/plain", text));
    match wanted {
        Wanted::Role => text(&instance.role),
        Wanted::Credentials(role) if role == instance.role => {
            Ok(credentials(cloud, instance, now, twist))
        }
        Wanted::Other("/latest/meta-data/region-id") => text(&instance.region),
        Wanted::Other("/latest/meta-data/zone-id") => text(&format!("{}-b", instance.region)),
        Wanted::Other("/latest/meta-data/instance-id") => text(INSTANCE),
        Wanted::Other("/latest/meta-data/owner-account-id") => text(&cloud.world.account),
        _ => Err(Refusal::NotFound),
    }
}

fn credentials(cloud: &Cloud, instance: &Instance, now: Now, twist: Twist) -> Reply {
    let held = match twist {
        // Made for this answer alone: the instance's own is as good as before.
        Twist::Expired => make(cloud, instance, now, twist),
        _ => current(cloud, instance, now),
    };
    let mut answer = held.credential.printed(now, twist);
    answer["Code"] = json!("Success");
    answer["LastUpdated"] = json!(iso_seconds(shifted(held.issued, now.offset)));
    document(&answer)
}

/// The credential of the moment: the same until its end is near.
fn current(cloud: &Cloud, instance: &Instance, now: Now) -> Held {
    // Where `--session-life` makes lives short, at half of one.
    let life = cloud.at_most(instance.credential_life);
    let before = instance.replaced_before_end.min(life / 2);
    let before = SignedDuration::try_from(before).unwrap_or(SignedDuration::ZERO);
    let held = hold(&cloud.metadata).held.clone();
    match held {
        Some(held) if shifted(held.credential.expires, -before) > now.truly => held,
        _ => replace(cloud, instance, now),
    }
}

/// Makes another credential the one of the moment. The one before lives on to its end.
fn replace(cloud: &Cloud, instance: &Instance, now: Now) -> Held {
    let held = make(cloud, instance, now, Twist::None);
    hold(&cloud.metadata).held = Some(held.clone());
    held
}

fn make(cloud: &Cloud, instance: &Instance, now: Now, twist: Twist) -> Held {
    let session = Unminted {
        role: &instance.role,
        name: INSTANCE,
        policy: None,
        source_identity: None,
    };
    Held {
        credential: Credential::mint(cloud, session, instance.credential_life, now, twist),
        issued: now.truly,
    }
}

/// Replaces the credential at once, for the control address.
///
/// # Errors
///
/// The world has no instance.
pub(crate) fn rotate(cloud: &Cloud) -> Result<Value, String> {
    let instance = cloud.world.instance.as_ref();
    let instance = instance.ok_or_else(|| "no [instance] in this world".to_owned())?;
    let now = Now::new(cloud.clock.now(), SignedDuration::ZERO);
    let held = replace(cloud, instance, now);
    Ok(json!({
        "AccessKeyId": held.credential.id,
        "Expiration": iso_seconds(held.credential.expires),
    }))
}
