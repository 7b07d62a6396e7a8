//! Finds the project, the cache and the output folder.
//!
//! Invariant: the project is the nearest folder upwards that has `layers/`; nothing else is searched.

use crate::io::file::{self, FileError};
use crate::io::store::{Store, StoreError};
use std::path::{Path, PathBuf};

/// The folders a command works in.
#[derive(Clone, Debug)]
pub struct Project {
    pub root: PathBuf,
    pub cache: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("no osbuild project here: neither `{}` nor a folder above it has `layers/`", .0.display())]
    NotFound(PathBuf),
    #[error("no place for the cache: neither OSBUILD_CACHE, XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    #[error("cannot tell the present folder")]
    NoCurrentFolder(#[source] std::io::Error),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Project {
    /// Searches upwards from `start`, or from the present folder.
    pub fn find(start: Option<&Path>) -> Result<Project, ProjectError> {
        let start = match start {
            Some(start) => start.to_owned(),
            None => std::env::current_dir().map_err(ProjectError::NoCurrentFolder)?,
        };
        let root = start.ancestors().find(|folder| folder.join("layers").is_dir());
        let root = root.ok_or_else(|| ProjectError::NotFound(start.clone()))?.to_owned();
        Ok(Project { root, cache: cache_folder()? })
    }

    pub fn store(&self) -> Result<Store, ProjectError> {
        Ok(Store::open(&self.cache)?)
    }

    /// `out/NAME` with its folder made.
    pub fn out(&self, name: &str) -> Result<PathBuf, ProjectError> {
        let path = self.root.join("out").join(name);
        file::create_dir_all(&path)?;
        Ok(path)
    }

    /// The folder of the signing keys: `OSBUILD_KEYS`, else `keys/` of the project, which git ignores.
    pub fn keys(&self) -> PathBuf {
        chosen_keys().unwrap_or_else(|| self.root.join("keys"))
    }
}

/// The folder of keys that the environment names.
pub fn chosen_keys() -> Option<PathBuf> {
    std::env::var_os("OSBUILD_KEYS").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where the cache is to be, as the environment says it.
pub fn chosen_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("OSBUILD_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("osbuild")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/osbuild")))
}

fn cache_folder() -> Result<PathBuf, ProjectError> {
    let path = chosen_cache().ok_or(ProjectError::NoCache)?;
    file::create_dir_all(&path)?;
    // Tasks are mounted from here, so a relative path must not depend on where we are later.
    Ok(std::fs::canonicalize(&path).map_err(file::at("find", &path))?)
}
