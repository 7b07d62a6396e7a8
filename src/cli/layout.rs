//! `osbuild image --previous` and `--layout`: the release before, or a manifest, in; a plan whose root lies accordingly out.
//!
//! Invariant: what a layout says can make an image fail or its updates larger, and nothing else: its content is the plan's.

use super::image::IMAGE_FOLDER;
use super::keys;
use super::report::Failure;
use super::session::Session;
use crate::image::erofs::Layout;
use crate::io::file;
use crate::io::store::Node;
use crate::plan::goals;
use crate::release::image::MANIFEST;
use crate::release::keys::PublicKeys;
use crate::release::manifest::{Predicate, Statement, PAYLOAD_TYPE};
use crate::update::layout::{self, Choice};
use crate::update::release::ReleaseImages;
use osbuild_format::dsse;
use std::path::{Path, PathBuf};

/// A root is held in memory, and the generator's numbers have 32 bits.
const LIMIT_ROOT_BYTES: u64 = u32::MAX as u64;

#[derive(Clone, Debug, clap::Args)]
pub struct LayoutArgs {
    /// The image folder of the release before: files stay where they are in it, where that makes updates smaller
    #[arg(long, value_name = "FOLDER", conflicts_with = "layout")]
    pub previous: Option<PathBuf>,
    /// An image folder, or its manifest, that is built again: files lie where it says
    #[arg(long, value_name = "FOLDER|MANIFEST")]
    pub layout: Option<PathBuf>,
}

/// Plans once more, where the arguments want it.
pub fn apply(session: Session, args: &LayoutArgs) -> Result<Session, Failure> {
    match (&args.previous, &args.layout) {
        (Some(folder), _) => follow(session, folder),
        (None, Some(path)) => repeat(session, path),
        (None, None) => Ok(session),
    }
}

/// A manifest of another state of the project names files that are not there, or not as large.
pub fn explain(failure: Failure, args: &LayoutArgs) -> Failure {
    match &args.layout {
        Some(path) if failure.help.is_none() && failure.message.contains("task `image:place` failed") => {
            failure.help(format!("build what `{}` was made from: the project as it was then", path.display()))
        }
        _ => failure,
    }
}

fn follow(session: Session, folder: &Path) -> Result<Session, Failure> {
    if !folder.is_dir() {
        return Err(Failure::new(format!("there is no image folder `{}`", folder.display())).help(IMAGE_FOLDER));
    }
    let key_folder = keys::present(&session.project)?;
    let public = PublicKeys::load(&key_folder).map_err(|error| keys::key_failure(error, &key_folder))?;
    let previous = ReleaseImages::of_folder(folder, &public).map_err(|error| {
        let cause = Failure::from(error).message;
        Failure::new(format!("`{}` cannot be followed\n  because: {cause}", folder.display())).help(format!(
            "the release before must be whole and signed with the keys in `{}`; {IMAGE_FOLDER}",
            key_folder.display()
        ))
    })?;
    must_match(&session, folder, &previous.product, &previous.machine)?;
    let goal = session.goal(goals::ROOT)?.clone();
    let outcome = session.run(std::slice::from_ref(&goal))?;
    let Node::File { digest, .. } = outcome.output(&session.store, &session.plan, &goal)? else {
        return Err(Failure::new(format!("`{}` is not a file", goals::ROOT)));
    };
    let root = session.store.read(&digest, LIMIT_ROOT_BYTES)?;
    let (title, mkfs) = (previous.title(), "files lie where `mkfs.erofs` puts them");
    match session.guard(|| layout::choose(&previous.root, &root))? {
        Choice::Stay { layout, bytes, own_bytes } => {
            eprintln!(
                "files stay where {title} has them: a delta of the root has {bytes} bytes instead of {own_bytes}"
            );
            with(session, &layout)
        }
        Choice::Own { bytes, own_bytes } => {
            eprintln!("{mkfs}: to stay where {title} has them makes a delta of {bytes} bytes, not {own_bytes}");
            Ok(session)
        }
        Choice::Same => {
            eprintln!("{mkfs}, which is where {title} has them");
            Ok(session)
        }
        Choice::Unmovable(error) => {
            eprintln!("{mkfs}: they cannot stay where {title} has them\n  because: {}", Failure::from(error).message);
            Ok(session)
        }
    }
}

/// As a manifest says, whoever signed it: what comes out is compared with it, or is not.
fn repeat(session: Session, path: &Path) -> Result<Session, Failure> {
    let manifest = if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() };
    let unreadable = |failure: Failure| {
        Failure::new(format!("`{}` is no manifest of an image\n  because: {}", manifest.display(), failure.message))
            .help(format!("`--layout` takes an image folder or its `{MANIFEST}`; {IMAGE_FOLDER}"))
    };
    let predicate = read(&manifest).map_err(unreadable)?;
    must_match(&session, path, &predicate.product, &predicate.machine)?;
    match predicate.layout {
        Some(layout) => with(session, &layout),
        None => Ok(session),
    }
}

fn read(manifest: &Path) -> Result<Predicate, Failure> {
    let envelope = file::read(manifest, dsse::LIMIT_BYTES as u64)?;
    Ok(Statement::parse(&dsse::read_vouched(&envelope, PAYLOAD_TYPE)?)?.predicate)
}

fn must_match(session: &Session, path: &Path, product: &str, machine: &str) -> Result<(), Failure> {
    let own = (session.config.product.name.as_str(), session.config.machine.name.as_str());
    if own == (product, machine) {
        return Ok(());
    }
    let message = format!(
        "`{}` is of `{product}` for machine `{machine}`, and what is built is `{}` for `{}`",
        path.display(),
        own.0,
        own.1
    );
    Err(Failure::new(message).help(format!("name an image of `{}`, or build `{product}`", own.0)))
}

fn with(session: Session, layout: &Layout) -> Result<Session, Failure> {
    let digest = session.store.put_bytes(&layout.to_json())?;
    session.with_layout(digest)
}
