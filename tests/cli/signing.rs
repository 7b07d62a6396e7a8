//! An image and its publishing with the private halves elsewhere: requests out, signatures in, round after round; and answers
//! that are not those that were asked for.
//!
//! Invariant: the project's folder of keys has no private half of a key that is elsewhere, in any round.

use crate::command::{osbuild, statement, Ended, Project};
use std::path::{Path, PathBuf};

const PRODUCT: &str = "layers/core/products/gateway.yaml";
const LATEST: &str = "out/images/gateway/latest";

/// A project, and the place where some of its keys are.
struct Places {
    project: Project,
    keys: PathBuf,
}

impl Places {
    fn new() -> Places {
        let project = Project::copy();
        let keys = project.root.join("production");
        osbuild(&project, &["keys", "init", &keys.display().to_string()]).succeeds();
        let project = project.env("OSBUILD_KEYS", keys.display().to_string());
        Places { project, keys }
    }

    /// A root of few files: payloads of it are soon made.
    fn small() -> Places {
        let places = Places::new();
        for package in ["ca-certificates", "curl", "e2fsck", "resize2fs"] {
            places.project.edit(PRODUCT, &format!("  - {package}\n"), "");
        }
        places
    }

    /// Takes the private half of the key to `vault`, with a copy of the public one.
    fn take_away(&self, name: &str) {
        let vault = self.project.root.join("vault");
        std::fs::create_dir_all(&vault).expect("made");
        std::fs::rename(self.keys.join(format!("{name}.key")), vault.join(format!("{name}.key"))).expect("moved");
        let public = if name == "db" { "db.crt" } else { &format!("{name}.pub") };
        std::fs::copy(self.keys.join(public), vault.join(public)).expect("copied");
    }

    fn set_version(&self, version: &str) {
        let text = std::fs::read_to_string(self.project.root.join(PRODUCT)).expect("read");
        let old = text.lines().find(|line| line.starts_with("version: ")).expect("a version");
        self.project.edit(PRODUCT, old, &format!("version: \"{version}\""));
    }

    fn run(&self, words: &str) -> Ended {
        osbuild(&self.project, &words.split(' ').collect::<Vec<_>>())
    }

    /// Exit status 3, each of `parts` told, and `NAME.json` written.
    fn asks(&self, words: &str, name: &str, parts: &[&str]) {
        let ended = self.run(&format!("{words} --sign-request {name}.json"));
        assert_eq!(ended.status, 3, "{}\n{}", ended.output, ended.errors);
        for part in parts {
            assert!(ended.errors.contains(part), "`{part}` is not in:\n{}", ended.errors);
        }
    }

    /// `NAME.json` in, `NAME.sig` out, where the keys are; what was shown there.
    fn sign(&self, name: &str) -> String {
        self.run(&format!("sign {name}.json --keys vault -o {name}.sig")).succeeds().output
    }

    fn read(&self, file: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.project.root.join(file)).expect("read")).expect("JSON")
    }

    /// Writes `to`, which is `file` with another first signature.
    fn forge(&self, file: &str, to: &str, change: impl Fn(&mut serde_json::Value)) {
        let mut answer = self.read(file);
        change(&mut answer["signatures"][0]["signature"]);
        self.project.write(to, &answer.to_string());
    }

    /// Refuses `NAME.sig`, for which `words` asked with `NAME.json`, when a bit of it is another, and when it has the signature
    /// that `other` has for something else. When it is given `other` itself, it asks again for what is in `NAME.json`.
    fn refuses_others(&self, words: &str, name: &str, other: &str, parts: &[&str]) {
        self.forge(&format!("{name}.sig"), "forged.sig", flip);
        let signature = self.read(other)["signatures"][0]["signature"].clone();
        self.forge(&format!("{name}.sig"), "exchanged.sig", |it| *it = signature.clone());
        for answer in ["forged.sig", "exchanged.sig"] {
            let refused = self.run(&format!("{words} --signatures {answer}")).fails_with(parts);
            assert!(refused.errors.contains("ask again with `--sign-request FILE`, without it"), "{}", refused.errors);
        }
        let stale = format!("none of the signatures in `{other}` is for what is to be signed now");
        self.asks(&format!("{words} --signatures {other}"), "again", &["1 signatures are wanted", &stale]);
        let messages = |file: &str| self.read(file)["entries"].as_array().expect("entries").len();
        assert_eq!(messages("again.json"), messages(&format!("{name}.json")));
    }

    /// Both rounds of an image.
    fn image(&self, version: &str) {
        self.set_version(version);
        self.asks("image", "uki", &[]);
        self.sign("uki");
        self.asks("image --signatures uki.sig", "manifest", &[]);
        self.sign("manifest");
        self.run("image --signatures uki.sig --signatures manifest.sig").succeeds();
    }

    /// Version of the repository's newest metadata.
    fn published(&self) -> u64 {
        self.read("site/metadata/timestamp.json")["signed"]["version"].as_u64().expect("a version")
    }

    fn version_of_latest(&self) -> String {
        let latest = self.project.root.join(LATEST);
        statement(&latest)["predicate"]["version"].as_str().expect("a version").to_owned()
    }
}

