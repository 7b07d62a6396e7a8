//! What an installation takes of memory: as much for a large image as for a small one.
//!
//! A process of its own, so that its peak is that of the installation and of nothing else.

#![allow(clippy::disallowed_methods)]

use ed25519_dalek::SigningKey;
use osbuild_format::command_line::Slot;
use osbuild_format::dsse;
use osbuild_format::hex;
use osbuild_format::payload::{
    self, Correction, Header, Image, ImageName, Kind, Methods, Operation, Parts, Release, Segment,
};
use osbuild_format::target::{TargetCustom, LIMIT_MEMORY_BYTES};
use osbuild_update::device::{Area, BootManager, Payloads, Storage};
use osbuild_update::install::Installer;
use osbuild_update::payload::Payload;
use osbuild_update::state::{Journal, Phase};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MIB: usize = 1 << 20;
const SEGMENT_BYTES: usize = 8 * MIB;
const SALT: [u8; 1] = [9];

/// Areas as files of a folder.
struct Folder(PathBuf);

impl Folder {
    fn file(&self, area: Area) -> io::Result<File> {
        let name = format!("{area:?}");
        File::options().read(true).write(true).create(true).truncate(false).open(self.0.join(name))
    }
}

impl Storage for Folder {
    fn size_bytes(&self, area: Area) -> io::Result<u64> {
        Ok(self.file(area)?.metadata()?.len())
    }

    fn read_at(&self, area: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file(area)?.read_exact_at(bytes, offset)
    }

    fn write_at(&mut self, area: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(area)?.write_all_at(bytes, offset)
    }

    fn flush(&mut self, area: Area) -> io::Result<()> {
        self.file(area)?.sync_data()
    }

