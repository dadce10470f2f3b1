//! Decides how the log reaches systemd's journal: each event with its fields as fields, so
//! that `journalctl STSD_PROFILE=oss-upload` finds what concerns a profile, and with one
//! readable line of all of them, as it would stand on stderr.
//!
//! The protocol is systemd's "native" one, a datagram of fields; see
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. `tracing-journald` speaks it, too, but
//! shows people the message without its fields ("credentials renewed": whose?).

use std::{
    env,
    fmt::{self, Write as _},
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::Mutex,
};

use nix::sys::stat::fstat;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FormatFields as _,
        format::{DefaultFields, Writer},
    },
    layer::{Context, Layer},
};

use crate::{platform::nonblocking_stderr::NonBlockingWriter, runtime::sync::lock};

/// Where the journal listens on every system that has one.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// What the journal allows a name of a field, in bytes.
const MAX_FIELD_NAME_BYTES: usize = 64;

/// The journal as the place where the log goes.
pub struct Journal {
    socket: UnixDatagram,
    socket_path: PathBuf,
    /// For what the journal does not take: it reads our stderr as well, line by line.
    lines: Mutex<Box<dyn Write + Send>>,
}

impl Journal {
    /// Returns the journal, if it is what reads our stderr.
    #[must_use]
    pub fn behind_stderr() -> Option<Self> {
        let stderr = fstat(io::stderr()).ok()?;
        let stream = env::var("JOURNAL_STREAM").ok()?;
        let is_it = stream == format!("{}:{}", stderr.st_dev, stderr.st_ino);
        is_it.then(|| {
            Self::at(
                JOURNAL_SOCKET.into(),
                Box::new(NonBlockingWriter::new(io::stderr())),
            )
        })?
    }

    fn at(socket_path: PathBuf, lines: Box<dyn Write + Send>) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        // A journal that has too much to do must not stop us.
        socket.set_nonblocking(true).ok()?;
        Some(Self {
            socket,
            socket_path,
            lines: Mutex::new(lines),
        })
    }

    /// Writes an event as lines with their priority, for what reads stderr.
    fn fall_back(&self, priority: u8, text: &str) {
        let lines = text.lines().map(|line| format!("<{priority}>{line}\n"));
        let lines: String = lines.collect();
        let mut stderr = lock(&self.lines);
        let _ = stderr.write_all(lines.as_bytes());
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let priority = priority(event.metadata().level());
        let mut text = String::new();
        // Control characters are escaped by this, as for stderr.
        let _ = DefaultFields::new().format_fields(Writer::new(&mut text), event);
        let mut entry = JournalEntry(Vec::with_capacity(512));
        entry.add("MESSAGE", &text);
        entry.add("PRIORITY", &priority.to_string());
        entry.add("SYSLOG_IDENTIFIER", "stsd");
        entry.add("STSD_TARGET", event.metadata().target());
        event.record(&mut entry);
        if self.socket.send_to(&entry.0, &self.socket_path).is_err() {
            self.fall_back(priority, &text);
        }
    }
}

/// Returns syslog's number for a level.
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// One entry of the journal, as it is sent.
struct JournalEntry(Vec<u8>);

impl JournalEntry {
    /// Adds a field, with the length of its value before it: whatever is in it ends nothing.
    fn add(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for JournalEntry {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message" {
            self.add(&name(field.name()), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            self.record_str(field, &text);
        }
    }
}

/// Returns a field's name in the journal: capitals, digits and underscores.
fn name(field: &str) -> String {
    let letter = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    };
    let name = "STSD_".chars().chain(field.chars().map(letter));
    name.take(MAX_FIELD_NAME_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs::{self, File},
        os::unix::net::UnixDatagram,
    };

    use tracing::{subscriber::with_default, warn};
    use tracing_subscriber::{layer::SubscriberExt as _, registry};

    use super::Journal;

    /// Reads an entry as the journal does.
    fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
            let (name, rest) = entry.split_at(end);
            let (length, rest) = rest[1..].split_first_chunk().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let before = fields.insert(text(name), text(&rest[..length]));
            assert_eq!((before, rest[length]), (None, b'\n'));
            entry = &rest[length + 1..];
        }
        fields
    }

    #[test]
    fn an_event_is_one_entry_whatever_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let socket_path = directory.path().join("socket");
        let journal = UnixDatagram::bind(&socket_path).unwrap();
        let stderr = directory.path().join("stderr");
        let layer = Journal::at(socket_path, Box::new(File::create(&stderr).unwrap())).unwrap();
        with_default(registry().with(layer), || {
            let profile = "a\nSTSD_UID=0\n\u{1b}[31m";
            warn!(target: "audit", profile, uid = 7, none = None::<u32>, "refused");
        });
        let mut entry = [0; 4096];
        let length = journal.recv(&mut entry).unwrap();
        let fields = fields(&entry[..length]);
        let check = |name: &str, value| assert_eq!(fields[name], value);
        check("STSD_PROFILE", "a\nSTSD_UID=0\n\u{1b}[31m");
        check("STSD_UID", "7");
        check("STSD_TARGET", "audit");
        check("PRIORITY", "4");
        check("SYSLOG_IDENTIFIER", "stsd");
        // One line, in which nothing moves a terminal.
        let message = "refused profile=\"a\\nSTSD_UID=0\\n\\u{1b}[31m\" uid=7";
        check("MESSAGE", message);
        assert_eq!(fields.len(), 6, "{fields:?}");
        assert_eq!(fs::read_to_string(stderr).unwrap(), "");
    }

    #[test]
    fn what_the_journal_does_not_take_goes_to_stderr_with_its_priority() {
        let directory = tempfile::tempdir().unwrap();
        let stderr = directory.path().join("stderr");
        let lines = Box::new(File::create(&stderr).unwrap());
        let layer = Journal::at(directory.path().join("nobody"), lines).unwrap();
        with_default(registry().with(layer), || {
            warn!(left = 3, "first\nsecond\u{1b}[31m");
        });
        let said = fs::read_to_string(stderr).unwrap();
        assert_eq!(said, "<4>first\n<4>second\\x1b[31m left=3\n");
    }
}
