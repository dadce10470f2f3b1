//! Valid and unique names for the profiles and their sources.

use std::collections::{BTreeMap, BTreeSet};

use stsd_model::ProfileName;

use super::{
    parsed_profile::{SkipReason, ThirdPartyProfile},
    printable,
};

/// Returns the name of each profile in stsd's configuration, or the reason why it is skipped.
pub(super) fn of(profiles: &[ThirdPartyProfile]) -> Vec<Result<String, SkipReason>> {
    let theirs: Vec<_> = profiles.iter().map(ThirdPartyProfile::name).collect();
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    let mut fitted: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, number) in theirs.iter().zip(1..) {
        let Ok(name) = name else { continue };
        *count.entry(name).or_default() += 1;
        fitted.entry(ours(name, number)).or_default().insert(name);
    }
    let decide = |name: &String, number: usize| {
        if count.get(name.as_str()).is_some_and(|it| *it > 1) {
            return Err("there are several profiles of its name".to_owned());
        }
        let ours = ours(name, number);
        let others = fitted.get(&ours).into_iter().flatten();
        let mut others = others.filter(|it| **it != name);
        match others.next() {
            // The profile whose name needs no change keeps it.
            Some(other) if ours != *name => Err(format!(
                "its name would be {ours} with us, and so would that of {}; rename one of them",
                printable(other)
            )),
            _ => Ok(ours),
        }
    };
    let each = theirs.iter().zip(1..).map(|(it, number)| match it {
        Ok(name) => decide(name, number),
        Err(refusal) => Err(refusal.clone()),
    });
    each.collect()
}

/// Returns a valid name; of a name without a valid character, such as 生产, the number of the profile.
fn ours(name: &str, number: usize) -> String {
    strip_if_needed(name).unwrap_or_else(|| format!("profile-{number}"))
}

/// Returns a valid name, with hyphens for other characters.
fn strip_if_needed(name: &str) -> Option<String> {
    let kept = ProfileName::is_allowed;
    let name = name.chars().map(|c| if kept(c) { c } else { '-' });
    let name: String = name
        .skip_while(|it| !it.is_ascii_alphanumeric())
        .take(ProfileName::MAX_CHARS)
        .collect();
    let name = name.trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

/// The names in use. A source must not have a profile's name, because `source = "NAME"` then
/// means the source and not the profile.
pub(super) struct SourceNames {
    taken: BTreeSet<String>,
}

impl SourceNames {
    pub(super) fn beside<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        Self {
            taken: names.cloned().collect(),
        }
    }

    /// Returns an unused name for the source of a profile.
    pub(super) fn name(&mut self, profile: &str, kind: &str) -> String {
        let numbers = std::iter::once(String::new()).chain((2_u32..).map(|it| it.to_string()));
        for number in numbers {
            let end = format!("-{kind}{number}");
            // Valid names are ASCII.
            let head = &profile[..profile.len().min(ProfileName::MAX_CHARS - end.len())];
            let name = format!("{head}{end}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
        unreachable!("there are more numbers than names")
    }
}
