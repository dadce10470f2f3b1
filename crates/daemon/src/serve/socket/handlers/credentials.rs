//! Decides how credentials are handed out: at once where memory has them, and else as soon as
//! the profile has a session. Whoever waits has no task and no thread for that, only a place
//! in what wakes it.

use std::{
    io,
    os::fd::AsFd as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use stsd_wire::Reply;

use crate::{
    audit::Operation,
    runtime::clock::BootTime,
    serve::socket::{
        connection::{Connection, HELLO, LONGEST_PATIENCE, Rest, Said, Turn, ended},
        wire_convert,
    },
    session::{
        snapshot::{Session, SessionResult},
        store::ProfileEntry,
    },
};

/// What is wished for.
#[derive(Clone, Copy)]
pub(in crate::serve::socket) struct Wish<'a> {
    pub(in crate::serve::socket) profile: &'a str,
    /// How long the session has to live.
    pub(in crate::serve::socket) minimum_life: Duration,
    /// How long it may be waited for.
    pub(in crate::serve::socket) patience: Duration,
}

/// A wish that memory could not fulfil.
pub(in crate::serve::socket) struct Waiting {
    minimum_life: Duration,
    patience: Duration,
    began: BootTime,
    entry: Arc<ProfileEntry>,
    outcome: Pin<Box<dyn Future<Output = SessionResult> + Send + Sync>>,
    waker: Waker,
}

impl Connection {
    /// The hand-out: one lookup, and one write of bytes that are ready. Where there are none,
    /// it waits.
    pub(in crate::serve::socket) fn credentials(
        &mut self,
        wish: Wish<'_>,
        waker: impl FnOnce() -> Waker,
    ) -> io::Result<Turn> {
        const ASKED: Operation = Operation::Credentials;
        let Some(entry) = self.service.store.find(wish.profile) else {
            return self.fail(self.missing(ASKED, wish.profile));
        };
        if !self.may_have(&entry.profile) {
            return self.fail(self.refuse(ASKED, wish.profile));
        }
        let now = self.now();
        if let Some(session) = entry.current(wish.minimum_life, now) {
            return self.hand_out(&entry, session, now);
        }
        let patience = wish.patience.min(LONGEST_PATIENCE);
        self.wait(Box::new(Waiting {
            minimum_life: wish.minimum_life,
            patience,
            began: now,
            outcome: self.settled(&entry, wish.minimum_life, patience),
            entry,
            waker: waker(),
        }))
    }

    /// Looks whether what it waits for has come. Who has left must not count as waiting.
    pub(in crate::serve::socket) fn wait(&mut self, mut waiting: Box<Waiting>) -> io::Result<Turn> {
        let entry = &waiting.entry;
        if self.said == Said::GoodBye {
            // It has asked all the same.
            self.note(Operation::Credentials, entry, self.now());
            return Ok(Turn::Left);
        }
        let mut context = Context::from_waker(&waiting.waker);
        match waiting.outcome.as_mut().poll(&mut context) {
            Poll::Pending => {
                self.waiting = Some(waiting);
                Ok(Turn::Waits)
            }
            Poll::Ready(SessionResult::Ready(session)) => self.hand_out(entry, session, self.now()),
            Poll::Ready(SessionResult::Short(session)) => self.hand_out_short(entry, &session),
            // A reload costs nothing but the wait.
            Poll::Ready(SessionResult::Removed) => {
                let waited = self.now().since(waiting.began);
                let wish = Wish {
                    profile: entry.profile.name.as_str(),
                    minimum_life: waiting.minimum_life,
                    patience: waiting.patience.saturating_sub(waited),
                };
                self.credentials(wish, || waiting.waker.clone())
            }
            Poll::Ready(other) => {
                self.note(Operation::Credentials, entry, self.now());
                self.fail(wire_convert::unserved(&other))
            }
        }
    }

    fn settled(
        &self,
        entry: &Arc<ProfileEntry>,
        minimum_life: Duration,
        patience: Duration,
    ) -> Pin<Box<dyn Future<Output = SessionResult> + Send + Sync>> {
        let (entry, clock) = (Arc::clone(entry), Arc::clone(&self.service.clock));
        Box::pin(async move { entry.wait_for(minimum_life, patience, &*clock).await })
    }

    fn hand_out(
        &mut self,
        entry: &ProfileEntry,
        session: Arc<Session>,
        now: BootTime,
    ) -> io::Result<Turn> {
        self.count(Operation::Credentials, entry, &session, false, now);
        let from = self.first_unsaid();
        self.write_at_once(Rest::Prepared(session), from)
    }

    fn hand_out_short(&mut self, entry: &ProfileEntry, session: &Session) -> io::Result<Turn> {
        self.count(Operation::Credentials, entry, session, true, self.now());
        let reply = Reply::ShortCredentials(wire_convert::credentials(session));
        let bytes = self.bytes_of(&reply)?;
        self.write_at_once(Rest::Own(bytes), 0)
    }

    /// Counts a hand-out, and lets those know who are told of it.
    fn count(
        &self,
        asked: Operation,
        entry: &ProfileEntry,
        session: &Session,
        short: bool,
        now: BootTime,
    ) {
        entry.count_served(session);
        let who = (&self.peer, self.stream.as_fd());
        let name = entry.profile.name.as_str();
        let audit = &self.service.audit;
        audit.served(asked, name, session, short, now, who);
        // After the audit, which may have looked at the process.
        self.note(asked, entry, now);
    }

    fn note(&self, asked: Operation, entry: &ProfileEntry, now: BootTime) {
        entry.stats.last_access.record(&self.peer, asked, now);
    }

    /// Returns where what is prepared begins for this peer, who is greeted only once.
    fn first_unsaid(&mut self) -> usize {
        let from = if self.hello_sent { HELLO } else { 0 };
        self.hello_sent = true;
        from
    }

    /// Sends credentials now and at each rotation, until the peer leaves.
    pub(in crate::serve::socket) async fn watch(&mut self, profile: &str) -> io::Result<()> {
        const MORE: &str = "a request on a connection that watches";
        if !self.held.is_empty() {
            return Err(ended(MORE));
        }
        let clock = Arc::clone(&self.service.clock);
        let mut entry = match self.find(Operation::Watch, profile) {
            Ok(entry) => entry,
            Err(failure) => return self.reply(&Reply::Failure(failure)).await,
        };
        let mut changes = entry.subscribe();
        let mut sent: Option<Arc<Session>> = None;
        loop {
            let snapshot = changes.latest().clone();
            if snapshot.removed {
                match self.find(Operation::Watch, profile) {
                    Ok(changed) => entry = changed,
                    Err(failure) => {
                        self.reply(&Reply::Failure(failure)).await?;
                        return Err(ended("the watched profile is gone, or not for this peer"));
                    }
                }
                changes = entry.subscribe();
                continue;
            }
            let session = entry.current(Duration::ZERO, clock.boot());
            if session.is_none() {
                entry.wake.notify_one();
            }
            if let Some(session) = session.filter(|new| !is_same(sent.as_ref(), new)) {
                self.count(Operation::Watch, &entry, &session, false, clock.boot());
                let from = self.first_unsaid();
                self.write(&wire_convert::prepared(&session).map_err(ended)?[from..])
                    .await?;
                sent = Some(session);
            }
            tokio::select! {
                () = changes.changed() => {}
                left = self.speaks() => {
                    left?;
                    return Err(ended(MORE));
                }
            }
        }
    }
}

fn is_same(sent: Option<&Arc<Session>>, new: &Arc<Session>) -> bool {
    sent.is_some_and(|sent| Arc::ptr_eq(sent, new))
}
