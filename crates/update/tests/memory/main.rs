//! What an installation takes of memory: as much for a large image as for a small one, and never more than an update may.
//!
//! Each is installed by a process of its own, so that its peak is that of the installation and of nothing else. Invariant: payloads
//! are as costly as the format and its generator let them be, with an input that is made for it.

#![allow(clippy::disallowed_methods)]

mod device;
mod payload;
mod segments;

use device::{FileServer, Firmware, Folder};
use osbuild_format::command_line::Slot;
use osbuild_format::target::{TargetCustom, LIMIT_MEMORY_BYTES};
use osbuild_update::device::BootManager;
use osbuild_update::install::Installer;
use osbuild_update::payload::Payload;
use osbuild_update::state::{Journal, Phase};
use osbuild_update::trial;
use segments::{of_any_kind, of_learned_numbers, that_goes_on, Plan, MIB, SEGMENT_BYTES};
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Set for the process that installs.
const FOLDER: &str = "OSBUILD_TEST_INSTALL";

#[test]
fn an_installation_takes_as_much_memory_for_a_large_image_as_for_a_small_one() {
    fits("an_installation_takes_as_much_memory_for_a_large_image_as_for_a_small_one", of_any_kind, [4, 16]);
}

#[test]
fn numbers_that_are_learned_have_room() {
    fits("numbers_that_are_learned_have_room", of_learned_numbers, [1, 2]);
}

#[test]
fn literals_that_go_on_from_what_was_written_have_room() {
    fits("literals_that_go_on_from_what_was_written_have_room", that_goes_on, [3, 6]);
}

/// Installs two images of so many segments. `test`: the name of the one that calls, which is this program's work in another process.
fn fits(test: &str, plan: Plan, sizes: [usize; 2]) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return install(Path::new(&folder));
    }
    let peaks = sizes.map(|segments| {
        let peak = peak_bytes(test, plan, segments);
        println!("{test}: {} MiB of root: a process of {} KiB at most", segments * SEGMENT_BYTES / MIB, peak / 1024);
        peak
    });
    assert!(peaks.iter().all(|peak| *peak <= LIMIT_MEMORY_BYTES), "{peaks:?}");
    assert!(peaks[1] < peaks[0] + MIB as u64, "{peaks:?}");
}

/// Of a process that installs.
fn peak_bytes(test: &str, plan: Plan, segments: usize) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    payload::make(folder.path(), plan, segments);
    let mut run = Command::new(std::env::current_exe().expect("this program"));
    // As the device's updater does (`osbuild_sys::memory::give_large_blocks_back`): otherwise the C library keeps what is freed.
    run.env(FOLDER, folder.path()).env("MALLOC_MMAP_THRESHOLD_", (256 << 10).to_string());
    let run = run.args(["--exact", test, "--nocapture"]).output().expect("run");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    let peak = text.split("peak ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a figure");
    peak.parse().expect("a number")
}

/// The installation alone, in this process.
fn install(folder: &Path) {
    let custom = std::fs::read(folder.join("custom.json")).expect("made");
    let custom = TargetCustom::from_json(&custom).expect("valid");
    let release = std::fs::read_to_string(folder.join("release")).expect("made");
    let mut storage = Folder(folder.to_owned());
    let mut server = FileServer(File::open(folder.join("payload")).expect("made"));
    let keys = [payload::key().verifying_key()];
    let payload = Payload::open(&mut server, "payload", &custom, &keys).expect("signed");
    let (mut journal, mut state, _) = Journal::load(&storage).expect("readable");
    let mut boot = Firmware::default();
    let before = own_peak_bytes();
    let mut installer = Installer {
        storage: &mut storage,
        boot: &mut boot,
        journal: &mut journal,
        state: &mut state,
        running: Slot::A,
        release: &release,
    };
    installer.install(&payload, &mut server).expect("installed");
    assert_eq!(boot.next().expect("known"), None, "it waits for its moment");
    trial::begin(&mut storage, &mut boot, &mut journal, &mut state, 3).expect("armed");
    assert!(matches!(state.phase, Phase::Trial { boots_left: 2, .. }));
    assert_eq!(boot.next().expect("known"), Some(Slot::B));
    println!("peak {} before {}", own_peak_bytes(), before);
}

/// `VmHWM` of proc_pid_status(5), in bytes.
fn own_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
