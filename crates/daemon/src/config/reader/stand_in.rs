//! The identity of a source in a portable check: another machine has its file, credential or variable.

use crate::profile::{IdentityProvider, ResolveContext, ResolveFuture, SourceError};

/// An identity that cannot be resolved.
#[derive(Debug)]
pub(super) struct StandIn;

impl IdentityProvider for StandIn {
    fn resolve<'a>(&'a self, _: ResolveContext<'a>) -> ResolveFuture<'a> {
        let hint = "read the configuration without --portable";
        let error = SourceError::new(self.describe(), "cannot be used", hint);
        Box::pin(async { Err(error) })
    }

    fn describe(&self) -> String {
        "the source of a portable check".to_owned()
    }
}
