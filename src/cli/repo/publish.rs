//! `osbuild repo publish|rollout|refresh`: payloads or a share of devices in, new metadata out.
//!
//! Invariant: files of targets are whole at their place before any metadata names them.

use super::super::image::IMAGE_FOLDER;
use super::super::keys;
use super::super::progress::seconds;
use super::super::project::Project;
use super::super::report::Failure;
use super::super::signing::SigningArgs;
use super::{Hands, TrustArgs, EXIT_SOON, WARN_DAYS};
use crate::release::keys::{release_key, PublicKeys};
use crate::release::signer::Signer;
use crate::update::given::Given;
use crate::update::publish::{Published, Publishing, Step};
use crate::update::release::{ReleaseError, ReleaseImages};
use crate::update::repository::target::custom_of;
use crate::update::repository::Repository;
use crate::update::UpdateError;
use osbuild_tuf::metadata::{TargetFile, Targets};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    /// The repository
    folder: PathBuf,
    /// An image folder, as `out/images/PRODUCT/latest`: its payloads are made, tried and published
    #[arg(long, value_name = "FOLDER", required_unless_present = "payloads")]
    image: Option<PathBuf>,
    /// From how many releases before it there are to be deltas
    #[arg(long, value_name = "N", default_value_t = 3, requires = "image")]
    deltas: usize,
    /// Files of payloads, signed by the release key
    #[arg(long = "payload", value_name = "FILE", conflicts_with = "image")]
    payloads: Vec<PathBuf>,
    /// Share of the devices that may take them; what it is, when the version is published already, or else 100
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    rollout: Option<u8>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn publish(project: &Project, args: &PublishArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let repository = hands.open(&args.folder, &args.trust, None)?;
    let mut targets = repository.targets.signed.clone();
    let names = match &args.image {
        Some(image) => of_image(args, &hands, &PublicKeys::load(&hands.folder)?, &repository, image, &mut targets)?,
        None => {
            let key = release_key(&hands.folder)?;
            let given = Given { repository: &repository, key: &key, rollout_percent: args.rollout };
            let published = given.add(&args.payloads, &mut targets)?;
            let names = published.into_iter().map(|published| {
                let name = published.name.clone();
                eprintln!("{}", line(&Step::Published(Published { was_there: true, ..published })));
                name
            });
            names.collect()
        }
    };
    repository
        .replace_targets(targets, &hands.keyring, hands.now)
        .map_err(|error| hands.explain(error, &args.signing))?;
    names.iter().for_each(|name| println!("{name}"));
    Ok(())
}

/// Names of the targets. Says on the way what becomes of each pair of releases.
fn of_image(
    args: &PublishArgs,
    hands: &Hands,
    keys: &PublicKeys,
    repository: &Repository,
    folder: &Path,
    targets: &mut Targets,
) -> Result<Vec<String>, Failure> {
    let signer = Signer::load(&hands.folder, "release", &hands.exchange)
        .map_err(|error| keys::key_failure(error, &hands.folder))?;
    let image = ReleaseImages::of_folder(folder, keys).map_err(|error| unreadable(folder, error))?;
    let publishing = Publishing {
        repository,
        release: &signer,
        key: keys.release,
        deltas: args.deltas,
        rollout_percent: args.rollout,
    };
    let mut names = Vec::new();
    let added = publishing.add(&image, targets, &mut |step| {
        eprintln!("{}", line(step));
        if let Step::Published(published) = step {
            names.push(published.name.clone());
        }
    });
    match added {
        Ok(()) => Ok(names),
        Err(error) if error.is_wanted() => {
            let rounds =
                "publishing takes two rounds: the payloads' headers, then the metadata, which names their files";
            Err(args.signing.wanted(&hands.exchange, rounds))
        }
        Err(UpdateError::Repository(error)) => Err(hands.explain(error, &args.signing)),
        Err(error) => Err(error.into()),
    }
}

