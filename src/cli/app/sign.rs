//! `osbuild app sign|token`: the keys of the project, put to what a device is to accept.
//!
//! Invariant: an app's file is replaced in one step; nothing is signed that a device would find damaged.

use super::super::keys;
use super::super::project::Project;
use super::super::report::Failure;
use super::super::signing::SigningArgs;
use crate::io::file;
use crate::release::app::{sign_token, AppFile, AppFileError};
use crate::release::signer::role::Role;
use crate::release::signer::Exchange;
use osbuild_format::app::token::{Token, FORMAT};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// How long the token of a deployment is good: the device's clock may be behind, or ahead by less.
const DEPLOY_DAYS: u64 = 30;

#[derive(Clone, Debug, clap::Args)]
pub struct SignArgs {
    /// Files of apps, wherever they were built
    #[arg(required = true, value_name = "FILE.app")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn sign(project: &Project, args: &SignArgs) -> Result<(), Failure> {
    let exchange = args.signing.exchange()?;
    let key = keys::signer(project, Role::App, &exchange)?;
    let mut all_here = true;
    for path in &args.files {
        match AppFile::open(path)?.write_signed(path, &key) {
            Ok(()) => println!("{}", path.display()),
            Err(AppFileError::Sign(error)) if error.is_wanted() => all_here = false,
            Err(error) => return Err(error.into()),
        }
    }
    match all_here {
        true => Ok(()),
        false => Err(args.signing.wanted(&exchange, "one round is all that it takes")),
    }
}

#[derive(Clone, Debug, clap::Args)]
pub struct TokenArgs {
    /// The device, as `osagent app device` names it there: 64 hexadecimal digits
    #[arg(long, value_name = "ID")]
    device: String,
    /// Apps may be installed that are not part of the device's image
    #[arg(long)]
    sideload: bool,
    /// Older versions of apps may be installed
    #[arg(long)]
    downgrade: bool,
    /// How long it is good; for ever unless told
    #[arg(long, value_name = "N")]
    days: Option<u64>,
    /// Where it is written; standard output unless told
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    signing: SigningArgs,
}

pub fn token(project: &Project, args: &TokenArgs) -> Result<(), Failure> {
    let device = args.device.trim();
    if device.len() != 64 || !device.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(Failure::new(format!("this is no device's id: `{device}`"))
            .help("`osagent app device` prints it on the device: 64 hexadecimal digits"));
    }
    if !args.sideload && !args.downgrade {
        return Err(Failure::new("this token would allow nothing").help("give `--sideload`, `--downgrade` or both"));
    }
    if args.days == Some(0) {
        return Err(Failure::new("this token would be over at once: `--days 0`").help("give it a day at least"));
    }
    let exchange = args.signing.exchange()?;
    // The answer is for the token that was asked for, and that one counts its days from then.
    let now = exchange.seconds().unwrap_or_else(now_seconds);
    let not_after = args.days.map(|days| now.saturating_add(days.saturating_mul(SECONDS_PER_DAY)));
    let token = Token {
        format: FORMAT,
        device: device.to_owned(),
        sideload: args.sideload,
        downgrade: args.downgrade,
        not_after,
    };
    let envelope = match sign_token(&token, &keys::signer(project, Role::Capability, &exchange)?) {
        Ok(envelope) => envelope,
        Err(error) if error.is_wanted() => {
            return Err(args.signing.wanted(&exchange, "one round is all that it takes"));
        }
        Err(error) => return Err(error.into()),
    };
    match &args.out {
        Some(path) => {
            file::write_atomic(path, envelope.as_bytes(), 0o644)?;
            println!("{}", path.display());
        }
        None => print!("{envelope}"),
    }
    Ok(())
}

/// The token with which a developer brings an app to `device`.
pub fn for_device(project: &Project, device: &str, downgrade: bool) -> Result<String, Failure> {
    let key = keys::signer(project, Role::Capability, &Exchange::closed())?;
    let not_after = Some(now_seconds().saturating_add(DEPLOY_DAYS * SECONDS_PER_DAY));
    let token = Token { format: FORMAT, device: device.to_owned(), sideload: true, downgrade, not_after };
    Ok(sign_token(&token, &key)?)
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
