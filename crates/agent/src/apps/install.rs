//! A file somebody brought, and a token for this device, to a package that the device keeps; or why not.
//!
//! Invariant: nothing is kept that is not signed by a trusted key and allowed by a token that a trusted key signed for
//! this device; what was kept before stays until the new file is whole on the disk.

use super::admission::Objection;
use super::package::{self, Package, Vouched};
use crate::error::{chain, AgentError, Doing};
use crate::{file, time};
use osbuild_format::app::token::{self, Token};
use osbuild_format::app::Manifest;
use osbuild_format::device::DeviceConfig;
use osbuild_format::dsse;
use std::path::{Path, PathBuf};

/// Where a client puts the file that it asks to be installed.
pub const INCOMING: &str = "/data/osagent/apps/incoming";
const PACKAGES: &str = "/data/osagent/apps/packages";
/// The token that the last installation was allowed by; without it what was installed does not run.
const TOKEN: &str = "/data/osagent/apps/token";

/// The package, kept if `admit` has nothing against it either: of what is refused, nothing stays.
pub fn adopt(
    name: &str,
    given_token: Option<&str>,
    config: &DeviceConfig,
    device_id: &str,
    admit: impl FnOnce(&Manifest, &Token) -> Result<(), AgentError>,
) -> Result<Package, AgentError> {
    let incoming = incoming(name)?;
    let adopted = check_and_keep(&incoming, given_token, config, device_id, admit);
    if adopted.is_err() {
        // Of no use to anybody; what could not be removed is removed at the next start.
        let _ = std::fs::remove_file(&incoming);
    }
    adopted
}

fn check_and_keep(
    incoming: &Path,
    given_token: Option<&str>,
    config: &DeviceConfig,
    device_id: &str,
    admit: impl FnOnce(&Manifest, &Token) -> Result<(), AgentError>,
) -> Result<Package, AgentError> {
    let keys = package::keys(&config.app_signers);
    let package = package::open(incoming, &Vouched::BySigner(&keys))?;
    let kept = file::text(TOKEN).ok();
    let envelope = given_token.or(kept.as_deref()).ok_or_else(|| {
        AgentError::Wrong(format!("this device takes apps only with a capability token: it is `{device_id}`"))
    })?;
    let token = read_token(envelope, config, device_id, time::unix().as_secs())?;
    check_single(&package.manifest, config)?;
    admit(&package.manifest, &token)?;
    let path = place(&package.digest);
    let doing = || format!("keep `{}`", path.display());
    std::fs::create_dir_all(PACKAGES).doing(doing)?;
    file::open(incoming).and_then(|file| file.sync_all()).doing(doing)?;
    std::fs::rename(incoming, &path).doing(doing)?;
    file::open(PACKAGES).and_then(|folder| folder.sync_all()).doing(doing)?;
    if given_token.is_some() {
        file::replace(TOKEN, envelope.as_bytes(), 0o600).doing(|| format!("keep `{TOKEN}`"))?;
    }
    Ok(Package { path, ..package })
}

/// What was installed before and still may run, and the token that it may by.
pub fn installed(digest: &str, config: &DeviceConfig, device_id: &str) -> Result<(Package, Token), AgentError> {
    let envelope = file::text(TOKEN).doing(|| format!("read the capability token `{TOKEN}`"))?;
    // Its time counts when something is installed: a device must not lose its apps on a birthday.
    let token = read_token(&envelope, config, device_id, 0)?;
    let package = package::open(&place(digest), &Vouched::BySigner(&package::keys(&config.app_signers)))?;
    if package.digest != digest {
        return Err(AgentError::Wrong(format!("`{}` is another app than was installed", package.path.display())));
    }
    // The image that it was installed beside may have been another.
    check_single(&package.manifest, config)?;
    Ok((package, token))
}

/// An app of a production device's image has no other in its place.
fn check_single(manifest: &Manifest, config: &DeviceConfig) -> Result<(), AgentError> {
    match config.production && config.apps.iter().any(|app| app.id == manifest.id) {
        true => Err(refused(&manifest.id, &Objection::Duplicate)),
        false => Ok(()),
    }
}

pub fn refused(id: &str, objection: &Objection) -> AgentError {
    AgentError::Wrong(format!("`{id}` is refused: {objection}"))
}

