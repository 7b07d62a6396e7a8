//! `osbuild update simulate`: two image folders in, what an update from one to the other costs a device out.
//!
//! Each payload is installed by a process of its own, so that its memory is that of the installation. Invariant: figures are of
//! an installation that ended with a committed release.

use super::super::image::IMAGE_FOLDER;
use super::super::project::Project;
use super::super::report::Failure;
use crate::io::command;
use crate::io::file::{self, at};
use crate::release::image::{ESP, ROOT};
use crate::release::keys::PublicKeys;
use crate::release::signer::Signer;
use crate::update::payload::Unsigned;
use crate::update::release::ReleaseImages;
use crate::update::repository::target::{Described, HEAD_BYTES};
use crate::update::simulate::{self, InFile, Running};
use ed25519_dalek::{SigningKey, VerifyingKey};
use osbuild_sys::memory;
use rand_core::OsRng;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, clap::Args)]
pub struct SimulateArgs {
    /// The image folder of the release that runs
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The image folder of the release that is to run
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Folder with the public keys of both; that of the project unless told
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// One installation, by a process that does nothing else.
#[derive(Clone, Debug, clap::Args)]
pub struct MeasureArgs {
    payload: PathBuf,
    /// The image folder of the release that runs; none for a full payload
    #[arg(long)]
    running: Option<PathBuf>,
    /// Whose signature the header has, in hex
    #[arg(long)]
    key: String,
}

/// What a payload costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cost {
    /// Of the payload's file.
    payload_bytes: u64,
    /// By the device, of it.
    fetched_bytes: u64,
    requests: u64,
    read_bytes: u64,
    written_bytes: u64,
    flushes: u64,
    installed_in_ms: u64,
    /// On this machine.
    #[serde(default)]
    made_in_ms: u64,
    /// At its highest, beside what the program itself takes before it begins.
    memory_bytes: u64,
}

#[derive(Serialize)]
struct Costs {
    full: Cost,
    delta: Cost,
}

pub fn simulate(project: &Project, args: &SimulateArgs) -> Result<(), Failure> {
    let keys = PublicKeys::load(&args.keys.clone().unwrap_or_else(|| project.keys()))?;
    let read = |folder: &Path| {
        ReleaseImages::of_folder(folder, &keys).map_err(|error| {
            let failure = Failure::from(error);
            Failure::new(format!("`{}` cannot be used\n  because: {}", folder.display(), failure.message))
                .help(IMAGE_FOLDER)
        })
    };
    let (from, to) = (read(&args.from)?, read(&args.to)?);
    if (&from.product, &from.machine) != (&to.product, &to.machine) {
        let of = |images: &ReleaseImages| format!("{} for {}", images.title(), images.machine);
        return Err(Failure::new(format!("no device goes from {} to {}", of(&from), of(&to)))
            .help("both have to be of the same product and machine"));
    }
    let folder = tempfile::tempdir().map_err(at("create a folder in", &std::env::temp_dir()))?;
    // A key of this run only: the payloads go nowhere.
    let signer = SigningKey::generate(&mut OsRng);
    let key = signer.verifying_key();
    let signer = Signer::of_ed25519("simulation", signer);
    let cost = |name: &str, images: Option<&ReleaseImages>| {
        let started = Instant::now();
        let path = folder.path().join(name);
        file::write_atomic(&path, &Unsigned::make(images, &to)?.sign(&signer)?, 0o644)?;
        let made_in_ms = milliseconds(started.elapsed());
        Ok::<_, Failure>(Cost { made_in_ms, ..measured(&path, images.map(|_| args.from.as_path()), &key)? })
    };
    let (full, delta) = (cost("full", None)?, cost("delta", Some(&from))?);
    if args.json {
        let json = serde_json::to_string_pretty(&Costs { full, delta })?;
        println!("{json}");
        return Ok(());
    }
    println!("{} to {}, {}", from.title(), to.release.version, from.machine);
    println!(
        "{:<6} {:>12} {:>10} {:>10} {:>10} {:>12} {:>9}",
        "", "bytes", "made", "installed", "memory", "written", "requests"
    );
    for (name, cost) in [("delta", &delta), ("full", &full)] {
        println!("{}", row(name, cost));
    }
    Ok(())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn row(name: &str, cost: &Cost) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let seconds = |milliseconds: u64| Duration::from_millis(milliseconds).as_secs_f64();
    let (made, installed) = (seconds(cost.made_in_ms), seconds(cost.installed_in_ms));
    format!(
        "{name:<6} {:>12} {made:>8.1} s {installed:>8.1} s {:>10} {:>12} {:>9}",
        cost.payload_bytes,
        mib(cost.memory_bytes),
        mib(cost.written_bytes),
        cost.requests
    )
}

/// Lets a process of its own install the payload.
fn measured(payload: &Path, running: Option<&Path>, key: &VerifyingKey) -> Result<Cost, Failure> {
    let program = std::env::current_exe().map_err(at("find", Path::new("this program")))?;
    let mut command = Command::new(&program);
    command.args(["update", "measure"]).arg(payload).args(["--key", &hex::encode(key.as_bytes())]);
    if let Some(running) = running {
        command.arg("--running").arg(running);
    }
    Ok(serde_json::from_slice(&command::run(&mut command)?.stdout)?)
}

pub fn measure(args: &MeasureArgs) -> Result<(), Failure> {
    // As the device's own process does it.
    memory::give_large_blocks_back();
    let mut key = [0; 32];
    let decoded = hex::decode_to_slice(&args.key, &mut key).ok().and_then(|()| VerifyingKey::from_bytes(&key).ok());
    let key = decoded.ok_or_else(|| Failure::new("`--key` has to be a public key of 64 hex digits"))?;
    let program_bytes = peak_bytes()?;
    let payload = file::open(&args.payload)?;
    let payload_bytes = payload.metadata().map_err(at("look at", &args.payload))?.len();
    let described = Described::read(&file::read_start(&args.payload, HEAD_BYTES as u64)?, payload_bytes, &key)?;
    let running = match &args.running {
        Some(folder) => Running { esp: file::open(&folder.join(ESP))?, root: file::open(&folder.join(ROOT))? },
        None => Running::of_images(None)?,
    };
    let report = simulate::run(&described, &mut InFile(payload), running, &key)?;
    let cost = Cost {
        payload_bytes,
        fetched_bytes: report.fetched_bytes,
        requests: report.requests,
        read_bytes: report.read_bytes,
        written_bytes: report.written_bytes,
        flushes: report.flushes,
        installed_in_ms: milliseconds(report.time),
        made_in_ms: 0,
        memory_bytes: peak_bytes()?.saturating_sub(program_bytes),
    };
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

/// `VmHWM` of this process. proc_pid_status(5).
fn peak_bytes() -> Result<u64, Failure> {
    let path = Path::new("/proc/self/status");
    let status = file::read_text(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Failure::new("the kernel does not say how much memory was used"))
}
