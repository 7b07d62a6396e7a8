//! `tools/NAME.yaml`: Debian packages that tasks run on.
//!
//! Invariant: field names here are those of the file; [`crate::model::tooltree`] has the meaning.

use super::scalar::Schema;
use crate::config::record::record;
use crate::model::{Located, ToolTreeName};
use std::collections::BTreeMap;

record! {
    /// A tool tree: Debian packages that tasks run on, unpacked by osbuild itself.
    ///
    /// A tool tree stands in `layers/LAYER/tools/NAME.yaml`; `osbuild lock` decides its exact content.
    pub struct ToolsFile as "tool tree" {
        /// Version of this format: 1.
        "schema" schema: Schema,
        /// Name of the tree, the same as its file's.
        "tools" tools: Located<ToolTreeName>,
        /// Debian packages, as `NAME` or `NAME/SUITE`; their dependencies are added.
        "packages" packages: Vec<Located<String>>,
        /// Dependencies that are not followed.
        "exclude" exclude: Vec<Located<String>>,
        /// Links that a package's scripts would make: path to target.
        "links" links: BTreeMap<String, String>,
    }
}
