//! A repository of updates on the command line: each verb, and what signing elsewhere looks like.

use crate::command::payload::{broken, payload, Release};
use crate::command::{osbuild, Ended, Project};
use osbuild::release::signer::Exchange;
use osbuild::update::repository::change::{init, RoleSpec};
use osbuild::update::repository::{Days, Keyring, SECONDS_PER_DAY};
use osbuild_tuf::metadata::TopLevel;
use osbuild_tuf::Time;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A project whose keys are in a folder of its own.
fn with_keys() -> (Project, PathBuf) {
    let project = Project::copy();
    let folder = project.root.join("production");
    osbuild(&project, &["keys", "init", &folder.display().to_string()]).succeeds();
    (project.env("OSBUILD_KEYS", folder.display().to_string()), folder)
}

fn repo(project: &Project, args: &[&str]) -> Ended {
    osbuild(project, &[&["repo"], args].concat())
}

fn moved(from: &Path, to: &Path, names: &[&str]) {
    std::fs::create_dir_all(to).expect("made");
    for name in names {
        std::fs::rename(from.join(name), to.join(name)).expect("moved");
    }
}

#[test]
fn a_repository_is_begun_renewed_rotated_and_rehearsed() {
    let (project, keys) = with_keys();
    repo(&project, &["check", "site"]).fails_with(&["1.root.json"]);
    repo(&project, &["refresh", "site"]).fails_with(&["`site` holds no repository", "`osbuild repo init site`"]);
    let begun = repo(&project, &["init", "site"]).succeeds();
    assert_eq!(begun.output, "site/metadata/1.root.json\n");
    repo(&project, &["init", "site"]).fails_with(&["holds a repository already", "never overwritten"]);
    repo(&project, &["init", "other", "--root-threshold", "2"]).fails_with(&["cannot ask for 2 of 1 different keys"]);
    let checked = repo(&project, &["check", "site"]).succeeds();
    assert!(checked.output.starts_with("ok  root 1 of 1 is trusted\nok  root is good until 20"), "{}", checked.output);
    assert_eq!(repo(&project, &["refresh", "site"]).succeeds().output, "timestamp 2\n");
    let added = osbuild(&project, &["keys", "add", "second"]).succeeds();
    assert_eq!(added.output, format!("{}\n", keys.join("second.pub").display()));
    osbuild(&project, &["keys", "add", "second"]).fails_with(&["there is a key `second`"]);
    osbuild(&project, &["keys", "add", "../x"]).fails_with(&["this is no name for a key: `../x`"]);
    let rotated = repo(&project, &["rotate", "site", "root", "--add", "second", "--threshold", "2"]).succeeds();
    assert_eq!(rotated.output, "root 2\n");
    repo(&project, &["rotate", "site", "root", "--remove", "third"]).fails_with(&["key `third` does not sign for"]);
    // Devices that know the old key only have to follow, too.
    let away = project.root.join("away");
    moved(&keys, &away, &["snapshot.key"]);
    let snapshot = ["rotate", "site", "snapshot", "--add", "second", "--remove", "snapshot"];
    repo(&project, &snapshot).fails_with(&["role `snapshot`", "`--sign-request FILE`", "`--lost NAME`"]);
    let alone = repo(&project, &["rehearse", "site"]);
    alone.fails_with(&["a rehearsal needs the private keys"]);
    moved(&away, &keys, &["snapshot.key"]);
    let checked = repo(&project, &["check", "site"]).succeeds();
    assert!(checked.output.starts_with("ok  root 2 of 2 is trusted\n"), "{}", checked.output);
    let public = project.root.join("public");
    std::fs::create_dir(&public).expect("made");
    std::fs::copy(keys.join("release.pub"), public.join("release.pub")).expect("copied");
    repo(&project, &["check", "site", "--keys", "public"]).succeeds();
    let soon = repo(&project, &["check", "site", "--warn-days", "9999"]);
    assert_eq!(soon.status, 0, "half of the time is left: {}", soon.errors);
    let rehearsed = repo(&project, &["rehearse", "site"]).succeeds();
    assert_eq!(rehearsed.output.lines().count(), 5, "{}", rehearsed.output);
    repo(&project, &["delegate", "site", "acme", "--key", "second", "--path", "apps/acme/*"]).succeeds();
    repo(&project, &["refresh", "site", "--delegated", "acme"]).succeeds();
    assert!(project.root.join("site/metadata/2.acme.json").is_file());
    repo(&project, &["refresh", "site", "--delegated", "other"]).fails_with(&["there is no delegated role `other`"]);
    repo(&project, &["delegate", "site", "other", "--end"]).fails_with(&["there is no delegated role `other`"]);
    assert_eq!(repo(&project, &["delegate", "site", "acme", "--end"]).succeeds().output, "acme: nothing\n");
    repo(&project, &["refresh", "site", "--delegated", "acme"]).fails_with(&["there is no delegated role `acme`"]);
    repo(&project, &["check", "site"]).succeeds();
    // A key of somebody's, for something else.
    std::fs::write(keys.join("vendor.pub"), "ssh-ed25519 AAAA vendor\n").expect("written");
    let refreshed = repo(&project, &["refresh", "site"]).succeeds();
    assert!(refreshed.errors.contains("left out: ") && refreshed.errors.contains("vendor.pub"), "{}", refreshed.errors);
    std::fs::remove_file(keys.join("vendor.pub")).expect("removed");
    repo(&project, &["rollout", "site", "gateway-1.0.0", "10"]).fails_with(&["there is no target of `gateway-1.0.0`"]);
    project.write("x.payload", "no payload, but long enough");
    repo(&project, &["publish", "site", "--payload", "x.payload"]).fails_with(&["`x.payload` cannot be published"]);
    let nothing = ["`out/nothing` cannot be published", "manifest.dsse.json", "`osbuild image PRODUCT`"];
    repo(&project, &["publish", "site", "--image", "out/nothing"]).fails_with(&nothing);
    let neither = repo(&project, &["publish", "site"]);
    assert_eq!(neither.status, 2, "{}", neither.errors);
    let simulated = osbuild(&project, &["update", "simulate", "--from", "out/nothing", "--to", "out/nothing"]);
    simulated.fails_with(&["`out/nothing` cannot be used", "manifest.dsse.json", "`osbuild image PRODUCT`"]);
}

