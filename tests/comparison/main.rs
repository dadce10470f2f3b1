//! The official credential libraries and stsd in the same four measurements. The gate compares the
//! table in `docs/comparison.md` with a run; `cargo xtask compare` writes the table.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod driver;
mod measure;
mod page;
mod program;

use std::{sync::LazyLock, thread};

use measure::Row;
use program::Subject;

/// The results, measured once for all tests. The subjects run in parallel, each with its own emulator.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let subjects = [Subject::Python, Subject::Node, Subject::Stsd];
    let measuring = subjects.map(|subject| thread::spawn(move || Row::measure(subject)));
    // All threads are joined before a failure ends the test, which would leave their programs running.
    let rows = measuring.map(thread::JoinHandle::join);
    let rows = rows.map(|row| row.expect("a measurement failed; its reason is above"));
    rows.into()
});

#[test]
fn stsd_calls_once_and_serves_valid_sessions_only() {
    let ours = ROWS
        .iter()
        .find(|row| row.subject == Subject::Stsd)
        .unwrap();
    assert_eq!(ours.in_a_row, 1);
    assert_eq!(ours.at_once, 1);
    let (gets, calls) = &ours.outage;
    assert_eq!(gets.served(), measure::GETS_IN_OUTAGE);
    assert_eq!(*calls, 0, "no get makes a call");
    assert_eq!(ours.expired.served(), 0, "an expired credential was served");
    for refusal in ours.expired.refusals() {
        assert_eq!(refusal.name, "exit code 6");
        assert!(refusal.names_the_cause(), "{}", refusal.message);
    }
}

#[test]
fn comparison_page_has_the_measured_table() {
    if page::is_to_be_written() {
        page::write(&ROWS);
    }
    let page = page::read();
    for line in page::table(&ROWS) {
        assert!(
            page.lines().any(|it| it == line),
            "docs/comparison.md lacks this line; `cargo xtask compare` writes it:\n{line}"
        );
    }
}
