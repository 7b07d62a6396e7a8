//! `apps/NAME/app.yaml`: a program that is confined to what this file declares.
//!
//! Invariant: field names here are those of the file; what a field grants is nothing unless it is given.

use super::scalar::{Schema, Size, Word};
use crate::config::record::{choices, parsed, record};
use crate::model::service::Restart;
use crate::model::{AppName, Located, PackageName, RelPath};
use osbuild_format::app::{is_logical_name, ListenFrom, Protocol, Readiness};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

record! {
    /// A program that runs in a sandbox of its own and has what this file declares, nothing else.
    ///
    /// An app stands in `apps/NAME/app.yaml` or `layers/LAYER/apps/NAME/app.yaml`; its recipe may stand beside it as
    /// `recipe.yaml`. In every value the same names may be used as in a recipe, the app's own `{{ version }}` among them.
    /// `docs/apps.md` explains by example.
    pub struct AppFile as "app" {
        /// Version of this format: 1.
        "schema" schema: Schema,
        /// Name of the app, the same as its folder's: `a-z`, digits and `-`, at most 31.
        "app" app: Located<AppName>,
        /// Version of the app, `MAJOR.MINOR.PATCH`.
        "version" version: Located<String>,
        /// Name for people.
        "title" title: Located<String>,
        /// Packages of its image; what they need at run time is added.
        "packages" packages: Vec<Located<PackageName>>,
        /// Folders of the project copied into its image in order; `*.tera` files are rendered.
        "skeletons" skeletons: Vec<Located<RelPath>>,
        /// Program, with its path in the image, and arguments.
        "exec" exec: Vec<Located<String>>,
        /// Environment.
        "env" env: BTreeMap<String, Located<Word>>,
        /// What it needs of the operating system: name to number. `runtime: 1` is the sandbox itself.
        "abi" abi: BTreeMap<String, Located<u32>>,
        /// What it may do.
        "capabilities" capabilities: Option<CapabilitiesEntry>,
        /// What it may use up.
        "limits" limits: Option<LimitsEntry>,
        /// When it counts as started.
        "ready" ready: Readiness = Readiness::Started => "started",
        /// How the agent finds out that it works.
        "health" health: Option<HealthEntry>,
        /// When it is started again.
        "restart" restart: Restart = Restart::Always => "always",
        /// More ends than this, and it is not started again.
        "crash-loop" crash_loop: Option<CrashLoopEntry>,
        /// Apps that must be ready before, where the product has them.
        "after" after: Vec<Located<AppName>>,
        /// Seconds from SIGTERM to SIGKILL.
        "stop-timeout" stop_timeout: u32 = 10 => "10",
        /// True: a crash leaves a core file in its storage.
        "core-dumps" core_dumps: bool = false => "false",
    }
}

record! {
    /// What an app may do. What is not here, it may not.
    pub struct CapabilitiesEntry as "capabilities" {
        /// Outgoing connections.
        "connect" connect: Vec<ConnectEntry>,
        /// Ports on which it accepts connections.
        "listen" listen: Vec<ListenEntry>,
        /// Apps to which it may connect.
        "apps" apps: Vec<AppConnectionEntry>,
        /// Quota of its own storage at `/data`, such as `4M`.
        "storage" storage: Option<Located<Size>>,
        /// Devices by logical name, such as `$STATUS_LED`; each is found at `/dev/app/NAME`.
        "devices" devices: Vec<Located<LogicalName>>,
        /// Network interfaces that become the app's own.
        "interfaces" interfaces: Vec<InterfaceEntry>,
        /// May know which device this is: `/run/app/device-id`.
        "device-identity" device_identity: bool = false => "false",
        /// May set the clock, through the agent.
        "set-time" set_time: bool = false => "false",
        /// May put updates off, through the agent.
        "defer-updates" defer_updates: bool = false => "false",
        /// May restart the device, through the agent.
        "reboot" reboot: bool = false => "false",
    }
}

record! {
    /// Connections to one port of one host.
    pub struct ConnectEntry as "connection" {
        /// A host name, or an IPv4 address.
        "host" host: Located<String>,
        /// Its port.
        "port" port: Located<u16>,
        /// Transport.
        "protocol" protocol: Protocol = Protocol::Tcp => "tcp",
        /// True: the name may resolve to an address of a private network.
        "private" private: bool = false => "false",
    }
}

