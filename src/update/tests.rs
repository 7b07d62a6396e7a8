//! Small images made by the real code, published, and installed by a device's own code.

use super::publish::{Published, Publishing, Step};
use super::release::ReleaseImages;
use super::repository::change::{init, RoleSpec};
use super::repository::check::{check, first_root, Trust};
use super::repository::{Days, Keyring, Repository, RepositoryError, TARGETS};
use super::UpdateError;
use crate::io::file;
use crate::release::keys::{self, PublicKeys, Purpose};
use crate::release::signer::request::{self, Detached, Request, Signatures};
use crate::release::signer::{Exchange, Signer};
use crate::release::tests::images::image_of;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use osbuild_tuf::metadata::{Targets, TopLevel};
use osbuild_tuf::Time;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const NOW_SECONDS: u64 = 1_800_000_000;

struct World {
    folder: tempfile::TempDir,
}

/// 300 blocks without a pattern.
fn noise(seed: u64) -> Vec<u8> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(seed), next).map(|state| (state >> 56) as u8).take(300 * 4096).collect()
}

/// The same with a few bytes changed.
fn touched(mut bytes: Vec<u8>, every: usize) -> Vec<u8> {
    bytes.iter_mut().step_by(every).for_each(|byte| *byte ^= 0x5a);
    bytes
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let world = World { folder };
        keys::create(&world.keys(), Purpose::Development).unwrap();
        let spec = |role: TopLevel| (role, RoleSpec { keys: vec![role.to_string()], threshold: 1 });
        let roles = TopLevel::ALL.map(spec).into_iter().collect::<BTreeMap<_, _>>();
        file::create_dir_all(&world.site()).unwrap();
        init(&world.site(), &roles, Days::default(), &world.keyring(), Time::from_seconds(NOW_SECONDS)).unwrap();
        world
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn keyring(&self) -> Keyring {
        Keyring::load(&self.keys(), &Exchange::closed()).unwrap()
    }

    fn image(&self, version: &str, epoch: u32, root: &[u8]) -> ReleaseImages {
        let folder = image_of(self.folder.path(), &self.keys(), version, epoch, root);
        ReleaseImages::of_folder(&folder, &PublicKeys::load(&self.keys()).unwrap()).unwrap()
    }

    fn publish(&self, image: &ReleaseImages, deltas: usize) -> Result<Vec<Step>, UpdateError> {
        self.publish_by(image, deltas, &Exchange::closed()).1
    }

    fn publish_by(
        &self,
        image: &ReleaseImages,
        deltas: usize,
        exchange: &Exchange,
    ) -> (Targets, Result<Vec<Step>, UpdateError>) {
        let repository = Repository::open(&self.site()).unwrap();
        let signer = Signer::load(&self.keys(), "release", exchange).unwrap();
        let key = PublicKeys::load(&self.keys()).unwrap().release;
        let publishing = Publishing { repository: &repository, release: &signer, key, deltas, rollout_percent: None };
        let mut targets = repository.targets.signed.clone();
        let mut steps = Vec::new();
        let added = publishing.add(image, &mut targets, &mut |step| steps.push(step.clone()));
        if added.is_ok() {
            repository.replace_targets(targets.clone(), &self.keyring(), Time::from_seconds(NOW_SECONDS)).unwrap();
        }
        (targets, added.map(|()| steps))
    }

    fn payloads(&self) -> Vec<String> {
        file::list(&self.site().join(TARGETS)).unwrap()
    }
}

