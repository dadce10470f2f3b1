//! Decides on whose right a profile goes that names another one as its source.

use std::collections::BTreeMap;

use super::{
    mapping::{Identity, Mapped},
    parsed_profile::Refusal,
    shown,
};

/// How many profiles of ours may build on each other.
const LONGEST: usize = 8;

/// What each profile is, by its place, as far as it has been decided.
pub(super) type Decided = Vec<Result<Mapped, Refusal>>;

/// Refuses those whose source is not there, is refused, or is in the end themselves.
pub(super) fn settle(names: &BTreeMap<String, usize>, labels: &[String], decided: &mut Decided) {
    let refusals: Vec<_> = (0..decided.len())
        .map(|at| refusal(at, names, labels, decided))
        .collect();
    for (place, refusal) in decided.iter_mut().zip(refusals) {
        if let Some(refusal) = refusal {
            *place = Err(refusal);
        }
    }
}

fn refusal(
    start: usize,
    names: &BTreeMap<String, usize>,
    labels: &[String],
    decided: &Decided,
) -> Option<Refusal> {
    let mut way = vec![start];
    let mut at = start;
    while let Ok(Mapped {
        identity: Identity::Chain(name),
        ..
    }) = &decided[at]
    {
        let Some(next) = names.get(name) else {
            let name = shown(name);
            return Some(if at == start {
                format!("its source_profile {name} is not in this file")
            } else {
                format!("its source_profile leads to {name}, which is not in this file")
            });
        };
        if let Some(begins) = way.iter().position(|it| it == next) {
            let circle: Vec<_> = way[begins..].iter().chain([next]).collect();
            let circle: Vec<_> = circle.iter().map(|it| labels[**it].as_str()).collect();
            return Some(format!("it goes in a circle: {}", shortened(&circle)));
        }
        way.push(*next);
        at = *next;
    }
    match &decided[at] {
        Err(_) if at != start => Some(format!(
            "it needs {}, which cannot be taken",
            labels[at].as_str()
        )),
        // At the end of a chain there is a role, or what gives the first one.
        Ok(last) if way.len() - usize::from(last.is_no_role()) > LONGEST => Some(format!(
            "it is the end of a chain of more than {LONGEST} roles, which stsd does not follow"
        )),
        _ => None,
    }
}

/// A circle of a thousand profiles is told by its beginning.
fn shortened(circle: &[&str]) -> String {
    const MOST: usize = 8;
    match circle.len() {
        0..=MOST => circle.join(" → "),
        _ => format!("{} → …", circle[..MOST].join(" → ")),
    }
}
