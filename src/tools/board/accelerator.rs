//! Whether KVM really works here: a small machine that is seen to run.
//!
//! Invariant: `/dev/kvm` alone proves nothing (nested hosts offer it and then fail); only output does, and whatever
//! goes wrong with the probe is an answer: no.

use super::process::{Launch, ToolRoot};
use super::qemu::{Accelerator, FIRMWARE_CODE, FIRMWARE_VARIABLES, PROGRAM};
use super::BoardError;
use crate::io::file;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const KVM: &str = "/dev/kvm";

/// KVM if the board's own firmware reaches its console with it, else the software emulator.
/// `folder` is for the probe's files.
pub fn choose(tools: &ToolRoot, folder: &Path) -> Accelerator {
    choose_by(Path::new(KVM), tools, folder)
}

/// `device` is there wherever KVM may be.
fn choose_by(device: &Path, tools: &ToolRoot, folder: &Path) -> Accelerator {
    match device.exists() && probe(tools, folder).is_ok() {
        true => Accelerator::Kvm,
        false => Accelerator::Software,
    }
}

fn probe(tools: &ToolRoot, folder: &Path) -> Result<(), BoardError> {
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
    process.wait_until(PATIENCE, || {
        let text = file::read(&console, 1 << 20).unwrap_or_default();
        Ok(text.windows(3).any(|w| w == b"Bds").then_some(()))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_cannot_start_means_software_emulation() {
        let tree = tempfile::tempdir().unwrap();
        let tools = ToolRoot::new(tree.path().to_owned());
        let template = tools.path(FIRMWARE_VARIABLES);
        std::fs::create_dir_all(template.parent().unwrap()).unwrap();
        file::write_atomic(&template, b"", 0o644).unwrap();
        let folder = tempfile::tempdir().unwrap();
        // A device that is there, and a tree without QEMU.
        assert_eq!(choose_by(Path::new("/dev/null"), &tools, folder.path()), Accelerator::Software);
        let error = probe(&tools, folder.path()).unwrap_err();
        assert!(matches!(error, BoardError::Start { .. }), "{error}");
    }
}
