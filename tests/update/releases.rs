//! A product in several releases, good and bad ones, and repositories that offer them.
//!
//! Releases differ by configuration only, so that kernel and agent are built once. Invariant: each is built, signed and published
//! by the program under test, with keys of this test alone.

use crate::command::{copy, guest, osbuild, Project};
use crate::server::Server;
use osbuild::release::keys::PublicKeys;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub const PRODUCT: &str = "updated";

pub struct Releases {
    pub project: Project,
    url: String,
    signer: String,
    ssh: String,
}

/// What makes a release what it is.
#[derive(Clone, Copy)]
pub struct Variant {
    pub version: &'static str,
    pub epoch: u32,
    /// That the release after it gets.
    pub trial_boots: u32,
    pub health: &'static str,
    /// Lines of the product.
    pub rest: &'static str,
}

impl Variant {
    pub const fn good(version: &'static str, epoch: u32, trial_boots: u32) -> Variant {
        let health = "[{name: alive, exec: [/bin/true], timeout: 10}]";
        Variant { version, epoch, trial_boots, health, rest: "" }
    }
}

impl Releases {
    /// A project with keys and an empty repository `site`, whose devices look at `server` and trust its authority alone.
    pub fn new(server: &Server) -> Releases {
        let project = Project::copy();
        let (_, ssh) = guest::key(&project);
        osbuild(&project, &["repo", "init", "site"]).succeeds();
        std::fs::copy(project.root.join("site/metadata/1.root.json"), project.root.join("root.json")).expect("copied");
        project.write("ca.pem", &server.authority());
        let public = PublicKeys::load(&project.root.join("keys")).expect("keys");
        let mut signer = String::new();
        for byte in public.release.to_bytes() {
            write!(signer, "{byte:02x}").expect("written");
        }
        Releases { project, url: server.url(), signer, ssh }
    }

    /// The folder of the image.
    pub fn build(&self, variant: Variant) -> PathBuf {
        let Variant { version, epoch, trial_boots, health, rest } = variant;
        let (url, signer, ssh) = (&self.url, &self.signer, &self.ssh);
        let product = format!(
            "schema: 1\nproduct: {PRODUCT}\nextends: gateway-dev\ntitle: Updated\nversion: \"{version}\"\nsecurity-epoch: \
             {epoch}\nvars: {{ssh_key: \"{ssh}\"}}\nupdate:\n  channel: testing\n  url: {url}\n  root: root.json\n  ca: ca.pem\n  \
             signers: [\"{signer}\"]\n  check-interval: 60\n  trial-boots: {trial_boots}\n  health: {health}\n{rest}"
        );
        self.project.write(&format!("layers/core/products/{PRODUCT}.yaml"), &product);
        let disk = osbuild(&self.project, &["image", PRODUCT]).succeeds().output;
        let folder = self.project.root.join(disk.trim()).canonicalize().expect("an image");
        folder.parent().expect("its folder").to_owned()
    }

    /// Publishes an image in `site`, with deltas from so many releases before it. What osbuild says of it.
    pub fn publish(&self, site: &str, image: &Path, deltas: u32) -> String {
        let (image, deltas) = (image.to_string_lossy(), deltas.to_string());
        osbuild(&self.project, &["repo", "publish", site, "--image", &image, "--deltas", &deltas]).succeeds().errors
    }

    /// To so many percent of the devices; the metadata's versions rise.
    pub fn offer(&self, site: &str, version: &str, percent: u32) {
        let release = format!("{PRODUCT}-{version}");
        osbuild(&self.project, &["repo", "rollout", site, &release, &percent.to_string()]).succeeds();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.project.root.join(name)
    }

    /// A repository as it is now, under another name.
    pub fn copy(&self, site: &str, name: &str) {
        copy::tree(&self.path(site), &self.path(name));
    }
}
