//! `osbuild app deploy`: an app in, the app running on a device out, with how long each part took.
//!
//! Invariant: it says that the app runs only when the device says so of the very file that was brought.

use super::super::keys;
use super::super::progress::seconds;
use super::super::project::Project;
use super::super::report::Failure;
use super::super::session::{BuildArgs, Session};
use super::device::{Device, DeviceArgs};
use super::{build, sign};
use crate::model::Digest;
use crate::release::app::AppFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// On the device: it holds for this device alone, but is nobody else's business there.
const TOKEN: &str = "/run/osbuild-token";

#[derive(Clone, Debug, clap::Args)]
pub struct DeployArgs {
    /// The app, or its file, `FILE.app`
    pub app: String,
    /// As this product configures it; the default product unless told
    #[arg(long)]
    pub product: Option<String>,
    /// Also where the device has had a newer version
    #[arg(long)]
    pub downgrade: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub build: BuildArgs,
}

pub fn deploy(project: Project, args: &DeployArgs) -> Result<(), Failure> {
    let start = Instant::now();
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &args.build)?;
    let device = Device::find(&session, &args.device)?;
    let file = file(&session, &args.app)?;
    let built = Instant::now();
    session.guard(|| bring(&session.project, &device, &file, args.downgrade))?;
    eprintln!("  build {}, all {}", seconds(built - start), seconds(start.elapsed()));
    Ok(())
}

/// The file that was named, or that of the app, built now.
pub fn file(session: &Session, app: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(app);
    if path.extension().is_some_and(|ending| ending == "app") {
        return Ok(path.to_owned());
    }
    let built = build::run(session, app, &build::place(&session.project, app)?)?;
    match built.is_signed {
        true => Ok(built.path),
        false => Err(keys::no_app_signer(&session.project)),
    }
}

/// Installs `file` on the device and waits until it runs there.
pub fn bring(project: &Project, device: &Device, file: &Path, downgrade: bool) -> Result<(), Failure> {
    let app = AppFile::open(file)?;
    let (id, digest) = (&app.manifest.id, Digest::of(&app.payload).hex());
    let start = Instant::now();
    let name = device.ask("osagent app device", None)?;
    let token = sign::for_device(project, name.trim(), downgrade)?;
    let known = Instant::now();
    device.ask(&install(&token), Some(file)).map_err(|failure| explain(failure, device))?;
    let installed = Instant::now();
    device.ask(&until_running(id, &digest), None)?;
    println!("{id} {} runs on {}", app.manifest.version, device.place());
    let (token, install, run) = (seconds(known - start), seconds(installed - known), seconds(installed.elapsed()));
    eprintln!("  token {token}, install {install}, running after {run}");
    Ok(())
}

fn install(token: &str) -> String {
    // Base64 and JSON have no quotes of a shell's.
    format!(
        "umask 077; printf '%s\\n' '{}' > {TOKEN}; osagent app install - --token {TOKEN}; status=$?; rm -f {TOKEN}; \
         exit $status",
        token.trim_end()
    )
}

/// The device's shell waits, for a call from here takes longer than a start: first eagerly, as its `sleep` knows whole
/// seconds only.
fn until_running(id: &str, digest: &str) -> String {
    format!(
        "tries=0; while [ $tries -lt 40 ]; do said=$(osagent app status {id} --json) || exit 1; case $said in \
         *'\"{digest}\"'*) case $said in *'\"state\": \"running\"'*) exit 0 ;; \
         *'\"state\": \"failed\"'* | *'\"state\": \"finished\"'* | *'\"state\": \"refused\"'* | *'\"restarts\": 2'*) break ;; esac ;; \
         esac; \
         tries=$((tries + 1)); [ $tries -lt 20 ] || sleep 1; done; echo \"`{id}` does not run\"; osagent app status {id}; \
         osagent app logs {id} | tail -n 20; exit 1"
    )
    .replace('`', "\\`")
}

fn explain(failure: Failure, device: &Device) -> Failure {
    let help = match failure.message.as_str() {
        text if text.contains("not signed by a key that this device trusts") || text.contains("signature") => format!(
            "the device at {} trusts the keys of its image's project: deploy with those (OSBUILD_KEYS names a folder)",
            device.place()
        ),
        text if text.contains("older than what this device has had") => {
            "raise `version` in app.yaml, or give `--downgrade`".to_owned()
        }
        _ => return failure,
    };
    failure.help(help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::command;
    use std::process::Command;

    #[test]
    fn the_words_for_the_device_are_a_shells() {
        for script in [install("{\"payload\":\"e30=\"}\n"), until_running("meter", "ab12")] {
            command::run(Command::new("sh").args(["-n", "-c", &script])).expect("a shell's words");
        }
    }
}