/// One bit of a signature in base64.
fn flip(signature: &mut serde_json::Value) {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    let mut bytes = STANDARD.decode(signature.as_str().expect("text")).expect("base64");
    bytes[7] ^= 0x10;
    *signature = STANDARD.encode(bytes).into();
}

fn has(folder: &Path, name: &str) -> bool {
    folder.join(name).exists()
}

#[test]
fn an_image_is_signed_without_its_private_keys_and_only_by_the_answers_that_were_asked_for() {
    let places = Places::new();
    places.take_away("db");
    places.take_away("release");
    places.run("image").fails_with(&["private half of key `release` is not here", "`--sign-request FILE`"]);
    assert!(!has(&places.project.root, LATEST), "nothing without its signatures could be flashed");
    let (uki, manifest) = ("UKI of gateway 1.0.0 for qemu-x86_64", "manifest of gateway 1.0.0 for qemu-x86_64");
    places.set_version("1.0.0");
    places.asks("image", "uki", &["1 signatures are wanted", uki, "an image takes two rounds"]);
    assert_eq!(places.read("uki.json")["entries"][0]["key"], "db");
    let shown = places.sign("uki");
    assert!(shown.contains("db: a program for Secure Boot") && shown.contains(uki), "{shown}");
    places.asks("image --signatures uki.sig", "manifest", &["1 signatures are wanted", manifest]);
    let shown = places.sign("manifest");
    for part in ["release: a statement of type application/vnd.in-toto+json", "product gateway", "file uki.efi "] {
        assert!(shown.contains(part), "`{part}` is not in {shown}");
    }
    assert!(!has(&places.project.root, LATEST));
    places.run("image --signatures uki.sig --signatures manifest.sig").succeeds();
    let verified = places.run(&format!("verify {LATEST} --production")).succeeds();
    assert!(verified.output.lines().all(|line| line.starts_with("ok")), "{}", verified.output);

    for kept in ["uki.sig", "manifest.sig"] {
        let root = &places.project.root;
        std::fs::copy(root.join(kept), root.join(format!("old-{kept}"))).expect("copied");
    }
    places.set_version("1.1.0");
    places.asks("image", "uki", &[]);
    places.sign("uki");
    let refused = ["received for `UKI of gateway 1.1.0 for qemu-x86_64` is not valid for key `db`"];
    places.refuses_others("image", "uki", "old-uki.sig", &refused);
    places.asks("image --signatures uki.sig", "manifest", &[]);
    places.sign("manifest");
    let refused = ["received for `manifest of gateway 1.1.0 for qemu-x86_64` is not valid for key `release`"];
    places.refuses_others("image --signatures uki.sig", "manifest", "old-manifest.sig", &refused);
    assert_eq!(places.version_of_latest(), "1.0.0");
    places.run("image --signatures uki.sig --signatures manifest.sig").succeeds();
    assert_eq!(places.version_of_latest(), "1.1.0");
    assert!(!has(&places.keys, "db.key") && !has(&places.keys, "release.key"));
}

#[test]
fn an_image_is_published_without_the_private_keys_of_headers_and_targets() {
    let places = Places::small();
    places.run("repo init site").succeeds();
    places.take_away("db");
    places.take_away("release");
    places.image("1.0.0");
    let publish = format!("repo publish site --image {LATEST} --deltas 0");
    let full = "payload of gateway from nothing to 1.0.0 for qemu-x86_64";
    places.asks(&publish, "headers", &["1 signatures are wanted", full, "publishing takes two rounds"]);
    let shown = places.sign("headers");
    assert!(shown.contains("a statement of type application/vnd.osbuild.payload+json"), "{shown}");
    // What becomes of other signatures of headers, `headers_are_signed_elsewhere` shows on smaller images.
    assert_eq!(places.published(), 1);
    places.run(&format!("{publish} --signatures headers.sig")).succeeds();
    assert_eq!(places.published(), 2);
    let checked = places.run("repo check site").succeeds().output;
    assert!(checked.contains("gateway-1.0.0-") && checked.contains(".full.payload"), "{checked}");

    // With the key of `targets` elsewhere, too, there is one round more.
    places.take_away("targets");
    places.image("1.1.0");
    places.asks(&publish, "headers", &["1 signatures are wanted", "from nothing to 1.1.0"]);
    places.sign("headers");
    let signed = format!("{publish} --signatures headers.sig");
    let metadata = ["1 signatures are wanted", "3.targets.json of a repository"];
    places.asks(&format!("{signed} --rollout 10"), "other", &metadata);
    places.sign("other");
    places.asks(&signed, "metadata", &metadata);
    let shown = places.sign("metadata");
    for part in ["targets: metadata of a repository: _type targets, version 3", "target gateway-1.1.0-", " to 100 %"] {
        assert!(shown.contains(part), "`{part}` is not in {shown}");
    }
    let refused = ["received for `3.targets.json of a repository` is not valid for key `targets`"];
    places.refuses_others(&signed, "metadata", "other.sig", &refused);
    assert_eq!(places.published(), 2);
    places.run(&format!("{signed} --signatures metadata.sig")).succeeds();
    assert_eq!(places.published(), 3);
    let checked = places.run("repo check site").succeeds().output;
    assert!(checked.contains("gateway-1.0.0-") && checked.contains("gateway-1.1.0-"), "{checked}");
}
