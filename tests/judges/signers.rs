//! Images and repositories whose private keys osbuild never sees: in a token that made them, or behind a program.
//!
//! SoftHSM is the token, OpenSC's program makes keys in it, OpenSSL is the program. Invariant: no private key that signs here is
//! in a file of the project's folder of keys.

use super::command::{osbuild, Ended, Project};
use super::Judge;
use osbuild::tools::board::ToolRoot;
use std::path::{Path, PathBuf};
use std::process::Command;

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const MODULE: &str = "usr/lib/softhsm/libsofthsm2.so";

/// A project with keys to ship with, all of them in files, in a folder of its own.
fn with_keys() -> (Project, PathBuf) {
    let project = Project::copy();
    let keys = project.root.join("production");
    osbuild(&project, &["keys", "init", &keys.display().to_string()]).succeeds();
    (project.env("OSBUILD_KEYS", keys.display().to_string()), keys)
}

/// A tool tree; its packages come from the network the first time.
fn tree(project: &Project, name: &str) -> PathBuf {
    let Ended { status, output, errors } = osbuild(project, &["tools", name]);
    assert_eq!(status, 0, "without tool tree `{name}`, whose packages the network has, nobody signs: {errors}");
    output.trim().into()
}

/// Has the image signed anew, which fails.
fn image_fails_with(project: &Project, parts: &[&str]) {
    std::fs::remove_dir_all(project.root.join("out/images")).expect("an image that is there is not signed again");
    osbuild(project, &["image"]).fails_with(parts);
}

/// Signs an image and asks others about the UKI and the manifest.
fn image_is_sound(project: &Project, keys: &Path) {
    let judge = Judge::of(project, "filesystems");
    let certificate = judge.scratch.path().join("db.crt");
    std::fs::copy(keys.join("db.crt"), &certificate).expect("copied");
    let certificate = certificate.display().to_string();
    let verify = |uki: &str| judge.ask("/usr/bin/sbverify", &["--cert", &certificate, uki]);
    let (accepted, said) = verify(&judge.path("uki.efi"));
    assert!(accepted && said.contains("Signature verification OK"), "{said}");
    assert!(!verify(&judge.changed("uki.efi", 3_000_000)).0);
    let manifest = std::fs::read(judge.image.join("manifest.dsse.json")).expect("read");
    judge.check_signature(&manifest, &keys.join("release.pub"));
}

#[test]
fn keys_that_a_token_made_sign_an_image_and_a_repository() {
    let (project, keys) = with_keys();
    let tree = tree(&project, "softhsm");
    std::fs::create_dir(project.root.join("tokens")).expect("made");
    let tokens = project.root.join("tokens").display().to_string();
    project.write("softhsm.conf", &format!("directories.tokendir = {tokens}\nobjectstore.backend = file\n"));
    let conf = project.root.join("softhsm.conf").display().to_string();
    let judges = tree_of_judges(&project, &keys);
    // The tree has no C library: what is loaded into osbuild has to get along with that of the host.
    let project = project.env("SOFTHSM2_CONF", conf).env("LD_LIBRARY_PATH", tree.join(LIBRARIES).display().to_string());
    let project = project.env("VAULT_PIN", "1234");
    let module = tree.join(MODULE).display().to_string();
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(tree.join("usr/bin").join(program));
        let output = project.prepare(command.args(["--module", &module]).args(args)).output().expect("started");
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
    };
    run("softhsm2-util", &["--init-token", "--free", "--label", "vault", "--pin", "1234", "--so-pin", "5678"]);
    for (id, name, kind) in
        [("01", "release", "EC:edwards25519"), ("02", "root", "EC:edwards25519"), ("03", "db", "rsa:2048")]
    {
        let token = |args: &[&str]| {
            run(
                "pkcs11-tool",
                &[&["--token-label", "vault", "--login", "--pin", "1234", "--label", name], args].concat(),
            );
        };
        token(&["--keypairgen", "--key-type", kind, "--id", id]);
        let public = judges.scratch.path().join(format!("{name}.pub")).display().to_string();
        token(&["--read-object", "--type", "pubkey", "--output-file", &public]);
        std::fs::remove_file(keys.join(format!("{name}.key"))).expect("removed");
        match name {
            "db" => certify(&judges, &public, &keys),
            _ => drop(std::fs::copy(&public, keys.join(format!("{name}.pub"))).expect("copied")),
        }
        let signer = serde_json::json!({"module": module, "token": "vault", "key": name, "pin_env": "VAULT_PIN"});
        let signer = serde_json::json!({ "pkcs11": signer }).to_string();
        std::fs::write(keys.join(format!("{name}.signer")), signer).expect("written");
    }
    image_is_sound(&project, &keys);
    let repo = |args: &[&str]| osbuild(&project, &[&["repo"], args].concat());
    repo(&["init", "site"]).succeeds();
    repo(&["check", "site"]).succeeds();
    // The same token where it is asked from elsewhere.
    std::fs::rename(keys.join("root.signer"), project.root.join("root.signer")).expect("moved");
    assert_eq!(repo(&["init", "other", "--sign-request", "request.json"]).status, 3);
    std::fs::rename(project.root.join("root.signer"), keys.join("root.signer")).expect("moved");
    osbuild(&project, &["sign", "request.json", "-o", "signatures.json"]).succeeds();
    repo(&["init", "other", "--signatures", "signatures.json"]).succeeds();
    repo(&["check", "other"]).succeeds();
    // SoftHSM has no keypad: without a PIN it is not even asked.
    let asking = std::fs::read(keys.join("root.signer")).expect("read");
    let without = serde_json::json!({"pkcs11": {"module": module, "token": "vault", "key": "root"}}).to_string();
    std::fs::write(keys.join("root.signer"), without).expect("written");
    let missing = ["token `vault` wants a PIN", "`pin_env` names a variable with it, `pin_file` a file"];
    osbuild(&project, &["sign", "request.json", "-o", "x"]).fails_with(&missing);
    std::fs::write(keys.join("root.signer"), asking).expect("written");
    let project = project.env("VAULT_PIN", "4321");
    osbuild(&project, &["sign", "request.json", "-o", "x"]).fails_with(&["the token does not sign with key `root`"]);
    image_fails_with(&project, &["the token does not sign with key `db`"]);
}

