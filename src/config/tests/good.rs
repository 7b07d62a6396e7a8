//! What valid projects mean.

use super::*;
use crate::model::recipe::{BuildClass, Place};

/// The project that this repository is.
#[test]
fn our_own_layers_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for product in [None, Some("gateway"), Some("gateway-dev")] {
        if let Err(problems) = load(root, product) {
            panic!("{problems}");
        }
    }
}

#[test]
fn our_production_product_lets_nobody_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = load(root, None).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.product.production && config.product.users.is_empty() && config.product.services.is_empty());
    let names: Vec<&str> = config.product.packages.iter().map(|package| package.value.as_str()).collect();
    assert!(!names.contains(&"busybox") && !names.contains(&"dropbear"), "{names:?}");
}

#[test]
fn templates_see_the_recipe_and_the_product() {
    let config = Project::new().loaded("gateway");
    assert_eq!(config.product.hostname, "gw-lab");
    let place = &config.recipes["zlib"].sources[0].places[0];
    assert_eq!(*place, Place::Https("https://example.org/zlib-1.3.1.tar.gz".to_owned()));
}

#[test]
fn a_product_takes_over_what_it_does_not_say_itself() {
    let project = Project::new();
    let packages = |config: &Config| -> Vec<String> {
        config.product.packages.iter().map(|package| package.value.to_string()).collect()
    };
    let config = project.loaded("gateway-dev");
    assert_eq!(packages(&config), ["zlib", "musl"]);
    assert_eq!((config.product.title.as_str(), config.product.production), ("Gateway", false));
    assert!(config.product.features["ssh"]);
    assert_eq!(packages(&project.loaded("gateway")), ["zlib"]);
    project.change("layers/core/products/gateway-dev.yaml", "append:", "remove:\n  packages: [zlib]\nappend:");
    assert_eq!(packages(&project.loaded("gateway-dev")), ["musl"]);
}

#[test]
fn an_item_that_renders_to_nothing_is_left_out() {
    let project = Project::new();
    let item = "packages: [zlib, \"{% if features.ssh %}musl{% endif %}\"]";
    project.change("layers/core/products/gateway.yaml", "packages: [zlib]", item);
    assert_eq!(project.loaded("gateway").product.packages.len(), 1);
    project.change("layers/core/products/gateway.yaml", "ssh: false", "ssh: true");
    assert_eq!(project.loaded("gateway").product.packages.len(), 2);
}

#[test]
fn a_template_may_give_a_number_or_a_boolean() {
    let project = Project::new();
    project.change("layers/core/products/gateway.yaml", "production: true", "production: \"{{ features.ssh }}\"");
    project.change("layers/core/products/gateway.yaml", "vars: {site: lab}", "vars: {site: lab, gid: 7}");
    project.change("layers/core/products/gateway.yaml", "hostname", "groups: {g: {gid: \"{{ vars.gid }}\"}}\nhostname");
    let config = project.loaded("gateway");
    assert!(!config.product.production);
    assert_eq!(config.product.groups["g"].gid, 7);
}

