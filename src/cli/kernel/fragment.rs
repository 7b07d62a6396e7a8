//! The fragment that an edit is written to: `kernel-config/NAME.config` of the project.
//!
//! Invariant: only the options of the edit change in it; comments and other options stay.

use crate::cli::report::Failure;
use crate::cli::session::Session;
use crate::io::file;
use crate::model::recipe::BuildClass;
use crate::plan::kconfig::Edit;
use std::path::PathBuf;
use std::str::FromStr;

/// A checked name of a fragment.
#[derive(Clone, Debug)]
pub struct FragmentFile {
    name: String,
}

impl FromStr for FragmentFile {
    type Err = String;

    /// Takes the path of the fragment from the project's root, or its name alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("kernel-config/").unwrap_or(text);
        let name = name.strip_suffix(".config").unwrap_or(name);
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_+.".contains(&b);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(fine) {
            return Err("a fragment is a file `kernel-config/NAME.config` of the project".to_owned());
        }
        Ok(FragmentFile { name: name.to_owned() })
    }
}

impl FragmentFile {
    /// From the project's root, as in every message about the fragment.
    pub fn path(&self) -> String {
        format!("kernel-config/{}.config", self.name)
    }

    /// Writes the edit; says what is left to do until the build uses it.
    pub fn save(&self, session: &Session, recipe: &str, edit: &Edit) -> Result<(), Failure> {
        let place: PathBuf = session.project.root.join(self.path());
        let old = if place.exists() { file::read_text(&place)? } else { String::new() };
        file::write_atomic(&place, edit.written_to(&self.path(), &old).as_bytes(), 0o644)?;
        eprintln!("written: {}", self.path());
        if !self.is_used(session, recipe) {
            eprintln!("  help: add `{}` to {}", self.name, self.users(session, recipe));
        }
        Ok(())
    }

    fn is_used(&self, session: &Session, recipe: &str) -> bool {
        let config = &session.config;
        let of_recipe = config.recipes.values().filter(|known| known.name.as_str() == recipe);
        let own = of_recipe.flat_map(|recipe| match &recipe.class {
            BuildClass::Kernel { fragments, .. } => fragments.as_slice(),
            _ => &[],
        });
        let of_kernel = config.machine.kernel_fragments.iter().chain(&config.product.kernel_fragments);
        let is_kernel = config.machine.kernel.as_str() == recipe;
        own.chain(of_kernel.filter(|_| is_kernel)).any(|name| *name == self.name)
    }

    fn users(&self, session: &Session, recipe: &str) -> String {
        match session.config.machine.kernel.as_str() == recipe {
            true => format!("`kernel-fragments` of the product `{}` or of its machine", session.config.product.name),
            false => format!("`fragments` of the recipe `{recipe}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FragmentFile;

    #[test]
    fn a_fragment_is_named_by_its_path_or_its_name_and_lies_nowhere_else() {
        for text in ["usb", "usb.config", "kernel-config/usb.config"] {
            assert_eq!(text.parse::<FragmentFile>().expect("valid").path(), "kernel-config/usb.config");
        }
        for text in ["", "../usb.config", "kernel-config/", "kernel-config/a/b.config", "/tmp/x", ".config", "a b"] {
            assert!(text.parse::<FragmentFile>().is_err(), "{text}");
        }
    }
}
