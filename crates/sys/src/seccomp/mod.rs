//! Allowed system calls, with conditions on their arguments, to a filter of the kernel, seccomp(2).
//!
//! Invariant: what no case allows, or answers with an error, ends the process: an unknown number, another
//! processor's or x32's calling convention too. Installing a compiled filter makes one system call and nothing else.
#![allow(unsafe_code)]

mod calls;
mod compile;

#[cfg(test)]
mod tests;

pub use calls::{all, name_of, number_of};

/// A system call of this processor, by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemCall {
    pub number: u32,
    /// The first whose conditions all hold decides; when there is none, the process ends.
    pub cases: Vec<Case>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// All have to hold; none: it always applies.
    pub conditions: Vec<Condition>,
    pub verdict: Verdict,
}

/// `argument & mask == value`. The kernel reads 32 bits of an `int`, so the mask has to leave the others out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    pub mask: u64,
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// The call does nothing and fails with this errno.
    Errno(u16),
    /// As if there were no case.
    Kill,
}

/// A call that cannot be made into a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("the system call {0} is there twice")]
    Twice(u32),
    #[error("a system call has arguments 0 to 5, call {number} has a condition on: {argument}")]
    Argument { number: u32, argument: u8 },
    #[error("a condition on call {0} can never hold: its value has bits that its mask has not")]
    Never(u32),
    #[error("call {0} has a case with more conditions than the limit: {CONDITIONS_LIMIT}")]
    Conditions(u32),
    #[error("call {number} fails with an errno that the kernel does not have: {errno}")]
    Errno { number: u32, errno: u16 },
    #[error("the filter has {0} instructions; the kernel's limit is {INSTRUCTIONS_LIMIT}")]
    Long(usize),
}

/// A case has to fit into a jump of 8 bits.
const CONDITIONS_LIMIT: usize = 12;
/// `BPF_MAXINSNS`.
const INSTRUCTIONS_LIMIT: usize = 4096;

/// A program for the kernel.
#[derive(Clone)]
pub struct Filter {
    code: Vec<libc::sock_filter>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Filter({} instructions)", self.code.len())
    }
}

impl Filter {
    /// In any order; each call once.
    pub fn compile(calls: &[SystemCall]) -> Result<Filter, FilterError> {
        compile::compile(calls).map(|code| Filter { code })
    }

    /// How many instructions it has.
    pub fn instructions(&self) -> usize {
        self.code.len()
    }

    /// Binds this thread, and what it starts, for ever; the error is errno. It needs `no_new_privs`, prctl(2), and does
    /// not allocate, so it may follow a fork.
    ///
    /// Not with `SECCOMP_FILTER_FLAG_LOG`: the kernel writes an audit record of every process that a filter ends, whatever
    /// the flag (seccomp(2), "Seccomp-specific audit"). With it each call that fails with an errno would be written down too,
    /// and an app could flood the log by making them.
    pub fn install(&self) -> Result<(), i32> {
        // Compiled filters are shorter than 4096, so nothing is cut off.
        let program = libc::sock_fprog { len: self.code.len() as u16, filter: self.code.as_ptr().cast_mut() };
        // SAFETY: the kernel reads `len` instructions, which `self` holds, and writes nothing.
        let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        match answer {
            0 => Ok(()),
            // SAFETY: the place of errno of this thread.
            _ => Err(unsafe { *libc::__errno_location() }),
        }
    }
}
