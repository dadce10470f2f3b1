//! Profiles whose identity or role is only in the variables that RRSA sets in a pod. stsd refuses a
//! configuration with such a profile, and does not start, in an environment without the variables.

use super::{
    Disposition, Plan,
    plan::Outcome,
    table::{Entry, Table},
};

const ROLE_VARIABLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
const PROVIDER_VARIABLE: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
const TOKEN_VARIABLE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";

impl Plan {
    /// Skips the profiles that add a table which reads variables that are not set. Returns `true` if
    /// there is such a profile.
    pub fn exclude_without_variables(&mut self, is_set: fn(&str) -> bool) -> bool {
        let mut is_any = false;
        for outcome in &mut self.outcomes {
            if outcome.disposition != Disposition::Converted {
                continue;
            }
            let added = outcome.needs.iter().filter(|it| self.tables.contains(it));
            let variables = added.flat_map(|it| variables(it, outcome));
            let missing: Vec<_> = variables.filter(|it| !is_set(it)).collect();
            if !missing.is_empty() {
                let missing = missing.join(", ");
                outcome.disposition = Disposition::Skipped(format!(
                    "it takes values from variables that are not set here, and stsd does not start \
                     without them: {missing}; run stsctl import with these variables, as in the pod \
                     of the daemon"
                ));
                is_any = true;
            }
        }
        is_any
    }
}

/// Returns the variables that a table of a profile requires.
fn variables(table: &Table, outcome: &Outcome) -> Vec<&'static str> {
    let required: &[(&str, &'static str)] = match table.kind {
        "source" if is_oidc(table) => &[
            ("provider_arn", PROVIDER_VARIABLE),
            ("token_file", TOKEN_VARIABLE),
        ],
        "profile" => {
            let source = table.source();
            let mut sources = outcome.needs.iter().filter(|it| is_oidc(it));
            match sources.any(|it| Some(it.name.as_str()) == source) {
                true => &[("role_arn", ROLE_VARIABLE)],
                false => &[],
            }
        }
        _ => &[],
    };
    let has = |key: &str| table.entries.iter().any(|it| it.key == key);
    let missing = required.iter().filter(|it| !has(it.0));
    missing.map(|it| it.1).collect()
}

fn is_oidc(table: &Table) -> bool {
    table.kind == "source" && table.entries.contains(&Entry::new("type", "oidc"))
}
