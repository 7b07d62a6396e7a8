//! Programs whose interpreter, or one of whose libraries, is not in the image.
//!
//! Invariant: a library counts as found where musl's loader would look: the file's own search path, then
//! `/lib`, `/usr/local/lib`, `/usr/lib`.

use super::elf::{self, Needs};
use crate::io::store::StoreError;
use crate::model::RelPath;
use crate::tree::compose::Composer;
use crate::tree::problem::{Problems, TreeError};
use crate::tree::root::{Content, Item, Resolved, Root};
use std::io::Read;

const LIBRARY_FOLDERS: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];
/// What `env` searches for the program a script names.
const PROGRAM_FOLDERS: [&str; 2] = ["/usr/bin", "/usr/sbin"];
/// The longest `#!` line that the kernel reads.
const LIMIT_SCRIPT_BYTES: u64 = 256;
const LIMIT_PROGRAM_BYTES: u64 = 512 << 20;

pub fn check(composer: &mut Composer, cpu: &str) -> Result<(), TreeError> {
    let machine = elf::machine_of(cpu);
    for (path, item) in &composer.root.items {
        let Content::File { digest, executable } = &item.content else { continue };
        let mut start = Vec::new();
        let blob = composer.store.open_blob(digest)?;
        blob.take(LIMIT_SCRIPT_BYTES).read_to_end(&mut start).map_err(TreeError::Archive)?;
        let file = Program { root: &composer.root, path, item };
        if start.starts_with(b"#!") && *executable {
            file.check_script(&start, &mut composer.problems);
        } else if start.starts_with(b"\x7fELF") {
            let bytes = match composer.store.read(digest, LIMIT_PROGRAM_BYTES) {
                Err(StoreError::TooLarge { .. }) => {
                    composer.problems.add(format!("{} is too large to be checked", file.label()));
                    continue;
                }
                result => result?,
            };
            file.check_elf(&bytes, machine, cpu, &mut composer.problems);
        }
    }
    Ok(())
}

struct Program<'a> {
    root: &'a Root,
    path: &'a RelPath,
    item: &'a Item,
}

impl Program<'_> {
    fn label(&self) -> String {
        format!("`/{}` of {}", self.path, self.item.owner)
    }

    fn check_script(&self, start: &[u8], problems: &mut Problems) {
        let line = String::from_utf8_lossy(&start[2..]);
        let mut words = line.lines().next().unwrap_or_default().split_whitespace();
        let interpreter = words.next().unwrap_or_default();
        if !self.is_program(interpreter) {
            problems.add(format!("{} needs an interpreter that is not in the image: `{interpreter}`", self.label()));
        } else if interpreter.ends_with("/env") {
            let name = words.find(|word| !word.starts_with('-') && !word.contains('=')).unwrap_or_default();
            if !PROGRAM_FOLDERS.iter().any(|folder| self.is_program(&format!("{folder}/{name}"))) {
                problems.add(format!("{} needs an interpreter that is not in the image: `{name}`", self.label()));
            }
        }
    }

    fn check_elf(&self, bytes: &[u8], machine: Option<u16>, cpu: &str, problems: &mut Problems) {
        let needs = match elf::needs(bytes) {
            None => return,
            Some(Err(reason)) => return problems.add(format!("{} is a damaged ELF file: {reason}", self.label())),
            Some(Ok(needs)) => needs,
        };
        if needs.machine.is_some() && machine.is_some() && needs.machine != machine {
            problems.add(format!("{} is built for another processor than the machine's: {cpu}", self.label()));
            return;
        }
        if let Some(interpreter) = needs.interpreter.as_ref().filter(|path| !self.is_program(path)) {
            let help = "add the package with the C library the program was linked against";
            let message = format!("{} needs an interpreter that is not in the image: `{interpreter}`", self.label());
            problems.add_with_help(message, help);
        }
        for library in needs.libraries.iter().filter(|library| !self.has_library(library, &needs)) {
            let help = "add the package that has it to `run-depends` of the package";
            let message = format!("{} needs a library that is not in the image: `{library}`", self.label());
            problems.add_with_help(message, help);
        }
    }

    fn is_program(&self, path: &str) -> bool {
        let found = self.root.file(path).map(|(_, item)| &item.content);
        path.starts_with('/') && matches!(found, Some(Content::File { executable: true, .. }))
    }

    fn has_library(&self, name: &str, needs: &Needs) -> bool {
        if name.contains('/') {
            return self.root.file(name).is_some();
        }
        let own_folder = self.path.parent().map_or_else(|| "/".to_owned(), |folder| format!("/{folder}"));
        let own =
            needs.search.iter().map(|folder| folder.replace("${ORIGIN}", &own_folder).replace("$ORIGIN", &own_folder));
        let mut folders = own.chain(LIBRARY_FOLDERS.iter().map(|folder| folder.to_string()));
        folders.any(|folder| matches!(self.root.resolve(None, &format!("{folder}/{name}")), Resolved::Here(path) if self.is_file(&path)))
    }

    fn is_file(&self, path: &RelPath) -> bool {
        matches!(self.root.items.get(path).map(|item| &item.content), Some(Content::File { .. }))
    }
}