fn configure(config: &Config) -> Vec<String> {
    match &config.recipes["musl"].class {
        BuildClass::Autotools { configure, .. } => configure.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn overrides_apply_in_the_order_of_priority_and_when_their_condition_holds() {
    let project = Project::new();
    for (layer, priority, argument) in [("site", 30, "--late"), ("vendor", 20, "--early")] {
        project.write(
            &format!("layers/{layer}/layer.yaml"),
            &format!("schema: 1\nlayer: {layer}\npriority: {priority}\ndepends: [core]\n"),
        );
        project.write(
            &format!("layers/{layer}/overrides/musl.yaml"),
            &format!("schema: 1\noverride: recipe musl\nappend: {{configure: [{argument}]}}\n"),
        );
    }
    project.write(
        "layers/site/overrides/dev.yaml",
        "schema: 1\noverride: recipe musl\nremove: {configure: [--a]}\nset: {version: \"9\"}\nwhen: {feature: ssh}\n",
    );
    project.write(
        "layers/site/overrides/other.yaml",
        "schema: 1\noverride: recipe musl\nset: {version: \"8\"}\nwhen: {product: gateway-dev, feature: \"!ssh\"}\n",
    );
    let config = project.loaded("gateway");
    assert_eq!(configure(&config), ["--a", "--b", "--early", "--late"]);
    assert_eq!(config.recipes["musl"].version, "1.2.5");
    let config = project.loaded("gateway-dev");
    assert_eq!(configure(&config), ["--b", "--early", "--late"]);
    assert_eq!(config.recipes["musl"].version, "9");
}

#[test]
fn an_override_of_a_product_reaches_those_that_extend_it() {
    let project = Project::new();
    project.write("layers/core/overrides/a.yaml", "schema: 1\noverride: product gateway\nset: {title: Better}\n");
    project.write("layers/core/overrides/b.yaml", "schema: 1\noverride: machine board\nset: {console: tty0}\n");
    project.write("layers/core/overrides/c.yaml", "schema: 1\noverride: tools c\nappend: {packages: [perl]}\n");
    let config = project.loaded("gateway-dev");
    assert_eq!(config.product.title, "Better");
    assert_eq!(config.machine.console, "tty0");
    assert_eq!(config.tool_trees["c"].request().packages, ["gcc", "make", "perl"]);
}

#[test]
fn the_layer_of_higher_priority_defines_what_both_have() {
    let project = Project::new();
    project.write("layers/site/layer.yaml", "schema: 1\nlayer: site\npriority: 11\n");
    let text = FILES[5].1.replace("1.3.1", "2.0");
    project.write("layers/site/recipes/zlib.yaml", &text);
    assert_eq!(project.loaded("gateway").recipes["zlib"].version, "2.0");
}

#[test]
fn what_is_shown_says_where_each_value_was_set() {
    let project = Project::new();
    project.write("layers/core/overrides/a.yaml", "schema: 1\noverride: machine board\nset: {console: tty0}\n");
    let shown = show(project.0.path(), Some("gateway-dev"), true).unwrap_or_else(|problems| panic!("{problems}"));
    for line in [
        "  title: Gateway  # layers/core/products/gateway.yaml:3:8",
        "    - zlib  # layers/core/products/gateway.yaml:6:12",
        "    - musl  # layers/core/products/gateway-dev.yaml:7:14",
        "    ssh: true  # layers/core/products/gateway-dev.yaml:5:17",
        "  hostname: gw-lab  # layers/core/products/gateway.yaml:9:11",
        "  console: tty0  # layers/core/overrides/a.yaml:3:16",
        "    root: 48M  # layers/core/machines/board.yaml:4:30",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no `{line}` in\n{shown}");
    }
    let plain = show(project.0.path(), Some("gateway-dev"), false).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!plain.contains('#') && plain.contains("hostname: gw-lab\n"), "{plain}");
}

#[test]
fn values_from_outside_replace_variables() {
    let project = Project::new();
    let vars = BTreeMap::from([("site".to_owned(), "field".to_owned())]);
    let config = load_with(project.0.path(), None, &vars).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.product.hostname, "gw-field");
    let vars = BTreeMap::from([("sit".to_owned(), "x".to_owned())]);
    let problems = load_with(project.0.path(), None, &vars).expect_err("unknown").to_string();
    assert!(problems.contains("no variable `sit`") && problems.contains("did you mean `site`?"), "{problems}");
}

