//! Programs whose interpreter, or one of whose libraries, is not in the image, or is there by chance only.
//!
//! Invariant: a library counts as found where musl's loader would look: the file's own search path, then
//! `/lib`, `/usr/local/lib`, `/usr/lib`; what a package's programs need is in that package or in one that it
//! depends on, so that any product may take the package.

use super::dependencies::Dependencies;
use super::elf::{self, Needs};
use crate::io::store::StoreError;
use crate::model::RelPath;
use crate::tree::compose::Composer;
use crate::tree::parameters::Parameters;
use crate::tree::problem::{Problems, TreeError};
use crate::tree::root::{Content, Item, Root};
use std::io::Read;

const LIBRARY_FOLDERS: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];
/// What `env` searches for the program a script names.
const PROGRAM_FOLDERS: [&str; 2] = ["/usr/bin", "/usr/sbin"];
/// The longest `#!` line that the kernel reads.
const LIMIT_SCRIPT_BYTES: u64 = 256;
const LIMIT_PROGRAM_BYTES: u64 = 512 << 20;

const INTERPRETER: &str = "an interpreter";
const LIBRARY: &str = "a library";

pub fn check(composer: &mut Composer, parameters: &Parameters) -> Result<(), TreeError> {
    let cpu = parameters.product.architecture.as_str();
    let dependencies = Dependencies::of(&parameters.packages);
    for (path, item) in &composer.root.items {
        let Content::File { digest, executable } = &item.content else { continue };
        let mut start = Vec::new();
        let blob = composer.store.open_blob(digest)?;
        blob.take(LIMIT_SCRIPT_BYTES).read_to_end(&mut start).map_err(TreeError::Archive)?;
        let file = Program { root: &composer.root, path, item, dependencies: &dependencies };
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
            file.check_elf(&bytes, cpu, &mut composer.problems);
        }
    }
    Ok(())
}

struct Program<'a> {
    root: &'a Root,
    path: &'a RelPath,
    item: &'a Item,
    dependencies: &'a Dependencies<'a>,
}

impl Program<'_> {
    fn label(&self) -> String {
        format!("`/{}` of {}", self.path, self.item.owner)
    }

    fn check_script(&self, start: &[u8], problems: &mut Problems) {
        let line = String::from_utf8_lossy(&start[2..]);
        let mut words = line.lines().next().unwrap_or_default().split_whitespace();
        let interpreter = words.next().unwrap_or_default();
        let Some(found) = self.program(interpreter) else {
            return problems.add(self.lacks(INTERPRETER, interpreter));
        };
        self.check_owner(found, INTERPRETER, interpreter, problems);
        if interpreter.ends_with("/env") {
            let name = words.find(|word| !word.starts_with('-') && !word.contains('=')).unwrap_or_default();
            match PROGRAM_FOLDERS.iter().find_map(|folder| self.program(&format!("{folder}/{name}"))) {
                Some(found) => self.check_owner(found, INTERPRETER, name, problems),
                None => problems.add(self.lacks(INTERPRETER, name)),
            }
        }
    }

    fn check_elf(&self, bytes: &[u8], cpu: &str, problems: &mut Problems) {
        let needs = match elf::needs(bytes) {
            None => return,
            Some(Err(reason)) => return problems.add(format!("{} is a damaged ELF file: {reason}", self.label())),
            Some(Ok(needs)) => needs,
        };
        let machine = elf::machine_of(cpu);
        if needs.machine.is_some() && machine.is_some() && needs.machine != machine {
            problems.add(format!("{} is built for another processor than the machine's: {cpu}", self.label()));
            return;
        }
        if needs.is_fixed {
            let help = "link it with `-pie`, or `-static-pie`: a program at a known address is easier to take over";
            problems.add_with_help(format!("{} is not position-independent", self.label()), help);
        }
        if needs.runs_what_it_writes {
            let help = "link it with `-z noexecstack`; assembly without `.section .note.GNU-stack` and nested functions of C ask for it";
            problems.add_with_help(format!("{} has memory that is written and executed both", self.label()), help);
        }
        if let Some(interpreter) = &needs.interpreter {
            let help = "add the package with the C library the program was linked against";
            match self.program(interpreter) {
                Some(found) => self.check_owner(found, INTERPRETER, interpreter, problems),
                None => problems.add_with_help(self.lacks(INTERPRETER, interpreter), help),
            }
        }
        for library in &needs.libraries {
            let help = "add the package that has it to `run-depends` of the package";
            match self.library(library, &needs) {
                Some(found) => self.check_owner(found, LIBRARY, library, problems),
                None => problems.add_with_help(self.lacks(LIBRARY, library), help),
            }
        }
    }

    fn lacks(&self, kind: &str, name: &str) -> String {
        format!("{} needs {kind} that is not in the image: `{name}`", self.label())
    }

    /// What is there must be there whenever the program is. Skeletons are the product's own, as its list of packages is.
    fn check_owner(&self, found: &Item, kind: &str, name: &str, problems: &mut Problems) {
        let (Some(_), Some(other)) = (self.item.owner.package(), found.owner.package()) else { return };
        for package in &self.item.packages {
            if !found.packages.iter().any(|owner| self.dependencies.reach(package, owner)) {
                let path = self.path;
                let message = format!(
                    "`/{path}` of package `{package}` needs {kind} of package `{other}`, on which it does not depend: `{name}`"
                );
                problems.add_with_help(message, format!("add `{other}` to `run-depends` of package `{package}`"));
            }
        }
    }

    fn program(&self, path: &str) -> Option<&Item> {
        let (_, item) = self.root.file(path).filter(|_| path.starts_with('/'))?;
        matches!(item.content, Content::File { executable: true, .. }).then_some(item)
    }

    fn library(&self, name: &str, needs: &Needs) -> Option<&Item> {
        if name.contains('/') {
            return self.root.file(name).map(|(_, item)| item);
        }
        let own_folder = self.path.parent().map_or_else(|| "/".to_owned(), |folder| format!("/{folder}"));
        let own =
            needs.search.iter().map(|folder| folder.replace("${ORIGIN}", &own_folder).replace("$ORIGIN", &own_folder));
        let mut folders = own.chain(LIBRARY_FOLDERS.iter().map(|folder| folder.to_string()));
        folders.find_map(|folder| self.root.file(&format!("{folder}/{name}"))).map(|(_, item)| item)
    }
}
