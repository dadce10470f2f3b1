//! The connectivity check: a connection to STS as the daemon makes it, through its proxy and with
//! its certificate authorities. No request is sent.

use std::{borrow::Cow, sync::Arc};

use stsd_codes::Code;
use stsd_sts::{ConnectFault, Proxies, Sts, StsError};

use crate::{profile::Endpoints, sts::remediation};

/// The error of a connection to STS, with its hint.
#[derive(Debug, thiserror::Error)]
#[error("{error} [{}] (hint: {})", self.code(), remediation::for_network(.error))]
pub struct ConnectError {
    error: StsError,
}

impl ConnectError {
    /// Returns the error without its hint.
    #[must_use]
    pub fn problem(&self) -> String {
        self.error.to_string()
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> Code {
        remediation::network_code(&self.error)
    }

    /// Returns the hint.
    #[must_use]
    pub fn hint(&self) -> Cow<'static, str> {
        remediation::for_network(&self.error)
    }
}

/// Checks that a connection can be attempted; nothing is connected. A proxy that cannot be used is a
/// warning of the caller: it belongs to the environment, not to the configuration.
///
/// # Errors
/// The machine has no certificate authority.
pub fn prepare(endpoints: &Endpoints, proxies: &Arc<Proxies>) -> Result<(), ConnectError> {
    for sts in clients(endpoints, proxies) {
        match sts.prepare() {
            Err(StsError::Unreachable {
                fault: Some(ConnectFault::UnusableProxy),
                ..
            })
            | Ok(()) => {}
            Err(error) => return Err(ConnectError { error }),
        }
    }
    Ok(())
}

/// Connects to each endpoint of STS once; returns a line for each that answers, and the errors of the
/// others.
///
/// # Errors
/// No endpoint answers: the error of the first.
pub async fn check(
    endpoints: &Endpoints,
    proxies: &Arc<Proxies>,
) -> Result<(Vec<String>, Vec<ConnectError>), ConnectError> {
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    for (sts, endpoint) in clients(endpoints, proxies).zip(endpoints.all()) {
        if let Err(error) = sts.reach().await {
            errors.push(ConnectError { error });
            continue;
        }
        let host = endpoint.authority();
        answers.push(match endpoint.route(proxies) {
            Ok(Some(proxy)) => format!("{host}: answers by {}", proxy.describe()),
            _ => format!("{host}: answers"),
        });
    }
    match answers.is_empty() && !errors.is_empty() {
        true => Err(errors.remove(0)),
        false => Ok((answers, errors)),
    }
}

fn clients(endpoints: &Endpoints, proxies: &Arc<Proxies>) -> impl Iterator<Item = Sts> {
    let all = endpoints.all().iter();
    all.map(|it| Sts::new(it.clone(), Arc::clone(proxies)))
}