/// OpenSSL, which reads the folder of keys.
fn tree_of_judges(project: &Project, keys: &Path) -> Judge {
    let scratch = tempfile::tempdir_in(&project.root).expect("a folder");
    Judge { tools: ToolRoot::new(tree(project, "filesystems")), image: keys.to_owned(), scratch }
}

/// Has the key that may change the list of Secure Boot certify the one in the token.
fn certify(openssl: &Judge, public: &str, keys: &Path) {
    let new = openssl.scratch.path().join("db.crt").display().to_string();
    let (authority, key) = (openssl.path("KEK.crt"), openssl.path("KEK.key"));
    let issued = ["-CA", &authority, "-CAkey", &key, "-days", "9999", "-out", &new];
    let args = [&["x509", "-new", "-subj", "/CN=vault", "-force_pubkey", public][..], &issued].concat();
    let (made, said) = openssl.ask("/usr/bin/openssl", &args);
    assert!(made, "{said}");
    std::fs::copy(&new, keys.join("db.crt")).expect("copied");
}

#[test]
fn a_program_signs_an_image_and_an_error_of_its_own_is_told() {
    let (project, keys) = with_keys();
    let tree = tree(&project, "filesystems").display().to_string();
    let vault = project.root.join("vault");
    std::fs::create_dir(&vault).expect("made");
    // The tree's programs on the tree's C library.
    let openssl =
        format!("{tree}/usr/lib64/ld-linux-x86-64.so.2 --library-path {tree}/{LIBRARIES} {tree}/usr/bin/openssl");
    let script = format!(
        "cd {}\ncat > message\ncase $OSBUILD_SIGN_ALGORITHM in\n\
         ed25519) {openssl} pkeyutl -sign -rawin -inkey $OSBUILD_SIGN_KEY.key -in message;;\n\
         rsa-pkcs1v15-sha256) {openssl} dgst -sha256 -sign $OSBUILD_SIGN_KEY.key message;;\nesac\n",
        vault.display()
    );
    project.write("sign.sh", &script);
    let script = project.root.join("sign.sh").display().to_string();
    for name in ["db", "release"] {
        std::fs::rename(keys.join(format!("{name}.key")), vault.join(format!("{name}.key"))).expect("moved");
        let signer = serde_json::json!({"command": ["sh", "-e", script]}).to_string();
        std::fs::write(keys.join(format!("{name}.signer")), signer).expect("written");
    }
    image_is_sound(&project, &keys);
    osbuild(&project, &["verify", "out/images/gateway/latest", "--production"]).succeeds();
    std::fs::rename(vault.join("release.key"), vault.join("gone")).expect("moved");
    image_fails_with(&project, &["the program that is to sign with key `release` does not", "release.key"]);
}
