//! `osbuild repo init`: keys' names in, a repository without targets out.
//!
//! Invariant: one key of each role unless told; what is there is never overwritten.

use super::super::project::Project;
use super::super::report::Failure;
use super::super::signing::SigningArgs;
use super::Hands;
use crate::io::file;
use crate::update::repository::change::{self, RoleSpec};
use crate::update::repository::{Days, Pins, METADATA};
use osbuild_tuf::metadata::TopLevel;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// A folder for it
    folder: PathBuf,
    /// Names of the keys of the root in the folder of keys
    #[arg(long, value_name = "NAME", default_value = "root")]
    root_key: Vec<String>,
    /// How many of them have to sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    root_threshold: u32,
    /// Names of the keys of the targets
    #[arg(long, value_name = "NAME", default_value = "targets")]
    targets_key: Vec<String>,
    /// How many of them have to sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    targets_threshold: u32,
    /// For how many days a root is good
    #[arg(long, value_name = "DAYS", default_value_t = Days::default().root)]
    root_days: u64,
    /// For how many days targets are good
    #[arg(long, value_name = "DAYS", default_value_t = Days::default().targets)]
    targets_days: u64,
    /// For how many days a snapshot is good
    #[arg(long, value_name = "DAYS", default_value_t = Days::default().snapshot)]
    snapshot_days: u64,
    /// For how many days a timestamp is good: a device that sees no newer one for longer knows that it is cut off
    #[arg(long, value_name = "DAYS", default_value_t = Days::default().timestamp)]
    timestamp_days: u64,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn init(project: &Project, args: &InitArgs) -> Result<(), Failure> {
    let days = Days {
        root: args.root_days,
        targets: args.targets_days,
        snapshot: args.snapshot_days,
        timestamp: args.timestamp_days,
    };
    if TopLevel::ALL.iter().any(|role| days.of(*role) == 0) {
        return Err(Failure::new("metadata that is good for 0 days is never good").help("give it a day at least"));
    }
    let one = |name: &str| RoleSpec { keys: vec![name.to_owned()], threshold: 1 };
    let roles = BTreeMap::from([
        (TopLevel::Root, RoleSpec { keys: args.root_key.clone(), threshold: args.root_threshold }),
        (TopLevel::Targets, RoleSpec { keys: args.targets_key.clone(), threshold: args.targets_threshold }),
        (TopLevel::Snapshot, one("snapshot")),
        (TopLevel::Timestamp, one("timestamp")),
    ]);
    let hands = Hands::of(project, &args.signing)?;
    file::create_dir_all(&args.folder)?;
    let first = change::init(&args.folder, &roles, days, &hands.keyring, hands.now)
        .map_err(|error| hands.explain(error, &args.signing))?;
    let kept = Pins::keep(&hands.folder, &first)?;
    println!("{}", args.folder.join(METADATA).join("1.root.json").display());
    eprintln!("`{}` is a copy: what does not follow from it is never signed", kept.display());
    eprintln!("devices begin with this root: name it as `root` under `update` of the product");
    Ok(())
}
