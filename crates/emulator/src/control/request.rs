//! What is ordered at the control address: how an order is read, for everything that is made
//! to order.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;

/// Reads an order; what is wrong with it is said in words.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

/// Finds the identity provider of whom something is ordered.
pub(crate) fn provider<'a, T>(
    providers: &'a BTreeMap<String, T>,
    kind: &str,
    name: &str,
) -> Result<&'a T, String> {
    let provider = providers.get(name);
    provider.ok_or_else(|| format!("no {kind} provider {name:?} in this world"))
}

/// Reads `10m`, or `-10m` for what is over.
pub(crate) fn span(text: Option<&str>) -> Result<Option<SignedDuration>, String> {
    text.map(|text| {
        text.parse()
            .map_err(|_| format!("{text:?} is not a time like 10m or -10m"))
    })
    .transpose()
}
