//! The public keys of an issuer, as a JWK set (RFC 7517), and the signatures that they verify.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::jwt::algorithm::{Algorithm, decode};

/// The text is no token, or none of the keys has signed it.
#[derive(Debug)]
pub(crate) struct InvalidToken;

/// The reason for which a text is no set of keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    /// The text is no JSON, or has no list `keys`.
    #[error("the jwks is no JSON object with a list of keys: {0}")]
    Json(#[from] serde_json::Error),
    /// No key of the set is of a supported kind.
    #[error("the jwks has no key for RS256 or ES256")]
    NoKey,
}

/// A set of public keys, with at least one key for RS256 or ES256.
#[derive(Debug, Clone)]
pub(crate) struct KeySet {
    keys: Vec<PublicKey>,
}

#[derive(Debug, Clone)]
struct PublicKey {
    id: Option<String>,
    material: KeyMaterial,
}

#[derive(Debug, Clone)]
enum KeyMaterial {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point of P-256: a byte for the format, then the two coordinates.
    P256 {
        point: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

/// The fields of a key. A key of another kind has other fields.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
}

impl KeySet {
    /// Parses a JWK set. Keys of another kind than RSA and P-256, and keys for encryption, are
    /// skipped.
    ///
    /// # Errors
    ///
    /// The text is no JWK set, or no key is left.
    pub(crate) fn parse(text: &str) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_str(text)?;
        let keys: Vec<_> = document.keys.iter().filter_map(PublicKey::new).collect();
        match keys.is_empty() {
            true => Err(KeySetError::NoKey),
            false => Ok(Self { keys }),
        }
    }

    /// Returns the claims of a token with a valid signature. The claims are not checked.
    ///
    /// A token without a key id is verified with each key of its algorithm.
    pub(crate) fn verify(&self, token: &str) -> Result<Map<String, Value>, InvalidToken> {
        let (text, signature) = token.rsplit_once('.').ok_or(InvalidToken)?;
        let (header, payload) = text.split_once('.').ok_or(InvalidToken)?;
        // `none`, and any other algorithm than these two, is a parse error.
        let header: Header = serde_json::from_slice(&decode(header).ok_or(InvalidToken)?)
            .map_err(|_| InvalidToken)?;
        let signature = decode(signature).ok_or(InvalidToken)?;
        let is_named = |key: &&PublicKey| match (&header.kid, &key.id) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        let mut candidates = self.keys.iter().filter(is_named);
        if !candidates.any(|key| key.has_signed(header.alg, text.as_bytes(), &signature)) {
            return Err(InvalidToken);
        }
        serde_json::from_slice(&decode(payload).ok_or(InvalidToken)?).map_err(|_| InvalidToken)
    }
}

impl PublicKey {
    /// Returns the key of a JWK; `None` for a key that signs neither RS256 nor ES256.
    fn new(jwk: &Jwk) -> Option<Self> {
        let bytes = |text: &Option<String>| decode(text.as_deref()?);
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let material = match (jwk.kty.as_str(), jwk.alg.as_deref()) {
            ("RSA", None | Some("RS256")) => KeyMaterial::Rsa {
                modulus: bytes(&jwk.n)?,
                exponent: bytes(&jwk.e)?,
            },
            ("EC", None | Some("ES256")) if jwk.crv.as_deref() == Some("P-256") => {
                let point = [vec![4], bytes(&jwk.x)?, bytes(&jwk.y)?].concat();
                KeyMaterial::P256 { point }
            }
            _ => return None,
        };
        Some(Self {
            id: jwk.kid.clone(),
            material,
        })
    }

    fn has_signed(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        match (&self.material, algorithm) {
            (KeyMaterial::Rsa { modulus, exponent }, Algorithm::Rs256) => RsaPublicKeyComponents {
                n: modulus,
                e: exponent,
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, text, signature)
            .is_ok(),
            (KeyMaterial::P256 { point }, Algorithm::Es256) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(text, signature).is_ok()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::signing_keys::SigningKeys;

    fn token(keys: &SigningKeys, algorithm: Algorithm) -> String {
        let claims = Map::from_iter([("sub".to_owned(), Value::from("s"))]);
        keys.sign(algorithm, claims)
    }

    #[test]
    fn key_is_found_with_and_without_an_id() {
        let keys = SigningKeys::new();
        let mut jwks = keys.jwks();
        let set = KeySet::parse(&jwks.to_string()).expect("both keys are supported");
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            set.verify(&token(&keys, algorithm)).expect("its own key");
        }
        for key in jwks["keys"].as_array_mut().expect("a list") {
            let key = key.as_object_mut().expect("an object");
            for name in ["kid", "alg", "use"] {
                key.remove(name);
            }
        }
        let set = KeySet::parse(&jwks.to_string()).expect("both keys are supported");
        set.verify(&token(&keys, Algorithm::Es256))
            .expect("the key for ES256");
        // The key for ES256 is another one at each start.
        let other = SigningKeys::new();
        assert!(set.verify(&token(&other, Algorithm::Es256)).is_err());
    }

    #[test]
    fn key_with_another_id_or_use_is_not_taken() {
        let keys = SigningKeys::new();
        for (name, value) in [("kid", "other"), ("use", "enc"), ("alg", "RS512")] {
            let mut jwks = keys.jwks();
            jwks["keys"][0][name] = value.into();
            let set = KeySet::parse(&jwks.to_string()).expect("the second key is left");
            assert!(
                set.verify(&token(&keys, Algorithm::Rs256)).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn set_without_usable_key_is_refused() {
        for (text, expected) in [
            ("", "EOF"),
            ("{}", "missing field `keys`"),
            (r#"{"keys":[]}"#, "no key for RS256"),
            (
                r#"{"keys":[{"kty":"RSA","n":"*","e":"AQAB"}]}"#,
                "no key for RS256",
            ),
            (
                r#"{"keys":[{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}]}"#,
                "no key for RS256",
            ),
        ] {
            let error = KeySet::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
