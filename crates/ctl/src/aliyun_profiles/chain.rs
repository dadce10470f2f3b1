//! Role chains: profiles whose `source_profile` is another profile.

use std::collections::BTreeMap;

use stsd_model::MAX_CHAIN_PROFILES;

use super::{
    mapping::{ConvertedProfile, Identity},
    parsed_profile::SkipReason,
    printable,
};

/// The conversion of each profile, by its index in the file.
pub(super) type Conversions = Vec<Result<ConvertedProfile, SkipReason>>;

/// Skips profiles whose source is missing, skipped, or part of a cycle.
pub(super) fn resolve_chains(
    names: &BTreeMap<String, usize>,
    labels: &[String],
    conversions: &mut Conversions,
) {
    let refusals: Vec<_> = (0..conversions.len())
        .map(|at| refusal(at, names, labels, conversions))
        .collect();
    for (place, refusal) in conversions.iter_mut().zip(refusals) {
        if let Some(refusal) = refusal {
            *place = Err(refusal);
        }
    }
}

fn refusal(
    start: usize,
    names: &BTreeMap<String, usize>,
    labels: &[String],
    conversions: &Conversions,
) -> Option<SkipReason> {
    let mut path = vec![start];
    let mut at = start;
    while let Ok(ConvertedProfile {
        identity: Identity::Chain(name),
        ..
    }) = &conversions[at]
    {
        let Some(next) = names.get(name) else {
            let name = printable(name);
            return Some(if at == start {
                format!("its source_profile {name} is not in this file")
            } else {
                format!("its source_profile leads to {name}, which is not in this file")
            });
        };
        if let Some(begins) = path.iter().position(|it| it == next) {
            let circle: Vec<_> = path[begins..].iter().chain([next]).collect();
            let circle: Vec<_> = circle.iter().map(|it| labels[**it].as_str()).collect();
            return Some(format!("it goes in a circle: {}", shortened(&circle)));
        }
        path.push(*next);
        at = *next;
    }
    match &conversions[at] {
        Err(_) if at != start => Some(format!(
            "it needs {}, which cannot be taken",
            labels[at].as_str()
        )),
        // The last element may be a role or the identity of the first role.
        Ok(last) if path.len() - usize::from(last.assumes_no_role()) > MAX_CHAIN_PROFILES => {
            Some(format!(
                "it is the end of a chain of more than {MAX_CHAIN_PROFILES} roles, which stsd does not follow"
            ))
        }
        _ => None,
    }
}

/// Returns a cycle as text; a long one is cut.
fn shortened(circle: &[&str]) -> String {
    const MAX_SHOWN: usize = 8;
    match circle.len() {
        0..=MAX_SHOWN => circle.join(" → "),
        _ => format!("{} → …", circle[..MAX_SHOWN].join(" → ")),
    }
}
