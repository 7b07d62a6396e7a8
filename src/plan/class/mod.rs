//! Build classes: a recipe in, the shell script of its build task out. One class, one file.
//!
//! A script runs in the input root: the source tree is `src`, the headers and libraries of what the
//! recipe builds on are `sysroot`, patches are `recipe/*.patch`; it installs below `$DESTDIR`.
//! Invariant: a script is a pure function of the recipe and the architecture.

mod autotools;
mod cargo;
mod cmake;
pub mod editing;
pub mod kernel;
mod make;
mod meson;
mod prebuilt;
mod target;

use crate::model::machine::Architecture;
use crate::model::recipe::{BuildClass, Recipe};
use std::collections::BTreeMap;

/// What the build task runs.
pub struct BuildScript {
    pub env: BTreeMap<String, String>,
    pub lines: String,
}

/// The whole build script of `recipe`.
/// The processor that `recipe` is built for: `machine`'s, or that of the tools.
pub fn built_for(recipe: &Recipe, machine: Architecture) -> Architecture {
    target::Target::of(recipe, machine).architecture
}

pub fn script(recipe: &Recipe, architecture: Architecture) -> BuildScript {
    let target = target::Target::of(recipe, architecture);
    let body = match &recipe.class {
        BuildClass::Make { arguments, install } => make::lines(arguments, install),
        BuildClass::Autotools { configure, arguments, install } => {
            autotools::lines(&target, configure, arguments, install)
        }
        BuildClass::Cmake { options } => cmake::lines(&target, options),
        BuildClass::Meson { options } => meson::lines(&target, options),
        BuildClass::Cargo { binaries } => cargo::lines(&target, binaries),
        BuildClass::Kernel { kind, arguments, .. } => kernel::lines(*kind, target.architecture, arguments),
        BuildClass::Prebuilt { install } | BuildClass::Files { install } => prebuilt::lines(install),
    };
    let mut env = match &recipe.class {
        BuildClass::Kernel { kind, .. } => kernel::env(*kind, target.env()),
        _ => target.env(),
    };
    env.extend(recipe.env.clone());
    let mut lines = String::from("mkdir -p out\nexport DESTDIR=/work/out\ncd src\n");
    lines.push_str(target.select_libc());
    if !recipe.patches.is_empty() {
        lines.push_str("for patch in ../recipe/*.patch; do patch -p1 -i \"$patch\"; done\n");
    }
    if let Some(prepare) = &recipe.prepare {
        lines.push_str(prepare);
        lines.push('\n');
    }
    lines.push_str(&body);
    if let Some(finish) = &recipe.finish {
        lines.push_str("cd /work/src\n");
        lines.push_str(finish);
        lines.push('\n');
    }
    lines.push_str(&target.strip());
    lines.push_str(&refuse_setuid(recipe));
    BuildScript { env, lines }
}

/// Trees keep no setuid bit: one that no metadata declares would be lost in silence.
fn refuse_setuid(recipe: &Recipe) -> String {
    let metadata = recipe.packages.iter().flat_map(|package| &package.metadata);
    let declared = metadata.filter(|item| item.mode.is_some_and(|mode| mode & 0o6000 != 0));
    let excluded: String = declared.map(|item| format!(" ! -path {}", quote(&format!("./{}", item.path)))).collect();
    format!(
        "cd \"$DESTDIR\"\nsetuid=$(find . -type f -perm /6000{excluded})\n\
         [ -z \"$setuid\" ] || {{ echo \"setuid or setgid, but not in the metadata of a package of {name}: $setuid\" >&2; exit 1; }}\n",
        name = recipe.name
    )
}

/// `words` as shell words after a command. `$` stays live, so a recipe can say `$DESTDIR`.
fn words(words: &[String]) -> String {
    words.iter().map(|word| format!(" {}", quote(word))).collect()
}

fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=/.,:+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in word.chars() {
        if matches!(character, '"' | '\\' | '`') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
