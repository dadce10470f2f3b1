//! Decides what becomes of a request that is not for credentials: it tells the daemon what to
//! do, or asks what it has done.

use std::{os::fd::AsFd as _, time::Duration};

use stsd_wire::{Failure, FailureKind, Reply};
use tokio::sync::oneshot;

use crate::{
    audit::Operation,
    serve::{
        context::Order,
        socket::{
            connection::{Connection, LONGEST_PATIENCE},
            wire_convert,
        },
    },
    session::{last_access::LastAccess, snapshot::SessionResult, store::ProfileEntry},
};

impl Connection {
    pub(in crate::serve::socket) async fn refresh(
        &mut self,
        profile: &str,
        patience: Duration,
    ) -> Reply {
        if !self.service.access.allows_lease_and_refresh() {
            return Reply::Failure(self.refuse_more(Operation::Refresh));
        }
        if let Err(failure) = self.find(Operation::Refresh, profile) {
            return Reply::Failure(failure);
        }
        let (store, clock) = (&self.service.store, &*self.service.clock);
        let patience = patience.min(LONGEST_PATIENCE);
        let outcome = tokio::select! {
            biased;
            outcome = store.refresh(profile, patience, clock) => outcome,
            () = self.left() => return Reply::Done,
        };
        match outcome {
            Ok(()) => Reply::Done,
            Err(SessionResult::Removed) => Reply::Failure(wire_convert::unknown_profile(profile)),
            Err(instead) => Reply::Failure(wire_convert::unserved(&instead)),
        }
    }

    pub(in crate::serve::socket) fn audit(&self, after: &str) -> Reply {
        if !self.service.access.allows_lease_and_refresh() {
            return Reply::Failure(self.refuse_more(Operation::Audit));
        }
        let steers = self.service.access.can_administer(&self.peer);
        let told = |entry: &ProfileEntry, caller: &LastAccess| {
            steers || (caller.uid == self.peer.uid && self.may_have(&entry.profile))
        };
        let mut audit = wire_convert::callers(&self.service, after, told);
        if steers {
            wire_convert::add_places(&mut audit, &self.service);
        }
        Reply::Audit(audit)
    }

    pub(in crate::serve::socket) fn url(&self, profile: &str) -> Reply {
        if !self.service.access.allows_lease_and_refresh() {
            return Reply::Failure(self.refuse_more(Operation::Url));
        }
        if let Err(failure) = self.find(Operation::Url, profile) {
            return Reply::Failure(failure);
        }
        let Some(address) = self.service.http.address() else {
            return Reply::Failure(wire_convert::no_http());
        };
        let secret = self.service.http.secret().text();
        Reply::Url(wire_convert::url(address, &secret, profile))
    }

    pub(in crate::serve::socket) async fn rotate_urls(&mut self) -> Reply {
        if !self.service.access.can_administer(&self.peer) {
            return Reply::Failure(self.refuse_steering(wire_convert::no_rotation()));
        }
        let (tell, told) = oneshot::channel();
        let ordered = self.service.orders.send(Order::Rotate(tell)).await;
        match (ordered, told.await) {
            (Ok(()), Ok(())) => Reply::Done,
            _ => Reply::Failure(wire_convert::stopping()),
        }
    }

    /// Turns away who may not steer: who has come by a lease is told what that gives.
    fn refuse_steering(&self, reason: Failure) -> Failure {
        if !self.service.access.allows_lease_and_refresh() {
            return self.refuse_more(Operation::Reload);
        }
        let who = (&self.peer, self.stream.as_fd());
        self.service.audit.refused(Operation::Reload, None, who);
        reason
    }

    pub(in crate::serve::socket) async fn reload(&mut self) -> Reply {
        if !self.service.access.can_administer(&self.peer) {
            return Reply::Failure(self.refuse_steering(wire_convert::no_reload()));
        }
        let (tell, told) = oneshot::channel();
        if self.service.orders.send(Order::Reload(tell)).await.is_err() {
            return Reply::Failure(wire_convert::stopping());
        }
        match told.await {
            Ok(Ok(())) => Reply::Done,
            Ok(Err(mistakes)) => Reply::Failure(wire_convert::failure(
                FailureKind::BadConfig,
                &mistakes.to_string(),
                "the running configuration stays in force; correct the file and reload again",
            )),
            Err(_) => Reply::Failure(wire_convert::stopping()),
        }
    }

    /// Turns away who wants more of a lease than credentials.
    pub(in crate::serve::socket) fn refuse_more(&self, asked: Operation) -> Failure {
        let who = (&self.peer, self.stream.as_fd());
        self.service.audit.refused(asked, None, who);
        wire_convert::no_more_by_lease()
    }
}
