//! A developer's way with apps, as far as it goes without a board.

use crate::command::{osbuild, Project};
use osbuild_format::app::token::Token;
use osbuild_format::app::{package, token, PAYLOAD_TYPE};
use osbuild_format::dsse::{self, VerifyingKey};

const ID: &str = "abababababababababababababababababababababababababababababababab";

/// A public key of the project.
fn key(project: &Project, name: &str) -> VerifyingKey {
    use ed25519_dalek::pkcs8::DecodePublicKey;
    let text = std::fs::read_to_string(project.root.join(format!("keys/{name}.pub"))).expect("made");
    VerifyingKey::from_public_key_pem(&text).expect("a key")
}

fn payload(project: &Project, file: &str) -> Vec<u8> {
    let bytes = std::fs::read(project.root.join(file)).expect("built");
    let (envelope, key) = (package::envelope(&bytes).expect("an envelope"), key(project, "app"));
    dsse::verify(envelope, PAYLOAD_TYPE, &key, &dsse::key_id(&key)).expect("signed")
}

#[test]
fn a_new_app_builds_in_either_language_and_is_signed() {
    let project = Project::copy();
    for (name, language) in [("first", "rust"), ("second", "c")] {
        let made = osbuild(&project, &["app", "new", name, "--lang", language]).succeeds();
        for part in [format!("osbuild app build {name}"), format!("`apps: {{{name}: {{}}}}` in a product")] {
            assert!(made.errors.contains(&part), "{}", made.errors);
        }
        osbuild(&project, &["app", "new", name, "--lang", language]).fails_with(&["is there already", "help: "]);
        let file = format!("out/apps/{name}.app");
        let built = osbuild(&project, &["app", "build", name]).succeeds();
        assert!(built.output.ends_with(&format!("{file}\n")), "{}", built.output);
        let signed = payload(&project, &file);
        let again = osbuild(&project, &["app", "build", name, "--out", "again.app"]).succeeds();
        assert_eq!(again.errors, "", "nothing runs again");
        assert_eq!(payload(&project, "again.app"), signed);
    }
    osbuild(&project, &["app", "new", "Big", "--lang", "c"]).fails_with(&["this is no id of an app: `Big`"]);
    osbuild(&project, &["app", "new", "busybox", "--lang", "c"]).fails_with(&["is named `busybox` already"]);
    osbuild(&project, &["app", "build", "secnd"]).fails_with(&["there is no app `secnd`", "did you mean `second`?"]);
}

#[test]
fn a_check_says_what_an_app_may_do_and_where_it_does_not_fit() {
    let project = Project::copy();
    let telemetry = osbuild(&project, &["app", "check", "telemetry", "--product", "gateway-dev"]);
    telemetry.fails_with(&[
        "app `telemetry` uses the device `$METER_UART`, which machine `qemu-x86_64` does not have",
        "app `telemetry` connects to app `mosquitto`, which product `gateway-dev` does not have",
        "apps/telemetry/app.yaml:",
    ]);
    osbuild(&project, &["app", "new", "quiet", "--lang", "c"]).succeeds();
    let quiet = osbuild(&project, &["app", "check", "quiet"]).succeeds();
    for part in ["it may\n  reach nothing outside its own image\n", "  8 MiB of memory", "system calls: these "] {
        assert!(quiet.output.contains(part), "`{part}` is not in:\n{}", quiet.output);
    }
    assert!(quiet.errors.contains("no product has it yet"), "{}", quiet.errors);
    let fits = osbuild(&project, &["app", "check", "quiet", "--product", "gateway"]).succeeds();
    assert!(fits.errors.contains("fits: `gateway`"), "{}", fits.errors);
    osbuild(&project, &["app", "check", "quit"]).fails_with(&["there is no app `quit`", "did you mean `quiet`?"]);
}

