//! A release and a repository in; its full payload, and deltas from the releases before it, at their places out.
//!
//! Invariant: no payload gets a place before a device's own code has installed it on the release that it starts from; no delta
//! is larger than the full payload. What metadata says is the caller's to change.

use super::payload::Unsigned;
use super::release::ReleaseImages;
use super::repository::target::{custom_of, is_whole, Described, LIMIT_PAYLOAD_BYTES};
use super::repository::withdraw::withdrawn;
use super::repository::{Repository, RepositoryError, TARGETS};
use super::simulate::{self, InMemory, Running};
use super::UpdateError;
use crate::io::file;
use crate::release::signer::Signer;
use osbuild_format::dsse::VerifyingKey;
use osbuild_format::payload::Release;
use osbuild_format::target::TargetCustom;
use osbuild_tuf::metadata::Targets;
use osbuild_update::choose::version;
use osbuild_update::simulate::Report;
use sha2::{Digest, Sha256};

pub struct Publishing<'a> {
    pub repository: &'a Repository,
    /// Signs headers.
    pub release: &'a Signer,
    /// Its public half.
    pub key: VerifyingKey,
    /// From how many releases before this one there are to be deltas.
    pub deltas: usize,
    /// As it is for this version, or all of the devices, unless told.
    pub rollout_percent: Option<u8>,
}

/// A payload at its place.
#[derive(Clone, Debug)]
pub struct Published {
    /// Of the target.
    pub name: String,
    pub bytes: u64,
    /// Version that it starts from.
    pub from: Option<String>,
    /// Whether it is the one of an earlier run.
    pub was_there: bool,
    /// What it cost the simulated device.
    pub report: Report,
}

/// What came of one pair of releases.
#[derive(Clone, Debug)]
pub enum Step {
    Published(Published),
    /// A delta that would have had as many bytes as the full payload, or more.
    NoGain {
        from: String,
        bytes: u64,
    },
    /// What it would start from is in a payload that another release key signed: nobody vouches here for what is in it.
    OtherKey {
        from: String,
    },
    /// The full payload that it would start from is not what the metadata says, or makes nothing.
    Damaged {
        from: String,
        why: String,
    },
    /// Others have to sign its header first.
    Wanted(String),
}

