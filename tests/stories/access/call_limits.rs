//! The limits of the calls to STS and to identity providers that users of a system daemon can cause.
//! Each story has at least two users, because a person may have many.

use std::{thread, time::Duration};

use e2e::{Action, SystemDaemon, TestEnv, UnixUser, unix_time, upload_profile};
use stsd_client::{Client, Error, FailureKind};

use super::{
    lease::{NARROW, PATIENCE},
    limits::{FRIEND, MEMBERS},
};

/// The users that cause calls in a loop.
const LOOPS: [u32; 2] = [MEMBERS[0], MEMBERS[1]];

/// The operations of each loop.
const ATTEMPTS: usize = 50;

/// Returns the rules that name users.
fn rules(uids: &[u32]) -> Vec<String> {
    uids.iter().map(|uid| format!("user:{uid}")).collect()
}

/// Has both users repeat an operation at the same time; returns the number of successes. A refusal is
/// due to a limit.
fn successes(operation: impl Fn() -> Result<(), Error> + Sync) -> u64 {
    let loop_of = |uid: u32| {
        UnixUser::new(uid).run(|| {
            let is_success = |_: &usize| match operation() {
                Ok(()) => true,
                Err(Error::Refused(failure)) => {
                    assert_eq!(failure.kind, FailureKind::Throttled, "{failure:?}");
                    false
                }
                Err(other) => panic!("{other}"),
            };
            (0..ATTEMPTS).filter(is_success).count() as u64
        })
    };
    thread::scope(|scope| {
        let loops = LOOPS.map(|uid| scope.spawn(move || loop_of(uid)));
        loops.into_iter().map(|it| it.join().unwrap()).sum()
    })
}

fn refresh(client: &Client, profile: &str) -> Result<(), Error> {
    client.refresh(profile, PATIENCE)
}

#[test]
fn refresh_loops_of_two_users_cost_one_call_in_ten_seconds() {
    let Some(machine) = SystemDaemon::start(&upload_profile("shared", &rules(&LOOPS))) else {
        return;
    };
    let env = &machine.env;
    machine.assert_shim(UnixUser::new(LOOPS[0]), "shared", 0);
    let (began, client) = (unix_time(), env.client());
    assert_eq!(successes(|| refresh(&client, "shared")), 100);
    let most = 2 + 2 * (unix_time() - began).div_ceil(10);
    let calls = env.emulator().calls(Action::AssumeRole);
    assert!(calls <= most, "{calls} calls for 100 refreshes");
    // Root and the daemon's user refresh at any time.
    refresh(&client, "shared").unwrap();
    assert_eq!(env.emulator().calls(Action::AssumeRole), calls + 1);
}

#[test]
fn refreshes_of_many_profiles_are_limited_for_each_user() {
    let names: Vec<_> = (0..40).map(|number| format!("p{number}")).collect();
    let profile = |name: &String| upload_profile(name, &rules(&[FRIEND]));
    let Some(machine) = SystemDaemon::start(&names.iter().map(profile).collect::<String>()) else {
        return;
    };
    let (began, client) = (unix_time(), machine.env.client());
    let refused = UnixUser::new(FRIEND).run(|| {
        let results = names.iter().map(|name| refresh(&client, name));
        let kinds = results.filter_map(Result::err).map(|it| match it {
            Error::Refused(failure) => failure.kind,
            other => panic!("{other}"),
        });
        kinds.collect::<Vec<_>>()
    });
    let seconds = usize::try_from(unix_time() - began).unwrap();
    assert!(refused.len() >= 40 - 16 - 1 - seconds / 4, "{refused:?}");
    assert!(refused.iter().all(|it| *it == FailureKind::Throttled));
}

#[test]
fn lease_loops_of_two_users_are_limited_and_leave_leases_to_a_third() {
    let Some(machine) = SystemDaemon::start(&upload_profile("shared", &rules(&MEMBERS))) else {
        return;
    };
    let env = &machine.env;
    let (began, client) = (unix_time(), env.client().without_retries());
    let lease = || {
        let opened = client.lease("shared", Some(NARROW), PATIENCE, PATIENCE);
        opened.map(drop)
    };
    let granted = successes(lease);
    // Each user has a burst of 16 and then one in four seconds.
    let most = 2 * (16 + 1 + (unix_time() - began) / 4);
    assert!((32..=most).contains(&granted), "{granted} leases");
    let calls = env.emulator().calls(Action::AssumeRole);
    assert!(calls <= granted + 1, "{calls} calls for {granted} leases");
    UnixUser::new(MEMBERS[2]).run(lease).unwrap();
}

/// Returns a profile for both users, which passes the session of an instance's role on.
fn instance_profile(env: &TestEnv) -> String {
    let imds = env.emulator().imds_url();
    let allow = rules(&LOOPS);
    format!(
        "[source.instance]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{imds}\"\n\
         [profile.instance]\nsource = \"instance\"\nallow = {allow:?}\n"
    )
}

#[test]
fn refresh_loops_of_a_passed_through_session_cost_one_request_in_ten_seconds() {
    let Some(machine) = SystemDaemon::start_with("", instance_profile) else {
        return;
    };
    let (env, client) = (&machine.env, machine.env.client());
    let requests = || env.emulator().calls(Action::ImdsCredentials);
    machine.assert_shim(UnixUser::new(LOOPS[0]), "instance", 0);
    let first = requests();
    // Afterwards the session is older than ten seconds, and the instance has confirmed it.
    env.wait_until("a refresh causes a request", || {
        let refreshed = UnixUser::new(LOOPS[0]).run(|| refresh(&client, "instance"));
        refreshed.is_ok() && requests() > first
    });
    let (began, before) = (unix_time(), requests());
    let most = || before + 2 * (unix_time() - began).div_ceil(10);
    assert_eq!(successes(|| refresh(&client, "instance")), 100);
    let calls = requests();
    assert!(calls <= most(), "{calls} requests for 100 refreshes");
    // No session of the instance lasts for ten days: the requests are answered from memory.
    let long = Duration::from_secs(10 * 24 * 60 * 60);
    let credentials = || client.credentials("instance", long, PATIENCE).map(drop);
    assert_eq!(successes(credentials), 100);
    let calls = requests();
    assert!(calls <= most(), "{calls} requests for 100 long lifetimes");
}
