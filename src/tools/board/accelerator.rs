//! Whether KVM really works here: a small machine that is seen to run.
//!
//! Invariant: `/dev/kvm` alone proves nothing (nested hosts offer it and then fail); only output does.

use super::process::{Launch, ToolRoot};
use super::qemu::{Accelerator, FIRMWARE_CODE, FIRMWARE_VARIABLES, PROGRAM};
use super::BoardError;
use crate::io::file;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// KVM if the board's own firmware reaches its console with it, else the software emulator.
/// `folder` is for the probe's files.
pub fn choose(tools: &ToolRoot, folder: &Path) -> Result<Accelerator, BoardError> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accelerator::Software);
    }
    let variables = folder.join("probe.fd");
    let template = tools.path(FIRMWARE_VARIABLES);
    std::fs::copy(&template, &variables).map_err(file::at("copy", &template))?;
    let console = folder.join("probe.console");
    let launch = Launch {
        program: PROGRAM.to_owned(),
        args: argv(&variables, &console),
        scratch: folder.to_owned(),
        writable: vec![folder.to_owned()],
        log: Some(folder.join("probe.log")),
        kvm: true,
        ..Launch::default()
    };
    let mut process = tools.spawn(launch)?;
    let shown = process.wait_until(PATIENCE, || {
        let text = file::read(&console, 1 << 20).unwrap_or_default();
        Ok(text.windows(3).any(|w| w == b"Bds").then_some(()))
    });
    Ok(if shown.is_ok() { Accelerator::Kvm } else { Accelerator::Software })
}

fn argv(variables: &Path, console: &Path) -> Vec<OsString> {
    let words = [
        "-accel kvm -machine q35,smm=on -cpu host -smp 2 -m 256 -nodefaults -no-user-config -display none",
        "-global driver=cfi.pflash01,property=secure,value=on",
    ];
    let mut argv: Vec<OsString> = words.iter().flat_map(|w| w.split(' ')).map(OsString::from).collect();
    for value in [
        format!("if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE_CODE}"),
        format!("if=pflash,unit=1,format=raw,file={}", variables.display()),
    ] {
        argv.extend(["-drive".into(), value.into()]);
    }
    argv.extend(["-serial".into(), format!("file:{}", console.display()).into()]);
    argv
}
