//! `osbuild app`: a developer's way from nothing to an app that runs on a board.
//!
//! Invariant: an app's file is made by the plan's own tasks, whoever asks for it, and gets its signature here.

mod build;
mod check;
mod control;
mod debug;
mod deploy;
mod device;
mod explain;
mod new;
mod pack;
mod run;
mod sdk;
mod sign;

use super::project::Project;
use super::report::Failure;
use crate::config::diagnostic::suggest;
use crate::config::Config;
use crate::model::app::App;
use crate::model::AppName;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum AppCommand {
    /// Begin an app: `apps/NAME` with a program that runs
    New(new::NewArgs),
    /// Check an app, and say in plain words what it may do
    Check(check::CheckArgs),
    /// Build an app's file into `out/apps/`, signed where the folder of keys has the key `app`
    Build(build::BuildAppArgs),
    /// Make an app's file of files that were built elsewhere
    Pack(pack::PackArgs),
    /// Write what apps are built against into a folder, for developers who build no images
    Sdk(sdk::SdkArgs),
    /// Sign an app's file, in place
    Sign(sign::SignArgs),
    /// Allow one device more than its image does
    Token(sign::TokenArgs),
    /// Bring an app to the virtual board, which is started when none runs, and show its log
    Run(run::RunAppArgs),
    /// Build an app and bring it to a device that runs
    Deploy(deploy::DeployArgs),
    /// Show what an app on a device writes
    Logs(control::LogsArgs),
    /// Show how the apps of a device are
    Status(control::StatusArgs),
    /// Start an app on a device
    Start(control::ControlArgs),
    /// Stop an app on a device
    Stop(control::ControlArgs),
    /// Stop an app on a device and start it
    Restart(control::ControlArgs),
    /// Remove an app that was installed on a device
    Remove(control::ControlArgs),
    /// Say how an app on a device is, why it ended, and which capability would open what was denied
    Debug(control::ControlArgs),
}

pub fn app(project: Project, command: &AppCommand) -> Result<(), Failure> {
    match command {
        AppCommand::New(args) => new::new(&project, args),
        AppCommand::Check(args) => check::check(&project, args),
        AppCommand::Build(args) => build::build(project, args),
        AppCommand::Pack(args) => pack::pack(project, args),
        AppCommand::Sdk(args) => sdk::sdk(project, args),
        AppCommand::Sign(args) => sign::sign(&project, args),
        AppCommand::Token(args) => sign::token(&project, args),
        AppCommand::Run(args) => run::run(project, args),
        AppCommand::Deploy(args) => deploy::deploy(project, args),
        AppCommand::Logs(args) => control::logs(project, args),
        AppCommand::Status(args) => control::status(project, args),
        AppCommand::Start(args) => control::act(project, args, "start"),
        AppCommand::Stop(args) => control::act(project, args, "stop"),
        AppCommand::Restart(args) => control::act(project, args, "restart"),
        AppCommand::Remove(args) => control::act(project, args, "remove"),
        AppCommand::Debug(args) => control::debug(project, args),
    }
}

/// The app of that name, or a message that names the ones there are.
fn find<'a>(config: &'a Config, name: &str) -> Result<&'a App, Failure> {
    let found = AppName::new(name).ok().and_then(|name| config.apps.get(&name));
    found.ok_or_else(|| {
        let known = || config.apps.keys().map(AppName::as_str);
        let help = suggest(name, known()).unwrap_or_else(|| match known().next() {
            Some(_) => format!("there are: {}", known().collect::<Vec<_>>().join(", ")),
            None => format!("`osbuild app new {name} --lang rust` begins one"),
        });
        Failure::new(format!("there is no app `{name}`")).help(help)
    })
}
