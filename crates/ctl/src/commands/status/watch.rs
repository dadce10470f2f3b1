//! The status, continuously: redrawn on a terminal, otherwise printed on change.

use std::{
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Result;
use stsd_client::{Client, Error};

use super::{
    document,
    report::{StatusReport, fetch},
    scroll::ScrollPosition,
    table,
};
use crate::term::{
    alt_screen::{AltScreen, UserInput},
    stdout::{print_json_text, print_line},
    style,
    style::{DIM, ERROR, Line, wrap},
};

/// Interval between status requests.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn watch(client: &Client, names: &[String], as_json: bool) -> Result<ExitCode> {
    // A failure of the first request is an error of the command.
    let first = fetch(client, names)?;
    // The daemon is asked again every second in any case.
    let client = &client.clone().without_retries();
    let draws = std::env::var_os("TERM").is_some_and(|it| it != "dumb");
    if as_json || !draws || !io::stdout().is_terminal() {
        return print_changes(client, names, as_json, first);
    }
    let mut screen = AltScreen::enter()?;
    let poller = Poller::start(client, names, screen.waker()?);
    let mut report = Ok(first);
    let mut asked: Option<u32> = None;
    let mut position = ScrollPosition::default();
    loop {
        if let Ok(answer) = poller.answers.try_recv() {
            (report, asked) = (answer, None);
        }
        let late = asked.unwrap_or(0);
        screen.draw(|rows, width| render(&report, late, &mut position, (rows, width)))?;
        match screen.wait(POLL_INTERVAL)? {
            UserInput::Quit => return Ok(ExitCode::SUCCESS),
            UserInput::Signal(signal) => {
                drop(screen);
                // The default action lets the shell see the signal.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                return Ok(ExitCode::FAILURE);
            }
            UserInput::Redraw => {}
            UserInput::Keys(keys) => keys.into_iter().for_each(|key| position.apply(key)),
            UserInput::Timeout => match &mut asked {
                Some(periods) => *periods += 1,
                None => asked = poller.ask.send(()).is_ok().then_some(0),
            },
        }
    }
}

/// Requests the status on a thread of its own, so that keys work while the daemon does not answer.
struct Poller {
    ask: mpsc::Sender<()>,
    answers: mpsc::Receiver<Result<StatusReport>>,
}

impl Poller {
    fn start(client: &Client, names: &[String], mut waker: impl Write + Send + 'static) -> Self {
        let (client, names) = (client.clone(), names.to_vec());
        let (ask, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || {
            for () in asked {
                if answer.send(fetch(&client, &names)).is_err() || waker.write(&[0]).is_err() {
                    return;
                }
            }
        });
        Self { ask, answers }
    }
}

/// Returns the lines that the screen shows, and a line of help.
fn render(
    report: &Result<StatusReport>,
    seconds_late: u32,
    position: &mut ScrollPosition,
    (rows, width): (usize, usize),
) -> Vec<Line> {
    let lines = match report {
        Ok(report) => table::lines(report, Some(width)),
        Err(error) => {
            let mut lines = wrap(ERROR, ("", "  "), &format!("{error:#}"), Some(width));
            lines.push(Line::new(DIM, "asked again every second"));
            lines
        }
    };
    let (mut shown, range) = position.window(lines, rows.saturating_sub(1).max(1));
    // A narrow terminal cuts the end of the line.
    let help = match range {
        Some(range) => format!("q leaves; {range}; arrows, PageUp, PageDown, Home, End scroll"),
        None => "q leaves".to_owned(),
    };
    shown.push(match seconds_late {
        0 => Line::new(DIM, help),
        _ => Line::new(ERROR, format!("no answer for {seconds_late} s; {help}")),
    });
    shown
}

fn print_changes(
    client: &Client,
    names: &[String],
    as_json: bool,
    first: StatusReport,
) -> Result<ExitCode> {
    let mut before = None;
    let mut printed_error = None;
    let mut report: Result<StatusReport> = Ok(first);
    loop {
        match &report {
            Ok(report) => {
                printed_error = None;
                let now = fingerprint(report);
                if before.as_ref() != Some(&now) {
                    print(report, as_json, before.is_none())?;
                    before = Some(now);
                }
            }
            // An unreachable daemon may come back; other errors end the command.
            Err(error) => {
                let lasting = error.downcast_ref::<Error>().is_none_or(Error::is_lasting);
                let error = format!("{error:#}");
                if lasting {
                    break;
                }
                if printed_error.as_ref() != Some(&error) {
                    style::print_error(&error, "asked again every second");
                    printed_error = Some(error);
                }
            }
        }
        thread::sleep(POLL_INTERVAL);
        report = fetch(client, names);
    }
    report.map(|_| ExitCode::SUCCESS)
}

fn print(report: &StatusReport, as_json: bool, is_first: bool) -> Result<()> {
    if as_json {
        return print_json_text(&document::json(report).to_string());
    }
    if !is_first {
        print_line("")?;
    }
    let width = style::terminal_width(&io::stdout());
    style::print_lines(&table::lines(report, width), width)
}

/// Returns the values whose change is printed; counters and times are left out.
fn fingerprint(report: &StatusReport) -> Vec<String> {
    let daemon = report.status.pid.to_string();
    let profiles = report.status.profiles.iter().map(|it| {
        let failure = it.last_failure.as_ref().map(|last| &last.failure);
        format!(
            "{:?}",
            (
                &it.name,
                &it.access_key_id,
                it.expiration_unix_seconds,
                &it.next_attempt_reason,
                failure,
                &it.advice
            )
        )
    });
    [daemon].into_iter().chain(profiles).collect()
}