impl Publishing<'_> {
    /// Adds to `targets`, and tells each step. An error says that others have to sign when they have to, with everything asked
    /// for that can be.
    pub fn add(
        &self,
        image: &ReleaseImages,
        targets: &mut Targets,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<(), UpdateError> {
        let known = described(targets);
        let subject = Subject { product: &image.product, machine: &image.machine, release: &image.release };
        subject.follows(&known, targets)?;
        let percent = self.rollout_percent.or(subject.rollout_percent(&known)).unwrap_or(100);
        let mut wanted = None;
        let mut full_bytes = None;
        let before = before(&subject, &known);
        let olds = before.iter().take(self.deltas).map(|known| Some(*known));
        for old in [None].into_iter().chain(olds) {
            let from = match old {
                Some(old) => match old.images(self.repository, &self.key) {
                    Err(UpdateError::Repository(RepositoryError::OtherKey)) => {
                        tell(&Step::OtherKey { from: old.custom.version.clone() });
                        continue;
                    }
                    // Devices of that release take the full payload: a new release does not wait for an old one's file.
                    Err(error) => {
                        tell(&Step::Damaged { from: old.custom.version.clone(), why: error.with_causes() });
                        continue;
                    }
                    Ok(found) => Some(found),
                },
                None => None,
            };
            let (bytes, was_there) = match self.payload(from.as_ref(), image) {
                Ok(found) => found,
                Err(error) if error.is_wanted() => {
                    tell(&Step::Wanted(from.map_or("nothing".to_owned(), |from| from.release.version)));
                    wanted = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let length = bytes.len() as u64;
            let version = from.as_ref().map(|from| from.release.version.clone());
            if let (Some(from), true) = (&version, full_bytes.is_some_and(|full| length >= full)) {
                tell(&Step::NoGain { from: from.clone(), bytes: length });
                continue;
            }
            full_bytes.get_or_insert(length);
            let described = Described::read(&bytes, length, &self.key)?;
            let running = Running::of_images(from.as_ref().map(ReleaseImages::images).as_ref())?;
            drop(from);
            let placing = Placing { repository: self.repository, key: &self.key, percent };
            let published = placing.place(&bytes, &described, running, targets)?;
            tell(&Step::Published(Published { was_there, ..published }));
        }
        wanted.map_or(Ok(()), Err)
    }

    /// The payload's bytes, and whether an earlier run left them: then nobody has to sign again.
    fn payload(&self, from: Option<&ReleaseImages>, to: &ReleaseImages) -> Result<(Vec<u8>, bool), UpdateError> {
        if let Some(bytes) = self.left(from, to)? {
            return Ok((bytes, true));
        }
        Ok((Unsigned::make(from, to)?.sign(self.release)?, false))
    }

    fn left(&self, from: Option<&ReleaseImages>, to: &ReleaseImages) -> Result<Option<Vec<u8>>, UpdateError> {
        let folder = self.repository.folder.join(TARGETS);
        if !folder.exists() {
            return Ok(None);
        }
        let name = Described::name_of(&to.product, from.map(|from| &from.release), &to.release);
        let ending = format!(".{name}");
        for file in file::list(&folder)?.iter().filter(|file| file.ends_with(&ending)) {
            let bytes = file::read(&folder.join(file), LIMIT_PAYLOAD_BYTES)?;
            // What is damaged or of another key is made again: its name says which bytes it has to have.
            if *file != format!("{}{ending}", hex::encode(Sha256::digest(&bytes))) {
                continue;
            }
            let Ok(found) = Described::read(&bytes, bytes.len() as u64, &self.key) else { continue };
            let header = &found.header;
            let same = header.from.as_ref() == from.map(|from| &from.release) && header.to == to.release;
            if same && header.product == to.product && header.machine == to.machine {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// A payload that the metadata names.
pub(super) struct Known {
    pub name: String,
    pub length: u64,
    sha256: String,
    pub custom: TargetCustom,
}

impl Known {
    /// What it makes, when it is a full payload.
    pub(super) fn images(&self, repository: &Repository, key: &VerifyingKey) -> Result<ReleaseImages, UpdateError> {
        let path = repository.target_path(&self.name, &self.sha256);
        match is_whole(&path, &self.sha256)? {
            true => ReleaseImages::of_payload(&path, key),
            false => Err(UpdateError::Wrong(format!("`{}` is missing or damaged", path.display()))),
        }
    }
}

pub(super) fn described(targets: &Targets) -> Vec<Known> {
    let known = targets.targets.iter().filter_map(|(name, target)| {
        let sha256 = target.hashes.get("sha256")?.clone();
        Some(Known { name: name.clone(), length: target.length, sha256, custom: custom_of(target).ok()? })
    });
    known.collect()
}

/// Full payloads of lower versions, the highest first.
fn before<'a>(subject: &Subject, known: &'a [Known]) -> Vec<&'a Known> {
    let lower = |known: &&Known| version(&known.custom.version) < version(&subject.release.version);
    let full = known.iter().filter(|known| subject.is_of(known) && known.custom.from.is_none());
    let mut found: Vec<&Known> = full.filter(lower).collect();
    found.sort_by_key(|known| std::cmp::Reverse(version(&known.custom.version)));
    found
}

/// A release of which a payload is to be published.
pub(super) struct Subject<'a> {
    pub product: &'a str,
    pub machine: &'a str,
    pub release: &'a Release,
}

impl Subject<'_> {
    pub(super) fn is_of(&self, known: &Known) -> bool {
        known.custom.product == self.product && known.custom.machine == self.machine
    }

    /// Which share of the devices may take it now; none: it is not published.
    pub(super) fn rollout_percent(&self, known: &[Known]) -> Option<u8> {
        let same = known.iter().find(|known| self.is_of(known) && known.custom.version == self.release.version);
        same.map(|known| known.custom.rollout_percent)
    }

    /// Refuses what no device would take, or what some would take for something else.
    pub(super) fn follows(&self, known: &[Known], targets: &Targets) -> Result<(), UpdateError> {
        let (title, release) = (format!("{} {}", self.product, self.release.version), self.release);
        let wrong = |text: String| Err(UpdateError::Wrong(text));
        if version(&release.version).is_none() {
            return wrong(format!("{title} cannot be published: its version is not MAJOR.MINOR.PATCH"));
        }
        // Some devices may run what is no longer offered.
        let gone = withdrawn(targets).into_iter();
        for gone in gone.filter(|gone| gone.product == self.product && gone.machine == self.machine) {
            if gone.version == release.version && gone.to != release.esp.sha256 {
                return wrong(format!(
                    "another {title} was published and withdrawn, and devices may run that one: give the new one a higher `version`"
                ));
            }
            self.keeps_epoch(&gone.version, gone.epoch)?;
        }
        for known in known.iter().filter(|known| self.is_of(known)) {
            let custom = &known.custom;
            if custom.version == release.version && custom.to != release.esp.sha256 {
                return wrong(format!(
                    "another {title} is published already, as `{}`; give the new one a higher `version`",
                    known.name
                ));
            }
            self.keeps_epoch(&custom.version, custom.epoch)?;
        }
        Ok(())
    }

    /// Not below that of a release before it.
    fn keeps_epoch(&self, before: &str, epoch: u32) -> Result<(), UpdateError> {
        let release = self.release;
        match version(before) < version(&release.version) && epoch > release.epoch {
            false => Ok(()),
            true => Err(UpdateError::Wrong(format!(
                "{} {} has security epoch {}, and {before} before it has {epoch}: its devices would refuse it; raise `security-epoch`",
                self.product, release.version, release.epoch
            ))),
        }
    }
}

/// Where payloads get to, whoever made them.
pub(super) struct Placing<'a> {
    pub repository: &'a Repository,
    pub key: &'a VerifyingKey,
    pub percent: u8,
}

impl Placing<'_> {
    /// Lets a device's own code install the payload on the release that is `running`, and brings it to its place then.
    pub(super) fn place(
        &self,
        bytes: &[u8],
        described: &Described,
        running: Running,
        targets: &mut Targets,
    ) -> Result<Published, UpdateError> {
        let report = simulate::run(described, &mut InMemory(bytes), running, self.key)
            .map_err(|error| error.of_payload(&described.name()))?;
        let (name, target) = self.repository.place_bytes(bytes, described, self.percent)?;
        targets.targets.insert(name.clone(), target);
        let from = described.header.from.as_ref().map(|from| from.version.clone());
        Ok(Published { name, bytes: bytes.len() as u64, from, was_there: false, report })
    }
}
