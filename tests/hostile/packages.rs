//! One good app file to bad ones, each brought to a device that must refuse it for the right reason.
//!
//! Invariant: a bad file differs from the good one in what its name says, and is signed by the right key unless it says
//! otherwise.

use crate::command::guest::Guest;
use crate::command::{osbuild, Project};
use crate::images;
use crate::pings::Pings;
use osbuild_format::app::token::{self, Token};
use osbuild_format::app::{package, ListenFrom, Listening, Manifest, Protocol, PAYLOAD_TYPE};
use osbuild_format::dsse::{self, SigningKey};
use osbuild_format::hex;
use osbuild_format::verity::{self, Superblock};
use serde_json::Value;
use sha2::{Digest, Sha256};

const BLOCK: usize = 4096;
/// What the visitor is; it runs no attack, and ends at once.
pub const VISITOR: &str = "visitor";

/// An app's file in its parts.
#[derive(Clone)]
pub struct Parts {
    pub manifest: Manifest,
    /// Image, verity superblock and tree.
    pub image: Vec<u8>,
}

impl Parts {
    fn of(file: &[u8]) -> Parts {
        let envelope = package::envelope(file).expect("an envelope");
        let payload = dsse::read_vouched(envelope, PAYLOAD_TYPE).expect("a payload");
        let manifest = Manifest::from_json(&payload).expect("a manifest");
        Parts { manifest, image: file[offset()..].to_vec() }
    }

    pub fn with(&self, change: impl FnOnce(&mut Parts)) -> Parts {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    fn payload(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).expect("JSON")
    }

    pub fn signed(&self, key: &SigningKey) -> Vec<u8> {
        self.around(&sign(&self.payload(), key))
    }

    fn around(&self, envelope: &str) -> Vec<u8> {
        let mut file = package::head(envelope.as_bytes()).expect("it fits");
        file.extend(&self.image);
        file
    }
}

fn offset() -> usize {
    usize::try_from(package::IMAGE_OFFSET).expect("small")
}

fn sign(payload: &[u8], key: &SigningKey) -> String {
    dsse::sign(PAYLOAD_TYPE, payload, key, &dsse::key_id(&key.verifying_key()))
}

/// One file, or a good file with a bad token: its name, its bytes, its token, and what the device must say.
struct Case {
    name: &'static str,
    file: Vec<u8>,
    token: Option<String>,
    says: &'static str,
}

fn token(device: &str, downgrade: bool, key: &SigningKey) -> String {
    let token = Token { format: token::FORMAT, device: device.to_owned(), sideload: true, downgrade, not_after: None };
    dsse::sign(token::PAYLOAD_TYPE, &token.to_json(), key, &dsse::key_id(&key.verifying_key()))
}

/// An image of one block that is no EROFS, with a tree and a manifest that vouch for it.
fn of_garbage(parts: &mut Parts) {
    let mut block = vec![0xa5; BLOCK];
    block[1024..1028].copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
    let salt = hex::decode(&parts.manifest.image.salt).expect("hex");
    parts.manifest.image.data_blocks = 1;
    parts.manifest.image.root_hash = hex::encode(&Sha256::new_with_prefix(&salt).chain_update(&block).finalize());
    let superblock = Superblock { uuid: verity::uuid(&salt), data_blocks: 1, salt };
    block.extend(superblock.to_bytes());
    block.resize(2 * BLOCK, 0);
    parts.image = block;
}

fn bad_files(good: &Parts, device: &str, app: &SigningKey, capability: &SigningKey) -> Vec<Case> {
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let allowed = || Some(token(device, false, capability));
    let case = |name, file, says| Case { name, file, token: allowed(), says };
    let changed = |change: &dyn Fn(&mut Parts)| good.with(change).signed(app);
    let data_bytes = usize::try_from(good.manifest.image.data_blocks).expect("small") * BLOCK;
    let with_token = |name, token, says| Case { name, file: good.signed(app), token, says };
    vec![
        with_token("without a token", None, "only with a capability token"),
        with_token(
            "a token for another device",
            Some(token(&"ab".repeat(32), false, capability)),
            "for another device",
        ),
        with_token("a token of a stranger", Some(token(device, false, &stranger)), "not signed by a key"),
        case("a stranger's signature", good.signed(&stranger), "not signed by a key"),
        case("no signature", good.around(&dsse::unsigned(PAYLOAD_TYPE, &good.payload())), "not signed by a key"),
        case("a manifest that is no JSON", good.around(&sign(b"{\"format\": 1,", app)), "not valid JSON"),
        case(
            "a manifest with a field more",
            good.around(&sign(&[&b"{\"root\":true,"[..], &good.payload()[1..]].concat(), app)),
            "not valid JSON of the expected shape",
        ),
        case("an id that is a path", changed(&|parts| parts.manifest.id = "../../etc".into()), "`id` is not usable"),
        case("a manifest changed after it was signed", altered(good, app), "not signed by a key"),
        case("no magic number", [&b"X"[..], &good.signed(app)[1..]].concat(), "this is no app"),
        case("a file that ends early", good.signed(app)[..offset() + BLOCK].to_vec(), "speaks of a file of"),
        case("a file with more at its end", [&good.signed(app)[..], &[0; BLOCK]].concat(), "speaks of a file of"),
        case("a changed image", changed(&|parts| parts.image[BLOCK] ^= 1), "not what"),
        case(
            "the id of an app of the image, whose place an older one would take",
            changed(&|parts| (parts.manifest.id, parts.manifest.version) = ("pinger".into(), "0.9.0".into())),
            "older than what this device has had",
        ),
        case("a changed verity superblock", changed(&|parts| parts.image[data_bytes + 9] ^= 1), "verity superblock"),
        case("a word behind the superblock", changed(&|parts| parts.image[data_bytes + 600] = 1), "verity superblock"),
        case("a changed verity tree", changed(&|parts| parts.image[data_bytes + BLOCK] ^= 1), "not what"),
        case("more blocks than there are", changed(&|parts| parts.manifest.image.data_blocks = 1 << 40), "data_blocks"),
        case(
            "another processor",
            changed(&|parts| parts.manifest.architecture = "aarch64".into()),
            "another processor",
        ),
        case("an ABI of the future", changed(&|parts| parts.manifest.abi.extend([("runtime".into(), 99)])), "99"),
        case("a port of another app", changed(&takes_the_pingers_port), "belongs to the app `pinger`"),
        case(
            "a device that the machine does not have",
            changed(&|parts| parts.manifest.capabilities.devices = vec!["METER_UART".into()]),
            "no device `$METER_UART`",
        ),
    ]
}

