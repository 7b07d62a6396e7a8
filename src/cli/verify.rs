//! `osbuild verify`: an image folder or a disk, and public keys, in; what was checked out.
//!
//! Invariant: needs no private key, no cache and no network.

use super::image::IMAGE_FOLDER;
use super::project::Project;
use super::report::Failure;
use crate::release::keys::PublicKeys;
use crate::release::verify::{self, Leftovers};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// An image folder, or a disk image or device
    pub image: PathBuf,
    /// Folder with the public keys `PK.crt KEK.crt db.crt release.pub`
    #[arg(long, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
    /// Refuse development keys and developer products, as before an image is shipped
    #[arg(long)]
    pub production: bool,
    /// The disk was flashed: where nothing is read, it may still hold what was on it before
    #[arg(long)]
    pub flashed: bool,
}

pub fn verify(project: Result<Project, Failure>, args: &VerifyArgs) -> Result<(), Failure> {
    let folder = match &args.keys {
        Some(folder) => folder.clone(),
        None => project?.keys(),
    };
    let public = PublicKeys::load(&folder).map_err(|error| {
        Failure::from(error).help("`--keys FOLDER` names the folder with PK.crt, KEK.crt, db.crt and release.pub")
    })?;
    if args.production && public.are_for_development() {
        let message =
            format!("the keys in `{}` are development keys, which nothing may be shipped with", folder.display());
        return Err(Failure::new(message).help("`osbuild keys init FOLDER` makes keys to ship with; sign with those"));
    }
    if !args.image.exists() {
        return Err(Failure::new(format!("there is no image `{}`", args.image.display())).help(IMAGE_FOLDER));
    }
    if args.production && !args.image.is_dir() {
        return Err(Failure::new("a disk alone does not say whether its product is one for the field")
            .help("check the image's folder with `--production`: its manifest says so"));
    }
    let report = match args.image.is_dir() {
        true => verify::folder(&args.image, &public, args.production)?,
        false => verify::disk(&args.image, &public, leftovers(args))?.report,
    };
    report.lines.iter().for_each(|line| println!("ok  {line}"));
    if public.are_for_development() {
        eprintln!("signed with DEVELOPMENT KEYS: this image is for a bench only");
    }
    Ok(())
}

/// A device has always been flashed.
fn leftovers(args: &VerifyArgs) -> Leftovers {
    let is_device = std::fs::metadata(&args.image).is_ok_and(|found| found.file_type().is_block_device());
    match args.flashed || is_device {
        true => Leftovers::Allowed,
        false => Leftovers::Refused,
    }
}
