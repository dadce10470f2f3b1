//! The range of a `Range` header, and of the headers of a copy.

/// The range of a header, for an object of a given length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// The positions of the first and the last byte.
    Part(usize, usize),
    /// The range begins after the object's end.
    Outside,
}

impl ByteRange {
    /// Parses a header; `None` if it is not a single range, so that the whole object is sent.
    pub(crate) fn parse(text: &str, length: usize) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        if first.is_empty() {
            let suffix: usize = last.parse().ok()?;
            return match (suffix, length) {
                (0, _) | (_, 0) => Some(Self::Outside),
                _ => Some(Self::Part(length.saturating_sub(suffix), length - 1)),
            };
        }
        let first: usize = first.parse().ok()?;
        let last = match last {
            "" => usize::MAX,
            last => last.parse().ok()?,
        };
        if last < first {
            return None;
        }
        if first >= length {
            return Some(Self::Outside);
        }
        Some(Self::Part(first, last.min(length - 1)))
    }
}