#[test]
fn every_product_is_loaded_whatever_its_name() {
    let project = Project::new();
    let names = |project: &Project| -> Vec<String> {
        let configs = load_all(project.0.path()).unwrap_or_else(|problems| panic!("{problems}"));
        configs.iter().map(|config| config.product.name.to_string()).collect()
    };
    assert_eq!(names(&project), ["gateway", "gateway-dev"]);
    // Without a machine, a product is only what those that extend it have in common.
    project.change("layers/core/products/gateway.yaml", "machine: board\n", "");
    project.change("layers/core/products/gateway-dev.yaml", "append:", "machine: board\nappend:");
    assert_eq!(names(&project), ["gateway-dev"]);
    file::remove_tree(&project.0.path().join("layers/core/products")).expect("removed");
    project.write("layers/core/products/door.yaml", &FILES[2].1.replace("product: gateway", "product: door"));
    assert_eq!(names(&project), ["door"]);
}

#[test]
fn what_is_wrong_with_any_product_is_reported() {
    let project = Project::new();
    project.change("layers/core/products/gateway-dev.yaml", "packages: [musl]", "packages: [mussl]");
    let problems = load_all(project.0.path()).expect_err("wrong").to_string();
    assert!(
        problems.contains("there is no package `mussl`\n --> layers/core/products/gateway-dev.yaml:7:14"),
        "{problems}"
    );
}

#[test]
fn an_update_is_what_its_product_says() {
    use osbuild_format::device::update::{FullDownload, Window};
    let project = Project::new();
    let config = project.loaded("gateway");
    let unsaid =
        (&config.product.update.channel[..], config.product.security_epoch, config.product.update.config.trial_boots);
    assert_eq!(unsaid, ("stable", 1, 3));
    project.change("layers/core/products/gateway.yaml", "hostname", UPDATE);
    let product = project.loaded("gateway").product;
    let update = product.update.config;
    assert_eq!(update.url.as_deref(), Some("https://lab.example/gateway"));
    assert_eq!(update.window, Some(Window { from_minute: 90, to_minute: 240 }));
    assert_eq!((update.trial_boots, update.full_download, product.security_epoch), (2, FullDownload::Never, 3));
    assert_eq!(update.health[0].argv, ["/usr/bin/check", "gateway"]);
    assert_eq!(product.update.root.map(|root| root.value.to_string()).as_deref(), Some("update/root.json"));
}

pub const UPDATE: &str =
    "security-epoch: 3\nupdate:\n  channel: stable\n  url: \"https://{{ vars.site }}.example/gateway\"\n  \
    root: update/root.json\n  signers: [\"5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f\"]\n  \
    window: {from: \"01:30\", to: \"04:00\"}\n  trial-boots: 2\n  full-download: never\n  \
    health: [{name: check, exec: [/usr/bin/check, \"{{ product }}\"], timeout: 5}]\nhostname";

#[test]
fn each_mistake_in_an_update_is_explained() {
    for (from, to, expected) in [
        ("https://", "ftp://", "is not the base of a repository"),
        ("  root: update/root.json\n", "", "needs the root metadata that it trusts"),
        ("signers: [\"5f", "signers: [\"zz", "not an Ed25519 public key"),
        ("01:30", "1:30", "`1:30` is not a time of day"),
        ("01:30", "24:00", "`24:00` is not a time of day"),
        ("01:30", "04:00", "ends when it begins"),
        ("trial-boots: 2", "trial-boots: 0", "`trial-boots` of `update` has to be 1 to 10: 0"),
        ("/usr/bin/check", "check", "`check` is not an absolute path"),
        ("timeout: 5", "timeout: 0", "`timeout` of health check `check` has to be 1 to 3600: 0"),
        ("full-download: never", "full-download: no", "full-download"),
        ("security-epoch: 3", "security-epoch: 0", "`security-epoch` has to be 1 to 1000: 0"),
    ] {
        let project = Project::new();
        project.change("layers/core/products/gateway.yaml", "hostname", &UPDATE.replacen(from, to, 1));
        let problems = project.problems("gateway");
        assert!(problems.contains(expected), "{from} -> {to}:\n{problems}");
    }
}
