//! `recipe.yaml`: what to build and how.
//!
//! Invariant: field names here are those of the file; [`crate::model::recipe`] has the meaning.

use super::scalar::{DevicePath, License, Mode, Pattern, Schema, Sha256, SourcePath, Word};
use super::xattr::Xattrs;
use crate::config::record::{choices, record, Decode, Problems, Shape};
use crate::config::yaml::{Node, Value};
use crate::model::recipe::{KconfigKind, RunsOn};
use crate::model::{Located, PackageName, RecipeName, RelPath, ToolTreeName};
use std::collections::BTreeMap;

record! {
    /// One source project: where it comes from, how it is built, and the packages it yields.
    ///
    /// A recipe stands in `recipes/NAME/recipe.yaml`, or in `layers/LAYER/recipes/NAME.yaml`. In every value,
    /// `{{ version }}` and `{{ name }}` are the recipe's own; `{{ machine }}`, `{{ architecture }}`, `{{ product }}`,
    /// `{{ vars.NAME }}` and `{{ features.NAME }}` are those of the product that is built.
    pub struct RecipeFile as "recipe" {
        /// Version of this format: 1.
        "schema" schema: Schema,
        /// Name of the recipe, the same as its folder's.
        "recipe" recipe: Located<RecipeName>,
        /// Version of the source project; quote it, so that `1.10` stays `1.10`.
        "version" version: String,
        /// What it is, in half a line.
        "summary" summary: String,
        /// SPDX licence expression.
        "license" license: License,
        /// Where the result runs.
        "runs-on" runs_on: RunsOn = RunsOn::Device => "device",
        /// Archives, project files and crates that make up the source tree.
        "sources" sources: Vec<SourceEntry>,
        /// How it is built.
        "class" class: Class,
        /// Arguments of `./configure`. Class `autotools`.
        "configure" configure: Option<Vec<String>>,
        /// Arguments of `make`. Classes `make`, `autotools` and `kernel`.
        "arguments" arguments: Option<Vec<String>>,
        /// Classes `make` and `autotools`: arguments of the `make` that installs. Classes `prebuilt` and `files`:
        /// what to install where.
        "install" install: Option<Vec<InstallEntry>>,
        /// Options of `cmake` or `meson setup`.
        "options" options: Option<Vec<String>>,
        /// Programs of the workspace to build. Class `cargo`.
        "binaries" binaries: Option<Vec<String>>,
        /// Whose Kconfig it is. Class `kernel`.
        "kind" kind: Option<KconfigKind>,
        /// Files of `kernel-config/`, without `.config`. Class `kernel`; linux adds the machine's and the product's.
        "fragments" fragments: Option<Vec<Located<String>>>,
        /// Tool trees to build on, instead of those of the class.
        "tools" tools: Vec<Located<ToolTreeName>>,
        /// Recipes whose headers and libraries are in the sysroot; of the same kind in `runs-on`.
        "build-depends" build_depends: Vec<Located<RecipeName>>,
        /// Host recipes whose programs are laid over the tool tree.
        "tool-depends" tool_depends: Vec<Located<RecipeName>>,
        /// Patch files of the project, applied in order with `patch -p1`.
        "patches" patches: Vec<RelPath>,
        /// Shell lines run in the source folder before the class's own.
        "prepare" prepare: Option<String>,
        /// Shell lines run after the install, with `$DESTDIR` set.
        "finish" finish: Option<String>,
        /// Environment of the build.
        "env" env: BTreeMap<String, Word>,
        /// What goes into images; each file belongs to the first package with a pattern that matches it.
        "packages" packages: Vec<PackageEntry>,
    }
}

record! {
    /// A part of the source tree: exactly one of `places`, `file` and `crates`.
    pub struct SourceEntry as "source" {
        /// Where the archive may be had, in order of preference.
        "places" places: Vec<PlaceEntry>,
        /// A file or folder of the project.
        "file" file: Option<RelPath>,
        /// A `Cargo.lock` of the project: its crates become a vendor folder.
        "crates" crates: Option<RelPath>,
        /// Digest of the archive, the same from every place.
        "sha256" sha256: Option<Sha256>,
        /// False: the file is not unpacked.
        "unpack" unpack: bool = true => "true",
        /// Leading path components dropped when unpacking; 1 unless said otherwise.
        "strip" strip: Option<u32>,
        /// An archive inside a `.deb` to unpack instead.
        "inner" inner: Option<RelPath>,
        /// Folder of the source tree to place it in.
        "into" into: Option<RelPath>,
    }
}

