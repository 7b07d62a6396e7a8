//! The files of a product's apps in, their places in the root and what the device is told of them out.
//!
//! Invariant: an app lies where the agent looks for it, and is named by the digest of its manifest.

use super::compose::Composer;
use super::parameters::{App, Product};
use super::problem::TreeError;
use super::root::Content;
use super::size::{AppUse, PackageList};
use crate::io::store::{Node, Store};
use crate::model::{Digest, RelPath};
use osbuild_format::device::{AppConfig, APPS};

const LIMIT_DIGEST_BYTES: u64 = 128;
const LIMIT_LIST_BYTES: u64 = 16 << 20;

/// Puts each app into the root.
pub fn add_all(composer: &mut Composer, inputs: &Digest, product: &Product) -> Result<Vec<AppConfig>, TreeError> {
    let mut configs = Vec::new();
    for (id, app) in &product.apps {
        let package = file(composer.store, inputs, &format!("apps/{id}.app"))?;
        let place = format!("{}/{id}.app", APPS.trim_start_matches('/'));
        composer.generate_content(&place, Content::File { digest: package, executable: false }, 0o644)?;
        let digest = manifest_digest(composer.store, inputs, id)?;
        configs.push(AppConfig { id: id.clone(), digest, third_party: app.third_party, critical: app.critical });
    }
    Ok(configs)
}

/// What the apps hold, for the list of the image's packages.
pub fn uses(store: &Store, inputs: &Digest, product: &Product) -> Result<Vec<AppUse>, TreeError> {
    let one = |(id, app): (&String, &App)| {
        let list = file(store, inputs, &format!("apps/{id}.packages.json"))?;
        let list: PackageList =
            serde_json::from_slice(&store.read(&list, LIMIT_LIST_BYTES)?).map_err(TreeError::Parameters)?;
        let bytes = file(store, inputs, &format!("apps/{id}.app"))?.size_bytes;
        let (version, digest) = (app.version.clone(), manifest_digest(store, inputs, id)?);
        Ok(AppUse { id: id.clone(), version, digest, bytes, packages: list.packages })
    };
    product.apps.iter().map(one).collect()
}

fn manifest_digest(store: &Store, inputs: &Digest, id: &str) -> Result<String, TreeError> {
    let digest = file(store, inputs, &format!("apps/{id}.digest"))?;
    let text = store.read(&digest, LIMIT_DIGEST_BYTES)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

fn file(store: &Store, inputs: &Digest, path: &str) -> Result<Digest, TreeError> {
    match store.lookup(inputs, &RelPath::new(path)?)? {
        Some(Node::File { digest, .. }) => Ok(digest),
        _ => Err(TreeError::MissingInput(path.to_owned())),
    }
}
