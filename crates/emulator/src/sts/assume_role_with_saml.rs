//! `AssumeRoleWithSAML`: an assertion instead of a signature, and where to get one.
//!
//! **Simplified**: the assertion's signature is no XML signature. The control address seals
//! the assertion's text with an HMAC whose key is made at each start, and what is not sealed
//! is refused. So an assertion of a real identity provider is nothing here, while all else
//! that is said in one counts as it does in the cloud: issuer, audience, recipient, end, role.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    account::{arn, model::Principal},
    clock::{iso_seconds, parse_iso_seconds, shifted},
    control::request as order,
    encoding::{LETTERS_AND_DIGITS, escape_xml, hex, hmac_sha256, random_text},
    http::request::Parameters,
    state::{Cloud, Now},
    sts::{
        error::StsError,
        issue::{Twist, issue},
        request::{Wish, is_session_name},
    },
};

/// Stands at the beginning of every assertion: `EmulatedSamlAssertion` in base64, for
/// whoever searches what a program said for assertions that should not be there.
pub const MARKER: &str = "RW11bGF0ZWRTYW1sQXNzZXJ0aW9u";

/// Before it are 21 bytes, `<saml2p:Response ID="`: base64 takes three at a time.
const MARKED: &str = "EmulatedSamlAssertion";

/// How long an assertion may be in base64.
const LENGTH: std::ops::RangeInclusive<usize> = 4..=100_000;

/// How long an assertion lives that was asked for without a life.
const LIFE: SignedDuration = SignedDuration::from_mins(5);

/// The service as its metadata names it, in and outside China: audience and recipient.
const SERVICES: [(&str, &str); 2] = [
    (
        "urn:alibaba:cloudcomputing:international",
        "https://signin.alibabacloud.com/saml-role/sso",
    ),
    (
        "urn:alibaba:cloudcomputing",
        "https://signin.aliyun.com/saml-role/sso",
    ),
];

const ATTRIBUTES: &str = "https://www.aliyun.com/SAML-Role/Attributes";
const SEAL: &str = "<emulator:Seal xmlns:emulator=\"urn:stsd:emulator\">";
const SEAL_END: &str = "</emulator:Seal>";

/// The key of this run's seals.
#[derive(Debug)]
pub(crate) struct Seal {
    key: String,
}

impl Seal {
    pub(crate) fn new() -> Self {
        Self {
            key: random_text(LETTERS_AND_DIGITS, 40),
        }
    }

    fn of(&self, text: &str) -> String {
        hex(&hmac_sha256(self.key.as_bytes(), text.as_bytes()))
    }

    /// The text under a seal of this run.
    fn opened<'a>(&self, sealed: &'a str) -> Option<&'a str> {
        let (text, rest) = sealed.rsplit_once(SEAL)?;
        let (seal, _) = rest.split_once(SEAL_END)?;
        (self.of(text) == seal).then_some(text)
    }
}

pub(crate) fn run(
    cloud: &Cloud,
    parameters: &Parameters,
    now: Now,
    twist: Twist,
) -> Result<Value, StsError> {
    let said = |name| parameters.said(name).ok_or(StsError::Missing(name));
    let provider_arn = said("SAMLProviderArn")?;
    let encoded = said("SAMLAssertion")?;
    if !LENGTH.contains(&encoded.chars().count()) {
        return Err(StsError::WronglyFormed("SAMLAssertion"));
    }
    let (account, name) = arn::named(provider_arn, "saml-provider", 128)
        .ok_or(StsError::WronglyFormed("SAMLProviderArn"))?;
    let provider = cloud
        .world
        .saml_providers
        .get(name)
        .filter(|_| account == cloud.world.account)
        .ok_or(StsError::SamlProviderNotFound)?;
    let sealed = STANDARD.decode(encoded).ok();
    let sealed = sealed.and_then(|bytes| String::from_utf8(bytes).ok());
    let assertion = sealed
        .as_deref()
        .and_then(|text| cloud.seal.opened(text))
        .and_then(Assertion::read)
        .ok_or(StsError::SamlAssertionInvalid)?;
    let service = (assertion.audience.as_str(), assertion.recipient.as_str());
    let ours = assertion.issuer == provider.issuer && SERVICES.contains(&service);
    if !ours || !is_session_name(&assertion.session_name) {
        return Err(StsError::SamlAssertionInvalid);
    }
    if assertion.ends <= now.by_server {
        return Err(StsError::SamlAssertionExpired);
    }
    let wish = Wish::read_named(parameters, &assertion.session_name)?;
    let role = wish.role(&cloud.world)?;
    if wish.seconds > role.max_session.as_secs() {
        return Err(StsError::DurationSeconds);
    }
    // The provider says that its user may have the role, and the role that the provider may.
    let pair = pair(&wish.account, &wish.role, name);
    let trusted = Principal::SamlProvider(name.to_owned());
    if !assertion.roles.contains(&pair) || !role.trusts.contains(&trusted) {
        return Err(StsError::NoPermission);
    }
    let mut answer = issue(cloud, role, wish, now, twist);
    answer["SAMLAssertionInfo"] = json!({
        "SubjectType": "persistent",
        "Subject": assertion.subject,
        "Recipient": assertion.recipient,
        "Issuer": assertion.issuer,
    });
    Ok(answer)
}

