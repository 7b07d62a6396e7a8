//! The folder that a board keeps between runs: overlay disk, EFI variables, TPM.
//!
//! Invariant: the three belong together and to one image; they are made, kept and thrown away as one. A snapshot only
//! reads what is kept.

use super::process::{self, Launch, ToolRoot};
use super::qemu::FIRMWARE_VARIABLES;
use super::varstore::{self, SecureBootKeys, VariableStore};
use super::BoardError;
use crate::io::file::{self, at};
use crate::model::Digest;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const QEMU_IMG: &str = "/usr/bin/qemu-img";
const QEMU_IMG_PATIENCE: Duration = Duration::from_secs(60);

/// What a board keeps.
#[derive(Clone, Debug)]
pub struct State {
    pub folder: PathBuf,
    pub disk: PathBuf,
    pub variables: PathBuf,
    pub tpm: PathBuf,
    /// The image under the overlay, without symlinks.
    pub image: PathBuf,
    /// What else the overlay reads: the folder of the disk that a snapshot stands on.
    pub below: Option<PathBuf>,
    /// Held for as long as the state is in use, so that two boards never share one.
    lock: Arc<File>,
}

/// What becomes of the changes that the guest makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Goes on with the last run and keeps the changes.
    Keep,
    /// Starts as from the factory and keeps the changes.
    Fresh,
    /// Goes on with the last run and forgets the changes.
    Snapshot,
}

/// Whether there was something to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// As the last run left it.
    Kept,
    /// Made now, for there was none or `fresh` was asked for.
    Made,
    /// Made now because the image is another one than that of the last run.
    ImageChanged,
}

/// What a folder holds from earlier runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Nothing,
    SameImage,
    OtherImage,
}

impl Past {
    fn origin(self, persistence: Persistence) -> Origin {
        match (self, persistence) {
            (_, Persistence::Fresh) | (Past::Nothing, _) => Origin::Made,
            (Past::SameImage, _) => Origin::Kept,
            (Past::OtherImage, _) => Origin::ImageChanged,
        }
    }
}

/// What a state is made from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub tools: &'a ToolRoot,
    pub image: &'a Path,
    pub keys: &'a SecureBootKeys,
    pub disk_bytes: u64,
}

impl State {
    fn at(folder: PathBuf, image: PathBuf, lock: Arc<File>) -> State {
        let [disk, variables, tpm] = ["disk.qcow2", "variables.fd", "tpm"].map(|name| folder.join(name));
        State { folder, disk, variables, tpm, image, below: None, lock }
    }

    /// Goes on with the state in `folder`, or makes one: there, or for a snapshot in `scratch`.
    pub fn open(
        folder: &Path,
        scratch: &Path,
        persistence: Persistence,
        source: Source,
    ) -> Result<(State, Origin), BoardError> {
        let (kept, past) = State::claim(folder, source)?;
        let origin = past.origin(persistence);
        let state = match (persistence, origin) {
            (Persistence::Snapshot, Origin::Kept) => kept.snapshot(scratch, source.tools)?,
            (Persistence::Snapshot, _) => {
                // What is kept belongs to a run that is not this one's to end.
                let state = State::at(scratch.to_owned(), kept.image, kept.lock);
                state.make(source)?;
                state
            }
            (_, Origin::Kept) => kept,
            _ => kept.replace(source)?,
        };
        Ok((state, origin))
    }

    /// Locks `folder` and says what is in it.
    fn claim(folder: &Path, source: Source) -> Result<(State, Past), BoardError> {
        file::create_dir_all(folder)?;
        let folder = folder.canonicalize().map_err(at("resolve", folder))?;
        let image = source.image.canonicalize().map_err(|_| BoardError::NoImage(source.image.to_owned()))?;
        let lock = Arc::new(lock(&folder)?);
        process::clear_leftovers(&folder)?;
        let state = State::at(folder, image, lock);
        let past = match file::read_text(&state.record()).ok() {
            None => Past::Nothing,
            Some(made_from) if made_from == identity(&state.image, source.keys)? => Past::SameImage,
            Some(_) => Past::OtherImage,
        };
        Ok((state, past))
    }

    /// The file that says what the state was made from.
    fn record(&self) -> PathBuf {
        self.folder.join("made-from")
    }

    /// The record goes first and comes last, so a half-made state is never gone on with.
    fn replace(self, source: Source) -> Result<State, BoardError> {
        let identity = identity(&self.image, source.keys)?;
        remove(&self.record())?;
        self.make(source)?;
        file::write_atomic(&self.record(), identity.as_bytes(), 0o644)?;
        Ok(self)
    }

    fn make(&self, source: Source) -> Result<(), BoardError> {
        remove(&self.disk)?;
        remove(&self.tpm)?;
        file::create_dir_all(&self.tpm)?;
        self.write_variables(source)?;
        let length = std::fs::metadata(&self.image).map_err(at("examine", &self.image))?.len();
        let bytes = source.disk_bytes.max(length);
        let image = path_text(&self.image);
        overlay(source.tools, &self.disk, &["-F", "raw", "-b", &image], &[&self.image], Some(bytes))
    }

    fn write_variables(&self, source: Source) -> Result<(), BoardError> {
        let template = source.tools.path(FIRMWARE_VARIABLES);
        let failed = |source| BoardError::Variables { path: template.clone(), source };
        let image = file::read(&template, varstore::LIMIT_BYTES as u64)?;
        let mut store = VariableStore::read(image).map_err(failed)?;
        varstore::enrol(&mut store, source.keys);
        file::write_atomic(&self.variables, &store.write().map_err(failed)?, 0o644)?;
        Ok(())
    }

