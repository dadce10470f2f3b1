//! The plan of one simulation, drawn from its seed before the start.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use stsd::{
    profile::{
        CachedIdentity, EndpointOrigin, Endpoints, IdentityProvider, NameParts, Profile,
        ProfileName, ResolveContext, ResolveFuture, ResolvedIdentity, RoleArn, RoleSessionName,
        SessionDuration,
    },
    refresh::supervisor::RefreshConfig,
};
use stsd_sts::{Endpoint, Proof, SecretText, SourceCredentials};

use crate::cloud::{Manners, Outage, Trouble};

const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// An event of the machine or of its administrator.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The machine is suspended.
    Suspend(Duration),
    /// A step of the wall clock, to this error in seconds.
    WallClock(i64),
    /// A new configuration.
    Reload(Wanted),
    /// A person requests a renewal (`stsctl refresh`).
    Refresh(usize),
}

/// The part of a configuration in which simulations differ.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted(pub BTreeMap<usize, WantedProfile>);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WantedProfile {
    pub duration: &'static str,
    /// A number that changes with the rights of the profile.
    pub grant: u32,
    pub keep_warm: bool,
}

/// The requests of the programs of one profile.
#[derive(Debug, Clone)]
pub(crate) struct Habit {
    pub mean_pause: Duration,
    pub longest_minimum_life: Duration,
    /// The days without requests.
    pub holidays: std::ops::Range<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub seed: u64,
    pub length: Duration,
    pub honest_naps: bool,
    pub calls_per_second: u32,
    pub manners: Manners,
    pub first: Wanted,
    pub habits: Vec<Habit>,
    pub events: Vec<(Duration, Event)>,
}

impl Plan {
    /// Draws a plan. Most plans have one to six profiles over thirty days; one in forty has 300
    /// profiles over one day, and one in fifty has every nap of a real machine.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let is_herd = seed % 40 == 19;
        let honest_naps = seed % 50 == 7;
        let length = if is_herd || honest_naps {
            DAY
        } else {
            30 * DAY
        };
        let count = if is_herd { 300 } else { random.usize(1..=6) };
        let first = Wanted((0..count).map(|it| (it, profile(&mut random))).collect());
        let events = events(&mut random, &first, length);
        Self {
            seed,
            length,
            honest_naps,
            calls_per_second: if is_herd { random.u32(5..=20) } else { 20 },
            manners: manners(&mut random, length),
            habits: (0..count).map(|_| habit(&mut random, length)).collect(),
            first,
            events,
        }
    }

    pub(crate) fn is_herd(&self) -> bool {
        self.habits.len() > 100
    }
}

impl Wanted {
    /// Returns the configuration, as the daemon reads it from a file.
    pub(crate) fn config(&self, calls_per_second: u32) -> RefreshConfig {
        let make = |(index, it): (&usize, &WantedProfile)| {
            let profile = it.profile(*index);
            (profile.name.clone(), Arc::new(profile))
        };
        RefreshConfig {
            endpoints: Endpoints::one(
                Endpoint::custom("http://127.0.0.1:1").unwrap(),
                EndpointOrigin::Default,
            ),
            sts_calls_per_second: calls_per_second,
            fleet_spread: Duration::ZERO,
            profiles: self.0.iter().map(make).collect(),
        }
    }
}

impl WantedProfile {
    fn profile(&self, index: usize) -> Profile {
        let name = ProfileName::new(&name(index)).unwrap();
        let parts = NameParts {
            user: "user".into(),
            host: "host".into(),
            pid: 1,
            instance_id: || None,
        };
        Profile {
            source: CachedIdentity::new(&["simulated"], Simulated),
            role_arn: RoleArn::new(&role(index)).ok(),
            role_session_name: RoleSessionName::expand("{profile}", &parts, &name).unwrap(),
            duration: SessionDuration::new(self.duration).unwrap(),
            policy: None,
            external_id: Some(format!("grant-{}", self.grant).into()),
            source_identity: None,
            keep_warm: self.keep_warm,
            export: None,
            allow: Box::default(),
            name,
        }
    }
}

/// A key that never changes.
#[derive(Debug)]
struct Simulated;

impl IdentityProvider for Simulated {
    fn resolve<'a>(&'a self, ask: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            Ok(ResolvedIdentity {
                proof: Arc::new(Proof::Credentials(SourceCredentials {
                    access_key_id: "LTAI".into(),
                    access_key_secret: SecretText::from("secret".to_owned()),
                    security_token: None,
                })),
                asked: ask.clock.boot(),
                end: None,
            })
        })
    }

    fn describe(&self) -> String {
        "the simulated key".to_owned()
    }
}