/// A value of the attribute `Role`.
fn pair(account: &str, role: &str, provider: &str) -> String {
    format!("acs:ram::{account}:role/{role},acs:ram::{account}:saml-provider/{provider}")
}

/// What an assertion says.
struct Assertion {
    issuer: String,
    subject: String,
    recipient: String,
    audience: String,
    ends: Timestamp,
    session_name: String,
    roles: Vec<String>,
}

impl Assertion {
    fn write(&self) -> String {
        let id = random_text(LETTERS_AND_DIGITS, 20);
        let ends = iso_seconds(self.ends);
        let [issuer, subject, recipient, audience, session_name] = [
            &self.issuer,
            &self.subject,
            &self.recipient,
            &self.audience,
            &self.session_name,
        ]
        .map(|text| escape_xml(text));
        let roles: String = self
            .roles
            .iter()
            .map(|role| value(&escape_xml(role)))
            .collect();
        format!(
            "<saml2p:Response ID=\"{MARKED}{id}\" \
             xmlns:saml2p=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
             <saml2:Assertion xmlns:saml2=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
             <saml2:Issuer>{issuer}</saml2:Issuer>\
             <saml2:Subject>\
             <saml2:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">\
             {subject}</saml2:NameID>\
             <saml2:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
             <saml2:SubjectConfirmationData NotOnOrAfter=\"{ends}\" Recipient=\"{recipient}\"/>\
             </saml2:SubjectConfirmation></saml2:Subject>\
             <saml2:Conditions NotOnOrAfter=\"{ends}\"><saml2:AudienceRestriction>\
             <saml2:Audience>{audience}</saml2:Audience>\
             </saml2:AudienceRestriction></saml2:Conditions>\
             <saml2:AttributeStatement>\
             <saml2:Attribute Name=\"{ATTRIBUTES}/RoleSessionName\">{name}</saml2:Attribute>\
             <saml2:Attribute Name=\"{ATTRIBUTES}/Role\">{roles}</saml2:Attribute>\
             </saml2:AttributeStatement>",
            name = value(&session_name),
        )
    }

    /// Reads what [`Assertion::write`] has written; a seal has just said that it has.
    fn read(text: &str) -> Option<Self> {
        let attribute = |name: &str| {
            let begin = format!("<saml2:Attribute Name=\"{ATTRIBUTES}/{name}\">");
            between(text, &begin, "</saml2:Attribute>")
        };
        let plain = |begin: &str, end: &str| between(text, begin, end).map(unescape_xml);
        Some(Self {
            issuer: plain("<saml2:Issuer>", "<")?,
            subject: plain("nameid-format:persistent\">", "<")?,
            recipient: plain("Recipient=\"", "\"")?,
            audience: plain("<saml2:Audience>", "<")?,
            ends: parse_iso_seconds(between(text, "NotOnOrAfter=\"", "\"")?)?,
            session_name: values(attribute("RoleSessionName")?).into_iter().next()?,
            roles: values(attribute("Role")?),
        })
    }
}

fn value(text: &str) -> String {
    format!("<saml2:AttributeValue>{text}</saml2:AttributeValue>")
}

fn values(text: &str) -> Vec<String> {
    text.split("<saml2:AttributeValue>")
        .skip(1)
        .filter_map(|rest| rest.split('<').next())
        .map(unescape_xml)
        .collect()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(inside, _)| inside)
}

fn unescape_xml(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#13;", "\r"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escaped, plain)| {
        text.replace(escaped, plain)
    })
}

/// What an assertion is asked for with, on the control address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    provider: String,
    subject: String,
    roles: Vec<String>,
    session_name: Option<String>,
    audience: Option<String>,
    recipient: Option<String>,
    issuer: Option<String>,
    life: Option<String>,
}

/// Mints an assertion, as good or as bad as it was asked for.
///
/// # Errors
///
/// The order makes no sense; the text says why.
pub(crate) fn mint(cloud: &Cloud, json: &[u8]) -> Result<Value, String> {
    let order: Order = order::read(json)?;
    let provider = order::provider(&cloud.world.saml_providers, "SAML", &order.provider)?;
    let account = &cloud.world.account;
    let life = order::span(order.life.as_deref())?.unwrap_or(LIFE);
    let text = Assertion {
        issuer: order.issuer.unwrap_or_else(|| provider.issuer.clone()),
        session_name: order.session_name.unwrap_or_else(|| order.subject.clone()),
        subject: order.subject,
        recipient: order.recipient.unwrap_or_else(|| SERVICES[0].1.to_owned()),
        audience: order.audience.unwrap_or_else(|| SERVICES[0].0.to_owned()),
        ends: shifted(cloud.clock.now(), life),
        roles: order
            .roles
            .iter()
            .map(|role| pair(account, role, &order.provider))
            .collect(),
    }
    .write();
    let seal = cloud.seal.of(&text);
    let sealed = format!("{text}{SEAL}{seal}{SEAL_END}</saml2:Assertion></saml2p:Response>");
    Ok(json!({ "assertion": STANDARD.encode(sealed) }))
}
