//! The report of a configuration about STS: the warnings, the endpoint with its origin, and a proxy
//! that cannot be used.

use stsd_sts::{ConnectFault, Proxies};
use tracing::{info, warn};

use crate::{
    config::Config,
    runtime::{
        clock::BootTime,
        conditions::{Condition, Conditions},
    },
};

/// Logs the report, and records it in the conditions.
pub(super) fn report(config: &Config, proxies: &Proxies, conditions: &Conditions, now: BootTime) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if config.calls_sts() {
        let endpoints = config.endpoints.to_string();
        info!("the endpoint of STS is {endpoints}");
        conditions.set_note(Condition::StsEndpoint, endpoints);
    } else {
        conditions.set_note(Condition::StsEndpoint, String::new());
    }
    let hint = ConnectFault::UnusableProxy.hint();
    let problem = proxies.problem();
    if let Some(problem) = problem {
        warn!(hint, "{problem}");
    }
    match problem.filter(|_| is_needed(config, proxies)) {
        Some(problem) => {
            conditions.fail(Condition::StsEndpoint, &problem.to_string(), hint, now);
        }
        None => {
            conditions.recover(Condition::StsEndpoint);
        }
    }
}

/// Returns `true` if a request needs the proxy: one to STS, or one to a credentials URI, whose host may
/// be in a file.
fn is_needed(config: &Config, proxies: &Proxies) -> bool {
    let mut endpoints = config.endpoints.all().iter();
    match config.calls_sts() {
        true => endpoints.any(|it| it.route(proxies).is_err()),
        false => config.may_use_proxy(),
    }
}