fn unreadable(folder: &Path, error: ReleaseError) -> Failure {
    let failure = Failure::from(error);
    Failure::new(format!("`{}` cannot be published\n  because: {}", folder.display(), failure.message))
        .help(format!("{IMAGE_FOLDER} with the keys of this repository"))
}

/// A step in words.
fn line(step: &Step) -> String {
    match step {
        Step::Published(Published { name, bytes, from, was_there, report }) => {
            let from = from.as_ref().map_or("full".to_owned(), |from| format!("from {from}"));
            let made = if *was_there { "was there" } else { "made" };
            let took = seconds(report.time);
            format!("{name}: {from}, {bytes} bytes, {made}; a simulated device installed it in {took}")
        }
        Step::NoGain { from, bytes } => {
            format!("no delta from {from}: it would have {bytes} bytes, no fewer than the full payload")
        }
        Step::OtherKey { from } => format!("no delta from {from}: its payload is signed by another release key"),
        Step::Damaged { from, why } => {
            format!("no delta from {from}: {why}; put its file back from a copy, or withdraw {from}, and publish again")
        }
        Step::Wanted(from) => format!("made from {from}; its header is not signed yet"),
    }
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
    trust: TrustArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn rollout(project: &Project, args: &RolloutArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let repository = hands.open(&args.folder, &args.trust, None)?;
    let mut targets = repository.targets.signed.clone();
    let mut changed = Vec::new();
    for (name, target) in &mut targets.targets {
        if !is_meant(name, target, &args.version) {
            continue;
        }
        if let Ok(mut custom) = custom_of(target) {
            custom.rollout_percent = args.percent;
            target.custom = Some(serde_json::to_value(custom)?);
            changed.push(name.clone());
        }
    }
    if changed.is_empty() {
        return Err(unknown(&args.version, &targets));
    }
    repository
        .replace_targets(targets, &hands.keyring, hands.now)
        .map_err(|error| hands.explain(error, &args.signing))?;
    changed.iter().for_each(|name| println!("{name}: {} %", args.percent));
    Ok(())
}

/// Whether `version` is `PRODUCT-VERSION` of the target, or its name.
pub fn is_meant(name: &str, target: &TargetFile, version: &str) -> bool {
    name == version || custom_of(target).is_ok_and(|custom| format!("{}-{}", custom.product, custom.version) == version)
}

pub fn unknown(version: &str, targets: &Targets) -> Failure {
    let known: Vec<&str> = targets.targets.keys().map(String::as_str).collect();
    Failure::new(format!("there is no target of `{version}`")).help(format!("there are: {}", known.join(", ")))
}

#[derive(Clone, Debug, clap::Args)]
pub struct RefreshArgs {
    /// The repository
    folder: PathBuf,
    /// Renew also what this delegated role says, with its own keys; may be given several times
    #[arg(long, value_name = "NAME")]
    delegated: Vec<String>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn refresh(project: &Project, args: &RefreshArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let repository = hands.open(&args.folder, &args.trust, None)?;
    let delegated: Vec<&str> = args.delegated.iter().map(String::as_str).collect();
    repository.refresh(&delegated, &hands.keyring, hands.now).map_err(|error| hands.explain(error, &args.signing))?;
    println!("timestamp {}", repository.timestamp.signed.version + 1);
    // What it does not renew: a timer that renews the rest has to fail before devices do.
    let renewed = |what: &str| {
        what == "snapshot" || what == "timestamp" || delegated.iter().any(|name| what == format!("targets of {name}"))
    };
    let left = repository.expiries().into_iter().filter(|expiry| !renewed(&expiry.what));
    let soon: Vec<String> = left.filter_map(|expiry| expiry.soon(hands.now, WARN_DAYS)).collect();
    if soon.is_empty() {
        return Ok(());
    }
    let help = "the rest was renewed; `osbuild repo publish` or `rollout` renews the targets, `rotate` the root, `refresh --delegated \
                NAME` what others say";
    Err(Failure { exit: EXIT_SOON, ..Failure::new(soon.join("\n")).help(help) })
}
