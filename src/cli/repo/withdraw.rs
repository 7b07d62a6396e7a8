//! `osbuild repo withdraw`: a version in, metadata that does not offer it out.
//!
//! Invariant: files go only where it was asked for, after the metadata.

use super::super::project::Project;
use super::super::report::Failure;
use super::super::signing::SigningArgs;
use super::publish::{is_meant, unknown};
use super::{Hands, TrustArgs};
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct WithdrawArgs {
    /// The repository
    folder: PathBuf,
    /// `PRODUCT-VERSION` whose payloads it is about, or the name of a target
    version: String,
    /// Remove also the payloads' files that no metadata names any more
    #[arg(long)]
    remove_files: bool,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn withdraw(project: &Project, args: &WithdrawArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let repository = hands.open(&args.folder, &args.trust, None)?;
    let targets = &repository.targets.signed.targets;
    let meant = targets.iter().filter(|(name, target)| is_meant(name, target, &args.version));
    let names: Vec<String> = meant.map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        return Err(unknown(&args.version, &repository.targets.signed));
    }
    let files =
        repository.withdraw(&names, &hands.keyring, hands.now).map_err(|error| hands.explain(error, &args.signing))?;
    if args.remove_files {
        repository.remove_files(&files)?;
    }
    names.iter().for_each(|name| println!("{name}: withdrawn"));
    eprintln!("devices do not find it any more; those that installed it keep it until there is a higher version");
    Ok(())
}
