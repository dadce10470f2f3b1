//! The stories: end-to-end tests of the real programs. The documentation of the crate `e2e`, which
//! is the test kit, shows how a story is written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Callers, rules, leases and the audit.
mod access {
    mod audit;
    mod audit_stdout;
    mod call_limits;
    mod lease;
    mod lease_limits;
    mod lease_listener;
    mod limits;
    mod peer_identity;
    mod rules;
    mod session_policy;
}

/// The client library, and the example of OSS.
mod client {
    mod async_client;
    mod oss_client;
    mod two_daemons;
    mod watch;
}

/// The configuration of the daemon.
mod config {
    mod errors;
    mod export_keys;
    mod fragments;
    mod mistakes;
    mod portable;
    mod reload_on_change;
}

/// The commands of stsctl, and what the programs print.
mod ctl {
    mod completion;
    mod conditions;
    mod doctor;
    mod doctor_protections;
    mod exec;
    mod foreign_text;
    mod import;
    mod init;
    mod manual;
    mod output;
    mod setup;
    mod terminal;
}

/// The documents and the examples.
mod docs {
    mod configuration;
    mod emulator;
    mod examples;
    mod file;
    mod first_upload;
    mod fleet;
    mod options;
    mod other_users;
    mod page;
    mod pages;
    mod program;
    mod schema;
    mod shell;
    mod terminal;
    mod time_limits;
    mod translations;
    mod variables;
    mod world;
}

/// The HTTP endpoint.
mod http {
    mod client;
    mod endpoint;
    mod marks;
    mod master_secret;
    mod patience;
    mod port;
    mod url_scope;
}

/// The machine: memory, limits, packages, restarts.
mod platform {
    mod container;
    mod exhaustion;
    mod install_script;
    mod json_log;
    mod kept_sessions;
    mod live;
    mod memory;
    mod notify;
    mod old_release;
    mod packages;
    mod programs;
    mod removed_paths;
    mod restart;
    mod restart_clients;
    mod restricted_kernel;
}

/// Calls to STS: when they are made, and their failures.
mod refresh {
    mod endpoints;
    mod engine;
    mod known_bugs;
    mod network;
    mod outage;
    mod patience;
    mod proxies;
    mod rotation;
    mod session_end;
    mod sts_client;
    mod suspend;
    mod tls_roots;
    mod wall_clock;
}

/// The official SDKs.
mod sdk {
    mod consumers;
    mod data_tools;
    mod https;
    mod multipart;
    mod oss_operations;
    mod proxy;
    mod rclone;
    mod uploads;
}

/// Credentials by the socket and in exported files.
mod serve {
    mod credentials;
    mod export;
    mod export_keys;
    mod hostile_peers;
    mod metric_families;
    mod metric_rules;
    mod metrics;
    mod on_failure;
    mod thundering_herd;
}

/// The identity providers of the configuration.
mod sources {
    mod access_key;
    mod ecs_role;
    mod keyring;
    mod oidc;
    mod process;
    mod role_chain;
    mod saml;
    mod uri;
}

/// The rule of trust in files.
mod trust {
    mod doctor;
    mod files;
    mod layouts;
    mod running;
}
