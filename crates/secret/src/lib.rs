//! Types that hold a secret: redacted when printed, wiped on drop, readable through `expose`
//! alone. With the feature `pages`, a program can hold them in pages that are locked and never
//! dumped.
//!
//! The types are a crate of their own because both the wire format and the signer need them, and
//! neither may depend on the other. The audit of the whole project is `rg 'expose\(\)'`.

#[cfg(feature = "pages")]
mod arena;
#[cfg(feature = "pages")]
mod look;

use std::fmt;
#[cfg(feature = "pages")]
use std::{collections::HashSet, ops::Range, sync::Arc};

#[cfg(feature = "pages")]
pub use arena::{lock_pages, trim_heap};
#[cfg(feature = "pages")]
pub use look::{Pages, pages};
use zeroize::Zeroizing;

/// Text that must never be printed: an AccessKey secret or a security token.
///
/// There is no `Display` and no `Deref`; `Debug` prints `[redacted]`; the memory is
/// overwritten on drop. Only [`expose`](Self::expose) returns the text.
///
/// ```
/// let secret = stsd_secret::SecretText::from("made-up".to_owned());
/// assert_eq!(format!("{secret:?}"), "[redacted]");
/// assert_eq!(secret.expose(), "made-up");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(SecretBytes);

/// Bytes that hold a secret, such as an answer with credentials; otherwise as
/// [`SecretText`].
pub struct SecretBytes(Held);

/// The memory of a secret. The owner of the memory wipes it on drop.
enum Held {
    Heap(Zeroizing<Vec<u8>>),
    #[cfg(feature = "pages")]
    Pages(arena::Slot),
    /// A range of another secret's bytes, without a copy.
    #[cfg(feature = "pages")]
    Part(Arc<SecretBytes>, Range<u32>),
}

/// Returns `true` if twelve consecutive bytes of a text are in a secret that this process holds in
/// locked pages. A text that another program has chosen is checked by this before it is shown.
#[cfg(feature = "pages")]
#[must_use]
pub fn is_part_of_a_secret(text: &str) -> bool {
    let parts = text.as_bytes().windows(arena::PART);
    let parts: HashSet<[u8; arena::PART]> = parts.flat_map(<[u8; arena::PART]>::try_from).collect();
    arena::holds_any(&parts)
}

impl SecretText {
    /// Returns the secret itself, for signing with it or for serving it.
    #[must_use]
    pub fn expose(&self) -> &str {
        // Validated at each call, because a conversion without validation is `unsafe`.
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }

    /// Replaces the text's own memory by the range of `whole` that holds the same text, so that
    /// the secret is in memory once. Does nothing if `whole` does not contain the text.
    #[cfg(feature = "pages")]
    pub fn move_into(&mut self, whole: &Arc<SecretBytes>) {
        let (text, bytes) = (self.0.expose(), whole.expose());
        let found = bytes.windows(text.len().max(1)).position(|it| it == text);
        let place = found.and_then(|start| {
            let end = u32::try_from(start + text.len()).ok()?;
            Some(u32::try_from(start).ok()?..end)
        });
        if let Some(place) = place {
            self.0 = SecretBytes(Held::Part(Arc::clone(whole), place));
        }
    }

    /// Returns `true` if the text is empty, without exposing it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.expose().is_empty()
    }
}

impl SecretBytes {
    /// Returns the secret itself, for serving it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Held::Heap(bytes) => bytes,
            #[cfg(feature = "pages")]
            Held::Pages(slot) => slot.bytes(),
            #[cfg(feature = "pages")]
            Held::Part(whole, place) => &whole.expose()[place.start as usize..place.end as usize],
        }
    }
}

/// Keeps the memory of the bytes, or copies it into locked pages and wipes it.
impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        let bytes = Zeroizing::new(bytes);
        #[cfg(feature = "pages")]
        if let Some(slot) = arena::place(&bytes) {
            return Self(Held::Pages(slot));
        }
        Self(Held::Heap(bytes))
    }
}

/// Copies the bytes; wiping the original is up to its owner.
impl From<&[u8]> for SecretBytes {
    fn from(bytes: &[u8]) -> Self {
        #[cfg(feature = "pages")]
        if let Some(slot) = arena::place(bytes) {
            return Self(Held::Pages(slot));
        }
        Self(Held::Heap(Zeroizing::new(bytes.to_vec())))
    }
}

/// Keeps the memory of the text, or copies it into locked pages and wipes it.
impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl Clone for SecretBytes {
    fn clone(&self) -> Self {
        self.expose().into()
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl serde::Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Visitor)
    }
}

/// Copies directly from the input wherever the format allows it, because an intermediate `String`
/// would not be wiped.
struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText, E> {
        Ok(SecretText(text.as_bytes().into()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<SecretText, E> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::SecretText;
    #[cfg(feature = "pages")]
    use super::{Arc, SecretBytes};

    #[test]
    fn debug_output_of_a_secret_is_redacted() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only its Debug output is of interest")]
        struct Holder {
            secret: Option<SecretText>,
        }
        let holder = Holder {
            secret: Some(SecretText::from("marker-secret".to_owned())),
        };
        assert_eq!(format!("{holder:?}"), "Holder { secret: Some([redacted]) }");
    }

    #[test]
    fn secret_text_is_serialized_like_a_string() {
        for json in [r#""plain""#, r#""with \"escapes\" and é""#, r#""""#] {
            let secret: SecretText = serde_json::from_str(json).unwrap();
            let text: String = serde_json::from_str(json).unwrap();
            assert_eq!(secret.expose(), text);
            assert_eq!(secret.is_empty(), text.is_empty());
            assert_eq!(serde_json::to_string(&secret).unwrap(), json);
        }
        assert!(serde_json::from_str::<SecretText>("7").is_err());
        // A deserialiser that reads from a stream has nothing to borrow from.
        let secret: SecretText = serde_json::from_reader(&br#""streamed""#[..]).unwrap();
        assert_eq!(secret.expose(), "streamed");
    }

    #[cfg(feature = "pages")]
    #[test]
    fn moved_text_points_into_the_whole_and_keeps_it_alive() {
        let whole = Arc::new(SecretBytes::from(
            b"an answer with a token in it".as_slice(),
        ));
        let mut token = SecretText::from("token".to_owned());
        let mut other = SecretText::from("taken".to_owned());
        let mut none = SecretText::from(String::new());
        for text in [&mut token, &mut other, &mut none] {
            text.move_into(&whole);
        }
        let range = whole.expose().as_ptr_range();
        let inside = |text: &SecretText| range.contains(&text.expose().as_ptr());
        assert!(inside(&token) && !inside(&other));
        drop(whole);
        assert_eq!(
            [token, other, none].each_ref().map(SecretText::expose),
            ["token", "taken", ""]
        );
    }
}