/// The token, if a key that this device trusts signed it for this device and for installing apps.
fn read_token(envelope: &str, config: &DeviceConfig, device_id: &str, now: u64) -> Result<Token, AgentError> {
    if envelope.len() > token::LIMIT_BYTES {
        return Err(AgentError::Wrong(format!("the capability token has more than {} bytes", token::LIMIT_BYTES)));
    }
    // The envelope's one spelling ends in a line break, which reading a text takes away.
    let exact = format!("{}\n", envelope.trim_end());
    let keys = package::keys(&config.capability_signers);
    let payload =
        keys.iter().find_map(|key| dsse::verify(exact.as_bytes(), token::PAYLOAD_TYPE, key, &dsse::key_id(key)).ok());
    let payload = payload.ok_or_else(|| {
        AgentError::Wrong("the capability token is not signed by a key that this device trusts".to_owned())
    })?;
    let token = Token::from_json(&payload, device_id, now).map_err(|error| AgentError::Wrong(chain(&error)))?;
    match token.sideload {
        true => Ok(token),
        false => Err(AgentError::Wrong("the capability token does not allow to install apps".to_owned())),
    }
}

/// Removes what nothing refers to: packages of versions that are gone, and files that were never installed.
pub fn sweep(keep: &[String]) {
    for folder in [PACKAGES, INCOMING] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let kept = folder == PACKAGES && keep.iter().any(|digest| name.to_str() == Some(&format!("{digest}.app")));
            if !kept {
                // It is tried again at the next start.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

fn place(digest: &str) -> PathBuf {
    Path::new(PACKAGES).join(format!("{digest}.app"))
}

/// A client names a file of the one folder, never a path.
fn incoming(name: &str) -> Result<PathBuf, AgentError> {
    let plain = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match plain {
        true => Ok(Path::new(INCOMING).join(name)),
        false => Err(AgentError::Wrong(format!("this is no file of `{INCOMING}`: `{name}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osbuild_format::device::AppConfig;
    use osbuild_format::dsse::SigningKey;
    use osbuild_format::hex;

    fn config(signer: &SigningKey) -> DeviceConfig {
        let value = serde_json::json!({
            "format": 1, "product": "p", "version": "1.0.0", "machine": "m", "hostname": "h", "console": "ttyS0",
            "capability_signers": [hex::encode(signer.verifying_key().as_bytes())],
        });
        DeviceConfig::from_json(value.to_string().as_bytes()).expect("valid")
    }

    fn token(device: &str, signer: &SigningKey) -> String {
        let token = Token {
            format: token::FORMAT,
            device: device.to_owned(),
            sideload: true,
            downgrade: false,
            not_after: Some(1000),
        };
        let id = dsse::key_id(&signer.verifying_key());
        dsse::sign(token::PAYLOAD_TYPE, &token.to_json(), signer, &id)
    }

    #[test]
    fn a_token_counts_on_its_device_from_its_signer_in_its_time() {
        let (signer, stranger) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let config = config(&signer);
        let read = |text: &str, now| read_token(text, &config, "mine", now).map_err(|error| error.to_string());
        assert!(read(&token("mine", &signer), 999).is_ok_and(|token| token.sideload && !token.downgrade));
        assert!(read(token("mine", &signer).trim_end(), 999).is_ok(), "as it is read back from its file");
        for (text, now, reason) in [
            (token("mine", &stranger), 0, "not signed by a key that this device trusts"),
            (token("yours", &signer), 0, "for another device: `yours`"),
            (token("mine", &signer), 1000, "good until 1000 s"),
            ("{}".to_owned(), 0, "not signed by a key"),
            ("x".repeat(5000), 0, "more than 4096 bytes"),
        ] {
            let error = read(&text, now).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn an_app_of_a_production_image_has_no_other_in_its_place() {
        let manifest = |id: &str| {
            let value = serde_json::json!({
                "format": 1, "id": id, "version": "1.0.0", "title": id, "architecture": "x86_64", "abi": {"runtime": 1},
                "image": {"data_blocks": 1, "root_hash": "0".repeat(64), "salt": ""}, "argv": ["/a"],
            });
            Manifest::from_json(value.to_string().as_bytes()).expect("valid")
        };
        let shipped = |production| {
            let apps = vec![AppConfig { id: "a".into(), digest: "0".repeat(64), third_party: true, critical: false }];
            DeviceConfig { production, apps, ..config(&SigningKey::from_bytes(&[1; 32])) }
        };
        let error = check_single(&manifest("a"), &shipped(true)).expect_err("the image has it").to_string();
        assert!(error.contains("`a` is refused: the image of this production device has an app of this id"), "{error}");
        assert!(check_single(&manifest("b"), &shipped(true)).is_ok());
        assert!(check_single(&manifest("a"), &shipped(false)).is_ok());
    }

    #[test]
    fn a_client_names_no_paths() {
        for bad in ["", "../x", "a/b", "a.b", &"x".repeat(65)] {
            assert!(incoming(bad).is_err(), "{bad}");
        }
        assert!(incoming("upload-17").is_ok());
    }
}
