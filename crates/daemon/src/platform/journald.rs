//! The log layer for systemd's journal: each event is an entry with its fields, for queries such as
//! `journalctl STSD_PROFILE=oss-upload`, and with the line that stderr would get.
//!
//! The protocol is systemd's "native" one, a datagram of fields; see
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. The crate tracing-journald has the same protocol,
//! but its messages do not show the fields ("credentials renewed", without the profile).

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
    fmt::{FormatFields as _, format::Writer},
    layer::{Context, Layer},
};

use crate::{
    platform::{log_fields, nonblocking_stderr::NonBlockingWriter},
    runtime::sync::lock,
};

/// The socket of the journal.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Maximum length of a field name in the journal.
const MAX_FIELD_NAME_BYTES: usize = 64;

/// The log layer for the journal.
pub struct Journal {
    socket: UnixDatagram,
    socket_path: PathBuf,
    /// The fallback: the journal reads stderr as well, line by line.
    lines: Mutex<Box<dyn Write + Send>>,
}

impl Journal {
    /// Returns the journal; `None` if the journal does not read stderr.
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
        // A busy journal must not block the daemon.
        socket.set_nonblocking(true).ok()?;
        Some(Self {
            socket,
            socket_path,
            lines: Mutex::new(lines),
        })
    }

    /// Writes an event to stderr, as lines with their priority.
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
        let _ = log_fields::printable().format_fields(Writer::new(&mut text), event);
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

/// Returns the syslog priority of a level.
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// One entry in the native protocol.
struct JournalEntry(Vec<u8>);

impl JournalEntry {
    /// Adds a field, with the length before the value, so that no byte of the value ends the field.
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

/// Returns the name of a field in the journal: capital letters, digits and underscores.
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

    /// Parses an entry as the journal does.
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
    fn event_with_newlines_is_one_entry() {
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
        // One line, without control characters.
        let message = "refused profile=\"a\\nSTSD_UID=0\\n\\u{1b}[31m\" uid=7";
        check("MESSAGE", message);
        assert_eq!(fields.len(), 6, "{fields:?}");
        assert_eq!(fs::read_to_string(stderr).unwrap(), "");
    }

    #[test]
    fn unsent_entry_goes_to_stderr_with_its_priority() {
        let directory = tempfile::tempdir().unwrap();
        let stderr = directory.path().join("stderr");
        let lines = Box::new(File::create(&stderr).unwrap());
        let layer = Journal::at(directory.path().join("missing"), lines).unwrap();
        with_default(registry().with(layer), || {
            warn!(left = 3, "first\nsecond\u{1b}[31m\u{202e}");
        });
        let said = fs::read_to_string(stderr).unwrap();
        assert_eq!(said, "<4>first\\nsecond\\u{1b}[31m\\u{202e} left=3\n");
    }
}
