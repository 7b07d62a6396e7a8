//! Capabilities to the system calls that they allow, by name: for people to read, for the agent to compile.
//!
//! Invariant: a list of what is allowed; everything else ends the app. A capability adds calls or cases and takes none
//! away, so what runs with few runs with more.

mod arguments;
mod calls;

#[cfg(test)]
mod tests;

use super::Manifest;

/// A system call that an app may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// As in `man 2`; there on the processor that the manifest is for.
    pub name: &'static str,
    /// What calls of its kind are for.
    pub purpose: &'static str,
    /// The first whose conditions all hold decides; when there is none, the app ends.
    pub cases: Vec<Case>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What this case is about, for people; empty when it always applies.
    pub what: &'static str,
    /// All have to hold; none: it always applies.
    pub conditions: Vec<Condition>,
    pub verdict: Verdict,
}

/// `argument & mask == value`.
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
    /// The app ends.
    Kill,
}

/// What the capabilities of an app come down to here.
#[derive(Clone, Copy)]
struct Grants {
    network: bool,
    devices: bool,
}

/// Every system call that the app may make, each once, by name.
pub fn system_calls(manifest: &Manifest) -> Vec<SystemCall> {
    let grants = Grants { network: manifest.uses_network(), devices: !manifest.capabilities.devices.is_empty() };
    list(grants, &manifest.architecture)
}

/// The same for an app that may use the network and nothing else: what a process of the system that fetches something needs at
/// most. `architecture` as in a manifest.
pub fn of_network(architecture: &str) -> Vec<SystemCall> {
    list(Grants { network: true, devices: false }, architecture)
}

fn list(grants: Grants, architecture: &str) -> Vec<SystemCall> {
    let old = if architecture == "x86_64" { calls::X86_64 } else { &[] };
    let mut all: Vec<SystemCall> = calls::EVERYWHERE.iter().chain(old).flat_map(|group| group.calls()).collect();
    all.extend(arguments::calls(grants, !old.is_empty()));
    all.sort_by_key(|call| call.name);
    all
}

impl SystemCall {
    /// What the call does depends on its arguments.
    pub fn is_conditional(&self) -> bool {
        !matches!(&self.cases[..], [Case { conditions, verdict: Verdict::Allow, .. }] if conditions.is_empty())
    }
}

impl std::fmt::Display for SystemCall {
    /// `socket: allow sockets of this device; fail (errno 97) for ...`.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name)?;
        if !self.is_conditional() {
            return Ok(());
        }
        let mut answers: Vec<(Verdict, Vec<&str>)> = Vec::new();
        for case in &self.cases {
            let what = if case.conditions.is_empty() { "" } else { case.what };
            match answers.iter_mut().find(|(verdict, about)| *verdict == case.verdict && !about.contains(&"")) {
                Some((_, about)) if about.contains(&what) => {}
                Some((_, about)) if !what.is_empty() => about.push(what),
                _ => answers.push((case.verdict, vec![what])),
            }
        }
        for (index, (verdict, about)) in answers.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            match verdict {
                Verdict::Allow => f.write_str("allowed")?,
                Verdict::Errno(errno) => write!(f, "fails with errno {errno}")?,
                Verdict::Kill => f.write_str("ends the app")?,
            }
            match &about[..] {
                [""] if index > 0 => f.write_str(" otherwise")?,
                [""] => {}
                about => write!(f, " for {}", about.join(", "))?,
            }
        }
        let open = self.cases.last().is_none_or(|case| !case.conditions.is_empty());
        f.write_str(if open { "; ends the app otherwise" } else { "" })
    }
}
