//! The endpoints of STS, and the place that names them.

use std::fmt;

use stsd_sts::Endpoint;

/// The endpoints of STS for one account, by preference. A session of one is valid for all.
#[derive(Debug, Clone)]
pub struct Endpoints {
    all: Vec<Endpoint>,
    origin: EndpointOrigin,
}

/// The place that names the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointOrigin {
    /// A key of the configuration.
    Key(&'static str),
    /// A variable of the platform.
    Variable(&'static str),
    /// Nothing names an endpoint.
    Default,
}

impl Endpoints {
    /// Returns the endpoints of a list; `None` for an empty one.
    #[must_use]
    pub fn new(all: Vec<Endpoint>, origin: EndpointOrigin) -> Option<Self> {
        (!all.is_empty()).then_some(Self { all, origin })
    }

    /// Returns one endpoint.
    #[must_use]
    pub fn one(endpoint: Endpoint, origin: EndpointOrigin) -> Self {
        Self {
            all: vec![endpoint],
            origin,
        }
    }

    /// Returns the endpoints, by preference; at least one.
    #[must_use]
    pub fn all(&self) -> &[Endpoint] {
        &self.all
    }

    /// Returns the place that names the endpoints.
    #[must_use]
    pub fn origin(&self) -> EndpointOrigin {
        self.origin
    }

    /// Returns the preferred endpoint.
    #[must_use]
    pub fn first(&self) -> &Endpoint {
        &self.all[0]
    }

    /// Returns `true` if one endpoint is in both lists: the account is the same.
    #[must_use]
    pub fn shares_one_with(&self, other: &Self) -> bool {
        self.all.iter().any(|it| other.all.contains(it))
    }
}

/// The URLs and their origin, as the status and the log show them.
impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, endpoint) in self.all.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", then " };
            write!(f, "{separator}{}", endpoint.as_str().trim_end_matches('/'))?;
        }
        write!(f, " ({})", self.origin)
    }
}

impl fmt::Display for EndpointOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "{key} in the configuration"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Default => f.write_str("the default"),
        }
    }
}
