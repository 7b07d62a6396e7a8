//! `osbuild app new`: a name and a language in, a folder that builds out.
//!
//! Invariant: nothing is overwritten: an app, a recipe or a folder of that name is an error.

use super::super::project::Project;
use super::super::report::Failure;
use crate::config;
use crate::io::file;
use osbuild_format::app::is_app_id;

#[derive(Clone, Debug, clap::Args)]
pub struct NewArgs {
    /// The app's id: a-z 0-9 -, starts with a letter
    pub name: String,
    /// What it is written in
    #[arg(long, value_enum)]
    pub lang: Language,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
    C,
}

/// Where, and what; `NAME` in it stands for the app's.
type Template = (&'static str, &'static str);

const RUST: [Template; 5] = [
    ("app.yaml", include_str!("template/app.yaml.in")),
    ("recipe.yaml", include_str!("template/recipe.rust.yaml.in")),
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("Cargo.lock", include_str!("template/Cargo.lock.in")),
    ("src/main.rs", include_str!("template/main.rs.in")),
];
const C: [Template; 4] = [
    ("app.yaml", include_str!("template/app.yaml.in")),
    ("recipe.yaml", include_str!("template/recipe.c.yaml.in")),
    ("Makefile", include_str!("template/Makefile.in")),
    ("main.c", include_str!("template/main.c.in")),
];

pub fn new(project: &Project, args: &NewArgs) -> Result<(), Failure> {
    let name = args.name.as_str();
    if !is_app_id(name) {
        return Err(Failure::new(format!("this is no id of an app: `{name}`"))
            .help("a-z 0-9 -, starts with a letter, does not end in `-`, at most 31"));
    }
    let folder = project.root.join("apps").join(name);
    let taken = |what: &str, help: &str| Err(Failure::new(what).help(help));
    if folder.exists() {
        return taken(&format!("`apps/{name}` is there already"), "choose another name: nothing is overwritten");
    }
    let config = config::load(&project.root, None)?;
    if config.apps.keys().any(|known| known.as_str() == name)
        || config.recipes.values().any(|recipe| {
            recipe.name.as_str() == name || recipe.packages.iter().any(|package| package.name.as_str() == name)
        })
    {
        return taken(
            &format!("an app, a recipe or a package is named `{name}` already"),
            "choose another name: the app, its recipe and its package are named alike",
        );
    }
    let files: &[Template] = match args.lang {
        Language::Rust => &RUST,
        Language::C => &C,
    };
    for (path, text) in files {
        let path = folder.join(path);
        file::create_dir_all(path.parent().unwrap_or(&folder))?;
        file::write_atomic(&path, text.replace("NAME", name).as_bytes(), 0o644)?;
    }
    println!("{}", folder.display());
    eprintln!("next:");
    for (command, what) in [
        (format!("osbuild app check {name}"), "what it may do".to_owned()),
        (format!("osbuild app build {name}"), "its file for the device".to_owned()),
        (format!("osbuild app run {name}"), "on the virtual board, with its log".to_owned()),
    ] {
        eprintln!("  {command:<32} {what}");
    }
    eprintln!("and `apps: {{{name}: {{}}}}` in a product ships it");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_name_the_app_only() {
        for (path, text) in RUST.iter().chain(&C) {
            assert!(text.contains("NAME") && !text.replace("NAME", "x").contains("{{"), "{path}");
        }
    }
}