record! {
    /// A port on which the app accepts connections.
    pub struct ListenEntry as "listening" {
        /// The port.
        "port" port: Located<u16>,
        /// Transport.
        "protocol" protocol: Protocol = Protocol::Tcp => "tcp",
        /// Who may connect.
        "from" from: ListenFrom,
    }
}

record! {
    /// Connections to one port of another app.
    pub struct AppConnectionEntry as "connection to an app" {
        /// The other app, which it finds under the name `NAME.app`.
        "app" app: Located<AppName>,
        /// A port on which that app listens.
        "port" port: Located<u16>,
        /// Transport.
        "protocol" protocol: Protocol = Protocol::Tcp => "tcp",
    }
}

record! {
    /// A network interface that becomes the app's own: the rest of the system no longer sees it.
    pub struct InterfaceEntry as "interface" {
        /// Logical name, such as `$DOWNSTREAM`.
        "name" name: Located<LogicalName>,
        /// The app's address there with the bits of the network, such as `192.168.50.1/24`.
        "address" address: Located<NetworkAddress>,
    }
}

record! {
    /// What an app may use up; the kernel holds it to that.
    pub struct LimitsEntry as "limits" {
        /// Memory.
        "memory" memory: Size = Size(32 << 20) => "32M",
        /// Hundredths of one processor: 150 is one and a half.
        "cpu" cpu: u32 = 100 => "100",
        /// Processes and threads.
        "processes" processes: u32 = 32 => "32",
        /// Open files of each process.
        "files" files: u32 = 256 => "256",
    }
}

record! {
    /// How the agent finds out that an app works: exactly one of `watchdog` and `tcp`.
    pub struct HealthEntry as "health check" {
        /// It says `WATCHDOG=1` at least every so many seconds.
        "watchdog" watchdog: Option<u32>,
        /// It accepts a TCP connection on this port.
        "tcp" tcp: Option<u16>,
        /// Seconds between two connections that are tried.
        "every" every: Option<u32>,
    }
}

record! {
    /// More ends than `ends` within `window` seconds are a crash loop.
    pub struct CrashLoopEntry as "crash loop" {
        /// Ends.
        "ends" ends: u32 = 5 => "5",
        /// Seconds.
        "window" window: u32 = 600 => "600",
    }
}

/// A device or interface as apps and machines call it, without the `$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalName(pub String);

/// An address and the bits of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkAddress {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

parsed! {
    LogicalName, "a logical name such as `$METER_UART`", Some("^\\$?[A-Z][A-Z0-9_]{0,30}$|\\{[{%]"), logical_name;
    NetworkAddress, "an IPv4 address with the bits of its network, such as `192.168.50.1/24`",
        Some("^[0-9.]+/[0-9]+$|\\{[{%]"), network_address;
}

choices! { Protocol as "transport protocol" {
    "tcp" => Tcp, "TCP";
    "udp" => Udp, "UDP";
} }

choices! { ListenFrom as "source of connections" {
    "apps" => Apps, "apps that name this app and port";
    "network" => Network, "those, and every host that reaches the device: the port is the device's";
    "interface" => Interface, "whoever is on an interface that is the app's own, and nobody else";
} }

choices! { Readiness as "readiness" {
    "started" => Started, "as soon as it runs";
    "notify" => Notify, "when it has said `READY=1`, as sd_notify(3) does";
} }

fn logical_name(text: &str) -> Result<LogicalName, String> {
    let name = text.strip_prefix('$').unwrap_or(text);
    match is_logical_name(name) {
        true => Ok(LogicalName(name.to_owned())),
        false => Err(format!("`{text}` is not a logical name: write `$` and A-Z, digits and `_`, at most 31")),
    }
}

fn network_address(text: &str) -> Result<NetworkAddress, String> {
    let parts = text.split_once('/').and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
    match parts {
        Some((address, prefix)) if (8..=30).contains(&prefix) => Ok(NetworkAddress { address, prefix }),
        _ => Err(format!("`{text}` is not an address with 8 to 30 bits of network: such as `192.168.50.1/24`")),
    }
}