pub(crate) fn name(index: usize) -> String {
    format!("profile-{index}")
}

pub(crate) fn role(index: usize) -> String {
    format!("acs:ram::1:role/{}", name(index))
}

fn between(random: &mut Rng, least: Duration, most: Duration) -> Duration {
    least + (most - least).mul_f64(random.f64())
}

/// Returns a duration whose logarithm is uniformly distributed.
fn about(random: &mut Rng, least: Duration, most: Duration) -> Duration {
    least.mul_f64((most.as_secs_f64() / least.as_secs_f64()).powf(random.f64()))
}

fn profile(random: &mut Rng) -> WantedProfile {
    let durations = ["15m", "30m", "50m", "1h", "1h", "1h", "2h", "12h"];
    WantedProfile {
        duration: durations[random.usize(..durations.len())],
        grant: 0,
        keep_warm: random.u8(..4) == 0,
    }
}

fn habit(random: &mut Rng, length: Duration) -> Habit {
    let days = length.as_secs() / DAY.as_secs();
    let rest = random.u64(..=days);
    Habit {
        mean_pause: about(random, 8 * MINUTE, 6 * HOUR),
        longest_minimum_life: random
            .choice([Duration::ZERO, 15 * MINUTE, HOUR, 24 * HOUR])
            .unwrap(),
        holidays: rest..(rest + random.u64(..=days / 3)),
    }
}

fn manners(random: &mut Rng, length: Duration) -> Manners {
    let mut outages = Vec::new();
    let mut at = Duration::ZERO;
    // The mean pause differs between plans: some have few outages, some are down most of the time.
    let pause = about(random, HOUR, 10 * DAY);
    loop {
        at += between(random, MINUTE, pause * 2);
        if at >= length {
            break;
        }
        let lasts = about(random, Duration::from_secs(5), 8 * HOUR);
        outages.push(Outage {
            begins: at,
            ends: at + lasts,
            trouble: trouble(random),
        });
        at += lasts;
    }
    Manners {
        outages,
        skew_seconds: random.i64(-7200..=7200),
        longest_session: match random.u8(..10) {
            0 => 10 * MINUTE,
            1 | 2 => HOUR,
            _ => 12 * HOUR,
        },
        bad_dates: random.choice([0, 0, 5, 50]).unwrap(),
        used_nonces: random.choice([0, 0, 10, 100]).unwrap(),
        slowest_answer: about(random, Duration::from_millis(20), Duration::from_secs(3)),
    }
}

fn trouble(random: &mut Rng) -> Trouble {
    let hint = random.bool().then(|| random.u64(1..=300));
    let troubles = [
        Trouble::Unreachable,
        Trouble::Unreachable,
        Trouble::Hangs,
        Trouble::Unavailable,
        Trouble::Unreadable,
        Trouble::Expired,
        Trouble::Beyond,
        Trouble::Throttled(hint),
        Trouble::Denied,
    ];
    troubles[random.usize(..troubles.len())]
}

fn events(random: &mut Rng, first: &Wanted, length: Duration) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    let mut now = first.clone();
    let pause = about(random, 2 * HOUR, 8 * DAY);
    let mut at = Duration::ZERO;
    loop {
        at += between(random, Duration::from_secs(1), pause * 2);
        if at >= length {
            return events;
        }
        let event = match random.u8(..10) {
            0..4 => Event::Suspend(about(random, MINUTE, 3 * DAY)),
            4..6 => Event::WallClock(random.i64(-7200..=7200)),
            6..9 => {
                change(random, first, &mut now);
                Event::Reload(now.clone())
            }
            _ => Event::Refresh(random.usize(..first.0.len())),
        };
        events.push((at, event));
    }
}

/// Changes one profile, or nothing.
fn change(random: &mut Rng, first: &Wanted, now: &mut Wanted) {
    let index = random.usize(..first.0.len());
    let several = now.0.len() > 1;
    let Some(known) = now.0.get_mut(&index) else {
        now.0.insert(index, profile(random));
        return;
    };
    match random.u8(..6) {
        0 => {}
        1 => known.grant += 1,
        2 => known.keep_warm = !known.keep_warm,
        3 if several => {
            now.0.remove(&index);
        }
        _ => known.duration = profile(random).duration,
    }
}
