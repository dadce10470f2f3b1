//! The steps, in their order. A step that needs the result of a failed step is not run; the deletion and
//! the stop always are.

use std::{io, process::Output};

use reqwest::Method;
use stsd_oss_client::Credentials;

use crate::{
    clock::{self, timed},
    interruption::Interruption,
    mask::Mask,
    oss::{Answer, Oss},
    report::Report,
    sandbox::{KEY_PREFIX, PROFILE, READ_ONLY_PROFILE, Sandbox, WRONG_ROLE_PROFILE},
    settings::Settings,
    step::{Outcome, Step},
    sts_failure::StsFailure,
};

/// The content of the object.
const CONTENT: &[u8] = b"An object of cargo xtask live, which deletes it.\n";

const UNCHANGED: &str = "the session is the one from before the renewal";
const ABSENT_ROLE_EXISTS: &str = "STS has issued a session of a role that should not exist";

/// A step: its name and its function.
type NamedStep<R> = (&'static str, fn(&mut R) -> Step);

/// The state of a run.
struct Run<'a> {
    sandbox: Sandbox,
    oss: Result<Oss<'a>, String>,
    mask: Mask,
    /// The key of the object.
    key: String,
    is_running: bool,
    session: Option<Credentials>,
    /// A put was sent, so that the object may exist.
    may_exist: bool,
    exists: bool,
}

/// Makes all steps.
pub(crate) fn run(settings: &Settings, interruption: &Interruption) -> Report {
    let date = clock::now();
    let oss = Oss::new(settings);
    let sandbox = match Sandbox::new(settings) {
        Ok(sandbox) => sandbox,
        Err(error) => return without_directory(settings, &error),
    };
    let mask = Mask::new(settings, &sandbox.path());
    let mut report = Report::new(head(settings, &sandbox, &mask));
    let mut run = Run {
        sandbox,
        oss,
        mask,
        key: format!(
            "{KEY_PREFIX}{}-{:016x}",
            date.strftime("%Y%m%dT%H%M%SZ"),
            fastrand::u64(..)
        ),
        is_running: false,
        session: None,
        may_exist: false,
        exists: false,
    };
    for (name, step) in Run::STEPS {
        let result = match interruption.has_come() {
            false => step(&mut run),
            true => Step::not_run("a signal has ended the run"),
        };
        report.add(name, result);
    }
    report.add("delete", run.delete());
    report.add("clean-up", run.clean_up());
    report
}

/// Returns the lines above the steps.
fn head(settings: &Settings, sandbox: &Sandbox, mask: &Mask) -> Vec<(&'static str, String)> {
    let version = sandbox
        .stsd("--version")
        .map(|it| it.stdout)
        .unwrap_or_default();
    let skew = clock::skew(&settings.sts);
    let skew = skew.unwrap_or_else(|reason| format!("not compared: {reason}"));
    vec![
        (
            "date",
            clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ),
        ("version", mask.text(&String::from_utf8_lossy(&version))),
        ("region", mask.text(&settings.region)),
        ("STS", mask.text(settings.sts.authority())),
        ("OSS", mask.text(settings.oss.authority())),
        ("clock", mask.text(&skew)),
    ]
}

fn without_directory(settings: &Settings, error: &io::Error) -> Report {
    let mask = Mask::new(settings, "");
    let mut report = Report::new(vec![("region", mask.text(&settings.region))]);
    let reason = format!("no private directory can be made: {error}");
    report.add("configuration", Step::failed(&reason, &mask));
    report
}

