//! JSON web tokens (RFC 7515, RFC 7519), signed with RS256 or ES256 and verified in earnest.
//!
//! ring signs and verifies, but makes no RSA keys: the one here is fixed, printed in the
//! source, and worth nothing outside. The one for ES256 is made at each start.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::encoding::{LETTERS_AND_DIGITS, random_text};

/// Stands in every header and every payload: `EmulatedOidcToken-` in base64url, for whoever
/// searches what a program said for tokens that should not be there.
pub const MARKER: &str = "RW11bGF0ZWRPaWRjVG9rZW4t";

/// What [`MARKER`] encodes. It survives where three bytes begin: after 24 bytes of the
/// header, and after nine of the payload.
const MARKED: &str = "EmulatedOidcToken-";

const RSA_KEY: &[u8] = include_bytes!("oidc_rsa.pk8");

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum Algorithm {
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    fn key_id(self) -> String {
        format!("k-{MARKED}{}", self.name())
    }
}

#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: String,
}

/// The token is no token, or nobody here signed it.
#[derive(Debug)]
pub(crate) struct NotSigned;

/// The keys of the emulated providers.
#[derive(Debug)]
pub(crate) struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    random: SystemRandom,
}

impl Keys {
    /// Takes the fixed RSA key, and makes one for ES256.
    ///
    /// # Panics
    ///
    /// The system has no random bytes to give.
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let way = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = EcdsaKeyPair::generate_pkcs8(way, &random)
            .expect("the system has random bytes to give");
        Self {
            rsa: RsaKeyPair::from_pkcs8(RSA_KEY).expect("the key in the source is a good one"),
            ec: EcdsaKeyPair::from_pkcs8(way, ec.as_ref(), &random)
                .expect("ring reads what ring wrote"),
            random,
        }
    }

    /// Signs claims, to which a `jti` of its own is added.
    pub(crate) fn sign(&self, algorithm: Algorithm, claims: Map<String, Value>) -> String {
        let header = format!(
            r#"{{"alg":"{}","kid":"{}","typ":"JWT"}}"#,
            algorithm.name(),
            algorithm.key_id()
        );
        let random = random_text(LETTERS_AND_DIGITS, 20);
        let claims = Value::Object(claims).to_string();
        let claims = claims.strip_prefix('{').unwrap_or_default();
        let payload = format!(r#"{{"jti":"-{MARKED}{random}",{claims}"#);
        let text = format!("{}.{}", encode(header), encode(payload));
        let signature = match algorithm {
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa
                    .sign(
                        &RSA_PKCS1_SHA256,
                        &self.random,
                        text.as_bytes(),
                        &mut signature,
                    )
                    .expect("a buffer as long as the key takes its signature");
                signature
            }
            Algorithm::Es256 => self
                .ec
                .sign(&self.random, text.as_bytes())
                .expect("the system has random bytes to give")
                .as_ref()
                .to_vec(),
        };
        format!("{text}.{}", encode(signature))
    }

    /// Verifies a token; returns its claims, not yet believed.
    pub(crate) fn verify(&self, token: &str) -> Result<Map<String, Value>, NotSigned> {
        let (text, signature) = token.rsplit_once('.').ok_or(NotSigned)?;
        let (header, payload) = text.split_once('.').ok_or(NotSigned)?;
        // An algorithm that is not one of ours, `none` first of all, does not get through here.
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| NotSigned)?;
        if header.kid != header.alg.key_id() {
            return Err(NotSigned);
        }
        let signature = decode(signature)?;
        let signed = match header.alg {
            Algorithm::Rs256 => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.rsa.public_key().as_ref())
                    .verify(text.as_bytes(), &signature)
            }
            Algorithm::Es256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.ec.public_key().as_ref())
                    .verify(text.as_bytes(), &signature)
            }
        };
        signed.map_err(|_| NotSigned)?;
        serde_json::from_slice(&decode(payload)?).map_err(|_| NotSigned)
    }

    /// The public keys, as providers publish them (RFC 7517).
    pub(crate) fn published(&self) -> Value {
        let rsa = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        // An uncompressed point: one byte says so, then its coordinates.
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        json!({ "keys": [
            {
                "kty": "RSA", "alg": "RS256", "use": "sig", "kid": Algorithm::Rs256.key_id(),
                "n": encode(rsa.n), "e": encode(rsa.e),
            },
            {
                "kty": "EC", "alg": "ES256", "use": "sig", "kid": Algorithm::Es256.key_id(),
                "crv": "P-256", "x": encode(x), "y": encode(y),
            },
        ]})
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, NotSigned> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotSigned)
}
