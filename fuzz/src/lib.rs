//! Every parser of bytes from outside, behind one function each: any bytes in, a panic out when a promise is broken.
//!
//! `fuzz_targets/` hands these functions to libFuzzer; `tests/fuzz.rs` of the project runs each on changed seeds
//! with every `cargo test`. Invariant: equal bytes do the same each time, so that a finding can be repeated.

mod app;
mod archive;
mod config;
mod control;
mod debian;
mod device;
mod dhcp;
mod disk;
mod dns;
mod elf;
mod esp;
mod gpt;
mod kconfig;
mod kernel;
mod manifest;
mod payload;
mod pe;
mod records;
mod repository;
mod resolver;
mod signer;
mod signing;
mod sntp;
mod update;
mod varstore;

/// One kind of input.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Inputs that are valid, or nearly: what changed inputs are made from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: [Target; 24] = [
    Target { name: "app", run: app::run, seeds: app::seeds },
    Target { name: "archive", run: archive::run, seeds: archive::seeds },
    Target { name: "config", run: config::run, seeds: config::seeds },
    Target { name: "control", run: control::run, seeds: control::seeds },
    Target { name: "debian", run: debian::run, seeds: debian::seeds },
    Target { name: "device", run: device::run, seeds: device::seeds },
    Target { name: "dhcp", run: dhcp::run, seeds: dhcp::seeds },
    Target { name: "disk", run: disk::run, seeds: disk::seeds },
    Target { name: "dns", run: dns::run, seeds: dns::seeds },
    Target { name: "elf", run: elf::run, seeds: elf::seeds },
    Target { name: "esp", run: esp::run, seeds: esp::seeds },
    Target { name: "gpt", run: gpt::run, seeds: gpt::seeds },
    Target { name: "kconfig", run: kconfig::run, seeds: kconfig::seeds },
    Target { name: "kernel", run: kernel::run, seeds: kernel::seeds },
    Target { name: "manifest", run: manifest::run, seeds: manifest::seeds },
    Target { name: "payload", run: payload::run, seeds: payload::seeds },
    Target { name: "pe", run: pe::run, seeds: pe::seeds },
    Target { name: "records", run: records::run, seeds: records::seeds },
    Target { name: "repository", run: repository::run, seeds: repository::seeds },
    Target { name: "resolver", run: resolver::run, seeds: resolver::seeds },
    Target { name: "signing", run: signing::run, seeds: signing::seeds },
    Target { name: "sntp", run: sntp::run, seeds: sntp::seeds },
    Target { name: "update", run: update::run, seeds: update::seeds },
    Target { name: "varstore", run: varstore::run, seeds: varstore::seeds },
];

/// Runs the target called `name`.
#[allow(dead_code)]
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a name in the table");
    (target.run)(bytes);
}
