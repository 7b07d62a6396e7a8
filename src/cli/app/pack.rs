//! `osbuild app pack`: a folder of files that were built elsewhere and a manifest in, an app's file out.
//!
//! Invariant: the files go through the same checks and the same tasks as those of an app that is built here; the project
//! itself is not changed.

use super::super::project::Project;
use super::super::report::Failure;
use super::super::session::{BuildArgs, Session, LOCK_FILE};
use super::build;
use crate::config;
use crate::config::yaml::{self, Node};
use crate::io::file::{self, at};
use osbuild_format::app::is_app_id;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What of a project decides how an app is made.
const FOLDERS: [&str; 5] = ["layers", "recipes", "kernel-config", "rootfs", "crates"];

#[derive(Clone, Debug, clap::Args)]
pub struct PackArgs {
    /// A folder laid out as it is to lie in the app, such as with `usr/bin/NAME`
    pub folder: PathBuf,
    /// The app's app.yaml; packages that it names come from the project
    #[arg(long, value_name = "FILE")]
    pub manifest: PathBuf,
    /// Where its file is written; `out/apps/NAME.app` unless told
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// For this product's machine; the default product unless told
    #[arg(long)]
    pub product: Option<String>,
    #[command(flatten)]
    pub build: BuildArgs,
}

pub fn pack(project: Project, args: &PackArgs) -> Result<(), Failure> {
    let text = file::read_text(&args.manifest)?;
    let manifest = yaml::parse(&text, &args.manifest.display().to_string().into(), yaml::Limits::FILE)
        .map_err(|problems| Failure::from(config::explain(Path::new(""), problems)))?;
    let name = manifest.get("app").and_then(Node::text).filter(|name| is_app_id(name)).ok_or_else(|| {
        Failure::new(format!("`{}` does not say which app it is", args.manifest.display())).help("add `app: NAME`")
    })?;
    if manifest.get("skeletons").is_some() {
        return Err(Failure::new(format!("`{}` names skeletons", args.manifest.display()))
            .help("leave them out: the folder that is packed takes their place"));
    }
    if !args.folder.is_dir() {
        return Err(Failure::new(format!("there is no folder `{}`", args.folder.display())));
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => build::place(&project, name)?,
    };
    let beside = project.out("app")?;
    let scratch = tempfile::Builder::new().prefix("pack-").tempdir_in(&beside);
    let scratch = scratch.map_err(at("create a folder in", &beside))?;
    let own = around(&project, scratch.path(), name, &text, &args.folder)?;
    let session = Session::open(own, args.product.as_deref(), &BTreeMap::new(), &args.build)?;
    let built = build::file(&session, name, &out)?;
    build::sign(&project, built)?.told(&project);
    Ok(())
}

/// A project in `scratch` that is `project` with this one app.
fn around(project: &Project, scratch: &Path, name: &str, manifest: &str, files: &Path) -> Result<Project, Failure> {
    // Copied rather than linked: a link is taken for what it is when a task's inputs are read.
    for part in FOLDERS.iter().filter(|part| project.root.join(part).is_dir()) {
        file::copy_tree(&project.root.join(part), &scratch.join(part))?;
    }
    let lock = project.root.join(LOCK_FILE).canonicalize().map_err(at("find", &project.root.join(LOCK_FILE)))?;
    file::link_atomic(&scratch.join(LOCK_FILE), &lock)?;
    // The other apps are those that products name; what was built beside them is large.
    let (apps, others) = (scratch.join("apps"), project.root.join("apps"));
    file::create_dir_all(&apps)?;
    for other in file::list(&others)?.iter().filter(|other| *other != name) {
        let from = others.join(other);
        file::link_atomic(&apps.join(other), &from.canonicalize().map_err(at("find", &from))?)?;
    }
    let app = apps.join(name);
    file::create_dir_all(&app)?;
    file::copy_tree(files, &app.join("files"))?;
    let manifest = format!("{}\nskeletons: [apps/{name}/files]\n", manifest.trim_end());
    file::write_atomic(&app.join("app.yaml"), manifest.as_bytes(), 0o644)?;
    Ok(Project { root: scratch.to_owned(), cache: project.cache.clone() })
}
