//! The identity of a credential process: a program that prints temporary or long-lived credentials
//! in a document of aliyun-cli, the OSS SDKs or the AWS SDKs.

use super::{IdentityCommand, credentials_document, credentials_document::ReceivedAt};
use crate::profile::{IdentityProvider, ResolveContext, ResolveFuture};

/// The identity that a program prints.
#[derive(Debug)]
pub struct Process {
    /// The program.
    pub program: IdentityCommand,
}

impl IdentityProvider for Process {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let got = ReceivedAt {
                asked: context.clock.boot(),
                date: None,
                clock: context.clock,
            };
            let printed = self
                .program
                .text(credentials_document::MAX_DOCUMENT_BYTES, context.clock)
                .await?;
            credentials_document::read(&printed.text, &self.program.describe(), got)
                .map_err(|error| printed.explain(&error))
        })
    }

    fn describe(&self) -> String {
        self.program.describe()
    }
}
