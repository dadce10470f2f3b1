//! What the fuzz target reaches: a whole connection on loopback, without the listening.

use std::{
    cell::OnceCell,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown},
    os::unix::net::UnixStream as StdUnixStream,
    sync::Arc,
};

use tokio::{
    net::UnixStream,
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{Http, Service, UrlSecret, caller, converse};
use crate::{
    access::{Access, peer::Peer},
    audit::Audit,
    profile::Profile,
    runtime::clock::{Clock, SystemClock},
    serve::{
        connection_limit::{Crowd, Share},
        socket::Front,
    },
    session::{
        snapshot::Session,
        store::{ProfileEntry, Store},
    },
    sts::rate_limit::RateLimiter,
};

/// What stands for a session's secret.
const SECRET: &str = "secret of the sample";

thread_local! {
    static WORLD: OnceCell<(Runtime, Arc<Service>)> = const { OnceCell::new() };
}

/// Answers what somebody of our user sends who does not know the URL's secret.
pub(crate) fn attempt(bytes: &[u8]) -> (Vec<u8>, &'static str) {
    WORLD.with(|world| {
        let (runtime, service) = world.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            (runtime.expect("a runtime"), Arc::new(service()))
        });
        let (mut ours, theirs) = StdUnixStream::pair().expect("a pair of sockets");
        // More than the socket takes is sent by nobody here.
        ours.set_nonblocking(true).expect("a socket");
        let _ = ours.write_all(&bytes[..bytes.len().min(64 * 1024)]);
        let _ = ours.shutdown(Shutdown::Write);
        theirs.set_nonblocking(true).expect("a socket");
        runtime.block_on(async {
            let stream = UnixStream::from_std(theirs).expect("a socket");
            let caller = caller(service, Peer::of_user(0), std::os::fd::AsFd::as_fd(&stream));
            let tcp = Some((Ipv4Addr::LOCALHOST, 7787).into());
            let (service, stop) = (Arc::clone(service), CancellationToken::new());
            converse(stream, service, caller, tcp, stop).await;
        });
        let mut said = Vec::new();
        ours.set_nonblocking(false).expect("a socket");
        let _ = ours.read_to_end(&mut said);
        (said, SECRET)
    })
}

fn service() -> Service {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let now = clock.boot();
    let mut session = Session::sample();
    session.access_key_secret = SECRET.to_owned().into();
    session.lifetime.began = now;
    session.lifetime.ends = now + std::time::Duration::from_secs(1_000_000);
    let store = Store::default();
    let entry = ProfileEntry::from_saved(Arc::new(Profile::sample()), session, now);
    store.replace([Arc::new(entry)]);
    let secret = UrlSecret::take_over(None, None).expect("random bytes");
    Service {
        store: Arc::new(store),
        rate_limiter: Arc::new(RateLimiter::new(1, now)),
        access: Access::User { uid: 0 },
        audit: Arc::new(Audit::new(Arc::clone(&clock))),
        orders: mpsc::channel(1).0,
        crowd: Arc::new(Crowd::new(1024, Share::All)),
        front: Arc::new(Front::new().expect("a descriptor")),
        http: Arc::new(Http::new(secret, None).expect("a socket")),
        lease: None,
        over: CancellationToken::new(),
        protections: Vec::new(),
        in_journal: false,
        secret_pages: Arc::default(),
        config_path: String::new(),
        started: now,
        clock,
    }
}
