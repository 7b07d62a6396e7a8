//! `osbuild repo publish|rollout|refresh`: payloads or a share of devices in, new metadata out.
//!
//! Invariant: files of targets are whole at their place before any metadata names them.

use super::super::project::Project;
use super::super::report::Failure;
use super::super::signing::SigningArgs;
use super::{explain, Hands};
use crate::release::keys::PublicKeys;
use crate::update::repository::target::custom_of;
use crate::update::repository::Repository;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    /// The repository
    folder: PathBuf,
    /// Files of payloads, signed by the release key
    #[arg(long = "payload", value_name = "FILE", required = true)]
    payloads: Vec<PathBuf>,
    /// Share of the devices that may take them
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    rollout: u8,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn publish(project: &Project, args: &PublishArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let release = PublicKeys::load(&hands.folder)?.release;
    let repository = Repository::open(&args.folder).map_err(explain)?;
    let mut targets = repository.targets.signed.clone();
    let mut names = Vec::new();
    for payload in &args.payloads {
        let (name, target) = repository.place(payload, &release, args.rollout)?;
        names.push(name.clone());
        targets.targets.insert(name, target);
    }
    repository
        .replace_targets(targets, &hands.keyring, hands.now)
        .map_err(|error| hands.explain(error, &args.signing))?;
    names.iter().for_each(|name| println!("{name}"));
    Ok(())
}

#[derive(Clone, Debug, clap::Args)]
pub struct RolloutArgs {
    /// The repository
    folder: PathBuf,
    /// `PRODUCT-VERSION` whose payloads it is about, or the name of a target
    version: String,
    /// Share of the devices that may take them
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn rollout(project: &Project, args: &RolloutArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let repository = Repository::open(&args.folder).map_err(explain)?;
    let mut targets = repository.targets.signed.clone();
    let mut changed = Vec::new();
    for (name, target) in &mut targets.targets {
        let Ok(mut custom) = custom_of(target) else { continue };
        if *name == args.version || format!("{}-{}", custom.product, custom.version) == args.version {
            custom.rollout_percent = args.percent;
            target.custom = Some(serde_json::to_value(custom)?);
            changed.push(name.clone());
        }
    }
    if changed.is_empty() {
        let known: Vec<&str> = targets.targets.keys().map(String::as_str).collect();
        return Err(Failure::new(format!("there is no target of `{}`", args.version))
            .help(format!("there are: {}", known.join(", "))));
    }
    repository
        .replace_targets(targets, &hands.keyring, hands.now)
        .map_err(|error| hands.explain(error, &args.signing))?;
    changed.iter().for_each(|name| println!("{name}: {} %", args.percent));
    Ok(())
}

#[derive(Clone, Debug, clap::Args)]
pub struct RefreshArgs {
    /// The repository
    folder: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn refresh(project: &Project, args: &RefreshArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let repository = Repository::open(&args.folder).map_err(explain)?;
    repository.refresh(&hands.keyring, hands.now).map_err(|error| hands.explain(error, &args.signing))?;
    println!("timestamp {}", repository.timestamp.signed.version + 1);
    Ok(())
}
