//! Lengths of time as people write them: `250ms`, `60s`, `15m`, `1h`, `7d`.

use std::time::Duration;

/// Reads a whole number with a unit; without a unit, or with more than a century,
/// it is not a length of time.
pub(crate) fn parse_span(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return None,
    };
    let total = number.checked_mul(milliseconds)?;
    (total <= 36_525 * 24 * 3600 * 1000).then(|| Duration::from_millis(total))
}

/// Writes what [`parse_span`] reads.
pub(crate) fn write_span(span: Duration) -> String {
    if span.subsec_millis() == 0 {
        format!("{}s", span.as_secs())
    } else {
        format!("{}ms", span.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_needs_its_unit() {
        let check = |text, expected| assert_eq!(parse_span(text), expected, "{text}");
        check("250ms", Some(Duration::from_millis(250)));
        check("60s", Some(Duration::from_secs(60)));
        check("15m", Some(Duration::from_secs(900)));
        check("12h", Some(Duration::from_secs(43_200)));
        check("7d", Some(Duration::from_secs(604_800)));
        for wrong in ["", "60", "s", "-1s", "1.5h", "1h30m", "1 h", "99999999999999999999s", "99999999d"] {
            check(wrong, None);
        }
    }
}
