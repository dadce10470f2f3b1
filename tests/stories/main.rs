//! Stories over the real programs: each is what somebody relies on, told from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod audit;
mod bad_config;
mod chain;
mod client;
mod ecs_role;
mod engine;
mod examples;
mod exec;
mod faults;
mod hand_out;
mod hostile;
mod http;
mod import;
mod impostor;
mod keyring;
mod keys;
mod lease;
mod memory;
mod network;
mod oidc;
mod outage;
mod packages;
mod peers_bugs;
mod policy;
mod process;
mod protection;
mod restart;
mod rotation;
mod saml;
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
mod uri;
mod wall_clock;
mod watched;
