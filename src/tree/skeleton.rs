//! Skeleton folders and the product's values in, files of the root out.
//!
//! Invariant: a file whose name ends in `.tera` is rendered and loses the ending; any other is taken as it is.

use super::compose::Composer;
use super::parameters::{Parameters, Product, Skeleton};
use super::problem::TreeError;
use super::root::{content_of, Content, Owner};
use crate::io::store::{Entry, Node, Store};
use crate::model::{Digest, RelPath};
use crate::template::{self, Context};
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;

const ENDING: &str = ".tera";
const LIMIT_TEMPLATE_BYTES: u64 = 1 << 20;

/// Lays every skeleton over what is there, in order.
pub fn add_all(composer: &mut Composer, inputs: &Digest, parameters: &Parameters) -> Result<(), TreeError> {
    let context = context(parameters);
    for skeleton in &parameters.skeletons {
        let tree = folder(composer.store, inputs, &skeleton.input)?;
        for entry in composer.store.walk(&tree)? {
            add(composer, skeleton, &entry, &context)?;
        }
    }
    Ok(())
}

/// The folder at `path` of the input root.
pub fn folder(store: &Store, inputs: &Digest, path: &str) -> Result<Digest, TreeError> {
    match store.lookup(inputs, &RelPath::new(path)?)? {
        Some(Node::Folder(digest)) => Ok(digest),
        _ => Err(TreeError::MissingInput(path.to_owned())),
    }
}

fn add(composer: &mut Composer, skeleton: &Skeleton, entry: &Entry, context: &Context) -> Result<(), TreeError> {
    let owner = Owner::Skeleton { folder: skeleton.path.clone(), file: entry.path.to_string() };
    let rendered = match (&entry.node, entry.path.as_str().strip_suffix(ENDING)) {
        (Node::File { digest, executable }, Some(path)) if !path.is_empty() && !path.ends_with('/') => {
            Some((RelPath::new(path)?, digest, *executable))
        }
        _ => None,
    };
    let Some((path, digest, executable)) = rendered else {
        composer.add(&entry.path, content_of(entry), owner);
        return Ok(());
    };
    let name = format!("{}/{}", skeleton.path, entry.path);
    let bytes = composer.store.read(digest, LIMIT_TEMPLATE_BYTES)?;
    let Ok(text) = String::from_utf8(bytes) else {
        composer.problems.add(format!("template `{name}` is not UTF-8 text"));
        return Ok(());
    };
    match template::render(&text, &name, context) {
        Ok(text) => {
            let digest = composer.store.put_bytes(text.as_bytes())?;
            composer.add(&path, Content::File { digest, executable }, owner);
        }
        Err(error) => composer.problems.add(error.to_string()),
    }
    Ok(())
}

/// What templates may name. `vars` and `features` are the product's own; the rest describes it.
pub fn context(parameters: &Parameters) -> Context {
    let product = &parameters.product;
    let packages: BTreeMap<&str, Value> = parameters
        .packages
        .iter()
        .map(|p| (p.name.as_str(), json!({ "version": p.version, "license": p.license, "recipe": p.recipe })))
        .collect();
    let values = json!({
        "product": product.name, "version": product.version, "title": product.title,
        "machine": product.machine, "architecture": product.architecture, "console": product.console,
        "hostname": product.hostname, "ntp_servers": product.ntp_servers, "production": product.production,
        "update_channel": product.update_channel, "support_until": product.support_until,
        "features": product.features, "vars": product.variables, "packages": packages,
        "users": users(product), "groups": groups(product),
        "services": product.services.keys().collect::<Vec<_>>(),
    });
    Context::from_json(values)
}

fn users(product: &Product) -> Map<String, Value> {
    let one = |user: &super::parameters::User| json!({ "uid": user.uid, "group": user.group, "home": user.home, "shell": user.shell });
    product.users.iter().map(|(name, user)| (name.clone(), one(user))).collect()
}

fn groups(product: &Product) -> Map<String, Value> {
    product.groups.iter().map(|(name, group)| (name.clone(), json!({ "gid": group.gid }))).collect()
}
