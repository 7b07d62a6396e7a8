//! `osbuild app logs|list|status|start|stop|restart|remove|debug`: an app's id in, what the device's agent does with it out.
//!
//! Invariant: the agent decides; nothing is done here that its own commands on the device do not do.

use super::super::project::Project;
use super::super::report::Failure;
use super::super::session::{BuildArgs, Session};
use super::debug;
use super::device::{Device, DeviceArgs};
use osbuild_format::app::is_app_id;
use std::collections::BTreeMap;

#[derive(Clone, Debug, clap::Args)]
pub struct ControlArgs {
    /// The app
    pub name: String,
    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// The app; all of them unless told
    pub name: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct LogsArgs {
    #[command(flatten)]
    pub of: ControlArgs,
    /// As JSON, an entry a line
    #[arg(long)]
    pub json: bool,
    /// Go on until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
}

pub fn status(project: Project, args: &StatusArgs) -> Result<(), Failure> {
    let name = args.name.as_deref().map(id).transpose()?;
    let command = match name {
        None => "osagent app list".to_owned(),
        Some(name) => format!("osagent app status {name}"),
    };
    show(project, &args.device, &(command + if args.json { " --json" } else { "" }))
}

pub fn logs(project: Project, args: &LogsArgs) -> Result<(), Failure> {
    let name = id(&args.of.name)?;
    let (json, follow) = (if args.json { " --json" } else { "" }, if args.follow { " --follow" } else { "" });
    let command = format!("osagent app logs {name}{json}{follow}");
    match args.follow {
        false => show(project, &args.of.device, &command),
        true => with(project, &args.of.device, |device| device.follow(&command)),
    }
}

/// `verb` is one of the agent's.
pub fn act(project: Project, args: &ControlArgs, verb: &'static str) -> Result<(), Failure> {
    show(project, &args.device, &format!("osagent app {verb} {}", id(&args.name)?))
}

pub fn debug(project: Project, args: &ControlArgs) -> Result<(), Failure> {
    let name = id(&args.name)?.to_owned();
    let session = Session::open(project, None, &BTreeMap::new(), &BuildArgs::default())?;
    let device = Device::find(&session, &args.device)?;
    let manifest = super::find(&session.config, &name).ok().map(|app| &app.manifest);
    let said = session.guard(|| device.ask(&debug::command(&name), None))?;
    print!("{}", debug::explained(&said, manifest)?);
    Ok(())
}

fn show(project: Project, device: &DeviceArgs, command: &str) -> Result<(), Failure> {
    with(project, device, |device| device.show(command))
}

fn with(
    project: Project,
    device: &DeviceArgs,
    act: impl FnOnce(&Device) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let session = Session::open(project, None, &BTreeMap::new(), &BuildArgs::default())?;
    let device = Device::find(&session, device)?;
    session.guard(|| act(&device))
}

/// Only what cannot be more than a word reaches the device's shell.
fn id(name: &str) -> Result<&str, Failure> {
    match is_app_id(name) {
        true => Ok(name),
        false => Err(Failure::new(format!("this is no id of an app: `{name}`"))),
    }
}
