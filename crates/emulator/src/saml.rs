//! SAML assertions, authenticated with an HMAC instead of an XML signature.
//!
//! **Simplified**: the seal of an assertion is an HMAC of its text, with a key that is generated
//! at each start. An assertion of a real identity provider, or of another start, has no valid
//! seal. XML signatures need canonical XML, which is beyond a test double.

use jiff::Timestamp;

use crate::{
    clock::{iso_seconds, parse_iso_seconds},
    encoding::{
        LETTERS_AND_DIGITS, base64, decode_base64_text, escape_xml, hex, hmac_sha256, random_text,
        unescape_xml,
    },
};

/// A text at the beginning of every assertion: `EmulatedSamlAssertion` in base64. Tests search
/// the output of programs for it.
pub const MARKER: &str = "RW11bGF0ZWRTYW1sQXNzZXJ0aW9u";

/// The text that [`MARKER`] encodes. base64 encodes three bytes at a time, and 21 bytes precede
/// the text: `<saml2p:Response ID="`.
const MARKER_TEXT: &str = "EmulatedSamlAssertion";

/// The audience and the recipient of an assertion, outside and inside China, from the service's
/// SAML metadata.
pub(crate) const SERVICES: [(&str, &str); 2] = [
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
const SEAL_START: &str = "<emulator:Seal xmlns:emulator=\"urn:stsd:emulator\">";
const SEAL_END: &str = "</emulator:Seal>";

/// The HMAC key of this start.
#[derive(Debug)]
pub(crate) struct SealKey {
    key: String,
}

/// The fields of an assertion.
pub(crate) struct Assertion {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) recipient: String,
    pub(crate) audience: String,
    pub(crate) expiration: Timestamp,
    pub(crate) session_name: String,
    /// The values of the attribute `Role`: pairs of a role and a provider.
    pub(crate) roles: Vec<String>,
}

impl SealKey {
    pub(crate) fn new() -> Self {
        Self {
            key: random_text(LETTERS_AND_DIGITS, 40),
        }
    }

    /// Returns the assertion with its seal, in base64.
    pub(crate) fn seal(&self, assertion: &Assertion) -> String {
        let text = assertion.to_xml();
        let seal = self.hmac(&text);
        let sealed =
            format!("{text}{SEAL_START}{seal}{SEAL_END}</saml2:Assertion></saml2p:Response>");
        base64(sealed.as_bytes())
    }

    /// Returns the assertion in a text of [`SealKey::seal`]; `None` for any other text.
    pub(crate) fn open(&self, encoded: &str) -> Option<Assertion> {
        let sealed = decode_base64_text(encoded)?;
        let (text, rest) = sealed.rsplit_once(SEAL_START)?;
        let (seal, _) = rest.split_once(SEAL_END)?;
        if self.hmac(text) != seal {
            return None;
        }
        Assertion::parse(text)
    }

    fn hmac(&self, text: &str) -> String {
        hex(&hmac_sha256(self.key.as_bytes(), text.as_bytes()))
    }
}

impl Assertion {
    fn to_xml(&self) -> String {
        let id = random_text(LETTERS_AND_DIGITS, 20);
        let expiration = iso_seconds(self.expiration);
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
            .map(|role| attribute_value(&escape_xml(role)))
            .collect();
        format!(
            "<saml2p:Response ID=\"{MARKER_TEXT}{id}\" \
             xmlns:saml2p=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
             <saml2:Assertion xmlns:saml2=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
             <saml2:Issuer>{issuer}</saml2:Issuer>\
             <saml2:Subject>\
             <saml2:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">\
             {subject}</saml2:NameID>\
             <saml2:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
             <saml2:SubjectConfirmationData NotOnOrAfter=\"{expiration}\" Recipient=\"{recipient}\"/>\
             </saml2:SubjectConfirmation></saml2:Subject>\
             <saml2:Conditions NotOnOrAfter=\"{expiration}\"><saml2:AudienceRestriction>\
             <saml2:Audience>{audience}</saml2:Audience>\
             </saml2:AudienceRestriction></saml2:Conditions>\
             <saml2:AttributeStatement>\
             <saml2:Attribute Name=\"{ATTRIBUTES}/RoleSessionName\">{name}</saml2:Attribute>\
             <saml2:Attribute Name=\"{ATTRIBUTES}/Role\">{roles}</saml2:Attribute>\
             </saml2:AttributeStatement>",
            name = attribute_value(&session_name),
        )
    }

    /// Parses the XML of [`Assertion::to_xml`]. The seal guarantees that the text is such XML.
    fn parse(text: &str) -> Option<Self> {
        let attribute = |name: &str| {
            let begin = format!("<saml2:Attribute Name=\"{ATTRIBUTES}/{name}\">");
            between(text, &begin, "</saml2:Attribute>")
        };
        let element = |begin: &str, end: &str| between(text, begin, end).map(unescape_xml);
        Some(Self {
            issuer: element("<saml2:Issuer>", "<")?,
            subject: element("nameid-format:persistent\">", "<")?,
            recipient: element("Recipient=\"", "\"")?,
            audience: element("<saml2:Audience>", "<")?,
            expiration: parse_iso_seconds(between(text, "NotOnOrAfter=\"", "\"")?)?,
            session_name: attribute_values(attribute("RoleSessionName")?)
                .into_iter()
                .next()?,
            roles: attribute_values(attribute("Role")?),
        })
    }
}

/// Returns a value of the attribute `Role`.
pub(crate) fn role_attribute(account: &str, role: &str, provider: &str) -> String {
    format!("acs:ram::{account}:role/{role},acs:ram::{account}:saml-provider/{provider}")
}

fn attribute_value(text: &str) -> String {
    format!("<saml2:AttributeValue>{text}</saml2:AttributeValue>")
}

fn attribute_values(text: &str) -> Vec<String> {
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