#[test]
fn a_file_from_elsewhere_is_signed_in_place_and_a_damaged_one_is_not() {
    let project = Project::copy();
    osbuild(&project, &["app", "new", "meter", "--lang", "c"]).succeeds();
    osbuild(&project, &["app", "build", "meter", "--out", "meter.app"]).succeeds();
    let whole = std::fs::read(project.root.join("meter.app")).expect("built");
    std::fs::remove_dir_all(project.root.join("keys")).expect("removed");
    osbuild(&project, &["app", "sign", "meter.app"]).succeeds();
    payload(&project, "meter.app");
    let mut damaged = whole;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(project.root.join("meter.app"), &damaged).expect("written");
    osbuild(&project, &["app", "sign", "meter.app"]).fails_with(&["the image in `meter.app` is not what"]);
    assert_eq!(std::fs::read(project.root.join("meter.app")).expect("there"), damaged, "nothing was written");
    osbuild(&project, &["app", "sign", "layers/core/layer.yaml"]).fails_with(&["is not an app's file"]);
}

#[test]
fn a_token_is_signed_where_its_key_is_and_is_the_one_that_was_asked_for() {
    let project = Project::copy();
    let words = ["app", "token", "--device", ID, "--sideload", "--days", "1"];
    osbuild(&project, &words).succeeds();
    let (keys, vault) = (project.root.join("keys"), project.root.join("vault"));
    std::fs::create_dir(&vault).expect("made");
    std::fs::rename(keys.join("capability.key"), vault.join("capability.key")).expect("moved");
    std::fs::copy(keys.join("capability.pub"), vault.join("capability.pub")).expect("copied");
    let asked = osbuild(&project, &[&words[..], &["--sign-request", "request.json"]].concat());
    assert!(asked.status == 3 && asked.errors.contains("token for device"), "{}", asked.errors);
    assert_eq!(asked.output, "");
    let signed = osbuild(&project, &["sign", "request.json", "--keys", "vault", "-o", "token.sig"]).succeeds();
    assert!(signed.output.contains("application/vnd.osbuild.capability+json: device"), "{}", signed.output);
    let given = ["--signatures", "token.sig"];
    let made = osbuild(&project, &[&words[..], &given].concat()).succeeds();
    let key = key(&project, "capability");
    let payload = dsse::verify(made.output.as_bytes(), token::PAYLOAD_TYPE, &key, &dsse::key_id(&key)).expect("signed");
    assert!(Token::from_json(&payload, ID, 0).expect("good").not_after.is_some());
    // For more than was asked, others are asked again.
    let more = osbuild(&project, &[&words[..], &["--downgrade"], &given].concat());
    assert!(more.status == 3 && more.errors.contains("none of the signatures in `token.sig`"), "{}", more.errors);
}

#[test]
fn a_token_is_for_one_device_and_for_a_time() {
    let project = Project::copy();
    let made = osbuild(&project, &["app", "token", "--device", ID, "--sideload", "--days", "1"]).succeeds();
    let key = key(&project, "capability");
    let payload = dsse::verify(made.output.as_bytes(), token::PAYLOAD_TYPE, &key, &dsse::key_id(&key)).expect("signed");
    let token = Token::from_json(&payload, ID, 0).expect("good");
    assert!(token.sideload && !token.downgrade);
    assert!(Token::from_json(&payload, ID, u64::MAX).is_err(), "it ends");
    osbuild(&project, &["app", "token", "--device", ID]).fails_with(&["would allow nothing", "--sideload"]);
    osbuild(&project, &["app", "token", "--device", ID, "--sideload", "--days", "0"])
        .fails_with(&["over at once: `--days 0`"]);
    osbuild(&project, &["app", "token", "--device", "me", "--sideload"]).fails_with(&["no device's id: `me`"]);
}

#[test]
fn keys_for_the_field_need_their_own_signers() {
    let project = Project::copy();
    osbuild(&project, &["keys", "init", "field"]).succeeds();
    std::fs::remove_file(project.root.join("field/app.key")).expect("removed");
    let project = project.env("OSBUILD_KEYS", "field");
    osbuild(&project, &["app", "new", "meter", "--lang", "c"]).succeeds();
    let built = osbuild(&project, &["app", "build", "meter"]).succeeds();
    assert!(built.errors.contains("not signed: `field` has no key `app`"), "{}", built.errors);
    osbuild(&project, &["app", "sign", "out/apps/meter.app"]).fails_with(&["there is no key `app`", "help: "]);
    std::fs::remove_file(project.root.join("field/capability.pub")).expect("removed");
    osbuild(&project, &["app", "token", "--device", ID, "--sideload"]).fails_with(&["there is no key `capability`"]);
}

