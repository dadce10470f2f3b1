//! The keys of a terminal, decoded from its bytes.

/// A key that a screen acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Quit,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// A decoder of keys. An escape sequence may arrive in two reads.
#[derive(Debug, Default)]
pub(crate) struct KeyDecoder {
    state: State,
}

/// The part of an escape sequence that has arrived (ECMA-48, 5.4; xterm's SS3 and CSI keys).
#[derive(Debug, Default)]
enum State {
    #[default]
    Plain,
    /// After ESC.
    Escape,
    /// After `ESC O`.
    Ss3,
    /// After `ESC [`, with the first parameter.
    Csi(u32),
    /// After the first parameter; the others are modifiers, such as Shift.
    CsiModifiers(u32),
}

impl KeyDecoder {
    /// Returns the keys in these bytes; other keys are left out.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Vec<Key> {
        bytes.iter().filter_map(|byte| self.push(*byte)).collect()
    }

    fn push(&mut self, byte: u8) -> Option<Key> {
        const ESCAPE: u8 = 0x1b;
        let (state, key) = match (&self.state, byte) {
            (State::Escape, b'[') => (State::Csi(0), None),
            (State::Escape, b'O') => (State::Ss3, None),
            (_, ESCAPE) => (State::Escape, None),
            (State::Plain | State::Escape, _) => (State::Plain, plain(byte)),
            (State::Ss3, _) => (State::Plain, letter(byte)),
            (State::Csi(number), b'0'..=b'9') => {
                let number = number.saturating_mul(10);
                (
                    State::Csi(number.saturating_add((byte - b'0').into())),
                    None,
                )
            }
            (State::Csi(number) | State::CsiModifiers(number), 0x20..=0x3f) => {
                (State::CsiModifiers(*number), None)
            }
            (State::Csi(number) | State::CsiModifiers(number), b'~') => {
                (State::Plain, numbered(*number))
            }
            (State::Csi(_) | State::CsiModifiers(_), _) => (State::Plain, letter(byte)),
        };
        self.state = state;
        key
    }
}

fn plain(byte: u8) -> Option<Key> {
    match byte {
        // Ctrl-D is a byte when lines are not edited.
        b'q' | b'Q' | 0x04 => Some(Key::Quit),
        b'k' => Some(Key::Up),
        b'j' => Some(Key::Down),
        b' ' => Some(Key::PageDown),
        b'g' => Some(Key::Home),
        b'G' => Some(Key::End),
        _ => None,
    }
}

fn letter(byte: u8) -> Option<Key> {
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        _ => None,
    }
}

fn numbered(number: u32) -> Option<Key> {
    match number {
        1 | 7 => Some(Key::Home),
        4 | 8 => Some(Key::End),
        5 => Some(Key::PageUp),
        6 => Some(Key::PageDown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, KeyDecoder};

    #[test]
    fn keys_are_decoded_in_one_and_in_several_reads() {
        let check = |bytes: &[u8], expected: &[Key]| {
            assert_eq!(KeyDecoder::default().decode(bytes), expected, "{bytes:?}");
            let mut decoder = KeyDecoder::default();
            let single: Vec<_> = bytes.iter().flat_map(|it| decoder.decode(&[*it])).collect();
            assert_eq!(single, expected, "{bytes:?}");
        };
        check(b"jk", &[Key::Down, Key::Up]);
        check(b"\x1b[A\x1bOB", &[Key::Up, Key::Down]);
        check(b"\x1b[5~\x1b[6~", &[Key::PageUp, Key::PageDown]);
        check(
            b"\x1b[H\x1bOF\x1b[1~\x1b[4~",
            &[Key::Home, Key::End, Key::Home, Key::End],
        );
        check(b"\x1b[1;5A\x1b[5;2~", &[Key::Up, Key::PageUp]);
        // The last byte of an unknown sequence is no key, and a key after a single Escape is one.
        check(b"\x1b[24~\x1b[3;2q\x1bOq", &[]);
        check(b"x\x1bq", &[Key::Quit]);
    }
}
