//! An app's manifest and what the agent has made for it, to a running sandbox.
//!
//! Invariant: every layer of the confinement is derived from the manifest; what it does not name is closed in each of
//! them: namespaces, mounts, limits, Landlock and the list of system calls.

use crate::error::{AgentError, Doing};
use crate::system_calls;
use osbuild_format::app::{policy, Manifest, Protocol, DEVICES, INNER_ID, NOTIFY, RUNTIME, STORAGE};
use osbuild_sys::landlock::Rules;
use osbuild_sys::sandbox::{Confinement, Mount, Network, Resource, Root, Sandbox, SandboxError, Started, Stdio};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Of `/tmp`; it counts as the app's memory, too.
const TEMPORARY_BYTES: u64 = 16 << 20;
const QUEUED_SIGNALS: u64 = 256;
const NO_LIMIT: u64 = u64::MAX;
/// Where programs and their libraries lie. The rest of the image is only read.
const PROGRAMS: [&str; 4] = ["/usr", "/bin", "/sbin", "/lib"];

/// What the agent has made for the app.
pub struct Place<'a> {
    pub manifest: &'a Manifest,
    /// Its user and group outside.
    pub user: u32,
    pub image: &'a Path,
    /// Becomes [`RUNTIME`].
    pub run: &'a Path,
    pub storage: Option<&'a Path>,
    /// Logical name and node.
    pub devices: &'a [(String, PathBuf)],
    /// Its namespace.
    pub network: &'a OwnedFd,
    pub group: File,
    pub output: File,
    pub errors: File,
}

pub fn spawn(place: Place) -> Result<Started, AgentError> {
    let id = place.manifest.id.clone();
    let sandbox = sandbox(place)?;
    match sandbox.spawn() {
        Ok(child) => child.leave().ok_or_else(|| AgentError::Wrong(format!("the app `{id}` ended as it was started"))),
        // This thread would go on in another network: nothing of the system may.
        Err(error @ SandboxError::Lost(_)) => crate::end::fatal(&crate::error::chain(&error)),
        Err(error) => Err(AgentError::Wrong(crate::error::chain(&error))),
    }
}

fn sandbox(place: Place) -> Result<Sandbox, AgentError> {
    let manifest = place.manifest;
    let doing = || format!("keep the network of the app `{}` open", manifest.id);
    let network = Network::Of(place.network.try_clone().doing(doing)?);
    Ok(Sandbox {
        mounts: mounts(&place),
        root: Root::Image(place.image.to_owned()),
        network,
        hostname: manifest.id.clone(),
        uid: INNER_ID,
        gid: INNER_ID,
        outside: Some((place.user, place.user)),
        cwd: if place.storage.is_some() { STORAGE.into() } else { "/".into() },
        argv: manifest.argv.iter().map(OsString::from).collect(),
        env: environment(manifest, place.storage.is_some()),
        stdin: Stdio::Null,
        stdout: Stdio::File(place.output),
        stderr: Stdio::File(place.errors),
        terminal: false,
        group: Some(place.group),
        confinement: Confinement {
            limits: limits(manifest),
            no_new_code: true,
            landlock: Some(landlock(manifest, place.storage.is_some())?),
            filters: vec![system_calls::filter(&policy::system_calls(manifest))?],
        },
    })
}

fn mounts(place: &Place) -> Vec<Mount> {
    let mut mounts = vec![Mount::ProcessesOnly, Mount::Dev];
    for (name, node) in place.devices {
        mounts.push(Mount::Device { from: node.clone(), to: Path::new(DEVICES).join(name) });
    }
    mounts.push(Mount::Tmpfs { to: "/tmp".into(), size_bytes: TEMPORARY_BYTES });
    // Its socket is written to, which a read-only mount does not keep anybody from; the folder is the agent's.
    mounts.push(Mount::ReadOnly { from: place.run.to_owned(), to: RUNTIME.into() });
    mounts.push(Mount::ReadOnly { from: place.run.join("resolv.conf"), to: "/etc/resolv.conf".into() });
    if let Some(storage) = place.storage {
        mounts.push(Mount::Writable { from: storage.to_owned(), to: STORAGE.into() });
    }
    mounts
}

fn environment(manifest: &Manifest, has_storage: bool) -> Vec<(OsString, OsString)> {
    let home = if has_storage { STORAGE } else { "/" };
    let own = [
        ("PATH", "/usr/bin:/usr/sbin"),
        ("HOME", home),
        ("USER", "app"),
        ("NOTIFY_SOCKET", NOTIFY),
        ("TMPDIR", "/tmp"),
    ];
    let own = own.into_iter().map(|(name, value)| (name.into(), value.into()));
    own.chain(manifest.env.iter().map(|(name, value)| (name.into(), value.into()))).collect()
}

fn limits(manifest: &Manifest) -> Vec<(Resource, u64)> {
    vec![
        (Resource::OpenFiles, manifest.limits.files.into()),
        // The quota of its storage bounds a core file.
        (Resource::CoreBytes, if manifest.core_dumps { NO_LIMIT } else { 0 }),
        (Resource::LockedBytes, 0),
        (Resource::QueuedSignals, QUEUED_SIGNALS),
        (Resource::MessageQueueBytes, 0),
    ]
}

fn landlock(manifest: &Manifest, has_storage: bool) -> Result<osbuild_sys::landlock::Landlock, AgentError> {
    let mut write: Vec<PathBuf> =
        vec!["/tmp".into(), "/dev/shm".into(), "/dev/null".into(), "/dev/zero".into(), "/dev/full".into()];
    if has_storage {
        write.push(STORAGE.into());
    }
    let (own, tcp) = (&manifest.capabilities, |protocol: Protocol| protocol == Protocol::Tcp);
    let device = match own.devices.is_empty() {
        true => Vec::new(),
        false => vec![DEVICES.into()],
    };
    let rules = Rules {
        read: vec!["/".into()],
        read_execute: PROGRAMS.iter().map(PathBuf::from).collect(),
        write,
        device,
        bind_tcp: own.listen.iter().filter(|l| tcp(l.protocol)).map(|l| l.port).collect(),
        connect_tcp: (own.connect.iter().filter(|c| tcp(c.protocol)).map(|c| c.port))
            .chain(own.apps.iter().filter(|a| tcp(a.protocol)).map(|a| a.port))
            .collect(),
        scope: true,
    };
    let wrong = |error: std::io::Error| AgentError::Wrong(format!("cannot confine the app to its files: {error}"));
    rules.prepare().map_err(wrong)
}
