//! The table `[metrics]`: the address at which metrics and probes are served.

use std::net::SocketAddr;

use serde::Deserialize;
use stsd_codes::Code;

use super::{context::ReadContext, spanned::Spanned, suggestion::shown};

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawMetrics {
    /// The address of [metrics and probes](operations.md#metrics-and-probes), `ADDRESS:PORT`, on loopback
    /// or on the network. They have the names of profiles, and no credential.
    listen: Spanned<String>,
}

/// Returns the address; `None` if it has an error.
pub(super) fn read_metrics(
    context: &mut ReadContext<'_>,
    raw: &RawMetrics,
    http: Option<SocketAddr>,
) -> Option<SocketAddr> {
    const KEY: &str = "metrics.listen";
    let text = raw.listen.get_ref();
    let at = raw.listen.span().start;
    let Ok(address) = text.parse() else {
        let problem = format!("{} is not an address with a port", shown(text));
        let hint = "for example listen = \"127.0.0.1:9463\", or \"[::]:9463\" for all addresses";
        context.error_at(Code::ConfigInvalidValue, at, KEY, &problem, hint);
        return None;
    };
    if http.is_some_and(|it| it == address && it.port() != 0) {
        let problem = format!("{address} is the address of [http] too");
        context.error_at(
            Code::ConfigConflict,
            at,
            KEY,
            &problem,
            "choose another port",
        );
    }
    Some(address)
}