/// Half a year after it was begun: a timer renews what it can, and fails before devices do.
#[test]
fn a_refresh_says_what_it_does_not_renew_and_ends_with_4() {
    let (project, keys) = with_keys();
    let keyring = Keyring::load(&keys, &Exchange::closed()).expect("keys");
    let roles = TopLevel::ALL.map(|role| (role, RoleSpec { keys: vec![role.name().to_owned()], threshold: 1 }));
    let days = Days { targets: 180, timestamp: 365, snapshot: 365, ..Days::default() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let begun = Time::from_seconds(now - 170 * SECONDS_PER_DAY);
    init(&project.root.join("site"), &roles.into(), days, &keyring, begun).expect("begun");
    let root = ["--root", "site/metadata/1.root.json"];
    let refreshed = repo(&project, &[&["refresh", "site"], &root[..]].concat());
    assert_eq!((refreshed.status, refreshed.output.as_str()), (4, "timestamp 2\n"), "{}", refreshed.errors);
    for part in ["targets expires", "the rest was renewed", "`osbuild repo publish` or `rollout`"] {
        assert!(refreshed.errors.contains(part), "`{part}` is not in {}", refreshed.errors);
    }
    assert!(!refreshed.errors.contains("timestamp expires"), "{}", refreshed.errors);
    assert_eq!(repo(&project, &["check", "site"]).status, 4);
}

#[test]
fn a_repository_of_development_keys_says_so() {
    let begun = repo(&Project::copy(), &["init", "site"]).succeeds();
    assert!(begun.errors.contains("signed with DEVELOPMENT KEYS: this repository"), "{}", begun.errors);
}

#[test]
fn keys_that_are_elsewhere_sign_by_request() {
    let (project, keys) = with_keys();
    let vault = project.root.join("vault");
    moved(&keys, &vault, &["root.key", "targets.key"]);
    for name in ["root.pub", "targets.pub"] {
        std::fs::copy(keys.join(name), vault.join(name)).expect("copied");
    }
    repo(&project, &["init", "site"]).fails_with(&["0 of the 1 signatures that role `root` needs", "--sign-request"]);
    let asked = repo(&project, &["init", "site", "--sign-request", "request.json"]);
    assert_eq!(asked.status, 3, "{}", asked.errors);
    for part in ["2 signatures are wanted", "1.root.json of a repository", "osbuild sign request.json -o SIGNATURES"] {
        assert!(asked.errors.contains(part), "`{part}` is not in {}", asked.errors);
    }
    assert!(!project.root.join("site/metadata/timestamp.json").exists());
    osbuild(&project, &["sign", "request.json", "-o", "x"]).fails_with(&["none of the keys in", "--keys FOLDER"]);
    let sign = ["sign", "request.json", "--keys", "vault", "-o", "signatures.json"];
    let shown = osbuild(&project, &["sign", "request.json", "--show"]).succeeds();
    assert!(shown.output.contains("root: metadata of a repository: _type root, version 1"), "{}", shown.output);
    let request = std::fs::read_to_string(project.root.join("request.json")).expect("there");
    let mut other: serde_json::Value = serde_json::from_str(&request).expect("JSON");
    for entry in other["entries"].as_array_mut().expect("entries") {
        // `xyz`
        entry["message"] = "eHl6".into();
        entry["sha256"] = "3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282".into();
    }
    project.write("other.json", &other.to_string());
    let sign_other = ["sign", "other.json", "--keys", "vault", "-o", "other.sig"];
    osbuild(&project, &sign_other).fails_with(&["is nothing that osbuild knows", "`--unknown`"]);
    assert!(!project.root.join("other.sig").exists() && !project.root.join("signatures.json").exists());
    osbuild(&project, &[&sign_other[..], &["--unknown"]].concat()).succeeds();
    let signed = osbuild(&project, &sign).succeeds();
    assert!(
        signed.output.contains("root: metadata of a repository: _type root, version 1, expires 20"),
        "{}",
        signed.output
    );
    assert!(signed.output.contains(", role timestamp: 1 of the keys "), "{}", signed.output);
    repo(&project, &["init", "site", "--signatures", "signatures.json"]).succeeds();
    repo(&project, &["check", "site"]).succeeds();
    // What was signed for one request is of no use for another.
    let again = repo(&project, &["rotate", "site", "--signatures", "signatures.json"]);
    assert_eq!(again.status, 3, "{}", again.errors);
    project.write("signatures.json", "{}");
    repo(&project, &["rotate", "site", "--signatures", "signatures.json"]).fails_with(&["is not a file of signatures"]);
}

fn write(project: &Project, payload: &[u8]) {
    std::fs::write(project.root.join("x.payload"), payload).expect("written");
}

/// What others have made has to stand what the project's own payloads do.
#[test]
fn a_payload_of_elsewhere_is_installed_before_it_is_published() {
    let (project, keys) = with_keys();
    repo(&project, &["init", "site"]).succeeds();
    let publish = ["publish", "site", "--payload", "x.payload"];
    let share = |percent: &str| repo(&project, &[&publish[..], &["--rollout", percent]].concat());
    let (old, new) = (Release::new("1.0.0", 2), Release::new("1.1.0", 2));
    let delta = payload(&keys, Some(&old), &new);
    let refused = |payload: &[u8], parts: &[&str]| {
        let before = std::fs::read(project.root.join("site/metadata/timestamp.json")).expect("read");
        write(&project, payload);
        repo(&project, &publish).fails_with(parts);
        assert!(before == std::fs::read(project.root.join("site/metadata/timestamp.json")).expect("read"));
    };
    refused(&broken(&keys, &old), &["gateway-1.0.0-", "is not published: a device could not install it"]);
    refused(&delta, &["`x.payload` cannot be published", "no full payload of 1.1.0: publish that first"]);
    write(&project, &payload(&keys, None, &new));
    let published = share("10").succeeds();
    assert!(published.errors.contains("a simulated device installed it in"), "{}", published.errors);
    refused(&delta, &["no full payload of 1.0.0: publish that first"]);
    write(&project, &payload(&keys, None, &old));
    repo(&project, &publish).succeeds();
    write(&project, &delta);
    let name = repo(&project, &publish).succeeds().output;
    assert_eq!(name, format!("gateway-1.1.0-{}-{}.delta.payload\n", old.digits(), new.digits()));
    let targets = std::fs::read_to_string(project.root.join("site/metadata/4.targets.json")).expect("read");
    let targets: serde_json::Value = serde_json::from_str(&targets).expect("JSON");
    let percent = &targets["signed"]["targets"][name.trim()]["custom"]["rollout_percent"];
    assert_eq!(percent, 10, "the share of the devices that its version has");
    refused(&payload(&keys, None, &Release::new("1.2.0", 1)), &["has security epoch 1", "raise `security-epoch`"]);
    repo(&project, &["check", "site"]).succeeds();
}

#[test]
fn what_is_published_is_offered_to_a_share_and_withdrawn() {
    let (project, keys) = with_keys();
    repo(&project, &["init", "site"]).succeeds();
    let releases = ["1.0.0", "1.1.0"].map(|version| Release::new(version, 1));
    for release in &releases {
        write(&project, &payload(&keys, None, release));
        repo(&project, &["publish", "site", "--payload", "x.payload"]).succeeds();
    }
    let [first, second] =
        releases.each_ref().map(|release| format!("gateway-{}-{}.full.payload", release.version, release.digits()));
    let shared = repo(&project, &["rollout", "site", "gateway-1.1.0", "10"]).succeeds();
    assert_eq!(shared.output, format!("{second}: 10 %\n"));
    let files = || std::fs::read_dir(project.root.join("site/targets")).expect("there").count();
    let withdrawn = repo(&project, &["withdraw", "site", "gateway-1.0.0"]).succeeds();
    assert_eq!(withdrawn.output, format!("{first}: withdrawn\n"));
    assert_eq!(files(), 2, "the file stays");
    repo(&project, &["withdraw", "site", "gateway-1.0.0"])
        .fails_with(&["no target of `gateway-1.0.0`", "gateway-1.1.0-"]);
    repo(&project, &["withdraw", "site", "gateway-1.1.0", "--remove-files"]).succeeds();
    assert_eq!(files(), 1);
    assert!(!repo(&project, &["check", "site"]).succeeds().output.contains("payload"));
    // Some devices may run it: what has its version is it, or is refused.
    write(&project, &payload(&keys, None, &Release::new("1.1.0", 1).changed()));
    let refused = ["another gateway 1.1.0 was published and withdrawn", "higher `version`"];
    repo(&project, &["publish", "site", "--payload", "x.payload"]).fails_with(&refused);
    write(&project, &payload(&keys, None, &releases[1]));
    repo(&project, &["publish", "site", "--payload", "x.payload"]).succeeds();
    // And what mends a hole there may not be undone by the release after it.
    write(&project, &payload(&keys, None, &Release::new("1.2.0", 2)));
    repo(&project, &["publish", "site", "--payload", "x.payload"]).succeeds();
    repo(&project, &["withdraw", "site", "gateway-1.2.0"]).succeeds();
    write(&project, &payload(&keys, None, &Release::new("1.3.0", 1)));
    let refused = ["gateway 1.3.0 has security epoch 1, and 1.2.0 before it has 2"];
    repo(&project, &["publish", "site", "--payload", "x.payload"]).fails_with(&refused);
}

/// Somebody who can write to the static host lets his key in; no verb signs that for him.
#[test]
fn no_verb_signs_what_somebody_else_wrote_into_the_repository() {
    let (project, keys) = with_keys();
    let begun = repo(&project, &["init", "site"]).succeeds();
    assert!(begun.errors.contains("is a copy: what does not follow from it is never signed"), "{}", begun.errors);
    let metadata = project.root.join("site/metadata");
    let first = std::fs::read_to_string(metadata.join("1.root.json")).expect("read");
    // The folder of keys of a machine that only publishes has no copy; a name that no `init` gave a root.
    let away = project.root.join("away");
    moved(&keys, &away, &["roots", "root.pub", "root.key"]);
    repo(&project, &["refresh", "site"]).fails_with(&["vouches for its first root", "`--root FILE`", "roots"]);
    std::fs::write(project.root.join("first.json"), &first).expect("written");
    repo(&project, &["refresh", "site", "--root", "first.json"]).succeeds();
    moved(&away, &keys, &["roots", "root.pub", "root.key"]);
    let second = first.replacen("\"version\": 1", "\"version\": 2", 1);
    assert_ne!(first, second);
    std::fs::write(metadata.join("2.root.json"), second).expect("written");
    write(&project, &payload(&keys, None, &Release::new("1.0.0", 1)));
    let state = || {
        let names = std::fs::read_dir(&metadata).expect("there").map(|entry| entry.expect("read").path());
        let mut files: Vec<_> = names.map(|path| (std::fs::read(&path).expect("read"), path)).collect();
        files.sort();
        files
    };
    let before = state();
    for verb in [
        &["publish", "site", "--payload", "x.payload"][..],
        &["rollout", "site", "gateway-1.0.0", "10"],
        &["withdraw", "site", "gateway-1.0.0"],
        &["refresh", "site"],
        &["rotate", "site"],
        &["delegate", "site", "acme", "--key", "targets", "--path", "apps/*"],
        &["rehearse", "site"],
    ] {
        repo(&project, verb).fails_with(&["`2.root.json` of the repository cannot be trusted", "nothing was signed"]);
        assert!(state() == before, "{verb:?}");
    }
}