fn published(step: &Step) -> &Published {
    match step {
        Step::Published(published) => published,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_release_is_published_in_full_and_as_deltas_from_those_before_it() {
    let world = World::new();
    let first = noise(1);
    world.publish(&world.image("1.0.0", 1, &first), 2).unwrap();
    world.publish(&world.image("1.1.0", 1, &touched(first.clone(), 90_001)), 2).unwrap();
    let image = world.image("1.2.0", 2, &touched(first, 60_001));
    let steps = world.publish(&image, 2).unwrap();
    let froms: Vec<Option<&str>> = steps.iter().map(|step| published(step).from.as_deref()).collect();
    assert_eq!(froms, [None, Some("1.1.0"), Some("1.0.0")]);
    let bytes: Vec<u64> = steps.iter().map(|step| published(step).bytes).collect();
    assert!(bytes[0] > 1_200_000 && bytes[1..].iter().all(|bytes| *bytes < 20_000), "{bytes:?}");
    assert_eq!(published(&steps[1]).report.fetched_bytes, bytes[1], "nothing is fetched twice");
    // One release before it is enough: a second time makes nothing again, and keeps the share of devices.
    let again = world.publish(&image, 1).unwrap();
    assert!(again.iter().all(|step| published(step).was_there) && again.len() == 2, "{again:?}");
    let repository = Repository::open(&world.site()).unwrap();
    assert_eq!(repository.targets.signed.targets.len(), 6);
    let full = world.payloads().into_iter().find(|name| name.contains("-1.2.0-") && name.ends_with(".full.payload"));
    let rebuilt = ReleaseImages::of_payload(
        &world.site().join(TARGETS).join(full.unwrap()),
        &PublicKeys::load(&world.keys()).unwrap().release,
    );
    let rebuilt = rebuilt.unwrap();
    assert_eq!((rebuilt.root, rebuilt.esp, rebuilt.release), (image.root, image.esp, image.release));
}

#[test]
fn what_no_device_would_take_is_refused() {
    let world = World::new();
    world.publish(&world.image("1.0.0", 3, &noise(1)), 1).unwrap();
    let refused = |image: ReleaseImages| world.publish(&image, 1).unwrap_err().to_string();
    let other = refused(world.image("1.0.0", 3, &noise(2)));
    assert!(other.contains("another p 1.0.0 is published already") && other.contains("higher `version`"), "{other}");
    let epoch = refused(world.image("1.0.1", 2, &noise(2)));
    assert!(epoch.contains("security epoch 2, and 1.0.0 before it has 3"), "{epoch}");
    let version = refused(world.image("1.1", 3, &noise(2)));
    assert!(version.contains("not MAJOR.MINOR.PATCH"), "{version}");
    assert_eq!(world.payloads().len(), 1);
}

#[test]
fn a_delta_that_saves_nothing_is_not_published() {
    let world = World::new();
    let with_esp = |mut image: ReleaseImages, seed| {
        image.esp = noise(seed);
        image.release.esp = super::release::described(&image.esp);
        image
    };
    world.publish(&with_esp(world.image("1.0.0", 1, &noise(1)), 2), 1).unwrap();
    let steps = world.publish(&with_esp(world.image("1.1.0", 1, &noise(3)), 4), 1).unwrap();
    let full = published(&steps[0]).bytes;
    assert!(matches!(&steps[1], Step::NoGain { from, bytes } if from == "1.0.0" && *bytes >= full), "{steps:?}");
    assert_eq!(world.payloads().len(), 2);
}

/// What others sign who have the keys of `vault`.
fn answer(vault: &Path, request: &Request) -> Signatures {
    let signed = request.entries.iter().map(|entry| {
        let signer = Signer::load(vault, &entry.key, &Exchange::closed()).unwrap();
        let signature = STANDARD.encode(signer.sign(&entry.what, &entry.bytes().unwrap()).unwrap());
        Detached { key_id: entry.key_id.clone(), sha256: entry.sha256.clone(), signature }
    });
    Signatures { format: request::FORMAT, seconds: request.seconds, signatures: signed.collect() }
}

/// The release key is elsewhere: each header is asked for in one round, and published with what comes back.
#[test]
fn headers_are_signed_elsewhere() {
    let world = World::new();
    world.publish(&world.image("1.0.0", 1, &noise(1)), 1).unwrap();
    let image = world.image("1.1.0", 1, &touched(noise(1), 70_001));
    let other = world.image("1.2.0", 1, &touched(noise(1), 80_001));
    let vault = world.folder.path().join("vault");
    file::create_dir_all(&vault).unwrap();
    std::fs::rename(world.keys().join("release.key"), vault.join("release.key")).unwrap();
    std::fs::copy(world.keys().join("release.pub"), vault.join("release.pub")).unwrap();
    let ask = |image: &ReleaseImages, received: &[Signatures]| {
        let exchange = Exchange::open(received, NOW_SECONDS).unwrap();
        let (targets, result) = world.publish_by(image, 1, &exchange);
        assert!(result.unwrap_err().is_wanted());
        assert_eq!((targets.targets.len(), world.payloads().len()), (1, 1));
        exchange
    };
    let request = ask(&image, &[]).request();
    let mut what: Vec<String> = request.entries.iter().map(|entry| entry.what.clone()).collect();
    what.sort();
    assert_eq!(what, ["payload of p from 1.0.0 to 1.1.0 for board", "payload of p from nothing to 1.1.0 for board"]);

    let (good, stale) = (answer(&vault, &request), answer(&vault, &ask(&other, &[]).request()));
    let asked = ask(&image, std::slice::from_ref(&stale));
    assert_eq!((asked.useless(), asked.request().entries), (vec![0], request.entries));
    let (mut forged, mut exchanged, mut swapped) = (good.clone(), good.clone(), good.clone());
    for one in &mut forged.signatures {
        let mut bytes = STANDARD.decode(&one.signature).unwrap();
        bytes[7] ^= 0x10;
        one.signature = STANDARD.encode(bytes);
    }
    for (one, other) in exchanged.signatures.iter_mut().zip(stale.signatures) {
        one.signature = other.signature;
    }
    for (one, other) in swapped.signatures.iter_mut().zip(good.signatures.iter().rev()) {
        one.signature.clone_from(&other.signature);
    }
    for answer in [forged, exchanged, swapped] {
        let exchange = Exchange::open(&[answer], NOW_SECONDS).unwrap();
        let (targets, refused) = world.publish_by(&image, 1, &exchange);
        let refused = refused.unwrap_err();
        let refused = std::error::Error::source(&refused).expect("a cause").to_string();
        assert!(
            refused.contains("received for `payload of p from nothing to 1.1.0 for board` is not valid"),
            "{refused}"
        );
        assert_eq!((targets.targets.len(), world.payloads().len()), (1, 1));
    }

    let exchange = Exchange::open(&[good], NOW_SECONDS).unwrap();
    let steps = world.publish_by(&image, 1, &exchange).1.unwrap();
    let froms: Vec<Option<&str>> = steps.iter().map(|step| published(step).from.as_deref()).collect();
    assert_eq!((froms, world.payloads().len(), exchange.useless()), (vec![None, Some("1.0.0")], 3, vec![]));
    assert!(!world.keys().join("release.key").exists());
}

#[test]
fn a_folder_whose_image_was_changed_is_not_read() {
    let world = World::new();
    let folder = image_of(world.folder.path(), &world.keys(), "1.0.0", 1, &noise(1));
    let mut esp = file::read(&folder.join("esp.img"), 1 << 30).unwrap();
    esp[5000] ^= 1;
    file::write_atomic(&folder.join("esp.img"), &esp, 0o644).unwrap();
    let keys = PublicKeys::load(&world.keys()).unwrap();
    let error = ReleaseImages::of_folder(&folder, &keys).unwrap_err();
    assert_eq!(error.to_string(), "esp.img is not sound");
    assert!(ReleaseImages::of_folder(Path::new("nowhere"), &keys).is_err());
}

/// The payloads of earlier releases have the signature of the old key: a new release is published all the same.
#[test]
fn a_release_is_published_with_another_release_key() {
    let world = World::new();
    world.publish(&world.image("1.0.0", 1, &noise(1)), 1).unwrap();
    let (old, other) = (PublicKeys::load(&world.keys()).unwrap().release, World::new());
    for half in ["release.pub", "release.key"] {
        std::fs::copy(other.keys().join(half), world.keys().join(half)).unwrap();
    }
    let new = PublicKeys::load(&world.keys()).unwrap().release;
    let steps = world.publish(&world.image("1.1.0", 1, &touched(noise(1), 70_001)), 1).unwrap();
    assert!(matches!(&steps[1], Step::OtherKey { from } if from == "1.0.0"), "{steps:?}");
    assert_eq!((published(&steps[0]).from.as_deref(), steps.len()), (None, 2));
    let check = |releases: &[(String, osbuild_format::dsse::VerifyingKey)]| {
        let trust = Trust { root: &first_root(&world.site()).unwrap(), releases };
        check(&world.site(), &trust, Time::from_seconds(NOW_SECONDS), 14)
    };
    let (new, old) = (("new".to_owned(), new), ("old".to_owned(), old));
    assert!(
        matches!(check(std::slice::from_ref(&new)), Err(RepositoryError::Unvouched(name)) if name.contains("1.0.0"))
    );
    let lines = check(&[new, old]).unwrap().lines;
    for (version, key) in [("1.0.0", "old"), ("1.1.0", "new")] {
        let is_told = |line: &String| line.contains(version) && line.ends_with(&format!(", signed by {key}"));
        assert!(lines.iter().any(is_told), "{lines:?}");
    }
}

/// Of a release's full payload in the repository.
fn full_of(world: &World, version: &str) -> PathBuf {
    let is = |name: &String| name.contains(&format!("-{version}-")) && name.ends_with(".full.payload");
    world.site().join(TARGETS).join(world.payloads().into_iter().find(is).unwrap())
}

/// Whatever became of a file at its place, what is published has the bytes that the metadata names.
#[test]
fn a_damaged_file_at_its_place_is_made_again() {
    let world = World::new();
    let image = world.image("1.0.0", 1, &noise(1));
    world.publish(&image, 0).unwrap();
    let path = full_of(&world, "1.0.0");
    let whole = file::read(&path, 1 << 30).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&whole[..whole.len() / 2], &flipped, &[]] {
        file::write_atomic(&path, damaged, 0o644).unwrap();
        let steps = world.publish(&image, 0).unwrap();
        assert!(!published(&steps[0]).was_there, "{steps:?}");
        assert!(file::read(&path, 1 << 30).unwrap() == whole, "after {} bytes", damaged.len());
    }
}

/// The release before is not whole any more: the new one is published, without a delta from it.
#[test]
fn a_damaged_release_before_it_does_not_stop_a_release() {
    let world = World::new();
    world.publish(&world.image("1.0.0", 1, &noise(1)), 1).unwrap();
    let path = full_of(&world, "1.0.0");
    let mut bytes = file::read(&path, 1 << 30).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    file::write_atomic(&path, &bytes, 0o644).unwrap();
    let steps = world.publish(&world.image("1.1.0", 1, &touched(noise(1), 70_001)), 1).unwrap();
    assert_eq!(published(&steps[0]).from, None);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(matches!(&steps[1], Step::Damaged { from, why } if from == "1.0.0" && why.contains(name)), "{steps:?}");
}

/// Its signature holds, and its segment makes other bytes than its header says.
#[test]
fn a_payload_that_does_not_install_is_not_published() {
    use ed25519_dalek::pkcs8::DecodePrivateKey;
    use osbuild_format::{dsse, payload};
    use sha2::{Digest, Sha256};
    let world = World::new();
    let image = world.image("1.0.0", 1, &noise(1));
    world.publish(&image, 0).unwrap();
    let path = full_of(&world, "1.0.0");
    let bytes = file::read(&path, 1 << 30).unwrap();
    let key = PublicKeys::load(&world.keys()).unwrap().release;
    let mut header = super::repository::target::Described::read(&bytes, bytes.len() as u64, &key).unwrap().header;
    let stored = bytes.len() - header.stored_bytes() as usize;
    header.segments[0].output_sha256 = "ab".repeat(32);
    let text = file::read_text(&world.keys().join("release.key")).unwrap();
    let signer = dsse::SigningKey::from_pkcs8_pem(&text).unwrap();
    let envelope = dsse::sign(payload::PAYLOAD_TYPE, &header.to_json().unwrap(), &signer, &dsse::key_id(&key));
    let bad = [payload::head(envelope.as_bytes()).unwrap().as_slice(), &bytes[stored..]].concat();
    let (_, name) = path.file_name().unwrap().to_str().unwrap().split_once('.').unwrap();
    std::fs::remove_file(&path).unwrap();
    let place = path.with_file_name(format!("{}.{name}", hex::encode(Sha256::digest(&bad))));
    file::write_atomic(&place, &bad, 0o644).unwrap();
    let metadata = || file::list(&world.site().join("metadata")).unwrap();
    let before = metadata();
    let error = world.publish(&image, 0).unwrap_err();
    assert!(matches!(error, UpdateError::NotInstallable { .. }) && error.to_string().contains(name), "{error}");
    assert_eq!(metadata(), before);
}
