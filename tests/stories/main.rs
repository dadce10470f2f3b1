//! Stories over the real programs: each is what somebody relies on, told from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod audit;
mod bad_config;
mod client;
mod engine;
mod examples;
mod exec;
mod faults;
mod hand_out;
mod hostile;
mod http;
mod impostor;
mod keyring;
mod lease;
mod memory;
mod network;
mod outage;
mod peers_bugs;
mod policy;
mod protection;
mod restart;
mod rotation;
mod sdk;
mod sdk_consumers;
mod sdk_kit;
mod sdk_long;
mod sdk_proxy;
mod setup;
mod sink;
mod stampede;
mod sts_client;
mod suspend;
mod terminal;
mod wall_clock;
mod watched;
