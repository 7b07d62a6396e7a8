//! Files with a set-id bit, in the project or in archives, and what metadata says of them in; problems out.
//!
//! Trees keep no such bit, so it reaches the device by metadata only. Invariant: whoever installs such a file as it is
//! has said its mode, or is told.

use super::builder::PlanBuilder;
use crate::model::recipe::{BuildClass, FileMetadata, InstallFile, Recipe, Source};
use crate::model::{AppName, Located, Origin, RelPath};
use serde_json::{json, Value};

/// The ending of a skeleton's templates, which the rendered file does not have.
const TEMPLATE: &str = ".tera";

/// What the step `source` compares an archive's modes with; none for a recipe that does not install them as they are.
pub(super) fn installs(builder: &PlanBuilder, recipe: &Recipe) -> Option<Value> {
    let install = installed_as_they_are(recipe)?;
    let files: Vec<Value> = install
        .iter()
        .map(|file| json!({ "from": file.from.as_ref().map(RelPath::as_str), "to": file.to.as_str() }))
        .collect();
    let product = builder.config.product.metadata.iter().filter(|item| install.iter().any(|file| covers(file, item)));
    let own = recipe.packages.iter().flat_map(|package| &package.metadata);
    let declared: Vec<&str> = with_mode(own.chain(product)).map(RelPath::in_merged_usr).collect();
    Some(json!({ "files": files, "declared": declared }))
}

fn installed_as_they_are(recipe: &Recipe) -> Option<&[InstallFile]> {
    match &recipe.class {
        BuildClass::Prebuilt { install } | BuildClass::Files { install } => Some(install),
        _ => None,
    }
}

fn covers(file: &InstallFile, item: &FileMetadata) -> bool {
    let below = item.path.in_merged_usr().strip_prefix(file.to.in_merged_usr());
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn with_mode<'a>(metadata: impl Iterator<Item = &'a FileMetadata>) -> impl Iterator<Item = &'a RelPath> {
    metadata.filter(|item| item.mode.is_some()).map(|item| &item.path)
}

/// Reports files of the project source `path` that are installed as they are.
pub(super) fn check_source(builder: &mut PlanBuilder, recipe: &Recipe, source: &Source, path: &RelPath) {
    let Some(install) = installed_as_they_are(recipe) else { return };
    for (file, mode) in set_id_below(builder, path) {
        // A file lies in the source tree by its name, a folder by its content.
        let name = file.as_str().strip_prefix(&format!("{path}/")).unwrap_or(path.file_name());
        let Ok(name) = RelPath::new(name) else { continue };
        let in_tree = source.into.as_ref().map_or_else(|| name.clone(), |folder| folder.join(&name));
        for installed in install.iter().filter_map(|install| install.installed(&in_tree)) {
            check(builder, &file, mode, &installed, &source.origin);
        }
    }
}

/// Reports files of a skeleton.
pub(super) fn check_skeleton(builder: &mut PlanBuilder, skeleton: &Located<RelPath>) {
    for (file, mode) in set_id_below(builder, &skeleton.value) {
        let below = file.as_str().strip_prefix(&format!("{}/", skeleton.value)).unwrap_or_default();
        if let Ok(installed) = RelPath::new(below.strip_suffix(TEMPLATE).unwrap_or(below)) {
            check(builder, &file, mode, &installed, &skeleton.origin);
        }
    }
}

/// Reports files of an app's skeleton: nothing that an app holds may give it another user's rights.
pub(super) fn check_app_skeleton(builder: &mut PlanBuilder, app: &AppName, skeleton: &Located<RelPath>) {
    for (file, mode) in set_id_below(builder, &skeleton.value) {
        let message = format!("app `{app}` must not have a file that sets an id: `{file}` has mode {mode:04o}");
        builder.problem(&skeleton.origin, message, Some(format!("clear the bit: `chmod u-s,g-s {file}`")));
    }
}

fn set_id_below(builder: &PlanBuilder, folder: &RelPath) -> Vec<(RelPath, u32)> {
    let below = |path: &RelPath| {
        path.as_str().strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    builder.local.set_id.iter().filter(|(path, _)| below(path)).map(|(path, mode)| (path.clone(), *mode)).collect()
}

fn check(builder: &mut PlanBuilder, file: &RelPath, mode: u32, installed: &RelPath, origin: &Origin) {
    let packages = builder.config.recipes.values().flat_map(|recipe| &recipe.packages);
    let metadata = packages.flat_map(|package| &package.metadata).chain(&builder.config.product.metadata);
    if with_mode(metadata).any(|path| path.in_merged_usr() == installed.in_merged_usr()) {
        return;
    }
    let message = format!("`{file}` has mode {mode:04o}, but no metadata says the mode of `/{installed}`");
    let help = format!(
        "add `{{path: /{installed}, mode: \"{mode:04o}\"}}` to `metadata`, or clear the bit: `chmod u-s,g-s {file}`"
    );
    builder.problem(origin, message, Some(help));
}
