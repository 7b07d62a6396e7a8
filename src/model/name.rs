//! Names of recipes, packages, machines, products, apps and tool trees.
//!
//! Invariant: a name matches `[a-z0-9][a-z0-9+._-]{0,63}`, so it is safe as a file name.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 64 of a-z, 0-9, `+`, `.`, `_` and `-`, starting with a letter or digit")]
pub struct InvalidName(pub String);

fn is_name(text: &str) -> bool {
    let body = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(body) && text.as_bytes()[0].is_ascii_alphanumeric()
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                if is_name(text) { Ok($name(text.into())) } else { Err(InvalidName(text.to_owned())) }
            }
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> { $name::new(text) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:?}", &*self.0) }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str { &self.0 }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str { &self.0 }
        }
    )*};
}

names! {
    /// A recipe: one source project and how it is built.
    RecipeName;
    /// An output package of a recipe: a set of files that goes into an image together.
    PackageName;
    /// A board.
    MachineName;
    /// What is shipped: a machine, packages and settings.
    ProductName;
    /// An app; `osbuild_format::app::is_app_id` allows fewer names than this.
    AppName;
    /// A tree of unpacked Debian packages that tasks run on.
    ToolTreeName;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_file_names() {
        for good in ["a", "linux", "gcc-12", "libstdc++", "e2fsprogs", "x_y.z", "0ad"] {
            assert!(RecipeName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-x", "A", "a/b", "a b", "é", &"a".repeat(65)] {
            assert!(RecipeName::new(bad).is_err(), "{bad}");
        }
    }
}
