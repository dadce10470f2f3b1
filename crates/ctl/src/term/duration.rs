//! Durations as text.

/// Returns a duration in its two largest units: `1h02m`, `59m58s`, `12s`.
pub(crate) fn format_duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::format_duration;

    #[test]
    fn duration_is_formatted_in_two_units() {
        let check = |seconds, expected: &str| assert_eq!(format_duration(seconds), expected);
        check(0, "0s");
        check(61, "1m01s");
        check(3599, "59m59s");
        check(3720, "1h02m");
        check(90_000, "1d01h");
    }
}
