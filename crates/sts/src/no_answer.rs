//! A request without an answer: the cause in words, with the proxy on the way.

use std::fmt;

use reqwest::Url;
use stsd_document::printable_start;

use crate::{ConnectFault, Proxies, connect_fault::innermost_cause};

/// The errors of hyper-util for a tunnel that an HTTP proxy refuses; its type is private.
const TUNNEL_REFUSED: &str = "tunnel error: unsuccessful";
const TUNNEL_UNAUTHORIZED: &str = "tunnel error: proxy authorization required";

/// Maximum length of a cause in a message.
const MAX_CAUSE_CHARS: usize = 200;

/// The step that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connection,
    Answer,
    Time,
}

/// The failure of a request that got no answer. The text has no path of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    step: Step,
    cause: Option<String>,
    /// The proxy; `None` for a direct connection, and where the cause names the proxy.
    proxy: Option<String>,
    /// The cause, if it has a fix of its own.
    pub fault: Option<ConnectFault>,
}

impl NoAnswer {
    /// Returns the failure of a request to `url`. After the refusal of a proxy, the proxy is asked once
    /// more, for the status that the error lacks.
    pub async fn of(error: reqwest::Error, url: &Url, proxies: &Proxies) -> Self {
        let error = error.without_url();
        let direct = Self::of_direct(&error);
        let (Ok(Some(proxy)), Some(host)) = (proxies.route(url), url.host_str()) else {
            return direct;
        };
        let (cause, fault) = match direct.cause.as_deref() {
            Some(TUNNEL_REFUSED) => {
                let port = url.port_or_known_default().unwrap_or_default();
                let cause = match proxy.refusal_status(host, port).await {
                    Some(status) => {
                        format!(
                            "{} refuses the connection with status {status}",
                            proxy.describe()
                        )
                    }
                    None => format!("{} opens no connection", proxy.describe()),
                };
                (cause, ConnectFault::ProxyRefused)
            }
            Some(TUNNEL_UNAUTHORIZED) => {
                let proxy = proxy.describe();
                let cause = format!("{proxy} refuses the connection with status 407");
                (cause, ConnectFault::ProxyAuthentication)
            }
            _ => {
                return Self {
                    proxy: Some(proxy.describe()),
                    ..direct
                };
            }
        };
        Self {
            step: Step::Connection,
            cause: Some(cause),
            proxy: None,
            fault: Some(fault),
        }
    }

    /// Returns the failure of a request by no proxy. `error` has no URL.
    #[must_use]
    pub fn of_direct(error: &reqwest::Error) -> Self {
        let step = if error.is_timeout() {
            Step::Time
        } else if error.is_connect() {
            Step::Connection
        } else {
            Step::Answer
        };
        let cause = innermost_cause(error).filter(|_| step != Step::Time);
        Self {
            step,
            cause: cause.map(|it| printable_start(&it, MAX_CAUSE_CHARS)),
            proxy: None,
            fault: ConnectFault::of_tls(error).filter(|_| error.is_connect()),
        }
    }

    /// Returns `true` if the time was up.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.step == Step::Time
    }

    /// Returns `true` if no connection was made.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        self.step == Step::Connection
    }

    /// Returns the cause alone, with the proxy.
    #[must_use]
    pub fn cause(&self) -> String {
        let cause = self.cause.as_deref().unwrap_or("no answer");
        match &self.proxy {
            Some(proxy) => format!("{cause}, by {proxy}"),
            None => cause.to_owned(),
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Connection => "no connection",
            Step::Answer => "no answer",
            Step::Time => "timed out",
        };
        let is_of_proxy = matches!(
            self.fault,
            Some(ConnectFault::ProxyRefused | ConnectFault::ProxyAuthentication)
        );
        match &self.cause {
            Some(cause) if is_of_proxy => f.write_str(cause)?,
            Some(cause) => write!(f, "{step} ({cause})")?,
            None => f.write_str(step)?,
        }
        match &self.proxy {
            Some(proxy) => write!(f, ", by {proxy}"),
            None => Ok(()),
        }
    }
}
