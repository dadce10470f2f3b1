//! Decides how a lease goes: its owner names a profile and what narrows it, passes a socket
//! that listens, and stays. The socket answers that one profile until the agreed time is
//! over or the owner has left.
//!
//! The owner makes the socket, because it may do so where the daemon may not: beside a
//! container, in a directory of its own.

mod accept_thread;

use std::{
    io::{self, ErrorKind, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixListener as StdUnixListener,
    },
    sync::Arc,
    time::Duration,
};

use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SocketType, recvmsg, sockopt,
    },
};
use stsd_wire::{Failure, FailureKind, Reply};
use tokio::{
    io::Interest,
    sync::{oneshot, watch},
    task::yield_now,
    time::timeout,
};
use tracing::debug;

use self::accept_thread::Streams;
use crate::{
    access::Access,
    audit::Operation,
    profile::{Profile, SessionPolicy},
    refresh::supervisor::LeaseHandle,
    runtime::clock::{BootTime, Clock},
    serve::{
        connection_limit::Crowd,
        context::{Order, Service},
        socket::{
            DEADLINE, admit,
            connection::{Connection, ended, malformed},
            wire_convert,
        },
    },
    session::{
        snapshot::SessionResult,
        store::{ProfileEntry, Store},
    },
};

/// A lease has an end that somebody can still remember.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Connection {
    /// Opens a lease and holds it open; returns when it is over.
    pub(in crate::serve::socket) async fn lease(
        &mut self,
        profile: &str,
        policy: Option<String>,
        ttl: Duration,
        patience: Duration,
    ) -> io::Result<()> {
        // Followed from before the profile is looked up.
        let replacements = self.service.store.replacements();
        let (base, leased, until) = match self.grant(profile, policy, ttl, patience).await {
            Ok(granted) => granted,
            Err(failure) => return self.reply(&Reply::Failure(failure)).await,
        };
        self.reply(&Reply::Done).await?;
        let listener = match timeout(DEADLINE, self.socket()).await? {
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                self.reply(&Reply::Failure(malformed(&error.to_string())))
                    .await?;
                return Err(error);
            }
            listener => listener?,
        };
        let leased = Arc::new(leased);
        // The thread holds it as well, and must not keep it alive.
        let crowd = Arc::clone(&self.service.crowd);
        let over = Over(&leased, &crowd);
        let streams = accept_thread::accept(listener, Arc::clone(&leased))?;
        self.reply(&Reply::Done).await?;
        debug!(profile, lease = leased.id.number, owner = %self.peer, "lease opened");

        let service = Arc::new(self.service.of_lease(&leased));
        let clock = Arc::clone(&self.service.clock);
        let end = tokio::select! {
            biased;
            () = leased.revoked.cancelled() => Reply::Failure(wire_convert::lease_changed()),
            failure = self.lost(profile, &base.profile, replacements) => Reply::Failure(failure?),
            () = reached(until, &*clock) => Reply::Done,
            () = serve(streams, service) => Reply::Failure(wire_convert::lease_without_a_socket()),
        };
        debug!(profile, lease = leased.id.number, "lease over");
        drop(over);
        self.reply(&end).await?;
        Err(ended("the lease is over"))
    }

    /// Decides whether there is to be a lease, and waits for its first session: a policy
    /// that STS refuses should be refused to whoever wrote it.
    async fn grant(
        &self,
        profile: &str,
        policy: Option<String>,
        ttl: Duration,
        patience: Duration,
    ) -> Result<(Arc<ProfileEntry>, LeaseHandle, BootTime), Failure> {
        if !self.service.access.allows_lease_and_refresh() {
            return Err(self.refuse_more(Operation::Lease));
        }
        let base = self.find(Operation::Lease, profile)?;
        let refused = |failure| {
            let who = (&self.peer, self.stream.as_fd());
            self.service
                .audit
                .refused(Operation::Lease, Some(profile), who);
            failure
        };
        let narrowed = narrowed(&base.profile, policy).map_err(refused)?;
        if ttl.is_zero() || ttl > LONGEST {
            return Err(refused(refusal(
                "a lease cannot last that long",
                "give a time up to 30 days, such as 20m or 8h",
            )));
        }
        let until = self.service.clock.boot() + ttl;
        let leased = self.order(narrowed, until).await.map_err(refused)?;
        let clock = &*self.service.clock;
        match leased.entry.wait_for(Duration::ZERO, patience, clock).await {
            SessionResult::Ready(session) | SessionResult::Short(session) => {
                let what = (profile, leased.id.number);
                let who = (&self.peer, self.stream.as_fd());
                self.service.audit.lease_opened(what, &session, who);
                Ok((base, leased, until))
            }
            other => Err(wire_convert::unserved(&other)),
        }
    }

    async fn order(&self, profile: Profile, until: BootTime) -> Result<LeaseHandle, Failure> {
        let (tell, told) = oneshot::channel();
        let order = Order::Lease {
            profile: Arc::new(profile),
            until,
            uid: self.peer.uid,
            tell,
        };
        let ordered = self.service.orders.send(order).await;
        ordered.map_err(|_| wire_convert::stopping())?;
        let leased = told.await.map_err(|_| wire_convert::stopping())?;
        leased.ok_or_else(wire_convert::too_many_leases)
    }

    /// Receives the socket that the owner has made.
    async fn socket(&self) -> io::Result<StdUnixListener> {
        let receive = |stream: &BorrowedFd<'_>| receive(*stream);
        let socket = self.wait_and(Interest::READABLE, receive).await?;
        if !listens(&socket) {
            let problem = "a lease needs a Unix socket that listens";
            return Err(io::Error::new(ErrorKind::InvalidInput, problem));
        }
        Ok(StdUnixListener::from(socket))
    }

    /// Ends with the reason when the owner has no right to the lease any more, or with an
    /// error when it has left.
    async fn lost(
        &mut self,
        profile: &str,
        base: &Profile,
        mut replacements: watch::Receiver<()>,
    ) -> io::Result<Failure> {
        loop {
            tokio::select! {
                left = self.speaks() => {
                    left?;
                    return Err(ended("a request on a connection that holds a lease"));
                }
                changed = replacements.changed() => changed.map_err(ended)?,
            }
            match self.find(Operation::Lease, profile) {
                Ok(entry) if entry.profile.grants_the_same(base) => {}
                Ok(_) => return Ok(wire_convert::lease_changed()),
                Err(failure) => return Ok(failure),
            }
        }
    }
}

