//! The output of strace.

/// Returns the number of system calls. Lines of signals and exits do not count, nor does the second
/// line of a call that another thread's call has interrupted.
pub(crate) fn system_calls(text: &str) -> f64 {
    let calls = text.lines().filter(|line| {
        let call = line
            .split_once(' ')
            .map_or("", |(_, call)| call.trim_start());
        call.starts_with(|it: char| it.is_ascii_lowercase()) && call.contains('(')
    });
    calls.count() as f64
}

#[cfg(test)]
mod tests {
    use super::system_calls;

    #[test]
    fn lines_other_than_system_calls_are_not_counted() {
        let text = "7 execve(\"/x\", [], 0x0) = 0\n7 brk(NULL) = 0x5\n8 read(3,  <unfinished ...>\n\
            7 write(1, \"a\", 1) = 1\n8 <... read resumed>\"\", 1) = 0\n\
            7 --- SIGTERM {si_signo=SIGTERM} ---\n7 +++ exited with 0 +++\n";
        assert_eq!(system_calls(text), 4.0);
    }
}