    /// A copy in `folder` that stands on this state and leaves it as it is.
    pub fn snapshot(&self, folder: &Path, tools: &ToolRoot) -> Result<State, BoardError> {
        let mut copy = State::at(folder.to_owned(), self.image.clone(), Arc::clone(&self.lock));
        copy.below = Some(self.folder.clone());
        file::create_dir_all(&copy.tpm)?;
        for entry in std::fs::read_dir(&self.tpm).map_err(at("list", &self.tpm))? {
            let entry = entry.map_err(at("list", &self.tpm))?;
            let path = entry.path();
            std::fs::copy(&path, copy.tpm.join(entry.file_name())).map_err(at("copy", &path))?;
        }
        std::fs::copy(&self.variables, &copy.variables).map_err(at("copy", &self.variables))?;
        let below = ["-F", "qcow2", "-b", &path_text(&self.disk)];
        overlay(tools, &copy.disk, &below, &[&self.disk, &self.image], None)?;
        Ok(copy)
    }

    /// The EFI variables as the last run left them.
    pub fn read_variables(&self) -> Result<VariableStore, BoardError> {
        let image = file::read(&self.variables, varstore::LIMIT_BYTES as u64)?;
        VariableStore::read(image).map_err(|source| BoardError::Variables { path: self.variables.clone(), source })
    }
}

fn lock(folder: &Path) -> Result<File, BoardError> {
    let path = folder.join("lock");
    let file = file::create(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(BoardError::Busy(folder.to_owned())),
        Err(std::fs::TryLockError::Error(e)) => Err(at("lock", &path)(e).into()),
    }
}

/// The image and the keys, as one line: a rebuilt image under the same name is another one.
fn identity(image: &Path, keys: &SecureBootKeys) -> Result<String, BoardError> {
    let about = std::fs::metadata(image).map_err(at("examine", image))?;
    let certificates = [&*keys.platform_key, &*keys.key_exchange_key, &*keys.signature_db].concat();
    let (seconds, nanoseconds) = (about.mtime(), about.mtime_nsec());
    let keys = Digest::of(&certificates).hex();
    Ok(format!("{} {} {} {seconds}.{nanoseconds:09} {keys}\n", image.display(), about.len(), about.ino()))
}

/// Removes a file, socket or folder, if it is there.
pub fn remove(path: &Path) -> Result<(), BoardError> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(at("remove", path)(e).into()),
        _ => Ok(()),
    }
}

/// Makes an overlay disk as `below` says; `reads` are the files under it.
fn overlay(
    tools: &ToolRoot,
    disk: &Path,
    below: &[&str],
    reads: &[&Path],
    bytes: Option<u64>,
) -> Result<(), BoardError> {
    let parent = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    let words = ["create", "-q", "-f", "qcow2"].iter().chain(below).map(OsString::from);
    let size = bytes.map(|bytes| bytes.to_string().into());
    let launch = Launch {
        program: QEMU_IMG.to_owned(),
        args: words.chain([disk.into()]).chain(size).collect(),
        scratch: parent(disk),
        writable: vec![parent(disk)],
        readable: reads.iter().map(|path| parent(path)).collect(),
        log: Some(disk.with_extension("log")),
        input: None,
        kvm: false,
    };
    tools.run(launch, QEMU_IMG_PATIENCE)
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state that was made from another image, and what opening it leaves of its disk, TPM and record. The tool
    /// tree is empty, so nothing new comes in their place.
    fn left_after(persistence: Persistence) -> [bool; 3] {
        let [kept, scratch, tree] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let names = ["disk.qcow2", "tpm/tpm2-00.permall", "made-from"].map(|name| kept.path().join(name));
        std::fs::create_dir(kept.path().join("tpm")).unwrap();
        names.iter().for_each(|path| file::write_atomic(path, b"of an earlier image", 0o644).unwrap());
        let image = scratch.path().join("disk.img");
        file::write_atomic(&image, b"image", 0o644).unwrap();
        let none = Vec::new;
        let keys = SecureBootKeys {
            owner: varstore::Guid([0; 16]),
            platform_key: none(),
            key_exchange_key: none(),
            signature_db: none(),
        };
        let tools = ToolRoot::new(tree.path().to_owned());
        let source = Source { tools: &tools, image: &image, keys: &keys, disk_bytes: 1 };
        State::open(kept.path(), scratch.path(), persistence, source).unwrap_err();
        names.map(|path| path.exists())
    }

    #[test]
    fn a_snapshot_leaves_what_is_kept_even_when_the_image_is_another_one() {
        assert_eq!(left_after(Persistence::Snapshot), [true; 3]);
        assert_eq!(left_after(Persistence::Keep), [false; 3]);
        assert_eq!(left_after(Persistence::Fresh), [false; 3]);
    }

    #[test]
    fn where_a_state_comes_from() {
        for (past, persistence, origin) in [
            (Past::Nothing, Persistence::Keep, Origin::Made),
            (Past::SameImage, Persistence::Keep, Origin::Kept),
            (Past::SameImage, Persistence::Snapshot, Origin::Kept),
            (Past::SameImage, Persistence::Fresh, Origin::Made),
            (Past::OtherImage, Persistence::Snapshot, Origin::ImageChanged),
        ] {
            assert_eq!(past.origin(persistence), origin, "{past:?} {persistence:?}");
        }
    }
}
