//! Files of the host, with the path attached to every error.
//!
//! Invariant: a file appears under its name only when it is whole and on disk.

use crate::model::RelPath;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What failed, where, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} `{}`", path.display())]
pub struct FileError {
    pub verb: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// Attaches `verb` and `path` to an I/O error.
pub fn at<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError { verb, path: path.to_owned(), source }
}

/// Reads at most `limit_bytes`; a longer file is an error.
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(at("read", path))?;
    if bytes.len() as u64 > limit_bytes {
        let reason = io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit_bytes} bytes"));
        return Err(at("read", path)(reason));
    }
    Ok(bytes)
}

/// Reads the first `length` bytes, or all of a shorter file.
pub fn read_start(path: &Path, length: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    open(path)?.take(length).read_to_end(&mut bytes).map_err(at("read", path))?;
    Ok(bytes)
}

/// Reads the last `length` bytes, or all of a shorter file.
pub fn read_end(path: &Path, length: u64) -> Result<Vec<u8>, FileError> {
    let mut file = open(path)?;
    let size = file.metadata().map_err(at("look at", path))?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(length))).map_err(at("read", path))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(at("read", path))?;
    Ok(bytes)
}

/// Reads UTF-8 text of at most 16 MiB.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let bytes = read(path, 16 << 20)?;
    String::from_utf8(bytes).map_err(|e| at("read", path)(io::Error::new(io::ErrorKind::InvalidData, e)))
}

#[allow(clippy::disallowed_methods)]
pub fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(at("open", path))
}

/// Creates or truncates. For scratch files; results go through [`write_atomic`].
#[allow(clippy::disallowed_methods)]
pub fn create(path: &Path) -> Result<File, FileError> {
    File::create(path).map_err(at("create", path))
}

pub fn create_dir_all(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(at("create folder", path))
}

/// Writes `bytes` to a temporary sibling, syncs it and renames it to `path`.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut pending = Pending::create(path, mode)?;
    pending.file().write_all(bytes).map_err(at("write", path))?;
    pending.commit()
}

/// How names of [`Pending`] files begin.
pub const PENDING: &str = ".osbuild-";

/// A file that is being written beside its final path, and removed unless it is committed.
pub struct Pending {
    temporary: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Pending {
    pub fn create(path: &Path, mode: u32) -> Result<Pending, FileError> {
        use std::os::unix::fs::PermissionsExt;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(PENDING)
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(parent)
            .map_err(at("create a file in", parent))?;
        // The umask has no say.
        temporary.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(at("set the mode of", path))?;
        Ok(Pending { temporary, path: path.to_owned() })
    }

    /// Open for reading and writing.
    pub fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Syncs the file and gives it its name.
    pub fn commit(self) -> Result<(), FileError> {
        self.temporary.as_file().sync_all().map_err(at("sync", &self.path))?;
        self.temporary.persist(&self.path).map_err(|e| at("write", &self.path)(e.error))?;
        Ok(())
    }
}

/// Points the symlink `path` at `target`, replacing what was there in one step.
pub fn link_atomic(path: &Path, target: &Path) -> Result<(), FileError> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    std::os::unix::fs::symlink(target, &temporary).map_err(at("link", &temporary))?;
    fs::rename(&temporary, path).map_err(at("link", path))
}

/// Copies the folder `from`, links as links, into `to`, which may be there; a file that is there already is replaced.
/// A pipe, a socket or a device is an error: to copy what is in it could take for ever.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), FileError> {
    for entry in walkdir::WalkDir::new(from).sort_by_file_name() {
        let entry = entry.map_err(|error| at("list", from)(error.into()))?;
        // The walk stays below where it began.
        let below = entry.path().strip_prefix(from).unwrap_or(Path::new(""));
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        if entry.file_type().is_dir() {
            create_dir_all(&target)?;
        } else if entry.file_type().is_symlink() {
            let link = fs::read_link(entry.path()).map_err(at("read", entry.path()))?;
            link_atomic(&target, &link)?;
        } else if !entry.file_type().is_file() {
            let kind = io::Error::other("it is neither a file nor a folder nor a link: remove it");
            return Err(at("copy", entry.path())(kind));
        } else {
            // What was copied before may be read-only.
            let _ = fs::remove_file(&target);
            fs::copy(entry.path(), &target).map_err(at("copy", entry.path()))?;
        }
    }
    Ok(())
}

/// Removes a folder and all below it, also what its owner may not write or enter, as build scripts and
/// overlay mounts leave behind.
pub fn remove_tree(path: &Path) -> Result<(), FileError> {
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    // Top down, so that each folder can be entered when its turn comes.
    let folders = walkdir::WalkDir::new(path).into_iter().filter_entry(|entry| {
        if entry.file_type().is_dir() {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
        }
        true
    });
    folders.for_each(drop);
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Names of the entries of a folder, sorted; none when there is no such folder. Names that are not
/// UTF-8 are left out.
pub fn list(path: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at("list", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at("list", path))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Path and permission bits of each file at or below `path` that sets a user or group id; `name` stands for `path`.
/// What cannot be looked at is left out: reading its content says why.
pub fn set_id_below(path: &Path, name: &RelPath) -> Vec<(RelPath, u32)> {
    let set_id = |entry: walkdir::DirEntry| {
        let mode = entry.metadata().ok().filter(fs::Metadata::is_file)?.permissions().mode() & 0o7777;
        let below = entry.path().strip_prefix(path).ok()?.to_str()?;
        let found = RelPath::new(below).map_or_else(|_| name.clone(), |below| name.join(&below));
        (mode & 0o6000 != 0).then_some((found, mode))
    };
    walkdir::WalkDir::new(path).into_iter().filter_map(|entry| set_id(entry.ok()?)).collect()
}