/// Ends a lease for all who came by it, however its owner left.
struct Over<'a>(&'a LeaseHandle, &'a Crowd);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.revoked.cancel();
        self.1.end_lease(self.0.id.number);
    }
}

impl Service {
    /// Returns what those work with who come by a lease.
    fn of_lease(&self, leased: &LeaseHandle) -> Self {
        let store = Store::default();
        store.replace([Arc::clone(&leased.entry)]);
        Self {
            store: Arc::new(store),
            rate_limiter: Arc::clone(&self.rate_limiter),
            clock: Arc::clone(&self.clock),
            access: Access::Lease {
                uid: leased.id.owner,
            },
            audit: Arc::clone(&self.audit),
            orders: self.orders.clone(),
            crowd: Arc::clone(&self.crowd),
            front: Arc::clone(&self.front),
            http: Arc::clone(&self.http),
            lease: Some(leased.id),
            over: leased.revoked.clone(),
            protections: Vec::new(),
            in_journal: false,
            secret_pages: Arc::clone(&self.secret_pages),
            config_path: String::new(),
            started: self.started,
        }
    }
}

/// Makes the profile that is leased.
fn narrowed(base: &Profile, policy: Option<String>) -> Result<Profile, Failure> {
    if base.role_arn.is_none() {
        return Err(refusal(
            "the profile hands on what its source gives, and only a role can be narrowed",
            "lease a profile with a role_arn",
        ));
    }
    let policy = match (policy, &base.policy) {
        (Some(_), Some(_)) => {
            return Err(refusal(
                "the profile has a policy of its own, and STS takes one a session",
                "lease it without a policy, or lease a profile that has none",
            ));
        }
        (None, None) => {
            return Err(refusal(
                "a lease is narrowed by a policy, and there is none",
                "stsctl lease PROFILE --policy FILE",
            ));
        }
        (None, Some(own)) => own.clone(),
        (Some(text), None) => SessionPolicy::new(&text)
            .map_err(|invalid| refusal(&invalid.to_string(), "correct the policy's file"))?,
    };
    Ok(Profile {
        policy: Some(policy),
        keep_warm: false,
        export: None,
        // Who may ask at that socket is decided by whose it is.
        allow: Box::default(),
        ..base.clone()
    })
}

fn refusal(problem: &str, hint: &str) -> Failure {
    wire_convert::failure(FailureKind::BadConfig, problem, hint)
}

/// Ends at a moment; timers stand still while the machine sleeps, so it looks at times.
async fn reached(moment: BootTime, clock: &dyn Clock) {
    loop {
        let left = moment.since(clock.boot());
        if left.is_zero() {
            return;
        }
        clock.sleep_at_most(left).await;
    }
}

/// Receives one byte and the one descriptor that comes with it.
fn receive(stream: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(stream, &mut bytes, &mut ancillary, flags)?;
    if received.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    // There is room for two, because the system rounds it up; it closes those that have none.
    let cut = received.flags.contains(ReturnFlags::CTRUNC);
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors = descriptors.by_ref().flatten();
    let (first, second) = (descriptors.next(), descriptors.next());
    let wrong = |problem| Err(io::Error::new(ErrorKind::InvalidInput, problem));
    match (first, second) {
        (Some(only), None) if !cut => Ok(only),
        (None, _) if !cut => wrong("no socket came along"),
        _ => wrong("a lease takes one descriptor, and more came along"),
    }
}

/// Tells whether a descriptor is a Unix stream socket that listens; of what is no socket the
/// system does not even say that much.
fn listens(descriptor: &OwnedFd) -> bool {
    sockopt::socket_domain(descriptor) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(descriptor) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(descriptor) == Ok(true)
}

/// Serves those who come by a lease, until nobody can come any more.
async fn serve(mut streams: Streams, service: Arc<Service>) {
    while let Some(stream) = streams.next().await {
        if let Some(guest) = admit(stream, &service) {
            service.front.take_in(guest);
        }
        if service.crowd.is_full() {
            yield_now().await;
        }
    }
}
