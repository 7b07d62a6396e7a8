//! `osbuild keys`, and the keys that an image is signed with.
//!
//! Invariant: whoever names a folder of keys gets those keys or an error; development keys are said to be that
//! each time they sign.

use super::project::{self, Project};
use super::report::Failure;
use crate::model::product::Product;
use crate::release::keys::{self, KeyError, Keys, Purpose};
use crate::release::signer::role::{self, Role};
use crate::release::signer::{Exchange, Signer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The keys that sign `product`. Keys for the field sign nothing that lets a developer in: every device that trusts them
/// would boot it. Who sets OSBUILD_KEYS signs what is shipped, so a production product refuses
/// development keys there; without it, an image for the bench is made of any product.
pub fn for_product(project: &Project, product: &Product, exchange: &Exchange) -> Result<Keys, Failure> {
    let keys = load(project, exchange)?;
    if keys.purpose == Purpose::Production && !product.production {
        let message = format!(
            "`{}` is a developer's product, and the keys in `{}` are for the field",
            product.name,
            project.keys().display()
        );
        let help = "every device that trusts these keys would boot it; without OSBUILD_KEYS, development keys sign it";
        return Err(Failure::new(message).help(help));
    }
    if keys.purpose == Purpose::Development {
        let folder = project.keys();
        if product.production && project::chosen_keys().is_some() {
            let message = format!(
                "`{}` is a production product, and the keys in `{}` are development keys",
                product.name,
                folder.display()
            );
            let help = "`osbuild keys init FOLDER` makes keys to ship with; without OSBUILD_KEYS, the project's own keys make \
                        an image for your bench";
            return Err(Failure::new(message).help(help));
        }
        eprintln!("signed with DEVELOPMENT KEYS: this image is for your bench only");
        eprintln!("for devices in the field: `osbuild keys init FOLDER`, then set OSBUILD_KEYS to that folder");
    }
    Ok(keys)
}

/// The project's keys; without any, development keys are made.
pub fn load(project: &Project, exchange: &Exchange) -> Result<Keys, Failure> {
    let folder = present(project)?;
    Keys::load(&folder, exchange).map_err(|error| key_failure(error, &folder))
}

/// The key with which this project says what `role` means.
pub fn signer(project: &Project, role: Role, exchange: &Exchange) -> Result<Signer, Failure> {
    let folder = present(project)?;
    role.load(&folder, exchange).map_err(|error| key_failure(error, &folder))
}

/// The key that vouches for apps; none where whoever keeps the keys for the field keeps that one elsewhere.
pub fn app_signer(project: &Project) -> Result<Option<Signer>, Failure> {
    let folder = present(project)?;
    match Role::App.load(&folder, &Exchange::closed()) {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::NoSigner { .. }) => Ok(None),
        Err(error) => Err(key_failure(error, &folder)),
    }
}

/// For what a device accepts with a signature only.
pub fn no_app_signer(project: &Project) -> Failure {
    let folder = project.keys();
    let path = folder.join("app.key");
    key_failure(KeyError::NoSigner { path, name: Role::App.name() }, &folder)
}

/// Variables that a product may declare and leave empty, with the public keys of this project's signers, in hexadecimal
/// digits.
pub fn signer_variables(
    project: &Project,
    declared: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    for (variable, role) in [("app_signer", Role::App), ("capability_signer", Role::Capability)] {
        if declared.get(variable).is_some_and(String::is_empty) {
            let folder = present(project)?;
            let key = role.load_public(&folder).map_err(|error| key_failure(error, &folder))?;
            variables.insert(variable.to_owned(), hex::encode(key.as_bytes()));
        }
    }
    if declared.get("release_signer").is_some_and(String::is_empty) {
        let folder = present(project)?;
        let keys = keys::PublicKeys::load(&folder).map_err(|error| key_failure(error, &folder))?;
        variables.insert("release_signer".to_owned(), hex::encode(keys.release.as_bytes()));
    }
    Ok(variables)
}

