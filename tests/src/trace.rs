//! Has another program make a system call, which it never notices.

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::call;

/// Registers are another matter on every architecture; this is for those nobody wrote.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn call(_: nix::unistd::Pid, _: i64, _: [i64; 2]) -> nix::Result<i64> {
    Err(nix::errno::Errno::ENOSYS)
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::{thread, time::Duration};

    use nix::{
        errno::Errno,
        libc::{self, user_regs_struct},
        sys::{
            ptrace::{self, AddressType, Options},
            wait::{WaitStatus, waitpid},
        },
        unistd::Pid,
    };

    /// The two bytes of `syscall`, as the low half of a word.
    const SYSCALL: i64 = 0x050f;

    /// Makes one call in a program that is waiting in a call of its own.
    pub(crate) fn call(pid: Pid, number: i64, arguments: [i64; 2]) -> nix::Result<i64> {
        ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD)?;
        // Whatever goes wrong from here on ends the trace with the thread of the test.
        let own = stop_in_a_call(pid)?;
        let mut ours = own;
        ours.rax = number.cast_unsigned();
        [ours.rdi, ours.rsi] = arguments.map(i64::cast_unsigned);
        // The program's own instruction, once more; and nothing to restart before it.
        ours.rip -= 2;
        ours.orig_rax = u64::MAX;
        ptrace::setregs(pid, ours)?;
        for what in ["its beginning", "its end"] {
            ptrace::syscall(pid, None)?;
            let status = waitpid(pid, None)?;
            assert!(
                matches!(status, WaitStatus::PtraceSyscall(_)),
                "{what}: {status:?}"
            );
        }
        let result = ptrace::getregs(pid)?.rax.cast_signed();
        ptrace::setregs(pid, resumed(own))?;
        ptrace::detach(pid, None)?;
        match i32::try_from(result) {
            Ok(error @ -4095..0) => Err(Errno::from_raw(-error)),
            _ => Ok(result),
        }
    }

    /// Stops a program while it waits for something; returns its registers there. Between
    /// two calls there is no `syscall` at hand, and it may be reading the clock.
    fn stop_in_a_call(pid: Pid) -> nix::Result<user_regs_struct> {
        loop {
            ptrace::interrupt(pid)?;
            let status = waitpid(pid, None)?;
            assert!(
                matches!(status, WaitStatus::PtraceEvent(..)),
                "interrupted: {status:?}"
            );
            let registers = ptrace::getregs(pid)?;
            let before = ptrace::read(pid, (registers.rip - 2) as AddressType)?;
            if registers.orig_rax.cast_signed() >= 0 && before & 0xffff == SYSCALL {
                return Ok(registers);
            }
            ptrace::cont(pid, None)?;
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Where the program goes on: the kernel would take care of the call that was
    /// interrupted, had there been no other since.
    fn resumed(mut own: user_regs_struct) -> user_regs_struct {
        // From linux/errno.h: ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND and
        // ERESTART_RESTARTBLOCK. Any other result is for the program, EINTR included.
        let again = match own.rax.cast_signed() {
            -514..=-512 => Some(own.orig_rax),
            -516 => Some(libc::SYS_restart_syscall.cast_unsigned()),
            _ => None,
        };
        if let Some(number) = again {
            own.rax = number;
            own.rip -= 2;
        }
        own.orig_rax = u64::MAX;
        own
    }
}