#[test]
fn a_program_that_the_sdk_built_elsewhere_becomes_an_app() {
    let project = Project::copy();
    osbuild(&project, &["app", "sdk", "exported", "--with", "zlib"]).succeeds();
    osbuild(&project, &["app", "sdk", "exported"]).fails_with(&["`exported` is there already", "help: "]);
    osbuild(&project, &["app", "sdk", "other", "--with", "zlb"])
        .fails_with(&["no recipe `zlb`", "did you mean `zlib`?"]);
    // It works wherever it lies.
    std::fs::rename(project.root.join("exported"), project.root.join("moved here")).expect("moved");
    let sdk = project.root.join("moved here");
    let source = "#include <stdio.h>\n#include <zlib.h>\nint main(void) { puts(zlibVersion()); return 0; }\n";
    project.write("hello.c", source);
    std::fs::create_dir_all(project.root.join("files/usr/bin")).expect("made");
    let program = project.root.join("files/usr/bin/hello");
    let mut compiler = std::process::Command::new(sdk.join("bin/osbuild-cc"));
    compiler.current_dir(&project.root).args(["-fPIE", "-pie", "-o"]).arg(&program).args(["hello.c", "-lz"]);
    assert!(compiler.status().expect("this machine has a C compiler").success());
    let libraries = sdk.join("sysroot/usr/lib");
    let mut run = std::process::Command::new(libraries.join("ld-musl-x86_64.so.1"));
    let said = run.env("LD_LIBRARY_PATH", &libraries).arg(&program).output().expect("started");
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("1."), "{said:?}");

    let manifest = |packages: &str| {
        format!(
            "schema: 1\napp: hello\nversion: \"1.0.0\"\ntitle: Hello\npackages: [{packages}]\nexec: [/usr/bin/hello]\n"
        )
    };
    // However YAML lets the name be written.
    project.write("hello.yaml", &manifest("musl, zlib").replace("app: hello", "\"app\": 'hello' # this one"));
    let pack = ["app", "pack", "files", "--manifest", "hello.yaml"];
    osbuild(&project, &pack).succeeds();
    let signed = payload(&project, "out/apps/hello.app");
    osbuild(&project, &[&pack[..], &["--out", "again.app"]].concat()).succeeds();
    assert_eq!(payload(&project, "again.app"), signed);
    assert!(!project.root.join("apps/hello").exists(), "the project is not changed");
    let pipe = project.root.join("files/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("made");
    osbuild(&project, &pack).fails_with(&["cannot copy `files/pipe`", "neither a file nor a folder nor a link"]);
    std::fs::remove_file(pipe).expect("removed");
    project.write("hello.yaml", &manifest("musl"));
    osbuild(&project, &pack).fails_with(&["needs a library that is not in the image: `libz.so.1`"]);
    project.write("hello.yaml", &(manifest("musl") + "skeletons: [x]\n"));
    osbuild(&project, &pack).fails_with(&["names skeletons", "help: "]);
    project.write("hello.yaml", "schema: 1\napp: [\n");
    osbuild(&project, &pack).fails_with(&["--> hello.yaml:"]);
    project.write("hello.yaml", "schema: 1\n");
    osbuild(&project, &pack).fails_with(&["does not say which app it is", "add `app: NAME`"]);
}

#[test]
fn a_device_that_is_not_there_is_named_with_what_would_help() {
    let project = Project::copy();
    osbuild(&project, &["app", "logs", "meter"]).fails_with(&["there is no key", "`--key FILE` names yours"]);
    osbuild(&project, &["app", "logs", "a;reboot"]).fails_with(&["this is no id of an app: `a;reboot`"]);
    project.write("key", "not a key");
    let at = |place: &str| osbuild(&project, &["app", "status", "--key", "key", &format!("--ssh={place}")]);
    at("-oProxyCommand=x@192.0.2.7").fails_with(&["this is no device", "the user is not a user's name"]);
    at("root@127.0.0.1:1").fails_with(&["no way in to `root@127.0.0.1:1`", "`osbuild app run NAME` starts"]);
    osbuild(&project, &["app", "run", "meter", "--product", "gateway"])
        .fails_with(&["nobody can log in to product `gateway`", "help: "]);
}
