//! Keys that are missing, damaged or open to everybody.

use crate::command::{in_namespace, osbuild, Project};
use std::os::unix::fs::PermissionsExt;

fn with_keys() -> (Project, std::path::PathBuf) {
    let project = Project::copy();
    let folder = project.root.join("production");
    osbuild(&project, &["keys", "init", &folder.display().to_string()]).succeeds();
    (project.env("OSBUILD_KEYS", folder.display().to_string()), folder)
}

#[test]
fn keys_are_made_once_and_verification_needs_them() {
    let (project, folder) = with_keys();
    let place = folder.display().to_string();
    let mode = std::fs::metadata(folder.join("db.key")).expect("made").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    osbuild(&project, &["keys", "init", &place]).fails_with(&["there are keys in", "never overwritten", &place]);
    osbuild(&project, &["verify", "layers", "--keys", &place]).fails_with(&["the manifest is not sound"]);
    osbuild(&project, &["verify", "layers", "--keys", "nowhere"]).fails_with(&["release.pub", "--keys FOLDER"]);
}

#[test]
fn a_disk_alone_cannot_be_checked_for_production() {
    let (project, folder) = with_keys();
    project.write("disk.img", "anything");
    let keys = folder.display().to_string();
    osbuild(&project, &["verify", "disk.img", "--keys", &keys, "--production"])
        .fails_with(&["a disk alone does not say", "check the image's folder"]);
}

#[test]
fn keys_for_the_field_sign_no_product_of_a_developer() {
    let (project, _) = with_keys();
    osbuild(&project, &["image", "gateway-dev"]).fails_with(&["`gateway-dev` is a developer's product", "help: "]);
    assert!(!project.root.join("out/images/gateway-dev/latest").exists());
}

#[test]
fn a_key_that_is_missing_or_unreadable_is_named_and_nothing_is_signed() {
    let (project, folder) = with_keys();
    let path = |name: &str| folder.join(name).display().to_string();
    let refused = |name: &str, parts: &[&str]| {
        let ended = osbuild(&project, &["image"]).fails_with(parts);
        for part in [path(name).as_str(), "help: "] {
            assert!(ended.errors.contains(part), "`{part}` is not in:\n{}", ended.errors);
        }
    };
    let broken = |name: &str, damage: &dyn Fn(), parts: &[&str]| {
        let whole = std::fs::read(folder.join(name)).expect("read");
        std::fs::remove_file(folder.join(name)).expect("removed");
        damage();
        refused(name, parts);
        let _ = std::fs::remove_dir(folder.join(name));
        std::fs::write(folder.join(name), whole).expect("written");
        let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).expect("set");
    };
    let write = |name: &str, text: &str, mode: u32| {
        std::fs::write(folder.join(name), text).expect("written");
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).expect("set");
    };
    broken(
        "db.key",
        &|| {},
        &["the private half of key `db` is not here", "put it back into", "`--sign-request FILE`"],
    );
    broken("release.key", &|| write("release.key", "garbage", 0o600), &["is not a valid Ed25519 key"]);
    broken("db.crt", &|| write("db.crt", "garbage", 0o644), &["is not a valid certificate"]);
    broken(
        "db.key",
        &|| std::fs::create_dir(folder.join("db.key")).expect("made"),
        &["is not a valid private key: it is not a file"],
    );
    let open = |name: &str| write(name, "x", 0o644);
    broken("db.key", &|| open("db.key"), &["can be read by others", "644", "chmod 600"]);
    broken("purpose", &|| {}, &["No such file"]);
    // Without capabilities even root cannot read what nobody may read.
    std::fs::set_permissions(folder.join("db.key"), std::fs::Permissions::from_mode(0o000)).expect("set");
    let powerless = "exec setpriv --bounding-set=-all --inh-caps=-all \"$OSBUILD\" image";
    let parts = ["cannot open `", &path("db.key"), "Permission denied"];
    in_namespace(&project, powerless).fails_with(&parts);
    std::fs::set_permissions(folder.join("db.key"), std::fs::Permissions::from_mode(0o600)).expect("set");
    assert!(!project.root.join("out/images/gateway").exists(), "nothing was signed");
    osbuild(&project, &["image"]).succeeds();
}

#[test]
fn a_folder_of_keys_that_is_not_there_is_not_made_in_silence() {
    let project = Project::copy();
    let folder = project.root.join("misspelt").display().to_string();
    let project = project.env("OSBUILD_KEYS", folder.clone());
    let said = format!("there are no keys in `{folder}`, which OSBUILD_KEYS names");
    osbuild(&project, &["image"]).fails_with(&[&said, &format!("`osbuild keys init {folder}` makes them")]);
    assert!(!project.root.join("misspelt").exists());
}

#[test]
fn development_keys_say_what_they_are_and_sign_nothing_that_is_shipped() {
    let project = Project::copy();
    let image = osbuild(&project, &["image"]).succeeds();
    assert!(image.errors.contains("DEVELOPMENT KEYS made in"), "{}", image.errors);
    let again = osbuild(&project, &["image"]).succeeds();
    assert!(again.errors.contains("signed with DEVELOPMENT KEYS"), "{}", again.errors);
    let folder = "out/images/gateway/latest";
    let verified = osbuild(&project, &["verify", folder]).succeeds();
    assert!(verified.errors.contains("signed with DEVELOPMENT KEYS"), "{}", verified.errors);
    osbuild(&project, &["verify", folder, "--production"]).fails_with(&["are development keys", "help: `osbuild keys"]);
    let named = project.root.join("keys").display().to_string();
    let project = project.env("OSBUILD_KEYS", named);
    osbuild(&project, &["image"]).fails_with(&["`gateway` is a production product", "are development keys", "help: "]);
}

#[test]
fn keys_to_ship_with_pass_for_production() {
    let (project, _) = with_keys();
    let image = osbuild(&project, &["image"]).succeeds();
    let verified = osbuild(&project, &["verify", "out/images/gateway/latest", "--production"]).succeeds();
    for errors in [image.errors, verified.errors] {
        assert!(!errors.contains("DEVELOPMENT"), "{errors}");
    }
    osbuild(&project, &["verify", "out/images/nothing"])
        .fails_with(&["there is no image `out/images/nothing`", "help: "]);
}
