//! A repository of updates on the command line: each verb, and what signing elsewhere looks like.

use crate::command::{osbuild, Ended, Project};
use std::path::{Path, PathBuf};
use std::process::Command;

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
    let checked = repo(&project, &["check", "site"]).succeeds();
    assert!(checked.output.starts_with("ok  root 2 of 2 is trusted\n"), "{}", checked.output);
    let soon = repo(&project, &["check", "site", "--warn-days", "9999"]);
    assert_eq!(soon.status, 0, "half of the time is left: {}", soon.errors);
    let rehearsed = repo(&project, &["rehearse", "site"]).succeeds();
    assert_eq!(rehearsed.output.lines().count(), 5, "{}", rehearsed.output);
    repo(&project, &["delegate", "site", "acme", "--key", "second", "--path", "apps/acme/*"]).succeeds();
    repo(&project, &["rollout", "site", "gateway-1.0.0", "10"]).fails_with(&["there is no target of `gateway-1.0.0`"]);
    project.write("x.payload", "no payload, but long enough");
    repo(&project, &["publish", "site", "--payload", "x.payload"]).fails_with(&["`x.payload` cannot be published"]);
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
    let signed = osbuild(&project, &sign).succeeds();
    assert!(
        signed.output.contains("root: metadata of a repository: _type root, version 1, expires 20"),
        "{}",
        signed.output
    );
    repo(&project, &["init", "site", "--signatures", "signatures.json"]).succeeds();
    repo(&project, &["check", "site"]).succeeds();
    // What was signed for one request is of no use for another.
    let again = repo(&project, &["rotate", "site", "--signatures", "signatures.json"]);
    assert_eq!(again.status, 3, "{}", again.errors);
    project.write("signatures.json", "{}");
    repo(&project, &["rotate", "site", "--signatures", "signatures.json"]).fails_with(&["is not a file of signatures"]);
}

/// SoftHSM's library and its tool: of Debian's packages `softhsm2` and `libsofthsm2`, installed or unpacked into a folder that
/// OSBUILD_SOFTHSM names.
fn softhsm() -> Option<(PathBuf, PathBuf)> {
    let root = std::env::var_os("OSBUILD_SOFTHSM").map_or(PathBuf::from("/"), PathBuf::from);
    let (library, tool) = (root.join("usr/lib/softhsm/libsofthsm2.so"), root.join("usr/bin/softhsm2-util"));
    (library.exists() && tool.exists()).then_some((library, tool))
}

#[test]
fn a_token_signs() {
    let Some((library, tool)) = softhsm() else {
        eprintln!(
            "SKIPPED: there is no SoftHSM here, so no token has signed; set OSBUILD_SOFTHSM (docs/formats/signing.md)"
        );
        return;
    };
    let (project, keys) = with_keys();
    let tokens = project.root.join("tokens");
    std::fs::create_dir(&tokens).expect("made");
    project
        .write("softhsm.conf", &format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()));
    let project = project.env("VAULT_PIN", "1234");
    let conf = project.root.join("softhsm.conf").display().to_string();
    let project = project.env("SOFTHSM2_CONF", conf);
    let module = library.display().to_string();
    let token = |args: &[&str]| {
        let mut command = Command::new(&tool);
        let output = project.prepare(command.args(["--module", &module]).args(args)).output().expect("started");
        assert!(output.status.success(), "{args:?}: {output:?}");
    };
    token(&["--init-token", "--free", "--label", "vault", "--pin", "1234", "--so-pin", "5678"]);
    for (id, name) in [("01", "root"), ("02", "db")] {
        let path = keys.join(format!("{name}.key"));
        let file = path.display().to_string();
        token(&["--import", &file, "--token", "vault", "--label", name, "--id", id, "--pin", "1234"]);
        std::fs::remove_file(&path).expect("removed");
        let pin = "VAULT_PIN";
        let signer = serde_json::json!({"pkcs11": {"module": module, "token": "vault", "key": name, "pin_env": pin}});
        std::fs::write(keys.join(format!("{name}.signer")), signer.to_string()).expect("written");
    }
    repo(&project, &["init", "site"]).succeeds();
    repo(&project, &["check", "site"]).succeeds();
    // The same key of a request, and the RSA key of Secure Boot.
    let id = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().expect("openssl");
        hex::encode(<sha2::Sha256 as sha2::Digest>::digest(output.stdout))
    };
    let certificate = keys.join("db.crt").display().to_string();
    let public =
        Command::new("openssl").args(["x509", "-in", &certificate, "-noout", "-pubkey"]).output().expect("openssl");
    project.write("db.pem", &String::from_utf8_lossy(&public.stdout));
    let pem = project.root.join("db.pem").display().to_string();
    let key_id = id(&["pkey", "-pubin", "-in", &pem, "-outform", "DER"]);
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b"message"));
    let entry = serde_json::json!({"id": "db-1", "key": "db", "key_id": key_id, "algorithm": "rsa-pkcs1v15-sha256",
        "what": "a test", "sha256": sha256, "message": "bWVzc2FnZQ=="});
    project.write("request.json", &serde_json::json!({"format": 1, "seconds": 1, "entries": [entry]}).to_string());
    osbuild(&project, &["sign", "request.json", "-o", "signatures.json"]).succeeds();
    let project = project.env("VAULT_PIN", "4321");
    osbuild(&project, &["sign", "request.json", "-o", "x"]).fails_with(&["the token does not sign with key `db`"]);
}
