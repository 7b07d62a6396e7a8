//! The steps of osbuild itself that a plan can contain, each with the version that stands in for its code.
//!
//! Invariant: name and version of a step are here and nowhere else; whoever changes what a step leaves for equal
//! input raises its version here (docs/decisions/0003), and a test with a pinned digest reminds them.

/// A step as a task's key knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepKind {
    pub name: &'static str,
    /// Raised whenever the step's output changes for equal input.
    pub version: u32,
}

/// Archives, project files and crates become one source tree.
pub const SOURCE: StepKind = StepKind { name: "source", version: 1 };
/// Debian packages become a tool tree.
pub const TOOL_TREE: StepKind = StepKind { name: "tool-tree", version: 1 };
/// Trees are laid over each other.
pub const MERGE: StepKind = StepKind { name: "merge", version: 1 };
/// Leaves the configuration when every requested option is in it as asked, or waived.
pub const KCONFIG_CHECK: StepKind = StepKind { name: "kconfig-check", version: 1 };
/// Leaves the headers, libraries and pkg-config files of an installed tree.
pub const SYSROOT: StepKind = StepKind { name: "sysroot", version: 1 };
/// Leaves one folder per output package.
pub const PACKAGES: StepKind = StepKind { name: "packages", version: 1 };
/// Packages, skeletons and metadata become a root file system.
pub const ROOTFS: StepKind = StepKind { name: "rootfs", version: 5 };
/// The files of a root file system go where a layout wants them.
pub const PLACE: StepKind = StepKind { name: "place", version: 1 };
pub const VERITY: StepKind = StepKind { name: "verity", version: 2 };
/// Packages and skeletons become the root of an app.
pub const APP_ROOT: StepKind = StepKind { name: "app-root", version: 1 };
/// A manifest, an image and its verity tree become the file of an app.
pub const APP_PACKAGE: StepKind = StepKind { name: "app-package", version: 1 };
pub const INITRAMFS: StepKind = StepKind { name: "initramfs", version: 2 };
pub const UKI: StepKind = StepKind { name: "uki", version: 2 };

/// All of them, in the order in which an image needs them.
pub const ALL: [StepKind; 13] = [
    SOURCE,
    TOOL_TREE,
    MERGE,
    KCONFIG_CHECK,
    SYSROOT,
    PACKAGES,
    APP_ROOT,
    VERITY,
    APP_PACKAGE,
    ROOTFS,
    PLACE,
    INITRAMFS,
    UKI,
];
