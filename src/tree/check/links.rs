//! Symlinks that lead nowhere.
//!
//! Invariant: an absolute target is taken from the image's own root; a target in a folder that is filled on
//! the device (`/run`, `/data`, `/dev` and the like) is not judged.

use crate::tree::problem::Problems;
use crate::tree::root::{Content, Resolved, Root};

pub fn check(root: &Root, problems: &mut Problems) {
    for (path, item) in &root.items {
        let Content::Symlink { target } = &item.content else { continue };
        if root.resolve(path.parent().as_ref(), target) == Resolved::Nowhere {
            problems.add(format!("symlink `/{path}` of {} leads nowhere: `{target}`", item.owner));
        }
    }
}
