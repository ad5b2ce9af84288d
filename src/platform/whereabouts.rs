//! Where a thread is that does not come back, as far as it can be told from outside and at once.
//!
//! Its stack in user space says most, but only the thread itself can tell that ([`stack`](super::stack)), and it may take
//! its time or never come to it. So this is what Linux tells of a thread: whether it runs or sleeps, in which system call
//! and where in the kernel, and how much CPU time it has used. A handler in an endless loop and one that waits for a lock or
//! a peer are told apart by that. Elsewhere nothing is known. Where in its own code it was last, the pool remembers by
//! itself: the place of its latest checkpoint.

use std::{fmt, fs, time::Duration};

/// A thread, for [`Whereabouts::of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadNumber(u32);

impl ThreadNumber {
    /// As system calls take it.
    pub(crate) fn get(self) -> u32 {
        self.0
    }

    /// Of this thread; `None` where the platform does not tell.
    pub(crate) fn of_this_thread() -> Option<Self> {
        let path = fs::read_link("/proc/thread-self").ok()?;
        path.file_name()?.to_str()?.parse().ok().map(Self)
    }
}

impl fmt::Display for ThreadNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a thread at a moment. Each part may be missing: the platform, or its administrator, keeps it back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// `R` runs, `S` and `D` sleep.
    pub(crate) state: Option<char>,
    /// CPU time since the thread began.
    pub(crate) cpu: Option<Duration>,
    /// The number of the system call that it is in, or that it runs in user space.
    pub(crate) system_call: Option<String>,
    /// What it waits for in the kernel, innermost first; or just where.
    pub(crate) kernel: Option<String>,
}

impl Whereabouts {
    pub(crate) fn of(thread: ThreadNumber) -> Self {
        let read = |what: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{what}")).ok();
        let first = |text: String| text.split_whitespace().next().map(str::to_owned);
        // The name of the thread, in parentheses, may hold anything.
        let state = read("stat").and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
        let cpu = read("schedstat").and_then(first).and_then(|nanoseconds| nanoseconds.parse().ok());
        Self {
            state,
            cpu: cpu.map(Duration::from_nanos),
            system_call: read("syscall").and_then(first),
            kernel: read("stack")
                .and_then(|stack| frames(&stack))
                .or_else(|| read("wchan").filter(|at| at != "0")),
        }
    }
}

/// The functions of a kernel stack, of which each line is `[<address>] function+offset/length`.
fn frames(stack: &str) -> Option<String> {
    let function = |line: &str| line.split_whitespace().nth(1)?.split('+').next().map(str::to_owned);
    let functions: Vec<_> = stack.lines().filter_map(function).collect();
    (!functions.is_empty()).then(|| functions.join(" < "))
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            Some('R') => "running",
            Some('S' | 'D') => "asleep",
            Some(_) => "neither running nor asleep",
            None => return f.write_str("unknown"),
        };
        f.write_str(state)?;
        if let Some(call) = self.system_call.as_ref().filter(|call| *call != "running") {
            write!(f, ", in system call {call}")?;
        }
        if let Some(kernel) = &self.kernel {
            write!(f, " ({kernel})")?;
        }
        if let Some(cpu) = self.cpu {
            write!(f, ", {cpu:?} of CPU time since the thread began")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stack = "[<0>] futex_wait_queue+0x60/0x90\n[<0>] do_futex+0x105/0x1c0\n[<0>] entry+0x1/0x2\n";
        assert_eq!(frames(stack).unwrap(), "futex_wait_queue < do_futex < entry");
        assert_eq!(frames(""), None);
        let asleep = Whereabouts {
            state: Some('S'),
            cpu: Some(Duration::from_millis(3)),
            system_call: Some("202".into()),
            kernel: Some("futex_wait_queue".into()),
        };
        assert_eq!(
            asleep.to_string(),
            "asleep, in system call 202 (futex_wait_queue), 3ms of CPU time since the thread began"
        );
        assert_eq!(Whereabouts::default().to_string(), "unknown");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_waits_is_asleep_and_this_one_runs() {
        let here = Whereabouts::of(ThreadNumber::of_this_thread().unwrap());
        assert_eq!(here.state, Some('R'));
        let (told, number) = crossbeam::channel::bounded(1);
        let (open, gate) = crossbeam::channel::bounded::<()>(0);
        let waiter = std::thread::spawn(move || {
            told.send(ThreadNumber::of_this_thread().unwrap()).unwrap();
            gate.recv().ok();
        });
        let number = number.recv().unwrap();
        let asleep = || Whereabouts::of(number).state == Some('S');
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !asleep() {
            assert!(std::time::Instant::now() < deadline, "it never falls asleep");
            std::thread::yield_now();
        }
        drop(open);
        waiter.join().unwrap();
    }
}
