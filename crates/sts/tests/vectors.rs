//! The signer against requests that the official SDKs signed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use stsd_sts::{SecretText, SignedForm, string_to_sign};
use zeroize::Zeroizing;

/// Entries of the file, those no signer should reproduce, and those without a signature.
const ENTRIES: (usize, usize, usize) = (30, 2, 1);

#[test]
fn signer_reproduces_signatures_of_the_official_sdks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/rpc_v1.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let (mut defects, mut anonymous) = (0, 0);
    for vector in vectors {
        match vector["matches_reference"].as_bool() {
            Some(matches) => {
                defects += usize::from(!matches);
                check(vector, matches);
            }
            None => anonymous += 1,
        }
    }
    assert_eq!((vectors.len(), defects, anonymous), ENTRIES);
}

fn check(vector: &Value, matches: bool) {
    let name = vector["name"].as_str().unwrap();
    let method = vector["method"].as_str().unwrap();
    let parameters: BTreeMap<String, Zeroizing<String>> = vector["params"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| (k.clone(), Zeroizing::new(v.as_str().unwrap().to_owned())))
        .collect();
    let secret = SecretText::from(vector["secret"].as_str().unwrap().to_owned());

    let pairs = parameters.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let form = SignedForm::new(method, pairs, &secret);
    let text = string_to_sign(method, &parameters);
    // The two defects escape a space as a plus; a signer that agreed would be as wrong.
    assert_eq!(
        text.as_str() == vector["string_to_sign"].as_str().unwrap(),
        matches,
        "{name}: string to sign"
    );
    assert_eq!(
        form.signature() == vector["signature"].as_str().unwrap(),
        matches,
        "{name}: signature"
    );
}
