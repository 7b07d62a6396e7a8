use super::compile::NATIVE;
use super::*;

/// What the kernel does with the program, for the instructions that are used here.
fn interpret(filter: &Filter, processor: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [0_u8; 64];
    data[..4].copy_from_slice(&number.to_ne_bytes());
    data[4..8].copy_from_slice(&processor.to_ne_bytes());
    for (place, argument) in data[16..].chunks_mut(8).zip(arguments) {
        place.copy_from_slice(&argument.to_ne_bytes());
    }
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let step = &filter.code[at];
        let (class, k) = (u32::from(step.code), step.k);
        at += 1;
        let condition = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
        match class {
            0x20 => {
                let place = k as usize;
                accumulator = u32::from_ne_bytes(data[place..place + 4].try_into().expect("4 bytes"));
            }
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += condition(accumulator == k),
            0x35 => at += condition(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// What the calls say, without a program.
fn expected(calls: &[SystemCall], number: u32, arguments: [u64; 6]) -> u32 {
    let holds = |c: &Condition| arguments[usize::from(c.argument)] & c.mask == c.value;
    let cases = calls.iter().find(|call| call.number == number).map(|call| &call.cases[..]);
    let case = cases.unwrap_or_default().iter().find(|case| case.conditions.iter().all(holds));
    match case.map_or(Verdict::Kill, |case| case.verdict) {
        Verdict::Allow => libc::SECCOMP_RET_ALLOW,
        Verdict::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    }
}

fn call(number: u32, cases: &[(&[Condition], Verdict)]) -> SystemCall {
    let case =
        |(conditions, verdict): &(&[Condition], Verdict)| Case { conditions: conditions.to_vec(), verdict: *verdict };
    SystemCall { number, cases: cases.iter().map(case).collect() }
}

fn allow(number: u32) -> SystemCall {
    call(number, &[(&[], Verdict::Allow)])
}

fn low(argument: u8, value: u32) -> Condition {
    Condition { argument, mask: 0xffff_ffff, value: value.into() }
}

/// xorshift64: a failure comes back.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn calls(&mut self) -> Vec<SystemCall> {
        let density = 1 + self.below(4);
        let numbers: Vec<u32> = (0..500).filter(|_| self.below(density) == 0).collect();
        numbers.into_iter().map(|number| SystemCall { number, cases: self.cases() }).collect()
    }

    fn cases(&mut self) -> Vec<Case> {
        let simple = self.below(3) != 0;
        let count = if simple { 1 } else { self.below(4) };
        (0..count)
            .map(|_| {
                let conditions = if simple { 0 } else { self.below(4) };
                let verdict = [Verdict::Allow, Verdict::Errno(1), Verdict::Errno(38), Verdict::Kill];
                Case {
                    conditions: (0..conditions).map(|_| self.condition()).collect(),
                    verdict: verdict[self.below(4) as usize],
                }
            })
            .collect()
    }

    /// Few bits, so that it holds now and then.
    fn condition(&mut self) -> Condition {
        let mask = [0xffff_ffff, u64::MAX, 3, 1 << 40, 0, 0x1_0000_0001][self.below(6) as usize];
        Condition { argument: self.below(6) as u8, mask, value: self.argument() & mask }
    }

    fn argument(&mut self) -> u64 {
        [0, 1, 2, 3, 1 << 40, 0x1_0000_0001, u64::MAX][self.below(7) as usize]
    }
}

#[test]
fn the_program_says_what_the_cases_say() {
    let mut numbers = Numbers(0x5eed);
    for _ in 0..60 {
        let calls = numbers.calls();
        let filter = Filter::compile(&calls).expect("compiled");
        for number in (0..520).chain([0x4000_0000, 0x4000_0001, 0x7fff_ffff, u32::MAX]) {
            let arguments = std::array::from_fn(|_| numbers.argument());
            let found = interpret(&filter, NATIVE, number, arguments);
            assert_eq!(found, expected(&calls, number, arguments), "{number} {arguments:x?} {calls:?}");
        }
    }
}

#[test]
fn the_first_and_the_last_number_are_numbers_too() {
    let calls = [allow(0), allow(1), allow(u32::MAX), call(u32::MAX - 1, &[(&[], Verdict::Errno(1))])];
    let filter = Filter::compile(&calls).expect("compiled");
    for number in [0, 1, 2, 3, u32::MAX - 2, u32::MAX - 1, u32::MAX] {
        assert_eq!(interpret(&filter, NATIVE, number, [0; 6]), expected(&calls, number, [0; 6]), "{number}");
    }
    assert_eq!(interpret(&Filter::compile(&[]).expect("compiled"), NATIVE, 0, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
}

#[test]
fn another_calling_convention_is_no_way_around() {
    let all: Vec<SystemCall> = all().map(|(_, number)| allow(number)).collect();
    let filter = Filter::compile(&all).expect("compiled");
    // EM_386, EM_ARM: 32 bits.
    for processor in [0x4000_0003, 0x4000_0028, 0, NATIVE ^ 0x8000_0000] {
        assert_eq!(interpret(&filter, processor, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
    }
    // x32 is x86-64 with a bit in the number.
    for (_, number) in super::all() {
        assert_eq!(interpret(&filter, NATIVE, number, [0; 6]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(interpret(&filter, NATIVE, number | 0x4000_0000, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let on = |argument, mask, value| call(7, &[(&[Condition { argument, mask, value }], Verdict::Allow)]);
    let fails = |errno| call(7, &[(&[], Verdict::Errno(errno))]);
    let many = |count| call(7, &[(&vec![low(0, 1); count], Verdict::Allow)]);
    let long = (0..2000).map(|number| call(number, &[(&[low(0, number)], Verdict::Allow)])).collect();
    let errors: [(Vec<SystemCall>, FilterError); 7] = [
        (vec![allow(7), allow(8), allow(7)], FilterError::Twice(7)),
        (vec![on(6, 1, 1)], FilterError::Argument { number: 7, argument: 6 }),
        (vec![on(0, 1, 2)], FilterError::Never(7)),
        (vec![many(CONDITIONS_LIMIT + 1)], FilterError::Conditions(7)),
        (vec![fails(0)], FilterError::Errno { number: 7, errno: 0 }),
        (vec![fails(4096)], FilterError::Errno { number: 7, errno: 4096 }),
        (long, FilterError::Long(12_004)),
    ];
    for (calls, error) in errors {
        match Filter::compile(&calls) {
            Err(FilterError::Long(_)) => assert!(matches!(error, FilterError::Long(_))),
            Err(found) => assert_eq!(found, error),
            Ok(_) => panic!("{error} was not found"),
        }
    }
    // The longest case there may be: every condition asks for bits of both halves.
    let wide = Condition { argument: 0, mask: 0x7fff_ffff_7fff_ffff, value: 5 };
    let calls = [call(7, &[(&[wide; CONDITIONS_LIMIT], Verdict::Allow)])];
    let filter = Filter::compile(&calls).expect("compiled");
    for argument in [5, 6] {
        let arguments = [argument; 6];
        assert_eq!(interpret(&filter, NATIVE, 7, arguments), expected(&calls, 7, arguments));
    }
}

#[test]
fn a_name_has_one_number_and_a_number_one_name() {
    for (text, value) in all() {
        assert_eq!((number_of(text), name_of(value.into())), (Some(value), Some(text)), "{text}");
    }
    assert_eq!((number_of("openat2"), name_of(437)), (Some(437), Some("openat2")));
    assert_eq!((number_of("no_such_call"), name_of(9999), name_of(-1)), (None, None, None));
}

/// Raw status of a child that installs the filter and makes one call; its exit code is errno, or 0.
fn status_of(filter: &Filter, call: fn() -> libc::c_long) -> libc::c_int {
    // SAFETY: the child makes system calls only; `waitpid` gets a valid place.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            if filter.install().is_err() {
                libc::_exit(125);
            }
            let failed = call() < 0;
            libc::_exit(if failed { *libc::__errno_location() } else { 0 });
        }
        assert!(child > 0);
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        status
    }
}

#[test]
fn the_kernel_does_what_the_cases_say() {
    let number = |name| number_of(name).expect("a call");
    let socket = [(&[low(0, 1)][..], Verdict::Allow), (&[low(0, 16)], Verdict::Errno(libc::EAFNOSUPPORT as u16))];
    let filter = Filter::compile(&[
        allow(number("exit_group")),
        call(number("socket"), &socket),
        call(number("setuid"), &[(&[], Verdict::Errno(libc::EPERM as u16))]),
    ])
    .expect("compiled");
    // SAFETY: each makes one system call that touches no memory of ours.
    let socket = |domain: fn() -> libc::c_long| status_of(&filter, domain);
    let exit = |code: i32| code << 8;
    assert_eq!(socket(|| unsafe { libc::syscall(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_DGRAM, 0) }), exit(0));
    assert_eq!(
        socket(|| unsafe { libc::syscall(libc::SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, 0) }),
        exit(libc::EAFNOSUPPORT)
    );
    // Bits that the kernel does not look at do not help.
    assert_eq!(socket(|| unsafe { libc::syscall(libc::SYS_socket, 0x7_0000_0001_u64, libc::SOCK_DGRAM, 0) }), exit(0));
    assert_eq!(socket(|| unsafe { libc::syscall(libc::SYS_setuid, 0) }), exit(libc::EPERM));
    for killed in [
        || unsafe { libc::syscall(libc::SYS_socket, libc::AF_PACKET, libc::SOCK_RAW, 0) },
        || unsafe { libc::syscall(libc::SYS_getppid) },
        || unsafe { libc::syscall(libc::SYS_getppid | 0x4000_0000) },
    ] {
        let status = status_of(&filter, killed);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS, "{status:#x}");
    }
}
