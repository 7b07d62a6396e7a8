//! `osbuild repo check|rehearse`: a repository in, what a device finds in it out.
//!
//! Invariant: `check` needs public keys only, and neither of the two changes anything.

use super::super::project::Project;
use super::super::report::Failure;
use super::super::signing::SigningArgs;
use super::{explain, now_seconds, Hands, TrustArgs, EXIT_SOON, WARN_DAYS};
use crate::io::file;
use crate::release::keys::{public_release_key, release_key};
use crate::update::repository::check::{self, Trust};
use crate::update::repository::rehearse;
use crate::update::repository::RepositoryError;
use osbuild_tuf::Time;
use std::path::PathBuf;

const LIMIT_ROOT_BYTES: u64 = 128 << 10;

#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// The repository
    folder: PathBuf,
    /// The root that devices begin with; the first of the repository unless told
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Folder with `release.pub`; that of the project unless told
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Another release key that payloads may be signed by, as the one before `release.pub` was replaced; may be given several times
    #[arg(long, value_name = "FILE")]
    release: Vec<PathBuf>,
    /// Say what expires within so many days, or within half of the time that its role's signatures are good, if that is less,
    /// and end with status 4
    #[arg(long, value_name = "DAYS", default_value_t = WARN_DAYS)]
    warn_days: u64,
}

pub fn check(project: &Project, args: &CheckArgs) -> Result<(), Failure> {
    let keys = args.keys.clone().unwrap_or_else(|| project.keys());
    let mut releases = vec![("release.pub".to_owned(), release_key(&keys)?)];
    for path in &args.release {
        releases.push((path.display().to_string(), public_release_key(path)?));
    }
    let root = match &args.root {
        Some(path) => file::read(path, LIMIT_ROOT_BYTES)?,
        None => check::first_root(&args.folder).map_err(explain)?,
    };
    let (trust, now) = (Trust { root: &root, releases: &releases }, Time::from_seconds(now_seconds()));
    let checked = check::check(&args.folder, &trust, now, args.warn_days).map_err(explain)?;
    checked.lines.iter().for_each(|line| println!("ok  {line}"));
    if checked.soon.is_empty() {
        return Ok(());
    }
    let help =
        "`osbuild repo refresh` renews snapshot and timestamp, with `--delegated NAME` what others say, `publish` the \
                targets, `rotate` the root";
    Err(Failure { exit: EXIT_SOON, ..Failure::new(checked.soon.join("\n")).help(help) })
}

#[derive(Clone, Debug, clap::Args)]
pub struct RehearseArgs {
    /// The repository
    folder: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
}

pub fn rehearse(project: &Project, args: &RehearseArgs) -> Result<(), Failure> {
    let signing = SigningArgs::default();
    let mut hands = Hands::of(project, &signing)?;
    let repository = hands.open(&args.folder, &args.trust, None)?;
    let lines = rehearse::rehearse(repository, &mut hands.keyring, hands.now);
    let lines = lines.map_err(|error| match error {
        RepositoryError::Threshold { .. } => Failure::from(error)
            .help("a rehearsal needs the private keys, or tokens, of all roles here: it asks nobody for signatures"),
        other => explain(other),
    })?;
    lines.iter().for_each(|line| println!("ok  {line}"));
    Ok(())
}
