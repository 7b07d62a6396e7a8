//! `osbuild app sdk`: what apps are built against, for developers who build no images, as a folder.
//!
//! Invariant: the folder works wherever it lies, and appears when it is whole.

use super::super::project::Project;
use super::super::report::Failure;
use super::super::session::{BuildArgs, Session};
use crate::io::file::{self, at};
use crate::io::store::Node;
use crate::model::RecipeName;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The C library, the kernel's interface, and what the apps of this repository speak MQTT with.
const RECIPES: [&str; 3] = ["musl", "linux-headers", "mosquitto"];
/// Without it there is nothing to build against.
const C_LIBRARY: &str = "musl";
/// Of an installed tree, what a compiler reads.
const FOLDERS: [&str; 2] = ["usr/include", "usr/lib"];
const SPECS: &str = "usr/lib/musl-gcc.specs";
/// Where the specs of a build task look.
const TASK_SYSROOT: &str = "/work/sysroot";

const FILES: [(&str, &str, u32); 4] = [
    ("README.md", include_str!("README.md.in"), 0o644),
    ("toolchain.cmake", include_str!("toolchain.cmake.in"), 0o644),
    ("cargo/config.toml", include_str!("config.toml.in"), 0o644),
    ("bin/osbuild-cc", include_str!("osbuild-cc.in"), 0o755),
];

#[derive(Clone, Debug, clap::Args)]
pub struct SdkArgs {
    /// A folder that does not exist yet
    pub folder: PathBuf,
    /// For this product's machine; the default product unless told
    #[arg(long)]
    pub product: Option<String>,
    /// Also the headers and libraries of this recipe
    #[arg(long, value_name = "RECIPE")]
    pub with: Vec<String>,
    #[command(flatten)]
    pub build: BuildArgs,
}

pub fn sdk(project: Project, args: &SdkArgs) -> Result<(), Failure> {
    if args.folder.exists() {
        return Err(Failure::new(format!("`{}` is there already", args.folder.display()))
            .help("name a folder that does not exist yet, or move this one away"));
    }
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &args.build)?;
    let known = |name: &&str| RecipeName::new(name).is_ok_and(|name| session.config.recipes.contains_key(&name));
    let mut recipes: Vec<&str> = RECIPES.into_iter().filter(|name| *name == C_LIBRARY || known(name)).collect();
    recipes.extend(args.with.iter().map(String::as_str));
    let goals = recipes.iter().map(|name| session.goal(name).cloned()).collect::<Result<Vec<_>, _>>()?;
    let outcome = session.run(&goals)?;

    let parent = args.folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    file::create_dir_all(parent)?;
    let building = tempfile::Builder::new().prefix(".sdk-").tempdir_in(parent);
    let building = building.map_err(at("create a folder in", parent))?;
    for goal in &goals {
        let Node::Folder(tree) = outcome.output(&session.store, &session.plan, goal)? else { continue };
        let installed = session.store.checkout(&tree)?;
        for folder in FOLDERS.iter().filter(|folder| installed.join(folder).is_dir()) {
            file::copy_tree(&installed.join(folder), &building.path().join("sysroot").join(folder))?;
        }
    }
    fill(building.path(), session.config.machine.architecture.gnu_cpu())?;
    std::fs::rename(building.path(), &args.folder).map_err(at("create", &args.folder))?;
    let _ = building.keep();
    println!("{}", args.folder.display());
    eprintln!("`{}` says how to use it", args.folder.join("README.md").display());
    Ok(())
}

/// The files beside the sysroot, and the compiler's view of it.
fn fill(folder: &Path, architecture: &str) -> Result<(), Failure> {
    let write = |path: &str, text: &str, mode: u32| -> Result<(), Failure> {
        let path = folder.join(path);
        file::create_dir_all(path.parent().unwrap_or(folder))?;
        Ok(file::write_atomic(&path, text.replace("ARCHITECTURE", architecture).as_bytes(), mode)?)
    };
    FILES.iter().try_for_each(|(path, text, mode)| write(path, text, *mode))?;
    let specs = file::read_text(&folder.join("sysroot").join(SPECS))?;
    write("lib/musl.specs", &relocatable(&specs), 0o644)?;
    // This one's paths are those of a build task.
    let unused = folder.join("sysroot").join(SPECS);
    std::fs::remove_file(&unused).map_err(at("remove", &unused))?;
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(at("set the mode of", folder))?;
    Ok(())
}

/// Specs whose paths begin where the variable `OSBUILD_SDK` says, which `osbuild-cc` sets (GCC manual, "Spec Files").
fn relocatable(specs: &str) -> String {
    let word = |word: &str| match word.find(TASK_SYSROOT) {
        None => word.to_owned(),
        Some(start) => {
            let (before, path) = word.split_at(start);
            let (path, after) = match path.strip_suffix('}') {
                Some(path) => (path, "}"),
                None => (path, ""),
            };
            format!("{before}%:getenv(OSBUILD_SDK /sysroot{}){after}", &path[TASK_SYSROOT.len()..])
        }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n";
    specs.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_build_task_follow_the_folder() {
        let specs = "*startfile:\n%{!shared: /work/sysroot/usr/lib/Scrt1.o} /work/sysroot/usr/lib/crti.o crtbeginS.o%s\n-L/work/sysroot/usr/lib -L .%s\n";
        let wanted = "*startfile:\n%{!shared: %:getenv(OSBUILD_SDK /sysroot/usr/lib/Scrt1.o)} \
                      %:getenv(OSBUILD_SDK /sysroot/usr/lib/crti.o) crtbeginS.o%s\n\
                      -L%:getenv(OSBUILD_SDK /sysroot/usr/lib) -L .%s\n";
        assert_eq!(relocatable(specs), wanted);
    }
}
