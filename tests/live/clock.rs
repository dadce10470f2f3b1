//! This machine's clock, and its difference to the clock of STS.

use std::{
    env,
    time::{Duration, Instant},
};

use e2e::block_on;
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{Url, header::DATE};
use stsd_sts::{Endpoint, NoAnswer, Proxies, client_builder};

/// Timeout of the request for the date of STS.
const DATE_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the time by this machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the report has the date; no schedule of the daemon depends on it"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Runs a function; returns its result and the milliseconds that it took.
#[expect(
    clippy::disallowed_methods,
    reason = "the report has the duration of a step, which nothing judges"
)]
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, u128) {
    let started = Instant::now();
    let result = run();
    (result, started.elapsed().as_millis())
}

/// Returns this machine's clock minus that of STS, in words. `Date` counts whole seconds.
pub(crate) fn skew(sts: &Endpoint) -> Result<String, String> {
    let theirs = block_on(date(sts))?.as_second();
    let seconds = now().as_second().saturating_sub(theirs);
    let side = if seconds < 0 { "behind" } else { "ahead of" };
    Ok(format!(
        "this machine is {} s {side} STS",
        seconds.saturating_abs()
    ))
}

/// Returns the header `Date` of an answer of STS.
async fn date(sts: &Endpoint) -> Result<Timestamp, String> {
    let url = Url::parse(sts.as_str()).map_err(|error| error.to_string())?;
    let proxies = proxies();
    let builder = client_builder(&url, &proxies).map_err(|error| error.to_string())?;
    let client = builder.timeout(DATE_TIMEOUT).build();
    let client = client.map_err(|error| error.without_url().to_string())?;
    let answer = match client.head(url.clone()).send().await {
        Ok(answer) => answer,
        Err(error) => return Err(NoAnswer::of(error, &url, &proxies).await.to_string()),
    };
    let date = answer.headers().get(DATE).and_then(|it| it.to_str().ok());
    let date = date.and_then(|it| rfc2822::parse(it).ok());
    date.map(|it| it.timestamp())
        .ok_or_else(|| "the answer of STS has no date".to_owned())
}

/// Returns the proxies of this environment, which the daemon inherits.
pub(crate) fn proxies() -> Proxies {
    Proxies::from_variables(|name| env::var_os(name))
}

/// Returns the cause of a failed request, without its URL.
pub(crate) fn in_words(error: reqwest::Error) -> String {
    NoAnswer::of_direct(&error.without_url()).to_string()
}
