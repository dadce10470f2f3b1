//! The signature of an STS request, RPC V1 or ACS3.

pub mod acs3;
pub mod claim;
pub mod rpc_v1;
