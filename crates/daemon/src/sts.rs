//! STS as the daemon uses it: the exchange, the rate limit, the service's clock and the hints
//! for its errors.

pub mod caller_identity;
pub mod congestion;
pub mod connectivity;
pub mod quota;
pub mod rate_limit;
pub(crate) mod remediation;
pub mod server_clock;
pub mod upstream;
