//! A cloud small enough to carry: Alibaba Cloud STS and OSS on loopback, for
//! demonstrations, for this project's tests, and for programs that want to see how they
//! fare when credentials rotate and clouds fail.
//!
//! Every signature is verified with code that shares nothing with the project's own signer.
//!
//! # Steering
//!
//! On the STS address:
//!
//! - `GET /_emulator/stats` → `{"calls": {"AssumeRole": {"ok": 3, "NoPermission": 1,
//!   "fault:reset": 2}, "oss:PutObject": {"ok": 1}}, "sessions_live": 3}`; `DELETE` zeroes it.
//! - `POST /_emulator/faults` scripts a fault; `GET` lists, `DELETE` clears:
//!
//! ```json
//! {"action": "AssumeRole", "times": 2, "fault": {"kind": "error", "code": "InternalError"}}
//! ```
//!
//! `action` is `AssumeRole`, `GetCallerIdentity`, `oss:PutObject` (and `Get`, `Head`,
//! `Delete`, `ListObjects`), `oss:*` or `*`. `times` counts calls, `"for": "5s"` limits the
//! time; without either a fault stays until it is cleared. The first fault in the queue
//! that fits a call applies to it. The kinds:
//!
//! | kind | with | the client sees |
//! |---|---|---|
//! | `error` | `code`, `status`?, `message`? | that error |
//! | `delay` | `millis` | the true answer, late |
//! | `hang` | | nothing, until the faults are cleared or for a minute |
//! | `reset` | | the connection ends without an answer |
//! | `half-body` | | half of the body that `Content-Length` promises |
//! | `html` | | a web page with status 200 |
//! | `wrong-date` | `offset_seconds` | a server whose whole clock is wrong: `Date`, time checks, `Expiration` |
//! | `expired`, `empty`, `beyond` | | a credential that has expired, is empty, or claims to live a year |
//! | `throttle` | `retry_after_millis`? | `Throttling.User`, with `x-acs-retry-after` |

pub mod acs3;
mod assume_role;
pub mod client;
pub mod clock;
mod cloud;
mod encoding;
pub mod faults;
mod listener;
mod nonces;
mod objects;
pub mod options;
mod oss;
pub mod oss_error;
mod oss_list;
pub mod oss_sign;
mod oss_v1;
mod oss_v4;
pub mod place;
pub mod policy;
mod reply;
pub mod request;
pub mod rpc;
mod server;
mod sessions;
pub mod signed;
mod stats;
pub mod sts;
mod sts_answer;
pub mod sts_error;
pub mod world;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::Clock;
use cloud::Cloud;
use listener::{BreakableListener, Switch};
use server::{Service, router};
use tokio::net::TcpListener;
use world::World;

/// An emulated cloud with its two listeners, ready to be run.
pub struct Emulator {
    cloud: Arc<Cloud>,
    sts: TcpListener,
    oss: TcpListener,
}

/// How an emulator is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where STS listens; port 0 lets the kernel choose.
    pub sts: SocketAddr,
    /// Where OSS listens; port 0 lets the kernel choose.
    pub oss: SocketAddr,
    /// What exists.
    pub world: World,
    /// Sessions end this early, however long they were asked for.
    pub session_life: Option<Duration>,
    /// What the time is.
    pub clock: Clock,
}

impl Emulator {
    /// Listens at both addresses.
    ///
    /// # Errors
    /// When an address cannot be listened at, or is not a loopback address.
    pub async fn bind(setup: Setup) -> io::Result<Self> {
        for address in [setup.sts, setup.oss] {
            if !address.ip().is_loopback() {
                let text = format!(
                    "{address} is not a loopback address; the emulator serves this machine alone"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        Ok(Self {
            sts: TcpListener::bind(setup.sts).await?,
            oss: TcpListener::bind(setup.oss).await?,
            cloud: Arc::new(Cloud {
                world: setup.world,
                clock: setup.clock,
                session_life: setup.session_life,
                sessions: Mutex::default(),
                nonces: Mutex::default(),
                objects: Mutex::default(),
                stats: Mutex::default(),
                faults: faults::Faults::default(),
            }),
        })
    }

    /// Returns where STS and OSS listen.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.sts.local_addr()?, self.oss.local_addr()?))
    }

    /// Serves until `stop` is there. Connections are dropped then, not drained: a cloud
    /// that goes away goes away.
    ///
    /// # Errors
    /// When serving fails altogether.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let serve = |listener, service| {
            let router = router(Arc::clone(&self.cloud), service);
            let service = router.into_make_service_with_connect_info::<Switch>();
            axum::serve(BreakableListener(listener), service).into_future()
        };
        tokio::select! {
            () = stop => Ok(()),
            failed = serve(self.sts, Service::Sts) => failed,
            failed = serve(self.oss, Service::Oss) => failed,
        }
    }
}