impl Run<'_> {
    /// The steps before the deletion.
    const STEPS: [NamedStep<Self>; 8] = [
        ("configuration", Self::configuration),
        ("daemon", Self::daemon),
        ("assume-role", Self::assume_role),
        ("put", Self::put),
        ("get", Self::get),
        ("refusal", Self::refusal),
        ("renewal", Self::renewal),
        ("wrong-role", Self::wrong_role),
    ];

    /// Runs `stsd --check`.
    fn configuration(&mut self) -> Step {
        let (output, millis) = timed(|| self.sandbox.stsd("--check"));
        Step::of_program(output, millis, &self.mask)
    }

    fn daemon(&mut self) -> Step {
        let (started, millis) = timed(|| self.sandbox.start_daemon());
        self.is_running = started.is_ok();
        Step::of_result(started, millis, &self.mask)
    }

    /// Asks for the first session of the user's role.
    fn assume_role(&mut self) -> Step {
        if !self.is_running {
            return Step::not_run("there is no daemon");
        }
        match timed(|| self.session_of(PROFILE)) {
            (Ok(session), millis) => {
                let step = self.issued(&session, millis);
                self.session = Some(session);
                step
            }
            (Err(failure), millis) => self.refused(failure, millis),
        }
    }

    fn put(&mut self) -> Step {
        let Some(session) = &self.session else {
            return Step::not_run("there is no session");
        };
        let step = self.object(Method::PUT, session, |it| it.status == 200);
        self.may_exist = self.oss.is_ok();
        self.exists = step.outcome == Outcome::Ok;
        step
    }

    /// Reads the object.
    fn get(&mut self) -> Step {
        match &self.session {
            Some(session) if self.exists => self.object(Method::GET, session, |it| {
                it.status == 200 && it.body == CONTENT
            }),
            _ => Step::not_run("there is no object"),
        }
    }

    /// Puts the object with a session whose policy does not permit this.
    fn refusal(&mut self) -> Step {
        if !self.exists {
            return Step::not_run("there is no object");
        }
        match timed(|| self.session_of(READ_ONLY_PROFILE)) {
            (Ok(session), _) => self.object(Method::PUT, &session, |it| {
                it.status == 403 && it.code.as_deref() == Some("AccessDenied")
            }),
            (Err(failure), millis) => self.refused(failure, millis),
        }
    }

    /// Renews the session, and reads the object with the new one.
    fn renewal(&mut self) -> Step {
        let Some(before) = self.session.as_ref().map(|it| it.id.clone()) else {
            return Step::not_run("there is no session");
        };
        let (output, millis) = timed(|| self.sandbox.stsctl(&["refresh", PROFILE]));
        let refreshed = Step::of_program(output, millis, &self.mask);
        if refreshed.outcome != Outcome::Ok {
            return refreshed;
        }
        let step = match self.session_of(PROFILE) {
            Ok(session) if session.id == before => Step::failed(UNCHANGED, &self.mask),
            Ok(session) => {
                let step = self.issued(&session, millis);
                self.session = Some(session);
                step
            }
            Err(failure) => self.refused(failure, millis),
        };
        if step.outcome != Outcome::Ok || !self.exists {
            return step;
        }
        match self.get() {
            read if read.outcome == Outcome::Ok => Step {
                status: read.status,
                ..step
            },
            read => read,
        }
    }

    /// Asks for a session of a role that does not exist.
    fn wrong_role(&mut self) -> Step {
        if self.session.is_none() {
            return Step::not_run("there is no session of the right role");
        }
        match timed(|| self.session_of(WRONG_ROLE_PROFILE)) {
            (Ok(_), _) => Step::failed(ABSENT_ROLE_EXISTS, &self.mask),
            (Err(failure), millis) => {
                let code = failure.code.as_deref().unwrap_or_default();
                let is_expected =
                    code.starts_with("EntityNotExist") || code.contains("NoPermission");
                let outcome = match is_expected && failure.text.contains("; hint: ") {
                    true => Outcome::Ok,
                    false => Outcome::Failed,
                };
                Step::of_failure(outcome, failure, millis, &self.mask)
            }
        }
    }

    /// Deletes the object.
    fn delete(&mut self) -> Step {
        match &self.session {
            Some(session) if self.may_exist => {
                let mut step = self.object(Method::DELETE, session, |it| it.status == 204);
                if step.outcome != Outcome::Ok {
                    let remark = format!("delete the object {} by hand", self.key);
                    step.remark = step
                        .remark
                        .map(|it| format!("{it}; {remark}"))
                        .or(Some(remark));
                }
                step
            }
            _ => Step::not_run("no object was stored"),
        }
    }

    /// Stops the daemon and deletes its files.
    fn clean_up(mut self) -> Step {
        let (stopped, millis) = timed(|| self.sandbox.stop_daemon());
        let step = Step::of_result(stopped.unwrap_or(Ok(())), millis, &self.mask);
        match self.sandbox.delete() {
            Ok(()) => step,
            Err(error) => Step::failed(&format!("the files are not deleted: {error}"), &self.mask),
        }
    }

    /// Returns the step of a session that STS has issued.
    fn issued(&self, session: &Credentials, millis: u128) -> Step {
        Step::of_session(self.sandbox.request_id(&session.id), millis, &self.mask)
    }

    /// Returns the failed step of a profile without a session.
    fn refused(&self, failure: StsFailure, millis: u128) -> Step {
        Step::of_failure(Outcome::Failed, failure, millis, &self.mask)
    }

    /// Runs the shim.
    fn session_of(&mut self, profile: &str) -> Result<Credentials, StsFailure> {
        let output = self.sandbox.sts_shim(profile);
        let output = output.map_err(|error| StsFailure::unknown(error.to_string()))?;
        if !output.status.success() {
            return Err(self.failure_of(profile, &output));
        }
        let session = Credentials::parse(&output.stdout);
        let session = session
            .ok_or_else(|| StsFailure::unknown("sts-shim printed no document".to_owned()))?;
        self.mask.add_session(&session);
        Ok(session)
    }

    /// Returns the failure in the status of a profile, or else the error of the shim.
    fn failure_of(&self, profile: &str, shim: &Output) -> StsFailure {
        let status = self.sandbox.stsctl(&["status", "--json", profile]);
        let failure = status
            .ok()
            .and_then(|it| StsFailure::of_status(&it.stdout, profile));
        failure.unwrap_or_else(|| {
            let complaint = String::from_utf8_lossy(&shim.stderr);
            StsFailure::unknown(complaint.into_owned())
        })
    }

    /// Sends a request about the object; `is_expected` judges the answer.
    fn object(
        &self,
        method: Method,
        session: &Credentials,
        is_expected: impl Fn(&Answer) -> bool,
    ) -> Step {
        let oss = match &self.oss {
            Ok(oss) => oss,
            Err(reason) => return Step::failed(reason, &self.mask),
        };
        let body = match method {
            Method::PUT => CONTENT,
            _ => &[],
        };
        let (answer, millis) = oss.send(method, &self.key, body, session);
        let answer = match answer {
            Ok(answer) => answer,
            Err(reason) => return Step::of_result(Err(reason), millis, &self.mask),
        };
        let outcome = match is_expected(&answer) {
            true => Outcome::Ok,
            false => Outcome::Failed,
        };
        Step::of_answer(outcome, answer, millis, &self.mask)
    }
}
