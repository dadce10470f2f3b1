//! The fields of a log line: `message name=value …`, with each unprintable character escaped, because
//! many values are texts of peers, of STS and of files.

use stsd_document::Printable;
use tracing_subscriber::{
    field::MakeExt as _,
    fmt::{FormatFields, format},
};

/// Returns the format of the fields.
#[must_use]
pub fn printable() -> impl for<'writer> FormatFields<'writer> + 'static {
    let write = |writer: &mut format::Writer<'_>,
                 field: &tracing::field::Field,
                 value: &dyn std::fmt::Debug| {
        let text = format!("{value:?}");
        let text = Printable(&text);
        match field.name() {
            "message" => write!(writer, "{text}"),
            name => write!(writer, "{name}={text}"),
        }
    };
    format::debug_fn(write).delimited(" ")
}