fn takes_the_pingers_port(parts: &mut Parts) {
    let port = Listening { port: crate::PINGER_PORT, protocol: Protocol::Tcp, from: ListenFrom::Network };
    parts.manifest.capabilities.listen = vec![port];
}

/// The signature is of what the manifest was.
fn altered(good: &Parts, app: &SigningKey) -> Vec<u8> {
    let changed = good.with(|parts| parts.manifest.capabilities.reboot = true);
    let mut envelope: Value = serde_json::from_str(&sign(&good.payload(), app)).expect("JSON");
    let other: Value = serde_json::from_str(&sign(&changed.payload(), app)).expect("JSON");
    envelope["payload"] = other["payload"].clone();
    changed.around(&format!("{envelope}\n"))
}

/// Whether it was taken, and what the device said.
fn install(project: &Project, guest: &Guest, file: &[u8], token: Option<&str>) -> (bool, String) {
    let path = project.root.join("out/guest/visitor.app");
    std::fs::write(&path, file).expect("written");
    let with_token = match token {
        None => String::new(),
        Some(token) => format!("printf '%s\\n' '{}' > /run/token; ", token.trim_end()),
    };
    let option = if token.is_some() { "--token /run/token" } else { "" };
    let ended = guest.send(&path, &format!("{with_token}osagent app install - {option} 2>&1; echo status $?"));
    (ended.output.contains("status 0"), ended.output)
}

/// Tries each bad file, then that the good one is taken, is not replaced by an older one, and goes on.
pub fn install_all(project: &Project, guest: &Guest, pings: &Pings, objections: &mut Vec<String>) {
    osbuild(project, &["app", "build", VISITOR]).succeeds();
    let good = Parts::of(&std::fs::read(project.root.join("out/apps/visitor.app")).expect("built"));
    let keys = project.root.join("keys");
    let load = |name: &str| {
        let text = std::fs::read_to_string(keys.join(name)).expect("read");
        <SigningKey as ed25519_dalek::pkcs8::DecodePrivateKey>::from_pkcs8_pem(&text).expect("a key")
    };
    let (app, capability) = (load("app.key"), load("capability.key"));
    let device = guest.shell("osagent app device").succeeds().output.trim().to_owned();
    for Case { name, file, token, says } in bad_files(&good, &device, &app, &capability) {
        let (taken, said) = install(project, guest, &file, token.as_deref());
        let measured = pings.since_last();
        let line = said.lines().next().unwrap_or_default();
        crate::say(&format!("package: {name}: {line}; answers: {measured}\n"));
        if !measured.is_within(crate::LIMIT_MEDIAN, crate::LIMIT_WORST) {
            objections.push(format!("package: {name}: the pinger answered too late: {measured}"));
        }
        if taken || !said.contains(says) {
            objections.push(format!("package: {name}: wanted `{says}`, got: {said}"));
        }
    }
    // Its signer vouches for it, so it is kept; the kernel is what finds it wrong, and nothing runs.
    let (_, said) =
        install(project, guest, &good.with(of_garbage).signed(&app), Some(&token(&device, false, &capability)));
    let kept = guest.app_becomes(VISITOR, "/state", "refused");
    crate::say(&format!("package: a superblock of nonsense: {}\n", kept["reason"]));
    if !kept["reason"].as_str().is_some_and(|reason| reason.contains("cannot mount the image")) {
        objections.push(format!("package: a superblock of nonsense: {kept:#}, {said}"));
    }
    let (taken, said) = install(
        project,
        guest,
        &images::smuggler(project, &good).signed(&app),
        Some(&token(&device, false, &capability)),
    );
    let end = guest.app_becomes(images::SMUGGLER, "/state", "failed");
    crate::say(&format!(
        "package: an image of a device, a set-id program and a link out: {}\n",
        end["last_end"]["text"]
    ));
    if !taken || end["last_end"]["reason"]["code"] != 40 {
        objections.push(format!("package: smuggled: {said} {end:#}"));
    }
    let version = |version: &str| good.with(|parts| parts.manifest.version = version.into()).signed(&app);
    let (plain, down) = (token(&device, false, &capability), token(&device, true, &capability));
    for (what, wanted, token, fine) in [
        ("the good one", "1.0.0", &plain, true),
        ("the next version", "1.1.0", &plain, true),
        ("an older version", "1.0.0", &plain, false),
        ("an older version that the token allows", "1.0.0", &down, true),
    ] {
        let (taken, said) = install(project, guest, &version(wanted), Some(token));
        crate::say(&format!("package: {what}: {said}"));
        if taken != fine {
            objections.push(format!("package: {what}: {said}"));
        }
    }
}
