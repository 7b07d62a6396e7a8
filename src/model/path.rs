//! Paths inside a tree: relative, `/`-separated, UTF-8, with no way out.
//!
//! Invariant: no empty, `.` or `..` component, no NUL, no leading or trailing slash; at most 4096 bytes.

use std::fmt;
use std::str::FromStr;

/// A path below some root, such as `usr/bin/busybox`. Never empty.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path inside a tree: it must be relative, without empty, `.` or `..` components")]
pub struct InvalidPath(pub String);

impl RelPath {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, InvalidPath> {
        let bad = |c: &str| c.is_empty() || c == "." || c == ".." || c.contains('\0') || c.len() > 255;
        if text.len() > 4096 || text.split('/').any(bad) {
            return Err(InvalidPath(text.to_owned()));
        }
        Ok(RelPath(text.to_owned()))
    }

    /// Accepts the absolute spelling of configuration files: `/etc/passwd` is `etc/passwd`.
    pub fn from_absolute(text: &str) -> Result<Self, InvalidPath> {
        match text.strip_prefix('/') {
            Some(rest) => RelPath::new(rest).map_err(|_| InvalidPath(text.to_owned())),
            None => Err(InvalidPath(text.to_owned())),
        }
    }

    /// The path without a leading `usr/`: `bin/su` and `usr/bin/su` are one path on the device.
    pub fn in_merged_usr(&self) -> &str {
        self.as_str().strip_prefix("usr/").unwrap_or(self.as_str())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, first to last; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path without its last component; none for a path of one component.
    pub fn parent(&self) -> Option<RelPath> {
        self.0.rsplit_once('/').map(|(parent, _)| RelPath(parent.to_owned()))
    }

    /// `self/other`.
    pub fn join(&self, other: &RelPath) -> RelPath {
        RelPath(format!("{}/{}", self.0, other.0))
    }
}

impl FromStr for RelPath {
    type Err = InvalidPath;
    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        RelPath::new(text)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl AsRef<std::path::Path> for RelPath {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_root_are_accepted() {
        for good in ["a", "usr/bin/busybox", "a..b", "..."] {
            assert!(RelPath::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b"] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
    }
}
