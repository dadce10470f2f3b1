//! The audit on the daemon's standard output, for a collector of logs. A line that the reader does not
//! take at once is lost.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::AsFd,
};

use serde::Serialize;

use super::lost_lines::{LostLine, LostLines};
use crate::runtime::nonblocking_write;

/// The name of the destination in messages.
const NAME: &str = "the standard output";

/// What to do about an output that nothing reads.
const READ_HINT: &str = "the program that reads the daemon's standard output has stopped or is slow; \
                         start stsd again with another one, or name a file below [audit]";

/// The daemon's standard output, or another file that is written without blocking.
#[derive(Debug)]
pub struct AuditStdout {
    output: File,
    lost_lines: LostLines,
    /// The last line may be incomplete.
    has_partial_line: bool,
}

impl AuditStdout {
    /// Returns the standard output.
    ///
    /// # Errors
    /// The descriptor cannot be duplicated.
    pub fn open() -> io::Result<Self> {
        Self::duplicate(&io::stdout())
    }

    fn duplicate(output: &impl AsFd) -> io::Result<Self> {
        Ok(Self {
            output: output.as_fd().try_clone_to_owned()?.into(),
            lost_lines: LostLines::default(),
            has_partial_line: false,
        })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// [`LostLine`], as it is logged.
    pub(super) fn append(&mut self, line: &impl Serialize) -> Result<(), LostLine> {
        let written = self.try_append(line).map_err(|error| {
            let reason = match error.kind() {
                ErrorKind::WouldBlock => "it is not read".to_owned(),
                _ => error.to_string(),
            };
            LostLine {
                problem: format!("audit lines are lost: cannot write to {NAME}: {reason}"),
                hint: READ_HINT,
            }
        });
        self.lost_lines.record(&written, &NAME);
        written
    }

    fn try_append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(512);
        if self.has_partial_line {
            bytes.push(b'\n');
        }
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let count = nonblocking_write::write(&mut self.output, rest)?;
            rest = &rest[count..];
            self.has_partial_line = !rest.is_empty();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, pipe};

    use super::AuditStdout;

    #[test]
    fn unread_output_does_not_block_and_lines_stay_whole() {
        let (reader, writer) = pipe().unwrap();
        let mut output = AuditStdout::duplicate(&writer).unwrap();
        drop(writer);
        // Longer than one write, and together far more than the capacity of a pipe.
        let line = "x".repeat(5000);
        for _ in 0..1000 {
            let _ = output.append(&line);
        }
        let lost = output.lost_lines.count();
        assert!(lost > 900, "{lost}");
        let problem = output.append(&line).unwrap_err().problem;
        assert!(problem.ends_with("the standard output: it is not read"));
        let was_cut = output.has_partial_line;
        let mut reader = BufReader::new(reader);
        let mut read = String::new();
        // A pipe is writable again once a page of it is free.
        for _ in 0..5 {
            reader.read_line(&mut read).unwrap();
        }
        output.append(&"again").unwrap();
        assert_eq!(output.lost_lines.count(), 0);
        drop(output);
        let rest: Vec<_> = reader.lines().map(Result::unwrap).collect();
        let (last, before) = rest.split_last().unwrap();
        assert_eq!(last, "\"again\"");
        let whole = format!("\"{line}\"");
        let cut = before.iter().filter(|it| **it != whole).count();
        assert!(cut <= usize::from(was_cut), "{cut}");
    }

    #[test]
    fn output_without_a_reader_loses_lines() {
        let (reader, writer) = pipe().unwrap();
        let mut output = AuditStdout::duplicate(&writer).unwrap();
        drop(reader);
        output.append(&"one").unwrap_err();
    }
}
