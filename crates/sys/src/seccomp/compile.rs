//! System calls to the instructions of classic BPF that the kernel runs at each call.
//!
//! The numbers are cut into ranges with one answer each, and searched by halves: a call costs about eight comparisons, and
//! one that is always allowed costs none, since the kernel runs the program for every number beforehand and remembers.
//! Invariant: the ranges cover every number; those between the calls end the process.

use super::{Case, Condition, FilterError, SystemCall, Verdict, CONDITIONS_LIMIT, INSTRUCTIONS_LIMIT};
use libc::sock_filter;

/// `struct seccomp_data`: number, processor, instruction pointer, six arguments of 64 bits.
const NUMBER: u32 = 0;
const PROCESSOR: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_*` of linux/audit.h: `EM_*`, 64 bits, little-endian. Both processors store the low half first.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: u32 = 0xc000_00b7;

const ERRNO_LIMIT: u16 = 4095;

/// From `start` to the start of the next: the same code.
struct Range {
    start: u32,
    code: Vec<sock_filter>,
}

pub(super) fn compile(calls: &[SystemCall]) -> Result<Vec<sock_filter>, FilterError> {
    let mut code = vec![load(PROCESSOR), jump(libc::BPF_JEQ, NATIVE, 1, 0), answer(Verdict::Kill), load(NUMBER)];
    search(&ranges(calls)?, &mut code);
    match code.len() {
        length if length > INSTRUCTIONS_LIMIT => Err(FilterError::Long(length)),
        _ => Ok(code),
    }
}

fn ranges(calls: &[SystemCall]) -> Result<Vec<Range>, FilterError> {
    let mut sorted: Vec<&SystemCall> = calls.iter().collect();
    sorted.sort_by_key(|call| call.number);
    let kill = || vec![answer(Verdict::Kill)];
    let mut ranges = vec![Range { start: 0, code: kill() }];
    let mut next = 0;
    for call in sorted {
        // Past the last number there is nothing that could come.
        if u64::from(call.number) < next {
            return Err(FilterError::Twice(call.number));
        }
        if u64::from(call.number) > next {
            extend(&mut ranges, next, kill());
        }
        extend(&mut ranges, call.number.into(), decide(call)?);
        next = u64::from(call.number) + 1;
    }
    extend(&mut ranges, next, kill());
    Ok(ranges)
}

/// Begins a range where the answer changes.
fn extend(ranges: &mut Vec<Range>, start: u64, code: Vec<sock_filter>) {
    let Ok(start) = u32::try_from(start) else { return };
    let same = |last: &Range| same_code(&last.code, &code);
    if ranges.last().is_some_and(same) {
        return;
    }
    // The range before has no numbers.
    ranges.retain(|range| range.start != start);
    ranges.push(Range { start, code });
}

fn same_code(one: &[sock_filter], other: &[sock_filter]) -> bool {
    let fields = |i: &sock_filter| (i.code, i.jt, i.jf, i.k);
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| fields(one) == fields(other))
}

/// The number is in the accumulator.
fn search(ranges: &[Range], code: &mut Vec<sock_filter>) {
    let (below, from) = ranges.split_at(ranges.len() / 2);
    let [first, ..] = from else { return };
    if below.is_empty() {
        code.extend_from_slice(&first.code);
        return;
    }
    let mut left = Vec::new();
    search(below, &mut left);
    match u8::try_from(left.len()) {
        Ok(length) => code.push(jump(libc::BPF_JGE, first.start, length, 0)),
        // Conditional jumps have 8 bits, others 32.
        Err(_) => {
            code.push(jump(libc::BPF_JGE, first.start, 0, 1));
            code.push(instruction(libc::BPF_JMP | libc::BPF_JA, left.len() as u32));
        }
    }
    code.append(&mut left);
    search(from, code);
}

/// The cases of one call, one after the other.
fn decide(call: &SystemCall) -> Result<Vec<sock_filter>, FilterError> {
    let mut code = Vec::new();
    for case in &call.cases {
        check(call.number, case)?;
        let conditions = conditions(case);
        for (index, (place, mask, value)) in conditions.iter().enumerate() {
            let left: usize = conditions[index + 1..].iter().map(|(_, mask, _)| length(*mask)).sum();
            code.push(load(*place));
            if *mask != u32::MAX {
                code.push(instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, *mask));
            }
            // Past the other conditions and the answer.
            code.push(jump(libc::BPF_JEQ, *value, 0, left as u8 + 1));
        }
        code.push(answer(case.verdict));
        if conditions.is_empty() {
            return Ok(code);
        }
    }
    code.push(answer(Verdict::Kill));
    Ok(code)
}

fn check(number: u32, case: &Case) -> Result<(), FilterError> {
    if case.conditions.len() > CONDITIONS_LIMIT {
        return Err(FilterError::Conditions(number));
    }
    for Condition { argument, mask, value } in &case.conditions {
        if *argument > 5 {
            return Err(FilterError::Argument { number, argument: *argument });
        }
        if value & !mask != 0 {
            return Err(FilterError::Never(number));
        }
    }
    match case.verdict {
        Verdict::Errno(errno) if errno == 0 || errno > ERRNO_LIMIT => Err(FilterError::Errno { number, errno }),
        _ => Ok(()),
    }
}

/// Halves of arguments: place, mask, value. A half that no bit is asked of is left out.
fn conditions(case: &Case) -> Vec<(u32, u32, u32)> {
    let halves = |condition: &Condition| {
        let place = ARGUMENTS + 8 * u32::from(condition.argument);
        let (mask, value) = (condition.mask, condition.value);
        [(place, mask as u32, value as u32), (place + 4, (mask >> 32) as u32, (value >> 32) as u32)]
    };
    case.conditions.iter().flat_map(halves).filter(|(_, mask, _)| *mask != 0).collect()
}

/// Instructions of a condition on half an argument.
fn length(mask: u32) -> usize {
    if mask == u32::MAX {
        2
    } else {
        3
    }
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { jt, jf, ..instruction(libc::BPF_JMP | test | libc::BPF_K, k) }
}

fn answer(verdict: Verdict) -> sock_filter {
    let value = match verdict {
        Verdict::Allow => libc::SECCOMP_RET_ALLOW,
        Verdict::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    instruction(libc::BPF_RET | libc::BPF_K, value)
}

fn instruction(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}
