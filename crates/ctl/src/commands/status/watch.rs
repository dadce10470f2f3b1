//! Decides how the daemon's state is followed: drawn over itself on a terminal, else
//! printed again whenever something has changed.

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
    report::{Seen, look},
    table,
};
use crate::term::{
    alt_screen::{Screen, Wish},
    stdout::say,
    style,
    style::{BAD, FAINT, Line, folded},
};

/// How often the daemon is asked.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) fn watch(client: &Client, names: &[String], as_json: bool) -> Result<ExitCode> {
    // What cannot be asked at all is an error and no picture.
    let first = look(client, names)?;
    let draws = std::env::var_os("TERM").is_some_and(|it| it != "dumb");
    if as_json || !draws || !io::stdout().is_terminal() {
        return print_changes(client, names, as_json, first);
    }
    let mut screen = Screen::take()?;
    let asker = Asker::start(client, names, screen.bell()?);
    let mut seen = Ok(first);
    let mut asked: Option<u32> = None;
    loop {
        if let Ok(answer) = asker.answers.try_recv() {
            (seen, asked) = (answer, None);
        }
        screen.draw(|rows, width| picture(&seen, asked.unwrap_or(0), rows, width))?;
        match screen.wait(PERIOD)? {
            Wish::Leave => return Ok(ExitCode::SUCCESS),
            Wish::Die(signal) => {
                drop(screen);
                // The shell sees what has ended us.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                return Ok(ExitCode::FAILURE);
            }
            Wish::Redraw => {}
            Wish::Time => match &mut asked {
                Some(periods) => *periods += 1,
                None => asked = asker.ask.send(()).is_ok().then_some(0),
            },
        }
    }
}

/// Asks the daemon aside: one that does not answer must not keep anybody from leaving.
struct Asker {
    ask: mpsc::Sender<()>,
    answers: mpsc::Receiver<Result<Seen>>,
}

impl Asker {
    fn start(client: &Client, names: &[String], mut bell: impl Write + Send + 'static) -> Self {
        let (client, names) = (client.clone(), names.to_vec());
        let (ask, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || {
            for () in asked {
                if answer.send(look(&client, &names)).is_err() || bell.write(&[0]).is_err() {
                    return;
                }
            }
        });
        Self { ask, answers }
    }
}

/// Returns what fits on the screen, with what goes on below it.
fn picture(seen: &Result<Seen>, late: u32, rows: usize, width: usize) -> Vec<Line> {
    let mut lines = match seen {
        Ok(seen) => table::of(seen, Some(width)),
        Err(error) => {
            let mut lines = folded(BAD, ("", "  "), &format!("{error:#}"), Some(width));
            lines.push(Line::of(FAINT, "asked again every second"));
            lines
        }
    };
    let room = rows.saturating_sub(1).max(1);
    let mut last = "q leaves".to_owned();
    if lines.len() > room {
        let hidden = lines.len() - room;
        lines.truncate(room);
        last = format!("{hidden} lines more; name profiles to see fewer; q leaves");
    }
    match late {
        0 => lines.push(Line::of(FAINT, last)),
        _ => lines.push(Line::of(BAD, format!("no answer for {late} s; q leaves"))),
    }
    lines
}

fn print_changes(
    client: &Client,
    names: &[String],
    as_json: bool,
    first: Seen,
) -> Result<ExitCode> {
    let mut before = None;
    let mut complained = None;
    let mut seen: Result<Seen> = Ok(first);
    loop {
        match &seen {
            Ok(seen) => {
                complained = None;
                let now = what_matters(seen);
                if before.as_ref() != Some(&now) {
                    print(seen, as_json, before.is_none())?;
                    before = Some(now);
                }
            }
            // Whether it is there again is what somebody waits for.
            Err(error) => {
                let lasting = error.downcast_ref::<Error>().is_none_or(Error::is_lasting);
                let error = format!("{error:#}");
                if lasting {
                    break;
                }
                if complained.as_ref() != Some(&error) {
                    style::complain(&error, "asked again every second");
                    complained = Some(error);
                }
            }
        }
        thread::sleep(PERIOD);
        seen = look(client, names);
    }
    seen.map(|_| ExitCode::SUCCESS)
}

fn print(seen: &Seen, as_json: bool, is_first: bool) -> Result<()> {
    if as_json {
        return say(&document::of(seen).to_string());
    }
    if !is_first {
        say("")?;
    }
    let width = style::width(&io::stdout());
    style::print(&table::of(seen, width), width)
}

/// Returns what is news when it changes: not what counts up or down all the time.
fn what_matters(seen: &Seen) -> Vec<String> {
    let daemon = seen.status.pid.to_string();
    let profiles = seen.status.profiles.iter().map(|it| {
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