record! {
    /// One place of an archive: exactly one of `https`, `debian` and `git`.
    pub struct PlaceEntry as "place" {
        /// An `https://` address.
        "https" https: Option<String>,
        /// A path below the root of the Debian archive: `pool/main/...`.
        "debian" debian: Option<String>,
        /// A git repository's `https://` address; needs `commit`.
        "git" git: Option<String>,
        /// The commit, 40 or 64 hex digits.
        "commit" commit: Option<String>,
    }
}

/// An argument of `make`, or a file to install.
#[derive(Clone, Debug)]
pub enum InstallEntry {
    Argument(Located<String>),
    File(InstallFileEntry),
}

impl Decode for InstallEntry {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Map(_) => InstallFileEntry::decode(node, problems).map(InstallEntry::File),
            _ => Located::decode(node, problems).map(InstallEntry::Argument),
        }
    }
    fn shape() -> Shape {
        Shape::Either(Box::new(String::shape()), Box::new(InstallFileEntry::shape()))
    }
}

record! {
    /// A file or folder of the source tree and where it goes.
    pub struct InstallFileEntry as "file to install" {
        /// Path in the source tree; `.` is all of it.
        "from" from: SourcePath,
        /// Path on the device.
        "to" to: DevicePath,
        /// Whether it may be run.
        "executable" executable: bool = false => "false",
    }
}

record! {
    /// A set of files that goes into an image together.
    pub struct PackageEntry as "package" {
        /// Unique among all recipes.
        "name" name: Located<PackageName>,
        /// Patterns over installed paths: `*` stays in one component, `**` crosses them.
        "files" files: Vec<Pattern>,
        /// Packages it needs at run time.
        "run-depends" run_depends: Vec<Located<PackageName>>,
        /// Owners, modes and attributes that differ from root, 0755 and 0644.
        "metadata" metadata: Vec<MetadataEntry>,
    }
}

record! {
    /// Owner, mode and attributes of one path, or a device node to create.
    pub struct MetadataEntry as "metadata" {
        /// Path on the device.
        "path" path: DevicePath,
        /// A user of the product.
        "user" user: Option<Located<String>>,
        /// A group of the product.
        "group" group: Option<Located<String>>,
        /// Permission bits; setuid files must be declared here.
        "mode" mode: Option<Mode>,
        /// Extended attributes by name, each value as `setfattr` takes it; `security.capability` is one.
        "xattrs" xattrs: Xattrs,
        /// Makes the path a device node.
        "device" device: Option<DeviceEntry>,
    }
}

record! {
    /// A device node.
    pub struct DeviceEntry as "device node" {
        /// A block device rather than a character device.
        "block" block: bool = false => "false",
        /// Major number.
        "major" major: u32,
        /// Minor number.
        "minor" minor: u32,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Make,
    Autotools,
    Cmake,
    Meson,
    Cargo,
    Kernel,
    Prebuilt,
    Files,
}

choices! { Class as "build class" {
    "make" => Make, "`make`, then `make install`";
    "autotools" => Autotools, "`./configure`, `make`, `make install`";
    "cmake" => Cmake, "CMake and Ninja";
    "meson" => Meson, "Meson and Ninja";
    "cargo" => Cargo, "`cargo build`, offline and locked";
    "kernel" => Kernel, "Kconfig: linux or busybox";
    "prebuilt" => Prebuilt, "files of an archive that somebody else built";
    "files" => Files, "files of this project";
} }

choices! { RunsOn as "place to run" {
    "device" => Device, "on the device";
    "host" => Host, "in later tasks of the build";
} }

choices! { KconfigKind as "kind of Kconfig project" {
    "linux" => Linux, "the kernel";
    "busybox" => Busybox, "busybox";
} }
