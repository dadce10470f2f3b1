//! The part of a long status that the screen shows.

use crate::term::{keys::Key, style::Line};

/// The position of the screen in the lines of the status.
#[derive(Debug, Default)]
pub(super) struct ScrollPosition {
    /// The number of lines above the screen.
    top: usize,
    /// The number of lines on the screen, as last drawn.
    page: usize,
}

impl ScrollPosition {
    /// Moves the position. The next call of [`window`](Self::window) keeps it within the lines.
    pub(super) fn apply(&mut self, key: Key) {
        // A line of the previous page stays.
        let page = self.page.saturating_sub(1).max(1);
        self.top = match key {
            Key::Up => self.top.saturating_sub(1),
            Key::Down => self.top.saturating_add(1),
            Key::PageUp => self.top.saturating_sub(page),
            Key::PageDown => self.top.saturating_add(page),
            Key::Home => 0,
            Key::End => usize::MAX,
            Key::Quit => self.top,
        };
    }

    /// Returns the lines on a screen of `page` lines, and which of the lines they are; `None` if
    /// the screen shows all of them.
    pub(super) fn window(&mut self, lines: Vec<Line>, page: usize) -> (Vec<Line>, Option<String>) {
        let total = lines.len();
        self.page = page;
        self.top = self.top.min(total.saturating_sub(page));
        if total <= page {
            return (lines, None);
        }
        let shown: Vec<_> = lines.into_iter().skip(self.top).take(page).collect();
        let (first, last) = (self.top + 1, self.top + shown.len());
        (shown, Some(format!("lines {first}-{last} of {total}")))
    }
}

#[cfg(test)]
mod tests {
    use super::ScrollPosition;
    use crate::term::{
        keys::Key,
        style::{Line, PLAIN},
    };

    #[test]
    fn scroll_position_stays_within_the_lines() {
        let mut position = ScrollPosition::default();
        let mut check = |keys: &[Key], count: usize, expected: &str| {
            for key in keys {
                position.apply(*key);
            }
            let lines = vec![Line::new(PLAIN, "a"); count];
            let (shown, range) = position.window(lines, 10);
            assert_eq!(shown.len(), count.min(10));
            assert_eq!(range.unwrap_or_default(), expected, "{keys:?}");
        };
        check(&[], 30, "lines 1-10 of 30");
        check(&[Key::Up], 30, "lines 1-10 of 30");
        check(&[Key::Down, Key::Down], 30, "lines 3-12 of 30");
        check(&[Key::PageDown], 30, "lines 12-21 of 30");
        check(&[Key::PageDown, Key::PageDown], 30, "lines 21-30 of 30");
        check(&[Key::PageUp], 30, "lines 12-21 of 30");
        check(&[Key::End, Key::Down], 30, "lines 21-30 of 30");
        // Fewer profiles after a reload.
        check(&[], 5, "");
        check(&[Key::End], 12, "lines 3-12 of 12");
        check(&[Key::Home], 12, "lines 1-10 of 12");
    }
}
