//! The attacks, one for each buffer of a connection and for each limit.

use e2e::{Action, Fault, GROUP, SystemDaemon, UnixUser, hello_request};
use stsd_wire::{Message as _, Request};

use crate::attacker::{Address, Plan, Reads};

/// Users without a rule.
const STRANGERS: [u32; 2] = [64_011, 64_012];

/// Users of one group, which a rule names.
const MEMBERS: [u32; 3] = [64_021, 64_022, 64_023];

/// The connections that an attacker holds: those of two exceed the daemon's limit.
const MANY: usize = 2000;

/// The policy of a lease.
const POLICY: &str = r#"{
  "Version": "1",
  "Statement": [{"Effect": "Allow", "Action": "oss:GetObject", "Resource": "*"}]
}"#;

/// One attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) users: Users,
    pub(crate) plan: fn(&SystemDaemon) -> Plan,
    /// Calls to STS get no reply during the attack.
    pub(crate) fault: Option<(Action, Fault)>,
    /// Maximum number of calls to STS that the attack may cause.
    pub(crate) max_calls: u64,
}

/// The users of an attack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// Two users without a rule.
    Strangers,
    /// Three users of one rule.
    Members,
}

impl Users {
    pub(crate) fn all(self) -> Vec<UnixUser> {
        match self {
            Self::Strangers => STRANGERS.map(UnixUser::new).to_vec(),
            Self::Members => {
                let member = |uid| UnixUser {
                    group: Some(GROUP),
                    ..UnixUser::new(uid)
                };
                MEMBERS.map(member).to_vec()
            }
        }
    }
}

pub(crate) const ATTACKS: [Attack; 11] = [
    strangers("unfinished requests", |machine| {
        // 65,005 of 65,536 bytes.
        let begun = [&hello_request()[..], &[0, 1, 0, 0], &[2; 65_001]].concat();
        frames(machine, begun)
    }),
    strangers("unfinished requests of 512 bytes", |machine| {
        let begun = [&hello_request()[..], &[0, 0, 2, 0], &[2; 500]].concat();
        frames(machine, begun)
    }),
    strangers("unfinished lease requests", |machine| {
        let begun = [&hello_request()[..], &[0, 0, 32, 0], &[6; 8000]].concat();
        frames(machine, begun)
    }),
    strangers("unread replies", |machine| {
        let status = Request::Status {
            after: String::new(),
        };
        frames(machine, requests(&status, 200))
    }),
    strangers("unfinished HTTP heads, Unix socket", |machine| Plan {
        address: Address::Unix(machine.env.path("run/http.sock")),
        ..frames(machine, http_head())
    }),
    strangers("unfinished HTTP heads, TCP", |machine| Plan {
        address: tcp(machine),
        held: MANY / 2,
        ..frames(machine, http_head())
    }),
    strangers("refused requests", |machine| Plan {
        held: 1,
        reads: Reads::OneReply,
        ..frames(machine, requests(&credentials("shared"), 1))
    }),
    members("watches", |machine| {
        let watch = Request::Watch {
            profile: "shared".into(),
        };
        frames(machine, requests(&watch, 1))
    }),
    Attack {
        fault: Some((Action::AssumeRole, Fault::Hang)),
        ..members("waiting requests", |machine| {
            frames(machine, requests(&credentials("waiting"), 1))
        })
    },
    members("refreshes", |machine| {
        let refresh = Request::Refresh {
            profile: "shared".into(),
            patience_millis: 10_000,
        };
        Plan {
            held: 1,
            reads: Reads::OneReply,
            ..frames(machine, requests(&refresh, 1))
        }
    }),
    Attack {
        // The burst of three users, and a token in four seconds for each.
        max_calls: 96,
        ..members("leases", |machine| {
            let lease = Request::Lease {
                profile: "shared".into(),
                policy: Some(POLICY.into()),
                ttl_millis: 60_000,
                patience_millis: 10_000,
            };
            Plan {
                held: 1,
                reads: Reads::OneReply,
                ..frames(machine, requests(&lease, 1))
            }
        })
    },
];

const fn strangers(name: &'static str, plan: fn(&SystemDaemon) -> Plan) -> Attack {
    Attack {
        name,
        users: Users::Strangers,
        plan,
        fault: None,
        max_calls: 16,
    }
}

const fn members(name: &'static str, plan: fn(&SystemDaemon) -> Plan) -> Attack {
    Attack {
        users: Users::Members,
        ..strangers(name, plan)
    }
}

/// Returns a plan with many connections to the socket of frames.
fn frames(machine: &SystemDaemon, bytes: Vec<u8>) -> Plan {
    Plan {
        address: Address::Unix(machine.env.socket()),
        bytes,
        held: MANY,
        reads: Reads::Nothing,
    }
}

fn credentials(profile: &str) -> Request {
    Request::Credentials {
        profile: profile.into(),
        minimum_life_millis: 0,
        patience_millis: 600_000,
    }
}

/// Returns the bytes of a Hello and of a request, `count` times.
fn requests(request: &Request, count: usize) -> Vec<u8> {
    [hello_request(), request.frame().unwrap().repeat(count)].concat()
}

fn http_head() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(7000)).into_bytes()
}

/// Returns the address of the HTTP endpoint.
fn tcp(machine: &SystemDaemon) -> Address {
    let status = machine.env.client().status().unwrap();
    Address::Tcp(status.http_address.unwrap().parse().unwrap())
}
