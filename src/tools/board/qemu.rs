//! A machine's description to QEMU's command line.
//!
//! Invariant: pure; the same description gives the same arguments, and a path with a comma stays one value.

use super::ports::Forward;
use crate::model::machine::IsolatedNetwork;
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
    /// The terminal; the console is also kept in this file. Somebody already listens at the control socket. At each of
    /// the `serial` sockets QEMU listens, and keeps what is said there in the file beside it.
    Terminal { console_log: PathBuf, control: PathBuf, serial: Vec<(PathBuf, PathBuf)> },
    /// Sockets on which somebody already listens.
    Sockets { console: PathBuf, status: PathBuf, control: PathBuf, serial: Vec<PathBuf> },
}

/// I/O port and interrupt of the serial ports after the console's. The usual numbers would have the third and fourth
/// share a line with the first two, which QEMU's ISA bus cannot; the ACPI tables tell the guest these.
const SERIAL_PORTS: [(&str, u8); 3] = [("0x2f8", 3), ("0x3e8", 5), ("0x2e8", 7)];

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
    pub networks: Vec<IsolatedNetwork>,
    pub channels: Channels,
}

/// The arguments, without the program.
pub fn argv(machine: &Machine) -> Vec<OsString> {
    let mut argv = Vec::new();
    let mut add = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
    add(&["-name", &machine.name, "-nodefaults", "-no-user-config", "-display", "none"]);
    let parts = [platform(machine), storage(machine), devices(machine), networks(machine), channels(machine)];
    for words in parts.iter().flatten() {
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
    vec![
        words("-netdev", format!("user,id=net{}", forwards(machine, 0, ""))),
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

/// Those that lead nowhere. They come after every other device, so that an interface more moves none.
fn networks(machine: &Machine) -> Vec<Words> {
    let network = |(index, network): (usize, &IsolatedNetwork)| {
        let number = index + 1;
        let guest = network.guest.to_string();
        let [a, b, c, _] = network.guest.octets();
        let forwards = forwards(machine, number, &guest);
        [
            words("-netdev", format!("user,id=isolated{number},restrict=on,net={a}.{b}.{c}.0/24,ipv6=off{forwards}")),
            words("-device", format!("virtio-net-pci,netdev=isolated{number},romfile=")),
        ]
    };
    machine.networks.iter().enumerate().flat_map(network).collect()
}

/// Of one network; `guest` is the guest's address there, empty where QEMU gives it.
fn forwards(machine: &Machine, network: usize, guest: &str) -> String {
    let forwards = machine.forwards.iter().filter(|forward| forward.network == network);
    forwards.map(|f| format!(",hostfwd=tcp:127.0.0.1:{}-{guest}:{}", f.host, f.guest)).collect()
}

fn channels(machine: &Machine) -> Vec<Words> {
    let port = words("-device", format!("virtserialport,chardev=status,name={STATUS_PORT}"));
    match &machine.channels {
        Channels::Terminal { console_log, control, serial } => [
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
        ]
        .into_iter()
        .chain(serial_ports(serial, |(socket, log)| {
            format!("path={},server=on,wait=off,logappend=off,logfile={}", value(socket), value(log))
        }))
        .collect(),
        Channels::Sockets { console, status, control, serial } => [
            words("-chardev", format!("socket,id=console,path={}", value(console))),
            words("-serial", "chardev:console"),
            words("-chardev", format!("socket,id=status,path={}", value(status))),
            port,
            words("-chardev", format!("socket,id=control,path={}", value(control))),
            words("-mon", "chardev=control,mode=control"),
        ]
        .into_iter()
        .chain(serial_ports(serial, |socket| format!("path={}", value(socket))))
        .collect(),
    }
}

/// The ports after the console's, each behind the socket that `options` describes.
fn serial_ports<T>(ports: &[T], options: impl Fn(&T) -> String) -> Vec<Words> {
    let port = |(index, (socket, (address, interrupt))): (usize, (&T, (&str, u8)))| {
        let number = index + 1;
        let place = format!("index={number},iobase={address},irq={interrupt}");
        [
            words("-chardev", format!("socket,id=serial{number},{}", options(socket))),
            words("-device", format!("isa-serial,chardev=serial{number},{place}")),
        ]
    };
    ports.iter().zip(SERIAL_PORTS).enumerate().flat_map(port).collect()
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
            forwards: [(0, 2222, 22), (0, 8080, 80), (1, 8884, 8883)]
                .map(|(network, host, guest)| Forward { network, host, guest })
                .to_vec(),
            networks: vec![IsolatedNetwork { guest: [192, 168, 50, 1].into(), forwards: [(8884, 8883)].into() }],
            channels: Channels::Terminal {
                console_log: "/state/console.log".into(),
                control: "/run/control".into(),
                serial: vec![("/run/1".into(), "/state/1".into()), ("/run/2".into(), "/state/2".into())],
            },
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
    fn an_isolated_network_leads_to_its_forwards_only() {
        let text = text(&machine());
        let wanted =
            "user,id=isolated1,restrict=on,net=192.168.50.0/24,ipv6=off,hostfwd=tcp:127.0.0.1:8884-192.168.50.1:8883 ";
        assert!(text.contains(wanted), "{text}");
        assert!(text.contains("user,id=net,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:8080-:80 "), "{text}");
        // The order of the interfaces is the order of their names in the guest.
        assert!(text.find("netdev=net,").unwrap() < text.find("netdev=isolated1,").unwrap());
    }

    #[test]
    fn serial_ports_have_an_interrupt_each() {
        let terminal = text(&machine());
        assert!(terminal.contains("socket,id=serial2,path=/run/2,server=on,wait=off,logappend=off,logfile=/state/2 "));
        assert!(terminal.contains("isa-serial,chardev=serial1,index=1,iobase=0x2f8,irq=3 "), "{terminal}");
        assert!(terminal.contains("isa-serial,chardev=serial2,index=2,iobase=0x3e8,irq=5"), "{terminal}");
        let serial = vec!["/run/serial1".into()];
        let channels = Channels::Sockets { console: "/c".into(), status: "/s".into(), control: "/q".into(), serial };
        let sockets = text(&Machine { channels, ..machine() });
        assert!(sockets.contains("-chardev socket,id=serial1,path=/run/serial1 -device isa-serial"), "{sockets}");
    }

    #[test]
    fn only_a_disk_that_is_thrown_away_skips_flushes() {
        assert!(text(&machine()).contains("cache=writeback"));
        assert!(text(&Machine { durable: false, ..machine() }).contains("cache=unsafe"));
    }
}
