//! `layer.yaml`: the name of a layer and its rank.
//!
//! Invariant: field names here are those of the file.

use super::scalar::Schema;
use crate::config::record::record;
use crate::model::Located;

record! {
    /// A folder of configuration: machines, products, tool trees, recipes and overrides.
    ///
    /// A layer stands in `layers/NAME/layer.yaml`. Where two layers define the same thing, that of the higher
    /// priority counts; overrides are applied from the lowest priority to the highest.
    pub struct LayerFile as "layer" {
        /// Version of this format: 1.
        "schema" schema: Schema,
        /// Name of the layer, the same as its folder's.
        "layer" layer: Located<String>,
        /// Rank among the layers.
        "priority" priority: u32,
        /// What the layer is for.
        "summary" summary: Option<String>,
        /// Layers that this one builds on, each of lower priority.
        "depends" depends: Vec<Located<String>>,
        /// Suites of Debian's archive that tool packages come from: the first, unless a package names another
        /// (`NAME/SUITE`). Those of the layer with the highest priority that names any count; `bookworm` and
        /// `bookworm-backports` unless told. Suites that no longer move keep a lock fetchable.
        "suites" suites: Vec<Located<String>>,
    }
}
