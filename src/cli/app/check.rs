//! `osbuild app check`: an app's name in; whether it fits its products, and what it may do, out.
//!
//! Invariant: what is printed is what the device enforces: the list of system calls is the one its agent compiles.

use super::super::project::Project;
use super::super::report::Failure;
use super::explain;
use crate::config::{self, Config};
use crate::model::AppName;
use osbuild_format::app::policy;
use std::collections::BTreeMap;

const LINE_CHARACTERS: usize = 100;

#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// The app
    pub name: String,
    /// Check it together with this product's apps and machine, whether the product has it or not
    #[arg(long)]
    pub product: Option<String>,
}

pub fn check(project: &Project, args: &CheckArgs) -> Result<(), Failure> {
    let configs = match &args.product {
        Some(product) => {
            super::find(&config::load(&project.root, Some(product))?, &args.name)?;
            vec![config::load_with_app(&project.root, Some(product), &args.name)?]
        }
        None => products(project, &args.name)?,
    };
    let all = config::load(&project.root, configs.first().map(|config| config.product.name.as_str()))?;
    let config = configs.first().unwrap_or(&all);
    let app = super::find(config, &args.name)?;
    print!("{}", explain::manifest(&app.manifest, configs.first().map(|config| &config.machine)));
    print!("\n{}\n", system_calls(&app.manifest));
    match configs.is_empty() {
        true => eprintln!("no product has it yet; `--product NAME` checks it together with that product's apps"),
        false => {
            let names: Vec<String> = configs.iter().map(|config| format!("`{}`", config.product.name)).collect();
            eprintln!("fits: {}", names.join(", "));
        }
    }
    Ok(())
}

/// The products that have the app. One that is not sound is an error, for the app might be the reason.
fn products(project: &Project, name: &str) -> Result<Vec<Config>, Failure> {
    let name = AppName::new(name).ok();
    let has = |config: &Config| name.as_ref().is_some_and(|name| config.product.apps.contains_key(name));
    Ok(config::load_all(&project.root)?.into_iter().filter(has).collect())
}

/// By what they are for; those whose arguments matter say which may be.
fn system_calls(manifest: &osbuild_format::app::Manifest) -> String {
    let calls = policy::system_calls(manifest);
    let mut groups: BTreeMap<&str, (Vec<&str>, Vec<String>)> = BTreeMap::new();
    for call in &calls {
        let (plain, conditional) = groups.entry(call.purpose).or_default();
        match call.is_conditional() {
            true => conditional.push(call.to_string()),
            false => plain.push(call.name),
        }
    }
    let mut text = format!("system calls: these {}; any other ends it\n", calls.len());
    for (purpose, (plain, conditional)) in groups {
        text += &format!("  {purpose}\n{}", wrapped(&plain));
        conditional.iter().for_each(|call| text += &format!("    {call}\n"));
    }
    text
}

fn wrapped(names: &[&str]) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for name in names {
        if !line.is_empty() && line.len() + name.len() > LINE_CHARACTERS - 6 {
            lines += &format!("   {line}\n");
            line.clear();
        }
        line += &format!(" {name}");
    }
    match line.is_empty() {
        true => lines,
        false => lines + &format!("   {line}\n"),
    }
}
