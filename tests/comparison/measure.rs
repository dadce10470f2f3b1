//! The four measurements. They count the calls that the emulated STS received and the answers that
//! the program got. No clock of the test affects them.

use std::time::Duration;

use e2e::{Action, Fault};

use crate::program::{Got, Program, Refusal, Subject};

/// Number of gets while STS works.
pub(crate) const GETS: usize = 50;

/// Number of gets while STS is down.
pub(crate) const GETS_IN_OUTAGE: usize = 10;

/// The error code of STS in an outage.
pub(crate) const OUTAGE: &str = "ServiceUnavailable";

/// Minimum lifetime of a session of STS, in seconds.
const MIN_SESSION_SECONDS: u32 = 900;

/// The default lifetime of a session, in seconds.
const DEFAULT_SESSION_SECONDS: u32 = 3600;

/// The results of one subject.
pub(crate) struct Row {
    pub subject: Subject,
    pub library: String,
    pub runs_on: Option<String>,
    /// Number of calls to STS for gets in a row.
    pub in_a_row: u64,
    /// Number of calls to STS for simultaneous gets.
    pub at_once: u64,
    /// The answers, and the number of calls to STS.
    pub outage: (Gets, u64),
    pub expired: Gets,
}

/// The answers to gets while STS was down.
pub(crate) struct Gets(Vec<Got>);

impl Row {
    pub(crate) fn measure(subject: Subject) -> Self {
        // A second less than requested: libraries count whole seconds, and the result must not depend
        // on whether a second ends between the request and the answer.
        let short = Program::start(subject, MIN_SESSION_SECONDS, &["--session-life", "899s"]);
        let (library, runs_on) = (short.library(), short.runs_on());
        Self {
            subject,
            library,
            runs_on,
            in_a_row: in_a_row(short),
            at_once: at_once(subject),
            outage: outage(subject),
            expired: expired(subject),
        }
    }
}

impl Gets {
    pub(crate) fn served(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(crate) fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.0.iter().filter_map(|got| got.as_ref().err())
    }
}

/// Returns the number of calls for gets in a row, with the shortest sessions of STS: a library with
/// a fixed margin before the expiration never has a session that is long enough.
fn in_a_row(mut program: Program) -> u64 {
    must_succeed(program.in_a_row(GETS));
    program.env.emulator().calls(Action::AssumeRole)
}

/// Returns the number of calls for simultaneous gets, with sessions that are long enough for every
/// library. STS answers with a delay, so that all requests arrive before the first answer.
fn at_once(subject: Subject) -> u64 {
    let mut program = Program::start(subject, DEFAULT_SESSION_SECONDS, &[]);
    let far = Fault::Delay(Duration::from_millis(300));
    program.env.emulator().inject_fault(Action::AssumeRole, far);
    must_succeed(program.at_once(GETS));
    program.env.emulator().calls(Action::AssumeRole)
}

/// The gets of a program whose session has just under 15 minutes left when STS goes down.
fn outage(subject: Subject) -> (Gets, u64) {
    let mut program = in_outage(subject, "898s");
    let before = program.env.emulator().calls(Action::AssumeRole);
    let got = program.in_a_row(GETS_IN_OUTAGE);
    assert_ne!(
        program.env.emulator().live_sessions(),
        0,
        "the sessions expired too early"
    );
    (
        Gets(got),
        program.env.emulator().calls(Action::AssumeRole) - before,
    )
}

/// The gets of a program whose session has expired while STS is down. The emulator counts its valid
/// sessions: at zero, every served credential has expired.
fn expired(subject: Subject) -> Gets {
    let mut program = in_outage(subject, "5s");
    let env = &program.env;
    env.wait_until("the session's end", || env.emulator().live_sessions() == 0);
    // In parallel, because some subjects wait for the end of the outage.
    Gets(program.at_once(GETS_IN_OUTAGE))
}

/// Starts a program that has a session with that lifetime when STS goes down.
fn in_outage(subject: Subject, life: &str) -> Program {
    let mut program = Program::start(subject, MIN_SESSION_SECONDS, &["--session-life", life]);
    must_succeed(program.in_a_row(1));
    let outage = Fault::error(OUTAGE);
    program
        .env
        .emulator()
        .inject_fault(Action::AssumeRole, outage);
    program
}

/// Asserts that all gets have succeeded: a failure without an outage is a mistake of the measurement.
fn must_succeed(got: Vec<Got>) {
    for get in got {
        get.unwrap();
    }
}
