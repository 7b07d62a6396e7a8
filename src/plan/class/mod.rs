//! Build classes: a recipe in, the shell script of its build task out. One class, one file.
//!
//! A script runs in the input root: the source tree is `src`, the headers and libraries of what the
//! recipe builds on are `sysroot`, patches are `recipe/*.patch`; it installs below `$DESTDIR`.
//! Invariant: a script is a pure function of the recipe, the architecture and how the machine keeps its kernel.

mod autotools;
mod cargo;
mod cmake;
pub mod editing;
pub mod kernel;
mod make;
mod meson;
mod prebuilt;
mod set_id;
mod stored_lz4;
mod target;

use crate::model::machine::{Architecture, KernelCompression};
use crate::model::recipe::{BuildClass, Recipe};
use std::collections::BTreeMap;

/// What the build task runs.
pub struct BuildScript {
    pub env: BTreeMap<String, String>,
    pub lines: String,
}

/// The processor that `recipe` is built for: `machine`'s, or that of the tools.
pub fn built_for(recipe: &Recipe, machine: Architecture) -> Architecture {
    target::Target::of(recipe, machine).architecture
}

/// The whole build script of `recipe`.
pub fn script(recipe: &Recipe, architecture: Architecture, compression: KernelCompression) -> BuildScript {
    let target = target::Target::of(recipe, architecture);
    let body = match &recipe.class {
        BuildClass::Make { arguments, install } => make::lines(arguments, install),
        BuildClass::Autotools { configure, arguments, install } => {
            autotools::lines(&target, configure, arguments, install)
        }
        BuildClass::Cmake { options } => cmake::lines(&target, options),
        BuildClass::Meson { options } => meson::lines(&target, options),
        BuildClass::Cargo { binaries } => cargo::lines(&target, binaries),
        BuildClass::Kernel { kind, arguments, .. } => kernel::lines(*kind, target.architecture, compression, arguments),
        BuildClass::Prebuilt { install } | BuildClass::Files { install } => prebuilt::lines(install),
    };
    let mut env = match &recipe.class {
        BuildClass::Kernel { kind, .. } => kernel::env(*kind, target.env()),
        _ => target.env(),
    };
    env.extend(recipe.env.clone());
    let mut lines = format!("mkdir -p out\n{}export DESTDIR=/work/out\ncd src\n", set_id::CLEAR_INHERITED);
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
    lines.push_str(&set_id::refuse(recipe));
    BuildScript { env, lines }
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
