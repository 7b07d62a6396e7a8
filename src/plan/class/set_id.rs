//! A recipe in, shell lines that refuse what it installs with a set-id bit and does not declare out.
//!
//! Trees keep no such bit: one that no metadata decides on would be lost in silence.
//! Invariant: a path whose mode the metadata of a package says is never refused.

use super::quote;
use crate::model::recipe::{BuildClass, KconfigKind, Recipe};

/// Keeps a cache in a folder that hands its group on from looking like set-id folders of the recipe.
pub(super) fn clear_inherited(recipe: &Recipe) -> &'static str {
    match is_linux(recipe) {
        true => "",
        false => "[ ! -g out ] || chmod g-s out\n",
    }
}

pub(super) fn refuse(recipe: &Recipe) -> String {
    let metadata = recipe.packages.iter().flat_map(|package| &package.metadata);
    let declared = metadata.filter(|item| item.mode.is_some());
    let excluded: String = declared.map(|item| format!(" ! -path {}", quote(&format!("./{}", item.path)))).collect();
    // Linux installs three files and no folder of its own; its lines stay, so that it is not compiled anew.
    let kind = if is_linux(recipe) { "-type f" } else { "! -type l" };
    format!(
        "cd \"$DESTDIR\"\nsetuid=$(find . {kind} -perm /6000{excluded})\n\
         [ -z \"$setuid\" ] || {{ echo \"setuid or setgid, but not in the metadata of a package of {name}: $setuid\" >&2; exit 1; }}\n",
        name = recipe.name
    )
}

fn is_linux(recipe: &Recipe) -> bool {
    matches!(recipe.class, BuildClass::Kernel { kind: KconfigKind::Linux, .. })
}
