//! Policies of system calls, by name, to filters as the kernel takes them.
//!
//! Invariant: a call that has no number on this processor is left out: nobody can make it here.

use crate::error::AgentError;
use osbuild_format::app::policy;
use osbuild_sys::seccomp::{self, Filter};

pub fn filter(calls: &[policy::SystemCall]) -> Result<Filter, AgentError> {
    let condition = |c: &policy::Condition| seccomp::Condition { argument: c.argument, mask: c.mask, value: c.value };
    let case = |case: &policy::Case| seccomp::Case {
        conditions: case.conditions.iter().map(condition).collect(),
        verdict: match case.verdict {
            policy::Verdict::Allow => seccomp::Verdict::Allow,
            policy::Verdict::Errno(errno) => seccomp::Verdict::Errno(errno),
            policy::Verdict::Kill => seccomp::Verdict::Kill,
        },
    };
    let call = |call: &policy::SystemCall| {
        let number = seccomp::number_of(call.name)?;
        Some(seccomp::SystemCall { number, cases: call.cases.iter().map(case).collect() })
    };
    let calls: Vec<seccomp::SystemCall> = calls.iter().filter_map(call).collect();
    let wrong = |error| AgentError::Wrong(format!("cannot make the filter of system calls: {error}"));
    Filter::compile(&calls).map_err(wrong)
}
