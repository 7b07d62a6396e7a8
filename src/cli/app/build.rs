//! `osbuild app build`: an app's task run, and its file in `out/apps/`, signed.
//!
//! Invariant: the file appears when it is whole; what is signed is what the task left.

use super::super::keys;
use super::super::project::Project;
use super::super::report::Failure;
use super::super::session::{BuildArgs, Session};
use crate::io::file::{self, at};
use crate::io::store::Node;
use crate::plan::app;
use crate::release::app::AppFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, clap::Args)]
pub struct BuildAppArgs {
    /// The app
    pub name: String,
    /// As this product configures it; the default product unless told
    #[arg(long)]
    pub product: Option<String>,
    /// Where its file is written; `out/apps/NAME.app` unless told
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub build: BuildArgs,
}

/// An app's file, and whether it is signed.
pub struct Built {
    pub path: PathBuf,
    pub is_signed: bool,
}

impl Built {
    /// Says where it is, and that it needs a signature still.
    pub fn told(&self, project: &Project) {
        if !self.is_signed {
            eprintln!("not signed: `{}` has no key `app`; `osbuild app sign` signs it", project.keys().display());
        }
        println!("{}", self.path.display());
    }
}

pub fn build(project: Project, args: &BuildAppArgs) -> Result<(), Failure> {
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &args.build)?;
    let out = match &args.out {
        Some(path) => path.clone(),
        None => place(&session.project, &args.name)?,
    };
    run(&session, &args.name, &out)?.told(&session.project);
    Ok(())
}

/// `out/apps/NAME.app`.
pub fn place(project: &Project, name: &str) -> Result<PathBuf, Failure> {
    Ok(project.out("apps")?.join(format!("{name}.app")))
}

/// Runs the app's tasks and writes its file to `out`, signed where the project has the key.
pub fn run(session: &Session, name: &str, out: &Path) -> Result<Built, Failure> {
    sign(&session.project, file(session, name, out)?)
}

/// Runs the app's tasks and writes what they leave to `out`.
pub fn file(session: &Session, name: &str, out: &Path) -> Result<Built, Failure> {
    super::find(&session.config, name)?;
    let goal = session.goal(&app::goal(name))?.clone();
    let outcome = session.run(std::slice::from_ref(&goal))?;
    let Node::File { digest, .. } = outcome.output(&session.store, &session.plan, &goal)? else {
        return Err(Failure::new(format!("the file of app `{name}` is not a file")));
    };
    let mut blob = session.store.open_blob(&digest)?;
    let mut pending = file::Pending::create(out, 0o644)?;
    std::io::copy(&mut blob, pending.file()).map_err(at("write", out))?;
    pending.commit()?;
    Ok(Built { path: out.to_owned(), is_signed: false })
}

pub fn sign(project: &Project, built: Built) -> Result<Built, Failure> {
    let Some(key) = keys::app_signer(project)? else { return Ok(built) };
    AppFile::open(&built.path)?.write_signed(&built.path, &key)?;
    Ok(Built { is_signed: true, ..built })
}
