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
    let endpoints = config.endpoints.to_string();
    info!("the endpoint of STS is {endpoints}");
    conditions.set_note(Condition::StsEndpoint, endpoints);
    let hint = ConnectFault::UnusableProxy.hint();
    if let Some(problem) = proxies.problem() {
        warn!(hint, "{problem}");
    }
    let mut endpoints = config.endpoints.all().iter();
    let unusable = endpoints.find_map(|it| it.route(proxies).err());
    match unusable.filter(|_| config.calls_sts()) {
        Some(error) => {
            conditions.fail(Condition::StsEndpoint, &error.to_string(), hint, now);
        }
        None => {
            conditions.recover(Condition::StsEndpoint);
        }
    }
}
