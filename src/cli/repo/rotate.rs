//! `osbuild repo rotate|delegate`: other keys for a role, and a role for others, or its end.
//!
//! Invariant: keys are named as the folder of keys names them; their public halves are enough to let them in.

use super::super::project::Project;
use super::super::report::Failure;
use super::super::signing::SigningArgs;
use super::{Hands, RoleArg, TrustArgs};
use crate::update::repository::change::RoleSpec;
use crate::update::repository::{Incoming, RepositoryError};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct RotateArgs {
    /// The repository
    folder: PathBuf,
    /// The role that gets other keys; none: the root is renewed as it is
    role: Option<RoleArg>,
    /// Names of keys that may sign from now on
    #[arg(long, value_name = "NAME", requires = "role")]
    add: Vec<String>,
    /// Names of keys that may not any more
    #[arg(long, value_name = "NAME", requires = "role")]
    remove: Vec<String>,
    /// How many keys of the role have to sign; as many as before unless told
    #[arg(long, value_name = "N", requires = "role")]
    threshold: Option<u32>,
    /// Names of keys that nobody has any more: without their signatures, devices find nothing for a moment
    #[arg(long, value_name = "NAME")]
    lost: Vec<String>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn rotate(project: &Project, args: &RotateArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let incoming = match args.role.filter(|_| !args.lost.is_empty()) {
        Some(role) => {
            let keys = args.add.iter().map(|name| hands.keyring.by_name(name)).collect::<Result<_, _>>()?;
            Some(Incoming { role: role.top_level(), keys, threshold: args.threshold })
        }
        None => None,
    };
    let repository = hands.open(&args.folder, &args.trust, incoming.as_ref())?;
    let mut specs = BTreeMap::new();
    if let Some(role) = args.role.map(RoleArg::top_level) {
        specs.insert(role, repository.role_with(role, &args.add, &args.remove, args.threshold, &hands.keyring)?);
    }
    let lost = repository.ids_of(&args.lost, &hands.keyring)?;
    let version = repository.rotate(&specs, &lost, &hands.keyring, hands.now).map_err(|error| match error {
        RepositoryError::Threshold { .. } => Failure::from(error).help(
            "the old keys sign, too, for devices that do not know the new ones yet: `--sign-request FILE` asks those who have \
             them, and `--lost NAME` goes on without one that nobody has any more",
        ),
        other => hands.explain(other, &args.signing),
    })?;
    println!("root {version}");
    Ok(())
}

#[derive(Clone, Debug, clap::Args)]
pub struct DelegateArgs {
    /// The repository
    folder: PathBuf,
    /// Name of the role
    name: String,
    /// Names of the keys that sign for it
    #[arg(long, value_name = "NAME", required_unless_present = "end")]
    key: Vec<String>,
    /// How many of them have to
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: u32,
    /// Which targets it may name, as patterns such as `apps/acme/*`
    #[arg(long, value_name = "PATTERN", required_unless_present = "end")]
    path: Vec<String>,
    /// It says nothing any more, from now on
    #[arg(long, conflicts_with_all = ["key", "path", "threshold"])]
    end: bool,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn delegate(project: &Project, args: &DelegateArgs) -> Result<(), Failure> {
    let hands = Hands::of(project, &args.signing)?;
    let repository = hands.open(&args.folder, &args.trust, None)?;
    if args.end {
        repository
            .end_delegation(&args.name, &hands.keyring, hands.now)
            .map_err(|error| hands.explain(error, &args.signing))?;
        println!("{}: nothing", args.name);
        return Ok(());
    }
    let spec = RoleSpec { keys: args.key.clone(), threshold: args.threshold };
    repository
        .delegate(&args.name, &spec, args.path.clone(), &hands.keyring, hands.now)
        .map_err(|error| hands.explain(error, &args.signing))?;
    println!("{}: {}", args.name, args.path.join(", "));
    Ok(())
}
