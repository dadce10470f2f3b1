//! Who we are by a credential process: any program that prints temporary or long-lived
//! credentials as aliyun-cli, the OSS SDKs or the AWS SDKs take them from one.

use super::{Ask, Asking, Identity, Program, credentials_document, credentials_document::Got};

/// An identity by what a program prints.
#[derive(Debug)]
pub struct Process {
    /// The program.
    pub program: Program,
}

impl Identity for Process {
    fn obtain<'a>(&'a self, ask: Ask<'a>) -> Asking<'a> {
        Box::pin(async move {
            let got = Got {
                asked: ask.clock.boot(),
                date: None,
                clock: ask.clock,
            };
            let text = self
                .program
                .text(credentials_document::LARGEST, ask.clock)
                .await?;
            credentials_document::read(&text, &self.program.subject(), got)
        })
    }

    fn subject(&self) -> String {
        self.program.subject()
    }
}
