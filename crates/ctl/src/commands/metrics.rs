//! `stsctl metrics`: the counters of the daemon.

use anyhow::Result;
use stsd_client::Client;

use crate::{http_listener, term::stdout::print_line};

/// Prints all metrics.
pub(crate) fn print(client: &Client) -> Result<()> {
    let status = client.status()?;
    // A daemon that predates the requests, and the socket of a lease, have none.
    let conditions = client.conditions().unwrap_or_default();
    let http = http_listener::fetch(client);
    let text = stsd_metrics::text(&status, &conditions, http.as_ref());
    let text = text.into_string() + &client.metrics().unwrap_or_default();
    print_line(text.trim_end())
}
