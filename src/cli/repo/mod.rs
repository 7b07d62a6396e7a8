//! `osbuild repo`: the repository that devices get their updates from.
//!
//! Invariant: a verb that changes the repository leaves it as it was, or changed and whole.

mod check;
mod init;
mod publish;
mod rotate;
mod withdraw;

use super::keys;
use super::project::Project;
use super::report::Failure;
use super::signing::SigningArgs;
use crate::release::keys::PublicKeys;
use crate::release::signer::Exchange;
use crate::update::repository::trust;
use crate::update::repository::{Incoming, Keyring, Pins, Repository, RepositoryError};
use osbuild_tuf::metadata::TopLevel;
use osbuild_tuf::Time;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Sound, but not for long.
const EXIT_SOON: u8 = 4;
/// What expires within so many days is told, unless told otherwise.
const WARN_DAYS: u64 = 14;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum RepoCommand {
    /// Begin a repository: its root, and metadata without targets
    Init(init::InitArgs),
    /// Publish payloads
    Publish(publish::PublishArgs),
    /// Offer a published version to this share of the devices
    Rollout(publish::RolloutArgs),
    /// Offer a published version to no device any more
    Withdraw(withdraw::WithdrawArgs),
    /// Renew snapshot and timestamp before they expire
    Refresh(publish::RefreshArgs),
    /// Give a role other keys, or renew the root
    Rotate(rotate::RotateArgs),
    /// Let others say which targets there are below some paths
    Delegate(rotate::DelegateArgs),
    /// Follow the repository as a device does, read all of it, and say what expires soon
    Check(check::CheckArgs),
    /// Try new keys for each role on a copy
    Rehearse(check::RehearseArgs),
}

pub fn repo(project: &Project, command: &RepoCommand) -> Result<(), Failure> {
    match command {
        RepoCommand::Init(args) => init::init(project, args),
        RepoCommand::Publish(args) => publish::publish(project, args),
        RepoCommand::Rollout(args) => publish::rollout(project, args),
        RepoCommand::Withdraw(args) => withdraw::withdraw(project, args),
        RepoCommand::Refresh(args) => publish::refresh(project, args),
        RepoCommand::Rotate(args) => rotate::rotate(project, args),
        RepoCommand::Delegate(args) => rotate::delegate(project, args),
        RepoCommand::Check(args) => check::check(project, args),
        RepoCommand::Rehearse(args) => check::rehearse(project, args),
    }
}

/// A role of every repository, as the command line names it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum RoleArg {
    Root,
    Targets,
    Snapshot,
    Timestamp,
}

impl RoleArg {
    fn top_level(self) -> TopLevel {
        match self {
            RoleArg::Root => TopLevel::Root,
            RoleArg::Targets => TopLevel::Targets,
            RoleArg::Snapshot => TopLevel::Snapshot,
            RoleArg::Timestamp => TopLevel::Timestamp,
        }
    }
}

/// What vouches for a repository before anything of it is signed anew.
#[derive(Clone, Debug, clap::Args)]
struct TrustArgs {
    /// A root that devices trust, when the folder of keys has no copy of the first one; of any version
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
}

/// The keys of the project, those of others, and the time that what is signed speaks of.
struct Hands {
    folder: PathBuf,
    keyring: Keyring,
    exchange: Exchange,
    now: Time,
}

impl Hands {
    fn of(project: &Project, signing: &SigningArgs) -> Result<Hands, Failure> {
        let folder = keys::present(project)?;
        if PublicKeys::load(&folder).is_ok_and(|keys| keys.are_for_development()) {
            eprintln!("signed with DEVELOPMENT KEYS: this repository is for your bench only");
        }
        let exchange = signing.exchange()?;
        let keyring = Keyring::load(&folder, &exchange).map_err(|error| keys::key_failure(error, &folder))?;
        keyring.left_out().iter().for_each(|error| eprintln!("left out: {error}"));
        let now = Time::from_seconds(exchange.seconds().unwrap_or_else(now_seconds));
        Ok(Hands { folder, keyring, exchange, now })
    }

    /// Only what follows from a root that is known from elsewhere.
    fn open(&self, folder: &Path, trust: &TrustArgs, incoming: Option<&Incoming>) -> Result<Repository, Failure> {
        let pins = match &trust.root {
            Some(path) => Pins::of_file(path),
            None => Pins::of_keys(&self.folder, &self.keyring),
        };
        Repository::open_pinned(folder, &pins?, incoming).map_err(|error| match (error, &trust.root) {
            (error @ RepositoryError::Unpinned(_), None) => Failure::from(error).help(format!(
                "`--root FILE` gives the root that devices began with, from their image or the machine of `init`; a copy of it in \
                 `{}` is found from then on",
                self.folder.join(trust::ROOTS).display()
            )),
            (error @ RepositoryError::Unpinned(_), Some(path)) => Failure::from(error).help(format!(
                "none of its roots is `{}`: nothing was signed; put back the repository's metadata from a copy that you trust",
                path.display()
            )),
            (other, _) => explain(other),
        })
    }

    fn explain(&self, error: RepositoryError, signing: &SigningArgs) -> Failure {
        match error {
            error if error.is_wanted() => signing.wanted(&self.exchange, "one round is all that it takes"),
            RepositoryError::Threshold { .. } => Failure::from(error).help(format!(
                "private keys in `{}` are too few: `--sign-request FILE` asks those who have the others",
                self.folder.display()
            )),
            other => explain(other),
        }
    }
}

fn explain(error: RepositoryError) -> Failure {
    let help = match &error {
        RepositoryError::None(folder) => format!("`osbuild repo init {}` begins one", folder.display()),
        RepositoryError::Exists(_) => {
            "choose another folder: a repository that devices trust is never overwritten".into()
        }
        RepositoryError::Partly(_) => {
            "copy the whole of it again, or choose another folder: a root that devices may trust is \
                                       never replaced by a new first one"
                .into()
        }
        RepositoryError::Unvouched(_) => {
            "where it was signed before the release key was replaced, `--release FILE` gives the old public key".into()
        }
        RepositoryError::Distrusted { file, .. } => format!(
            "nothing was signed; somebody else may have written `metadata/{file}`: see who can, and put back the metadata from a \
             copy that you trust"
        ),
        RepositoryError::Busy(folder, _) => format!(
            "wait until the other command has ended, and run this one again; `fuser {}` says which process it is",
            folder.display()
        ),
        _ => return error.into(),
    };
    Failure::from(error).help(help)
}

pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