/// The project's folder of keys, with development keys in it where there were none.
pub fn present(project: &Project) -> Result<PathBuf, Failure> {
    let folder = project.keys();
    if !folder.exists() {
        if project::chosen_keys().is_some() {
            // Whoever names a folder means the keys in it, and not some that nobody knows.
            let message = format!("there are no keys in `{}`, which OSBUILD_KEYS names", folder.display());
            return Err(Failure::new(message).help(format!("`osbuild keys init {}` makes them", folder.display())));
        }
        match keys::create(&folder, Purpose::Development) {
            Ok(()) => eprintln!("DEVELOPMENT KEYS made in `{}`", folder.display()),
            // Another process was faster.
            Err(KeyError::Exists(_)) => {}
            Err(error) => return Err(key_failure(error, &folder)),
        }
    }
    role::add_missing(&folder).map_err(|error| key_failure(error, &folder))?;
    Ok(folder)
}

pub fn key_failure(error: KeyError, folder: &Path) -> Failure {
    let help = match &error {
        KeyError::File(_) | KeyError::Invalid { .. } => Some(format!(
            "the keys in `{}` are not whole: put the right file back, or move the folder away to make new ones",
            folder.display()
        )),
        KeyError::Elsewhere { .. } => {
            Some(format!("put it back into `{}`, or let `--sign-request FILE` ask those who have it", folder.display()))
        }
        KeyError::NoSigner { .. } => Some(
            "`osbuild keys init FOLDER` makes a folder with all keys: copy those that are missing from it to here"
                .to_owned(),
        ),
        KeyError::TooOpen { path, .. } => Some(format!("run `chmod 600 {}`, if nobody has read it", path.display())),
        KeyError::Changeable { path, .. } => Some(format!("read it, then run `chmod go-w {}`", path.display())),
        KeyError::Purpose { .. } => Some("the certificates decide: put the right word back".to_owned()),
        KeyError::Mismatch(_) => Some("put back the file that was made together with the key".to_owned()),
        KeyError::Exists(_) => Some("choose another folder: keys are never overwritten".to_owned()),
        _ => None,
    };
    Failure { help, ..Failure::from(error) }
}

#[derive(Clone, Debug, clap::Subcommand)]
#[command(
    after_help = "Where OpenSSL or a token's tool refuses an Ed25519 key of an older osbuild: docs/formats/signing.md"
)]
pub enum KeysCommand {
    /// Make keys for images that are shipped: PK, KEK and db for Secure Boot, the release key, and those
    /// of apps, of capability tokens and of a repository of updates
    Init {
        /// A folder that does not exist yet; OSBUILD_KEYS or `keys/` of the project unless told
        folder: Option<PathBuf>,
    },
    /// Make one more Ed25519 key in the folder of keys, as for a role of the repository
    Add {
        /// Its name: letters, digits and `-`
        name: String,
    },
}

pub fn keys(project: Project, command: &KeysCommand) -> Result<(), Failure> {
    let folder = match command {
        KeysCommand::Init { folder } => folder,
        KeysCommand::Add { name } => return add(&project, name),
    };
    let folder = folder.clone().unwrap_or_else(|| project.keys());
    keys::create(&folder, Purpose::Production).map_err(|error| key_failure(error, &folder))?;
    println!("{}", folder.display());
    eprintln!("keep the `.key` files offline and backed up: whoever has them can sign for your devices");
    Ok(())
}

fn add(project: &Project, name: &str) -> Result<(), Failure> {
    let folder = present(project)?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Failure::new(format!("this is no name for a key: `{}`", name.escape_debug())));
    }
    if ["key", "pub", "crt", "signer"].iter().any(|ending| folder.join(format!("{name}.{ending}")).exists()) {
        return Err(Failure::new(format!("there is a key `{name}` in `{}` already", folder.display()))
            .help("choose another name: keys are never overwritten"));
    }
    role::create_named(&folder, name).map_err(|error| key_failure(error, &folder))?;
    println!("{}", folder.join(format!("{name}.pub")).display());
    Ok(())
}
