//! A machine's description to QEMU's command line.
//!
//! Invariant: pure; the same description gives the same arguments, and a path with a comma stays one value.

use super::ports::Forward;
use std::ffi::OsString;
use std::path::PathBuf;

pub const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";
/// OVMF with SMM and Secure Boot, as Debian's package `ovmf` has it.
pub const FIRMWARE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
pub const FIRMWARE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The virtio-serial port to which the agent writes its status, one JSON object a line.
pub const STATUS_PORT: &str = "org.osbuild.status.0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    /// QEMU's own translator: works everywhere.
    Software,
}

/// Where the serial console, the status port and the control socket go.
#[derive(Clone, Debug)]
pub enum Channels {
    /// The terminal; the console is also kept in this file. Somebody already listens at the control socket.
    Terminal { console_log: PathBuf, control: PathBuf },
    /// Sockets on which somebody already listens.
    Sockets { console: PathBuf, status: PathBuf, control: PathBuf },
}

/// Everything that the command line depends on.
#[derive(Clone, Debug)]
pub struct Machine {
    pub name: String,
    pub accelerator: Accelerator,
    pub memory_mib: u32,
    pub cpus: u32,
    /// Copy of the variable image that this machine may write.
    pub variables: PathBuf,
    /// A qcow2 overlay.
    pub disk: PathBuf,
    /// Whether the disk outlives the run, and so must survive a crash of the host.
    pub durable: bool,
    /// Control socket of swtpm.
    pub tpm: PathBuf,
    pub forwards: Vec<Forward>,
    pub channels: Channels,
}

/// The arguments, without the program.
pub fn argv(machine: &Machine) -> Vec<OsString> {
    let mut argv = Vec::new();
    let mut add = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
    add(&["-name", &machine.name, "-nodefaults", "-no-user-config", "-display", "none"]);
    for words in platform(machine).iter().chain(&storage(machine)).chain(&devices(machine)).chain(&channels(machine)) {
        add(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    argv
}

type Words = Vec<String>;

fn words(option: &str, value: impl Into<String>) -> Words {
    vec![option.to_owned(), value.into()]
}

/// Processor, memory and firmware.
fn platform(machine: &Machine) -> Vec<Words> {
    let (accelerator, cpu) = match machine.accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Software => ("tcg,thread=multi", "max"),
    };
    let code = FIRMWARE_CODE;
    vec![
        words("-accel", accelerator),
        words("-machine", "q35,smm=on"),
        words("-cpu", cpu),
        words("-smp", machine.cpus.to_string()),
        words("-m", machine.memory_mib.to_string()),
        // The flash that holds the variables answers only to firmware code in SMM.
        words("-global", "driver=cfi.pflash01,property=secure,value=on"),
        // An aid to guests without a modern timer; it would need a ROM of its own.
        words("-global", "apic-common.vapic=off"),
        // Resuming from suspend would need the firmware's secrets to be kept.
        words("-global", "ICH9-LPC.disable_s3=1"),
        words("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={code}")),
        words("-drive", format!("if=pflash,unit=1,format=raw,file={}", value(&machine.variables))),
        // No boot from the network, which would also cost seconds before the firmware gives up.
        words("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"),
        words("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"),
    ]
}

fn storage(machine: &Machine) -> Vec<Words> {
    let cache = if machine.durable { "writeback" } else { "unsafe" };
    let disk = value(&machine.disk);
    vec![
        words("-drive", format!("if=none,id=disk,format=qcow2,discard=unmap,cache={cache},file={disk}")),
        // No `bootindex`: with one, OVMF would rewrite `BootOrder`, which belongs to the agent.
        words("-device", "virtio-blk-pci,drive=disk,serial=osbuild-disk"),
    ]
}

fn devices(machine: &Machine) -> Vec<Words> {
    let forwards: String =
        machine.forwards.iter().map(|f| format!(",hostfwd=tcp:127.0.0.1:{}-:{}", f.host, f.guest)).collect();
    vec![
        words("-netdev", format!("user,id=net{forwards}")),
        words("-device", "virtio-net-pci,netdev=net,romfile="),
        words("-device", "virtio-rng-pci"),
        words("-chardev", format!("socket,id=tpm,path={}", value(&machine.tpm))),
        words("-tpmdev", "emulator,id=tpm0,chardev=tpm"),
        words("-device", "tpm-tis,tpmdev=tpm0"),
        words("-device", "i6300esb"),
        words("-action", "watchdog=reset"),
        words("-device", "virtio-serial-pci"),
    ]
}

fn channels(machine: &Machine) -> Vec<Words> {
    let port = words("-device", format!("virtserialport,chardev=status,name={STATUS_PORT}"));
    match &machine.channels {
        Channels::Terminal { console_log, control } => vec![
            words(
                "-chardev",
                format!("stdio,id=console,mux=on,signal=off,logappend=off,logfile={}", value(console_log)),
            ),
            words("-serial", "chardev:console"),
            words("-mon", "chardev=console,mode=readline"),
            words("-chardev", "ringbuf,id=status,size=65536"),
            port,
            words("-chardev", format!("socket,id=control,path={}", value(control))),
            words("-mon", "chardev=control,mode=control"),
        ],
        Channels::Sockets { console, status, control } => vec![
            words("-chardev", format!("socket,id=console,path={}", value(console))),
            words("-serial", "chardev:console"),
            words("-chardev", format!("socket,id=status,path={}", value(status))),
            port,
            words("-chardev", format!("socket,id=control,path={}", value(control))),
            words("-mon", "chardev=control,mode=control"),
        ],
    }
}

/// A path as an option's value: QEMU spells a comma twice.
fn value(path: &std::path::Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            name: "gateway".into(),
            accelerator: Accelerator::Software,
            memory_mib: 512,
            cpus: 2,
            variables: "/state/a,b/vars.fd".into(),
            disk: "/state/disk.qcow2".into(),
            durable: true,
            tpm: "/run/tpm".into(),
            forwards: vec![Forward { host: 2222, guest: 22 }, Forward { host: 8080, guest: 80 }],
            channels: Channels::Terminal { console_log: "/state/console.log".into(), control: "/run/control".into() },
        }
    }

    fn text(machine: &Machine) -> String {
        argv(machine).iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn forwards_stay_on_loopback_and_commas_are_escaped() {
        let text = text(&machine());
        assert!(text.contains("hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:8080-:80"), "{text}");
        assert!(text.contains("file=/state/a,,b/vars.fd"), "{text}");
        assert!(text.contains("property=secure,value=on"), "{text}");
        assert!(!text.contains("bootindex"), "{text}");
    }

    #[test]
    fn only_a_disk_that_is_thrown_away_skips_flushes() {
        assert!(text(&machine()).contains("cache=writeback"));
        assert!(text(&Machine { durable: false, ..machine() }).contains("cache=unsafe"));
    }
}
