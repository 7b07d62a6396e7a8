//! `osbuild image`: from a plan to a signed image folder.
//!
//! Invariant: keys are read, or made and loudly announced, only after every task has run.

use super::keys;
use super::layout::{self, LayoutArgs};
use super::project::Project;
use super::report::Failure;
use super::session::{BuildArgs, Session};
use super::signing::SigningArgs;
use crate::disk::DiskError;
use crate::exec::Outcome;
use crate::io::store::{Node, StoreError};
use crate::model::Digest;
use crate::plan::goals;
use crate::plan::task::{Input, Plan};
use crate::release::image::{self, Parts, Release, ReleaseError, ReleaseInputs};
use crate::release::signer::Exchange;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// For whoever named another folder.
pub const IMAGE_FOLDER: &str = "an image folder is `out/images/PRODUCT/latest`, made by `osbuild image PRODUCT`";

#[derive(Clone, Debug, clap::Args)]
pub struct ImageArgs {
    /// The product to build; the default product unless told
    pub product: Option<String>,
    #[command(flatten)]
    pub build: BuildArgs,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[command(flatten)]
    pub signing: SigningArgs,
}

pub fn image(project: Project, args: &ImageArgs) -> Result<(), Failure> {
    let start = Instant::now();
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &args.build)?;
    let exchange = args.signing.exchange()?;
    let session = layout::apply(session, &args.layout)?;
    let written = run_and_heal(&session, &folder(&session)?, &exchange)
        .map_err(|failure| layout::explain(failure, &args.layout))?;
    let release = written.map_err(|error| match error.is_wanted() {
        true => {
            args.signing.wanted(&exchange, "an image takes two rounds: the UKI, then the manifest, which covers it")
        }
        false => explain(error, session.config.machine.name.as_str()),
    })?;
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

/// Where the product's releases lie.
pub fn folder(session: &Session) -> Result<PathBuf, Failure> {
    Ok(session.project.out("images")?.join(session.config.product.name.as_str()))
}

/// Runs the plan's image goals and writes the release into `folder`.
pub fn build(session: &Session, folder: &Path) -> Result<Release, Failure> {
    let result = run_and_heal(session, folder, &Exchange::closed())?;
    result.map_err(|error| explain(error, session.config.machine.name.as_str()))
}

fn run_and_heal(
    session: &Session,
    folder: &Path,
    exchange: &Exchange,
) -> Result<Result<Release, ReleaseError>, Failure> {
    let result = run_and_write(session, folder, exchange)?;
    if let Err(ReleaseError::Store(StoreError::Damaged(_) | StoreError::Missing(_))) = result {
        // What was damaged has been removed from the cache: now its task runs.
        return run_and_write(session, folder, exchange);
    }
    Ok(result)
}

fn explain(error: ReleaseError, machine: &str) -> Failure {
    let help = match &error {
        ReleaseError::Overflow { .. } => {
            format!("raise its size under `partitions` of machine `{machine}`, or leave packages out of the product")
        }
        ReleaseError::Disk(DiskError::Damaged { .. }) => {
            "it was whole when it was written a moment ago: unless something else writes there, this machine's disk or \
             memory is failing; run the command again"
                .to_owned()
        }
        _ => return error.into(),
    };
    Failure::from(error).help(help)
}

fn run_and_write(
    session: &Session,
    folder: &Path,
    exchange: &Exchange,
) -> Result<Result<Release, ReleaseError>, Failure> {
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
    let sources = sources(&session.plan, &outcome);
    let product = &session.config.product;
    let keys = keys::for_product(&session.project, product, exchange)?;
    let inputs = ReleaseInputs {
        store: &session.store,
        product: product.name.as_str(),
        version: &product.version,
        security_epoch: product.security_epoch,
        production: product.production,
        machine: &session.config.machine,
        parts,
        sources,
        actions,
        keys: &keys,
        layout: session.layout()?,
        folder,
    };
    Ok(image::write(&inputs))
}

/// What was fetched for the tasks that took part, and not what other products or the virtual board need.
fn sources(plan: &Plan, outcome: &Outcome) -> BTreeMap<String, String> {
    let took_part = (0..plan.tasks.len()).filter(|index| outcome.action(*index).is_some());
    let inputs = took_part.flat_map(|index| &plan.tasks[index].inputs);
    let fetched = inputs.filter_map(|input| match &input.source {
        Input::File { digest, .. } => plan.fetches.get(digest).map(|fetch| (digest.hex(), fetch.name.clone())),
        Input::Tree(_) | Input::Output(_) => None,
    });
    fetched.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_changed_after_it_was_written_is_no_riddle() {
        let damaged = DiskError::Damaged { path: "out/root.erofs".into(), digest: Digest::of(b"") };
        let failure = explain(ReleaseError::Disk(damaged), "board");
        assert!(failure.message.contains("`out/root.erofs` is not what its digest says"), "{failure}");
        assert!(failure.help.is_some_and(|help| help.contains("disk or memory is failing; run the command again")));
    }
}
