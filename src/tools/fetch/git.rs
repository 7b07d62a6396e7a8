//! A git commit in, a canonical tar of its files out, by the host's git.
//!
//! The tar depends on the commit alone: entries in git's order, mode 0644 or 0755, no owner and no time, and
//! attributes that would change content (`export-subst`, line ends, filters) are switched off. The commit is
//! pinned, and so is the SHA-256 of the tar. Invariant: submodules are an error, never left out silently.

use super::{Failure, Fetcher, Progress, Reason, Wanted};
use crate::io::command;
use crate::io::file;
use crate::io::store::Store;
use crate::model::Digest;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;
use tar::{EntryType, Header};

const PLAIN: &[u8] = b"* -export-subst -export-ignore -text -eol -filter -ident -working-tree-encoding\n";

impl Fetcher {
    pub(super) fn via_git(
        &self,
        store: &Store,
        wanted: &Wanted,
        url: &str,
        commit: &str,
        progress: Progress,
    ) -> Result<Digest, Failure> {
        let is_commit = matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_commit {
            return Err(Reason::Other(format!("`{commit}` is not a full commit id")).into());
        }
        if self.options.offline {
            return Err(Reason::Offline.into());
        }
        let folder = store.temporary_folder().map_err(Failure::Store)?;
        let tar = folder.path().join("canonical.tar");
        clone(folder.path(), url, commit)?;
        canonical(&folder.path().join("archive.tar"), &tar)?;
        super::from_file(store, wanted, &tar, progress)
    }
}

/// Leaves `archive.tar` of the commit in `folder`.
fn clone(folder: &Path, url: &str, commit: &str) -> Result<(), Reason> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "core.autocrlf=false", "-C"]).arg(folder.join("repo")).args(arguments);
        command.env("GIT_TERMINAL_PROMPT", "0");
        // Set where osbuild runs in a hook of another repository.
        command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
        command::run(&mut command).map_err(Reason::Command)
    };
    file::create_dir_all(&folder.join("repo")).map_err(Reason::File)?;
    git(&["init", "--quiet", "--bare"])?;
    file::create_dir_all(&folder.join("repo/info")).map_err(Reason::File)?;
    file::write_atomic(&folder.join("repo/info/attributes"), PLAIN, 0o644).map_err(Reason::File)?;
    git(&["fetch", "--quiet", "--depth=1", "--no-tags", "--", url, commit])?;
    let modules = git(&["ls-tree", "-r", "--full-tree", commit])?;
    if modules.stdout.split(|b| *b == b'\n').any(|line| line.starts_with(b"160000 ")) {
        return Err(Reason::Other("the commit has submodules, which are not supported".to_owned()));
    }
    git(&["archive", "--format=tar", "--output=../archive.tar", commit])?;
    Ok(())
}

/// Rewrites git's tar without what depends on the commit's date or the version of git.
fn canonical(from: &Path, to: &Path) -> Result<(), Reason> {
    let mut archive = tar::Archive::new(file::open(from).map_err(Reason::File)?);
    let output = file::create(to).map_err(Reason::File)?;
    let mut builder = tar::Builder::new(io::BufWriter::new(output));
    rewrite(&mut archive, &mut builder).map_err(Reason::Read)?;
    builder.into_inner().and_then(|mut output| output.flush()).map_err(Reason::Read)
}

fn rewrite(archive: &mut tar::Archive<impl Read>, builder: &mut tar::Builder<impl Write>) -> io::Result<()> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        let path = entry.path()?.into_owned();
        let mut header = Header::new_gnu();
        header.set_mtime(0);
        header.set_size(0);
        match kind {
            EntryType::Symlink => {
                let target = entry.link_name()?.unwrap_or_default().into_owned();
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                builder.append_link(&mut header, path, target)?;
            }
            EntryType::Regular => {
                let executable = entry.header().mode()? & 0o100 != 0;
                header.set_mode(if executable { 0o755 } else { 0o644 });
                header.set_size(entry.size());
                header.set_entry_type(EntryType::Regular);
                builder.append_data(&mut header, path, &mut entry)?;
            }
            // Folders follow from the files in them; git has no empty ones.
            _ => {}
        }
    }
    Ok(())
}
