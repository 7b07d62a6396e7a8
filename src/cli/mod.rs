//! The command line: words in, the stages driven in their order, messages and an exit status out.
//!
//! Invariant: no stage knows that it is driven from here; whatever goes wrong ends in one [`report::Failure`].

// Its macros are for all that follows.
#[macro_use]
mod output;

mod app;
mod board;
mod build;
mod cache;
mod image;
mod interrupt;
mod kernel;
mod keys;
mod layout;
mod lock;
mod plan;
mod progress;
mod project;
mod remedy;
mod repo;
mod report;
pub mod run;
mod sandbox;
mod session;
mod shell;
mod signing;
mod steps;
pub mod suites;
mod terminal;
pub mod test;
mod tools;
mod update;
mod verify;

pub use project::chosen_cache;

use clap::{Parser, Subcommand};
use project::Project;
use report::Failure;
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds operating systems of connected devices from YAML layers.
#[derive(Debug, Parser)]
#[command(name = "osbuild", version, about, max_term_width = 100)]
struct Arguments {
    /// The project's folder; the nearest one upwards with `layers/` unless told
    #[arg(long, global = true, value_name = "FOLDER")]
    project: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a product's image
    Image(image::ImageArgs),
    /// Boot a product's image on the virtual board, in this terminal
    Run(run::RunArgs),
    /// Boot a product's image and run the checks of `tests/board/` on it
    Test(test::TestArgs),
    /// Write apps, build them and look after them on a device
    #[command(subcommand)]
    App(app::AppCommand),
    /// Build recipes
    Build(build::RecipeArgs),
    /// Show the tasks that a product needs
    Plan(plan::PlanArgs),
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Pin every source and tool package in `osbuild.lock`
    Lock(lock::LockArgs),
    /// Check, compare and change the kernel's configuration
    #[command(subcommand)]
    Kernel(kernel::KernelCommand),
    /// Compose a tool tree and say where it is
    Tools(tools::ToolsArgs),
    /// Look after the cache
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Make signing keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Look after the repository that devices get their updates from
    #[command(subcommand)]
    Repo(repo::RepoCommand),
    /// Try updates without a device
    #[command(subcommand)]
    Update(update::UpdateCommand),
    /// Sign what a request asks for, where the keys are
    Sign(signing::SignArgs),
    /// Check an image folder or a disk, offline, from public keys alone
    Verify(verify::VerifyArgs),
    /// Open a shell where a task runs
    Shell(shell::ShellArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show what a product comes to, with inheritance, overrides and templates applied
    Show {
        /// The default product unless told
        product: Option<String>,
        /// Say after each value where it was set
        #[arg(long)]
        origin: bool,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match run_command(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit)
        }
    }
}

fn run_command(arguments: Arguments) -> Result<(), Failure> {
    let project = Project::find(arguments.project.as_deref()).map_err(Failure::from);
    if let Command::Verify(args) = &arguments.command {
        return verify::verify(project, args);
    }
    if let Command::Sign(args) = &arguments.command {
        return signing::sign(project, args);
    }
    let project = project?;
    match arguments.command {
        Command::Image(args) => image::image(project, &args),
        Command::Run(args) => board::run(project, &args),
        Command::Test(args) => board::test(project, &args),
        Command::Keys(command) => keys::keys(project, &command),
        Command::Verify(args) => verify::verify(Ok(project), &args),
        Command::Repo(command) => repo::repo(&project, &command),
        Command::Update(command) => update::update(&project, &command),
        Command::Sign(args) => signing::sign(Ok(project), &args),
        Command::App(command) => app::app(project, &command),
        Command::Build(args) => build::build(project, &args),
        Command::Plan(args) => plan::plan(project, &args),
        Command::Config(ConfigCommand::Show { product, origin }) => {
            print!("{}", crate::config::show(&project.root, product.as_deref(), origin)?);
            Ok(())
        }
        Command::Lock(args) => lock::lock(project, &args),
        Command::Kernel(command) => kernel::kernel(project, &command),
        Command::Tools(args) => tools::tools(project, &args),
        Command::Cache(command) => cache::cache(project, command),
        Command::Shell(args) => shell::shell(project, &args),
    }
}
