//! The on-device half of osbuild: the initramfs, PID 1 of the root, and the command that asks it.
//!
//! Invariant: as PID 1 it never returns; it ends the machine's run or hands over.

mod apps;
mod boot;
mod console;
mod control;
mod data;
mod end;
mod error;
mod file;
mod init;
mod log;
mod network;
mod random;
mod supervise;
mod system_calls;
mod thread;
mod time;
mod update;
mod watchdog;

use std::process::ExitCode;

/// What reads bytes from outside, for the fuzz targets; nothing else uses it.
pub mod wire {
    pub use crate::apps::network::netlink::answer::verdict as kernel_verdict;
    pub use crate::apps::network::packets::parse as denied_packets;
    pub use crate::apps::network::resolver::question as app_question;
    pub use crate::apps::notify::parse as app_message;
    pub use crate::boot::efi_variable;
    pub use crate::control::{Answer, Request};
    pub use crate::data::Superblock;
    pub use crate::log::Splitter;
    pub use crate::network::{dhcp, dns, sntp};
    pub use crate::update::epoch::command as tpm;
    pub use crate::update::firmware::load_option;
    pub use crate::update::report::Report;
    pub use osbuild_format::command_line::CommandLine;
    pub use osbuild_sys::audit::parse as audit_record;
}

/// The program: PID 1, or a command that asks it.
pub fn run() -> ExitCode {
    if std::process::id() == 1 {
        first();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [update::worker::COMMAND, ref order @ ..] => update::worker::run(order),
        _ => control::client::run(&words),
    }
}

/// PID 1: in the initramfs it leads to the root, and in the root it leads the system.
fn first() -> ! {
    // A bug must not become a kernel panic that waits for nobody.
    std::panic::set_hook(Box::new(|info| end::fatal(&format!("a bug: {info}"))));
    let ended = if boot::is_initramfs() { boot::run() } else { init::run() };
    match ended {
        Ok(never) => match never {},
        Err(error) => end::fatal(&error::chain(&error)),
    }
}
