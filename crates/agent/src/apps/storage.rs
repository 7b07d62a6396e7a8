//! An app's own place on `/data`, with the quota that the kernel keeps.
//!
//! Invariant: the folder belongs to the app's user and nobody else may enter; what the user owns on `/data` never
//! takes more than the quota.

use crate::data;
use crate::error::{AgentError, Doing};
use osbuild_sys::quota;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};

const FOLDER: &str = "/data/apps";

/// Makes what is missing; none: the app has no storage.
pub fn provide(id: &str, user: u32, quota_bytes: u64) -> Result<Option<PathBuf>, AgentError> {
    if quota_bytes == 0 {
        return Ok(None);
    }
    let folder = Path::new(FOLDER).join(id);
    let doing = || format!("give the app `{id}` its storage");
    std::fs::create_dir_all(&folder).doing(doing)?;
    chown(&folder, Some(user), Some(user)).doing(doing)?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).doing(doing)?;
    quota::set_user(Path::new(data::MOUNTED), user, quota_bytes).doing(doing)?;
    Ok(Some(folder))
}

/// Bytes that the user's files take.
pub fn used_bytes(user: u32) -> Option<u64> {
    quota::user_bytes(Path::new(data::MOUNTED), user).ok()
}
