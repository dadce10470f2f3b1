//! The keys with which the emulator signs tokens.
//!
//! ring signs and verifies, but does not generate RSA keys. The RSA key is therefore a file of
//! the source, and of no use elsewhere. The key for ES256 is generated at each start.

use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::{Map, Value, json};

use crate::{
    encoding::{LETTERS_AND_DIGITS, random_text},
    jwt::{
        algorithm::{Algorithm, MARKER_TEXT, encode},
        key_set::KeySet,
    },
};

/// A text in the header and in the payload of every token: `EmulatedOidcToken-` in base64url.
/// Tests search the output of programs for it.
pub const MARKER: &str = "RW11bGF0ZWRPaWRjVG9rZW4t";

/// The RSA key, as PKCS #8.
const RSA_KEY: &[u8] = include_bytes!("oidc_rsa.pk8");

/// The signing keys of the OIDC providers.
#[derive(Debug)]
pub(crate) struct SigningKeys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKeys {
    /// Returns the fixed RSA key and a new key for ES256.
    ///
    /// # Panics
    ///
    /// The system has no random bytes.
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec =
            EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("the system has random bytes");
        Self {
            rsa: RsaKeyPair::from_pkcs8(RSA_KEY).expect("a test signs with the key in the source"),
            ec: EcdsaKeyPair::from_pkcs8(algorithm, ec.as_ref(), &random)
                .expect("ring reads its own PKCS #8"),
            random,
        }
    }

    /// Returns a signed token with the claims and a random `jti`.
    pub(crate) fn sign(&self, algorithm: Algorithm, claims: Map<String, Value>) -> String {
        let header = format!(
            r#"{{"alg":"{}","kid":"{}","typ":"JWT"}}"#,
            algorithm.name(),
            algorithm.key_id()
        );
        let random = random_text(LETTERS_AND_DIGITS, 20);
        let claims = Value::Object(claims).to_string();
        let claims = claims.strip_prefix('{').unwrap_or_default();
        let payload = format!(r#"{{"jti":"-{MARKER_TEXT}{random}",{claims}"#);
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
                    .expect("the buffer is as long as the signature");
                signature
            }
            Algorithm::Es256 => self
                .ec
                .sign(&self.random, text.as_bytes())
                .expect("the system has random bytes")
                .as_ref()
                .to_vec(),
        };
        format!("{text}.{}", encode(signature))
    }

    /// Returns the public keys, as a verifier reads them.
    ///
    /// # Panics
    ///
    /// Never: a test parses them.
    pub(crate) fn public_keys(&self) -> KeySet {
        KeySet::parse(&self.jwks().to_string()).expect("a test parses the set of the emulator")
    }

    /// Returns the public keys as a JWK set (RFC 7517).
    pub(crate) fn jwks(&self) -> Value {
        let rsa = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        // An uncompressed point: a byte for the format, then the two coordinates.
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
