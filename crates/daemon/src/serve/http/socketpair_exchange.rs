//! One HTTP connection over a socket pair, for the fuzz target: no listener, no network.

use std::{
    cell::OnceCell,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream as StdUnixStream,
    sync::Arc,
};

use tokio::{
    net::UnixStream,
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    HttpEndpoint, MasterFile, ServerContext, Transport, UrlSecrets, identify, serve_connection,
};
use crate::{
    access::{Access, peer::Peer},
    audit::Audit,
    profile::Profile,
    runtime::clock::{Clock, SystemClock},
    serve::connection_limit::{ConnectionLimiter, UserQuota},
    session::{profile_entry::ProfileEntry, snapshot::Session, store::Store},
};

/// The secret of the sample session.
const SECRET: &str = "secret of the sample";

thread_local! {
    static ENVIRONMENT: OnceCell<(Runtime, Arc<ServerContext>)> = const { OnceCell::new() };
}

/// Returns the response to a request without the secret of the URL, and a text that it must not
/// contain.
pub(crate) fn respond_for_fuzzing(bytes: &[u8]) -> (Vec<u8>, &'static str) {
    ENVIRONMENT.with(|environment| {
        let (runtime, context) = environment.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            (runtime.expect("a runtime"), Arc::new(server_context()))
        });
        let (mut ours, theirs) = StdUnixStream::pair().expect("a pair of sockets");
        // Cut to less than the buffer of a socket, so that the write does not block.
        ours.set_nonblocking(true).expect("a socket");
        let _ = ours.write_all(&bytes[..bytes.len().min(64 * 1024)]);
        let _ = ours.shutdown(Shutdown::Write);
        theirs.set_nonblocking(true).expect("a socket");
        runtime.block_on(async {
            let stream = UnixStream::from_std(theirs).expect("a socket");
            let caller = identify(context, Peer::of_user(0), std::os::fd::AsFd::as_fd(&stream));
            let (context, stop) = (Arc::clone(context), CancellationToken::new());
            serve_connection(stream, context, caller, Transport::Tcp, stop).await;
        });
        let mut response = Vec::new();
        ours.set_nonblocking(false).expect("a socket");
        let _ = ours.read_to_end(&mut response);
        (response, SECRET)
    })
}

fn server_context() -> ServerContext {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let now = clock.boot();
    let mut session = Session::sample();
    session.access_key_secret = SECRET.to_owned().into();
    session.lifetime.began = now;
    session.lifetime.ends = now + std::time::Duration::from_secs(1_000_000);
    let store = Store::default();
    let entry = ProfileEntry::from_saved(Arc::new(Profile::sample()), session, now);
    store.replace([Arc::new(entry)]);
    let secrets = UrlSecrets::take_over(None, MasterFile::default()).expect("random bytes");
    let http = HttpEndpoint::new(secrets, None, Arc::clone(&clock), Arc::default());
    ServerContext {
        store: Arc::new(store),
        access: Access::User { uid: 0 },
        audit: Arc::new(Audit::new(Arc::clone(&clock), Arc::default())),
        commands: mpsc::channel(1).0,
        limiter: Arc::new(ConnectionLimiter::new(1024, UserQuota::All)),
        calls: Arc::default(),
        http: Arc::new(http.expect("a socket")),
        serve_durations: Arc::default(),
        lease: None,
        revoked: CancellationToken::new(),
        status: None,
        clock,
    }
}
