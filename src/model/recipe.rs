//! A recipe once it is valid: one source project, how it is built, and the packages it yields.
//!
//! Invariant: templates are rendered, names and paths checked, overrides applied.

use super::{Origin, PackageName, RecipeName, RelPath, ToolTreeName};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Recipe {
    pub name: RecipeName,
    pub version: String,
    /// SPDX licence expression.
    pub license: String,
    pub summary: String,
    /// Whether the result runs on the device or in later tasks.
    pub runs_on: RunsOn,
    pub sources: Vec<Source>,
    pub class: BuildClass,
    /// Tool trees the tasks run on, merged; empty: what the class and `runs_on` need.
    pub tools: Vec<ToolTreeName>,
    /// Device recipes whose files are merged into the sysroot (for a host recipe: host recipes).
    pub build_depends: Vec<RecipeName>,
    /// Host recipes whose outputs are laid over the tool tree.
    pub tool_depends: Vec<RecipeName>,
    /// Patch files, relative to the project, applied in order with `patch -p1`.
    pub patches: Vec<RelPath>,
    /// Shell lines run in the source folder before the class's own steps.
    pub prepare: Option<String>,
    /// Shell lines run after the class's install step, with `$DESTDIR` set.
    pub finish: Option<String>,
    pub env: BTreeMap<String, String>,
    /// At least one; each path of the result belongs to the first package that claims it.
    pub packages: Vec<OutputPackage>,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunsOn {
    Device,
    Host,
}

#[derive(Clone, Debug)]
pub struct Source {
    /// Where to fetch it, in order of preference.
    pub places: Vec<Place>,
    /// SHA-256 of the file, 64 lower-case hex digits; its size is in the lock. None for `file` and `crates`.
    pub sha256: Option<String>,
    /// How it becomes a tree.
    pub unpack: Unpack,
    /// Folder of the source tree it is placed in; none: the root of the source tree.
    pub into: Option<RelPath>,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Https(String),
    Git {
        url: String,
        commit: String,
    },
    /// A file of the Debian pool: `pool/main/z/zlib/zlib_1.3.1.orig.tar.gz`.
    Debian(String),
    /// The crates that the `Cargo.lock` at this project path names.
    Crates {
        lock: RelPath,
    },
    /// A file or folder of the project.
    File(RelPath),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpack {
    /// The file as it is, under its own name.
    No { file_name: String },
    /// An archive (tar in any compression, zip is not supported, or a .deb), dropping the first
    /// `strip` path components; `inner` names an archive inside a .deb to unpack instead.
    Archive { strip: u32, inner: Option<RelPath> },
}

#[derive(Clone, Debug)]
pub enum BuildClass {
    /// `./configure`-free projects: `make` with these arguments, then `make install`.
    Make {
        arguments: Vec<String>,
        install: Vec<String>,
    },
    Autotools {
        configure: Vec<String>,
        arguments: Vec<String>,
        install: Vec<String>,
    },
    Cmake {
        options: Vec<String>,
    },
    Meson {
        options: Vec<String>,
    },
    /// Builds these binaries of the workspace at the source root, offline and `--locked`.
    Cargo {
        binaries: Vec<String>,
    },
    /// A Kconfig project: linux itself, or one that uses the same configuration language.
    /// `fragments` names files of `kernel-config/`; linux adds the machine's and the product's.
    Kernel {
        kind: KconfigKind,
        fragments: Vec<String>,
        arguments: Vec<String>,
    },
    /// Files taken from an archive somebody else built: from source path to installed path.
    Prebuilt {
        install: Vec<InstallFile>,
    },
    /// Files of this project, installed as they are.
    Files {
        install: Vec<InstallFile>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KconfigKind {
    Linux,
    Busybox,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallFile {
    /// File or folder of the source tree; `.` is spelt as none.
    pub from: Option<RelPath>,
    pub to: RelPath,
    pub executable: bool,
}

impl InstallFile {
    /// Where the path `source` of the source tree goes; none: it is not installed by this.
    pub fn installed(&self, source: &RelPath) -> Option<RelPath> {
        let below = match &self.from {
            None => source.as_str(),
            Some(from) if from == source => return Some(self.to.clone()),
            Some(from) => source.as_str().strip_prefix(from.as_str())?.strip_prefix('/')?,
        };
        Some(self.to.join(&RelPath::new(below).ok()?))
    }
}

#[derive(Clone, Debug)]
pub struct OutputPackage {
    pub name: PackageName,
    /// Glob patterns over installed paths, absolute spelling (`/usr/lib/*.so*`); `*` stays in one
    /// component, `**` crosses them.
    pub files: Vec<String>,
    pub run_depends: Vec<PackageName>,
    /// Owners, modes and xattrs; what is not listed is root:root, 0755 or 0644 by its executable bit.
    pub metadata: Vec<FileMetadata>,
    pub origin: Origin,
}

/// Ownership and mode of one path, or of a device node to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMetadata {
    pub path: RelPath,
    pub user: Option<String>,
    pub group: Option<String>,
    /// Permission bits with setuid, setgid and sticky: `0o4755`.
    pub mode: Option<u32>,
    /// Full name, such as `security.capability`, to value.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    pub device: Option<DeviceNode>,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    pub block: bool,
    pub major: u32,
    pub minor: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_path_is_the_file_itself_or_below_the_folder() {
        let path = |text: &str| RelPath::new(text).expect("a path");
        let cases = [
            (Some("su"), "usr/bin/su", "su", Some("usr/bin/su")),
            (Some("bin"), "usr/bin", "bin/su", Some("usr/bin/su")),
            (Some("bin"), "usr/bin", "binary", None),
            (Some("bin"), "usr/bin", "lib/su", None),
            (None, "opt/x", "bin/su", Some("opt/x/bin/su")),
        ];
        for (from, to, source, expected) in cases {
            let file = InstallFile { from: from.map(path), to: path(to), executable: false };
            assert_eq!(file.installed(&path(source)), expected.map(path), "{from:?} {source}");
        }
    }
}
