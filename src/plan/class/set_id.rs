//! A recipe in, shell lines that refuse what it installs with a set-id bit and does not declare out.
//!
//! Trees keep no such bit: one that no metadata decides on would be lost in silence.
//! Invariant: a path whose mode the metadata of a package says is never refused.

use super::quote;
use crate::model::recipe::Recipe;

/// Keeps a cache in a folder that hands its group on from looking like set-id folders of the recipe.
pub(super) const CLEAR_INHERITED: &str = "[ ! -g out ] || chmod g-s out\n";

pub(super) fn refuse(recipe: &Recipe) -> String {
    let metadata = recipe.packages.iter().flat_map(|package| &package.metadata);
    let declared = metadata.filter(|item| item.mode.is_some());
    let excluded: String = declared.map(|item| format!(" ! -path {}", quote(&format!("./{}", item.path)))).collect();
    format!(
        "cd \"$DESTDIR\"\nsetuid=$(find . ! -type l -perm /6000{excluded})\n\
         [ -z \"$setuid\" ] || {{ echo \"setuid or setgid, but not in the metadata of a package of {name}: $setuid\" >&2; exit 1; }}\n",
        name = recipe.name
    )
}
