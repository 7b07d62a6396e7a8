//! `osbuild update`: updates without a device.
//!
//! Invariant: nothing here changes a repository or an image.

mod simulate;

use super::project::Project;
use super::report::Failure;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum UpdateCommand {
    /// Say what an update from one image to another costs: bytes, time and memory, by the device's own code
    Simulate(simulate::SimulateArgs),
    #[command(hide = true)]
    Measure(simulate::MeasureArgs),
}

pub fn update(project: &Project, command: &UpdateCommand) -> Result<(), Failure> {
    match command {
        UpdateCommand::Simulate(args) => simulate::simulate(project, args),
        UpdateCommand::Measure(args) => simulate::measure(args),
    }
}