    fn drop_caches(&mut self, _: Area) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Firmware(Option<Slot>);

impl BootManager for Firmware {
    fn provide_options(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn committed(&self) -> io::Result<Option<Slot>> {
        Ok(Some(Slot::A))
    }

    fn next(&self) -> io::Result<Option<Slot>> {
        Ok(self.0)
    }

    fn set_next(&mut self, slot: Option<Slot>) -> io::Result<()> {
        self.0 = slot;
        Ok(())
    }

    fn commit(&mut self, _: Slot) -> io::Result<()> {
        Ok(())
    }
}

struct FileServer(File);

impl Payloads for FileServer {
    fn range(&mut self, _: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Cannot be made smaller in one kind; in the other it can, with all of the window in use.
fn content(kind: usize, at: usize) -> Vec<u8> {
    let mut state = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<u8> = (0..8192).flat_map(|_| random().to_le_bytes()).collect();
    let mut bytes = Vec::with_capacity(SEGMENT_BYTES + 64);
    while bytes.len() < SEGMENT_BYTES {
        match kind {
            0 => bytes.extend(random().to_le_bytes()),
            _ => {
                let start = (random() >> 20) as usize % (words.len() - 64);
                bytes.extend_from_slice(&words[start..start + 64]);
            }
        }
    }
    bytes.truncate(SEGMENT_BYTES);
    bytes[..4096].fill(0);
    bytes
}

/// Columns with a window as large as the format allows, as the builder makes them.
fn compress(column: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(column, 3)
}

struct Made {
    payload: PathBuf,
    custom: TargetCustom,
    old_esp: Vec<u8>,
}

/// A delta whose root has `segments` segments, some of which patch the old root.
fn make(folder: &Path, segments: usize, storage: &mut Folder) -> Made {
    let (mut list, mut root_hash_input) = (Vec::new(), Sha256::new());
    let stored = folder.join("stored");
    let mut file = File::create(&stored).expect("a file");
    let esp = content(0, 99)[..64 << 10].to_vec();
    storage.file(Area::Root(Slot::A)).and_then(|f| f.set_len((segments * SEGMENT_BYTES) as u64)).expect("a file");
    for number in 0..segments {
        let output = content(number % 2, number);
        root_hash_input.update(&output);
        let mut parts = Parts::default();
        let kind = match number % 3 {
            // The old root is zeros: every byte differs.
            2 => {
                let zeros = vec![0; output.len()];
                parts.source_sha256 = Some(Sha256::digest(&zeros).into());
                parts.wrong.push(&Correction::of(&zeros, &output));
                let offset = (number * SEGMENT_BYTES) as u64;
                Kind::Patch { image: ImageName::Root, offset, methods: Methods::NONE, frame: 0 }
            }
            _ => {
                parts.literals.clone_from(&output);
                Kind::Literal { code: false }
            }
        };
        parts.operations.push(Operation { length: output.len() as u32, kind });
        add(&mut list, &mut file, ImageName::Root, &parts, number * SEGMENT_BYTES, &output);
    }
    let parts = Parts {
        literals: esp.clone(),
        operations: vec![Operation { length: esp.len() as u32, kind: Kind::Literal { code: false } }],
        ..Parts::default()
    };
    add(&mut list, &mut file, ImageName::Esp, &parts, 0, &esp);
    let image = |bytes: &[u8]| Image { size_bytes: bytes.len() as u64, sha256: hex::encode(&Sha256::digest(bytes)) };
    let root_bytes = (segments * SEGMENT_BYTES) as u64;
    let root = Image { size_bytes: root_bytes, sha256: hex::encode(&root_hash_input.finalize()) };
    let old_esp = vec![1; esp.len()];
    let release = |version: &str, esp: Image| Release {
        version: version.to_owned(),
        epoch: 1,
        esp,
        root: root.clone(),
        root_hash: root_hash(segments),
        salt: hex::encode(&SALT),
    };
    let header = Header {
        format: 1,
        product: "p".to_owned(),
        machine: "m".to_owned(),
        from: Some(release("1.0.0", image(&old_esp))),
        to: release("1.0.1", image(&esp)),
        segments: list,
    };
    let json = header.to_json().expect("valid");
    let key = SigningKey::from_bytes(&[1; 32]);
    let envelope = dsse::sign(payload::PAYLOAD_TYPE, &json, &key, &dsse::key_id(&key.verifying_key()));
    let path = folder.join("payload");
    let mut whole = File::create(&path).expect("a file");
    whole.write_all(&payload::head(envelope.as_bytes()).expect("short")).expect("written");
    io::copy(&mut File::open(&stored).expect("a file"), &mut whole).expect("copied");
    let custom = TargetCustom {
        format: 1,
        product: "p".to_owned(),
        machine: "m".to_owned(),
        version: "1.0.1".to_owned(),
        epoch: 1,
        to: header.to.esp.sha256.clone(),
        from: header.from.as_ref().map(|from| from.esp.sha256.clone()),
        header: hex::encode(&Sha256::digest(&json)),
        memory_bytes: LIMIT_MEMORY_BYTES,
        rollout_percent: 100,
    };
    for (area, bytes) in [
        (Area::Esp(Slot::A), esp.len() as u64),
        (Area::Esp(Slot::B), esp.len() as u64),
        (Area::Root(Slot::B), root_bytes),
        (Area::Verity(Slot::B), root_bytes / 100 + (64 << 10)),
        (Area::State, 8192),
    ] {
        storage.file(area).and_then(|file| file.set_len(bytes)).expect("a file");
    }
    storage.write_at(Area::Esp(Slot::A), 0, &old_esp).expect("written");
    Made { payload: path, custom, old_esp }
}

fn add(list: &mut Vec<Segment>, file: &mut File, image: ImageName, parts: &Parts, at: usize, output: &[u8]) {
    let stored = parts.store(at as u64, |column, _| compress(column)).expect("stored");
    file.write_all(&stored).expect("written");
    list.push(Segment {
        image,
        output_bytes: output.len() as u32,
        output_sha256: hex::encode(&Sha256::digest(output)),
        stored_bytes: stored.len() as u32,
        stored_sha256: hex::encode(&Sha256::digest(&stored)),
    });
}

/// The plain way, one level after the other.
fn root_hash(segments: usize) -> String {
    let hash = |block: &[u8]| Sha256::new_with_prefix(SALT).chain_update(block).finalize();
    let mut level: Vec<u8> = (0..segments)
        .flat_map(|number| content(number % 2, number).chunks(4096).flat_map(hash).collect::<Vec<u8>>())
        .collect();
    loop {
        level.resize(level.len().next_multiple_of(4096), 0);
        let above: Vec<u8> = level.chunks(4096).flat_map(hash).collect();
        if above.len() == 32 {
            return hex::encode(&above);
        }
        level = above;
    }
}

/// `VmHWM` of proc_pid_status(5), in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// The installation alone, in this process.
fn install(folder: &Path) {
    let custom = std::fs::read(folder.join("custom.json")).expect("made");
    let custom = TargetCustom::from_json(&custom).expect("valid");
    let release = std::fs::read_to_string(folder.join("release")).expect("made");
    let mut storage = Folder(folder.to_owned());
    let mut server = FileServer(File::open(folder.join("payload")).expect("made"));
    let keys = [SigningKey::from_bytes(&[1; 32]).verifying_key()];
    let payload = Payload::open(&mut server, "payload", &custom, &keys).expect("signed");
    let (mut journal, mut state, _) = Journal::load(&storage).expect("readable");
    let mut boot = Firmware::default();
    let before = peak_bytes();
    let mut installer = Installer {
        storage: &mut storage,
        boot: &mut boot,
        journal: &mut journal,
        state: &mut state,
        running: Slot::A,
        release: &release,
        trial_boots: 3,
    };
    installer.install(&payload, &mut server).expect("installed");
    assert!(matches!(state.phase, Phase::Trial { boots_left: 2, .. }));
    assert_eq!(boot.next().expect("known"), Some(Slot::B));
    println!("peak {} before {}", peak_bytes(), before);
}

#[test]
fn an_installation_takes_as_much_memory_for_a_large_image_as_for_a_small_one() {
    const FOLDER: &str = "OSBUILD_TEST_INSTALL";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return install(Path::new(&folder));
    }
    let peaks = [4, 16].map(|segments| {
        let folder = std::env::temp_dir().join(format!("osbuild-install-{}-{segments}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let made = make(&folder, segments, &mut Folder(folder.clone()));
        assert!(made.payload.exists());
        std::fs::write(folder.join("custom.json"), serde_json::to_vec(&made.custom).expect("JSON")).expect("written");
        std::fs::write(folder.join("release"), hex::encode(&Sha256::digest(&made.old_esp))).expect("written");
        let me = std::env::current_exe().expect("this program");
        let mut run = std::process::Command::new(me);
        // As the device's updater does (`osbuild_sys::memory::give_large_blocks_back`): otherwise the C library keeps what is freed.
        run.env(FOLDER, &folder).env("MALLOC_MMAP_THRESHOLD_", (256 << 10).to_string());
        let run = run.arg("--nocapture").output().expect("run");
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
        std::fs::remove_dir_all(&folder).expect("removed");
        let peak = text.split("peak ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a figure");
        let peak: u64 = peak.parse().expect("a number");
        println!("{} MiB of root: a process of {} KiB at most", segments * 8, peak / 1024);
        peak
    });
    assert!(peaks.iter().all(|peak| *peak <= LIMIT_MEMORY_BYTES), "{peaks:?}");
    assert!(peaks[1] < peaks[0] + MIB as u64, "{peaks:?}");
}
