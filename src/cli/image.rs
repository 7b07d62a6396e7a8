//! `osbuild image`, `osbuild keys` and `osbuild verify`: from a plan to a signed image folder, and its check.
//!
//! Invariant: keys are read, or made and loudly announced, only after every task has run.

use super::project::{self, Project};
use super::report::Failure;
use super::session::{BuildArgs, Session};
use crate::io::store::Node;
use crate::model::Digest;
use crate::plan::goals;
use crate::release::image::{self, Parts, Release, ReleaseError, ReleaseInputs};
use crate::release::keys::{self, KeyError, Keys, PublicKeys, Purpose};
use crate::release::verify;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Clone, Debug, clap::Args)]
pub struct ImageArgs {
    /// The product to build; the default product unless told
    pub product: Option<String>,
    #[command(flatten)]
    pub build: BuildArgs,
}

pub fn image(project: Project, args: &ImageArgs) -> Result<(), Failure> {
    let start = Instant::now();
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &args.build)?;
    let release = build(&session)?;
    let latest = release.folder.with_file_name(image::LATEST).join(crate::disk::DISK_IMAGE);
    let what = if release.was_there { "up to date" } else { "built" };
    let took = super::progress::seconds(start.elapsed());
    eprintln!("{}: {what} in {took}", session.config.product.name);
    println!("{}", shortest(&latest).display());
    Ok(())
}

/// Relative to the present folder, when it lies below it.
fn shortest(path: &Path) -> PathBuf {
    let present = std::env::current_dir().ok();
    present.and_then(|folder| path.strip_prefix(folder).ok().map(Path::to_owned)).unwrap_or_else(|| path.to_owned())
}

/// Runs the plan's image goals and writes the release.
pub fn build(session: &Session) -> Result<Release, Failure> {
    let wanted: Vec<_> = goals::ALL.iter().map(|name| session.goal(name).cloned()).collect::<Result<_, _>>()?;
    let outcome = session.run(&wanted)?;
    let mut digests = BTreeMap::new();
    let mut actions = BTreeMap::new();
    for (name, goal) in goals::ALL.iter().zip(&wanted) {
        let Node::File { digest, .. } = outcome.output(&session.store, &session.plan, goal)? else {
            return Err(Failure::new(format!("`{name}` is not a file")));
        };
        digests.insert(*name, digest);
        actions.extend(outcome.action(goal.task.0).map(|action| ((*name).to_owned(), action.to_string())));
    }
    let part = |name: &str| -> Digest { digests[name] };
    let parts = Parts {
        root: part(goals::ROOT),
        verity: part(goals::VERITY),
        root_hash: part(goals::ROOT_HASH),
        uki: part(goals::UKI),
        data: part(goals::DATA),
        packages: part(goals::PACKAGES),
        kernel_config: part(goals::KERNEL_CONFIG),
    };
    let sources = session.plan.fetches.iter().map(|(digest, fetch)| (digest.hex(), fetch.name.clone())).collect();
    let product = &session.config.product;
    let keys = keys_for(&session.project)?;
    let folder = session.project.out("images")?.join(product.name.as_str());
    let inputs = ReleaseInputs {
        store: &session.store,
        product: product.name.as_str(),
        version: &product.version,
        machine: &session.config.machine,
        parts,
        sources,
        actions,
        keys: &keys,
        folder: &folder,
    };
    image::write(&inputs).map_err(|error| match &error {
        ReleaseError::Overflow { .. } => Failure::from(error).help(format!(
            "raise its size under `partitions` of machine `{}`, or leave packages out of the product",
            session.config.machine.name
        )),
        _ => error.into(),
    })
}

/// The project's keys; without any, development keys are made.
pub fn keys_for(project: &Project) -> Result<Keys, Failure> {
    let folder = project.keys();
    if !folder.exists() {
        if project::chosen_keys().is_some() {
            // Whoever names a folder means the keys in it, and not some that nobody knows.
            let message = format!("there are no keys in `{}`, which OSBUILD_KEYS names", folder.display());
            return Err(Failure::new(message).help(format!("`osbuild keys init {}` makes them", folder.display())));
        }
        match keys::create(&folder, Purpose::Development) {
            // Another process may have been faster.
            Ok(()) | Err(KeyError::Exists(_)) => {}
            Err(error) => return Err(key_failure(error, &folder)),
        }
        eprintln!("DEVELOPMENT KEYS made in `{}`: images signed with them are for your bench only.", folder.display());
        eprintln!("For devices in the field: `osbuild keys init FOLDER`, then set OSBUILD_KEYS to that folder.");
    }
    Keys::load(&folder).map_err(|error| key_failure(error, &folder))
}

fn key_failure(error: KeyError, folder: &Path) -> Failure {
    let help = match &error {
        KeyError::File(_) | KeyError::Invalid { .. } => Some(format!(
            "the keys in `{}` are not whole: put the right file back, or move the folder away to make new ones",
            folder.display()
        )),
        KeyError::TooOpen { path, .. } => Some(format!("run `chmod 600 {}`, if nobody has read it", path.display())),
        KeyError::Mismatch(_) => Some("put back the file that was made together with the key".to_owned()),
        KeyError::Exists(_) => Some("choose another folder: keys are never overwritten".to_owned()),
        _ => None,
    };
    Failure { help, ..Failure::from(error) }
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum KeysCommand {
    /// Make keys for images that are shipped: PK, KEK and db for Secure Boot, and the release key
    Init {
        /// A folder that does not exist yet; OSBUILD_KEYS or `keys/` of the project unless told
        folder: Option<PathBuf>,
    },
}

pub fn keys(project: Project, command: &KeysCommand) -> Result<(), Failure> {
    let KeysCommand::Init { folder } = command;
    let folder = folder.clone().unwrap_or_else(|| project.keys());
    keys::create(&folder, Purpose::Production).map_err(|error| key_failure(error, &folder))?;
    println!("{}", folder.display());
    eprintln!("keep the `.key` files offline and backed up: whoever has them can sign for your devices");
    Ok(())
}

#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// An image folder, or a disk image or device
    pub image: PathBuf,
    /// Folder with the public keys `PK.crt KEK.crt db.crt release.pub`
    #[arg(long, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
}

pub fn verify(project: Result<Project, Failure>, args: &VerifyArgs) -> Result<(), Failure> {
    let folder = match &args.keys {
        Some(folder) => folder.clone(),
        None => project?.keys(),
    };
    let public = PublicKeys::load(&folder).map_err(|error| {
        Failure::from(error).help("`--keys FOLDER` names the folder with PK.crt, KEK.crt, db.crt and release.pub")
    })?;
    let report = match args.image.is_dir() {
        true => verify::folder(&args.image, &public)?,
        false => verify::disk(&args.image, &public)?.0,
    };
    report.lines.iter().for_each(|line| println!("ok  {line}"));
    Ok(())
}
