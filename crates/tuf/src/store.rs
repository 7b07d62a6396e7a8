//! Where trusted metadata is kept between updates: a trait, a folder, and memory for clients that are tried out.
//!
//! Invariant: a file that [`FolderStore`] has saved is whole and lasts, whenever the power fails.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Keeps files by name; a name may have one folder before it, such as `root_history/2.root.json`.
pub trait Store {
    /// None: there is none. What is longer than `limit_bytes` is damaged, and so an error.
    fn load(&self, file: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>>;
    /// All or nothing; when it has come back, it lasts.
    fn save(&mut self, file: &str, bytes: &[u8]) -> io::Result<()>;
    /// No effect when there is none.
    fn remove(&mut self, file: &str) -> io::Result<()>;
}

/// A folder, which is made when something is saved.
#[derive(Clone, Debug)]
pub struct FolderStore {
    folder: PathBuf,
}

impl FolderStore {
    pub fn new(folder: &Path) -> FolderStore {
        FolderStore { folder: folder.to_owned() }
    }
}

/// Makes a folder and those that it is in, so that they last.
#[allow(clippy::disallowed_methods)]
fn make(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(folder);
    make(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    fs::File::open(parent)?.sync_all()
}

#[allow(clippy::disallowed_methods)] // The one place where trusted metadata is read and written.
impl Store for FolderStore {
    fn load(&self, file: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match fs::File::open(self.folder.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        within(bytes, limit_bytes).map(Some)
    }

    fn save(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(file);
        let folder = path.parent().unwrap_or(&self.folder);
        make(folder)?;
        // There is one writer; what a crash left of an earlier one is written over. It ends in no `.json`: it is no metadata.
        let unfinished = folder.join(".new");
        let mut new = fs::File::create(&unfinished)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&unfinished, &path)?;
        fs::File::open(folder)?.sync_all()
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Otherwise it could be back after a power cut, when the root that made it worthless is saved.
            removed => removed.and_then(|()| fs::File::open(&self.folder)?.sync_all()),
        }
    }
}

/// Files in memory, the same for all clones.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    files: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
}

impl MemoryStore {
    /// All files as they are now.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.borrow().clone()
    }

    pub fn insert(&self, file: &str, bytes: Vec<u8>) {
        self.files.borrow_mut().insert(file.to_owned(), bytes);
    }
}

impl Store for MemoryStore {
    fn load(&self, file: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let found = self.files.borrow().get(file).cloned();
        found.map(|bytes| within(bytes, limit_bytes)).transpose()
    }

    fn save(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.insert(file, bytes.to_vec());
        Ok(())
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.files.borrow_mut().remove(file);
        Ok(())
    }
}

fn within(bytes: Vec<u8>, limit_bytes: u64) -> io::Result<Vec<u8>> {
    match bytes.len() as u64 > limit_bytes {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit_bytes} bytes"))),
        false => Ok(bytes),
    }
}
