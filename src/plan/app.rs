//! An app in, the tasks that make its package out.
//!
//! Invariant: the package is not signed here, and says nothing of a product: the same bytes lie in an image and are
//! signed to be installed.

use super::builder::{mount, output, step, PlanBuilder};
use super::contents::{self, Contents};
use super::task::{Input, OutputRef};
use super::{filesystem, product, set_id, steps};
use crate::model::AppName;
use serde_json::json;

/// What others use of an app.
#[derive(Clone, Debug)]
pub(super) struct AppTasks {
    /// The file for the device.
    pub package: OutputRef,
    /// SHA-256 of the manifest, in hexadecimal digits.
    pub digest: OutputRef,
    /// What the image holds, like the `packages.json` of a root.
    pub packages: OutputRef,
}

/// Name in `Plan::goals` of an app's package.
pub fn goal(name: &str) -> String {
    format!("app:{name}")
}

/// Adds the app's tasks and its goal, once. None: a problem was reported.
pub(super) fn plan(builder: &mut PlanBuilder, name: &AppName) -> Option<AppTasks> {
    if let Some(known) = builder.apps.get(name) {
        return known.clone();
    }
    let tasks = tasks(builder, name);
    if let Some(tasks) = &tasks {
        builder.goal(goal(name.as_str()), tasks.package.clone());
    }
    builder.apps.insert(name.clone(), tasks.clone());
    tasks
}

fn tasks(builder: &mut PlanBuilder, name: &AppName) -> Option<AppTasks> {
    let config = builder.config;
    // A product's apps were checked when the configuration was loaded.
    let app = config.apps.get(name)?;
    let origin = &app.origin;
    for skeleton in &app.skeletons {
        set_id::check_app_skeleton(builder, name, skeleton);
    }
    let Contents { inputs, packages, skeletons } = contents::plan(builder, &app.packages, &app.skeletons)?;
    let parameters = json!({
        "id": name.as_str(), "program": app.manifest.argv.first(), "origin": origin.to_string(),
        "root": {
            "packages": packages, "skeletons": skeletons, "metadata": [], "product": product::product_json(builder),
        },
    });
    let command = step(steps::APP_ROOT, &parameters);
    let root = builder.task(goal(name.as_str()) + ":root", origin, command, inputs, &["root.tar", "packages.json"]);
    let tar = output(root, "root.tar");
    let label = format!("app {name}");
    let image = filesystem::erofs(builder, &(goal(name.as_str()) + ":erofs"), origin, tar, &label, "image.erofs")?;
    let verity = filesystem::verity(builder, &(goal(name.as_str()) + ":verity"), origin, &image, name.as_str());

    let inputs = vec![
        mount("image.erofs", Input::Output(image)),
        mount("verity", Input::Output(output(verity, "verity"))),
        mount("root-hash", Input::Output(output(verity, "root-hash"))),
    ];
    let command =
        step(steps::APP_PACKAGE, &json!({ "manifest": app.manifest, "salt": filesystem::salt(name.as_str()) }));
    let package = builder.task(goal(name.as_str()), origin, command, inputs, &["package.app", "digest"]);
    Some(AppTasks {
        package: output(package, "package.app"),
        digest: output(package, "digest"),
        packages: output(root, "packages.json"),
    })
}
