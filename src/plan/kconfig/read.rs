//! The Kconfig files of a source tree in, the options they define out.
//!
//! Reads what decides whether an option can be set: prompts, dependencies, enclosing blocks, choices and
//! selections. Defaults and ranges are left to the kernel's own tool, which has the last word anyway.
//! Invariant: at most [`FILE_LIMIT`] files of [`DEPTH_LIMIT`] nested `source` lines are read.

use super::expression::Expression;
use super::lines::{lines, Line};
use super::symbols::{Choice, Definition, Dependency, Selection, Symbols};
use super::Place;
use std::sync::Arc;

/// Linux 6.12 has about 1,700 files, 8 deep, and 20,000 options.
const FILE_LIMIT: usize = 20_000;
const DEPTH_LIMIT: usize = 32;
const BLOCK_LIMIT: usize = 128;
const SYMBOL_LIMIT: usize = 200_000;

/// Where the files come from: a path in the source tree to its text.
pub type Sources<'a> = dyn Fn(&str) -> Option<String> + 'a;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("{place}: cannot read the expression `{text}`")]
    Expression { place: Place, text: String },
    #[error("{place}: the Kconfig file `{path}` does not exist")]
    Missing { place: Place, path: String },
    #[error("{place}: `{keyword}` closes nothing")]
    Unopened { place: Place, keyword: String },
    #[error("{place}: more {what} than the limit: {limit}")]
    TooMany { place: Place, what: &'static str, limit: usize },
}

/// Reads `root` and all it sources; `$(SRCARCH)` in paths is `architecture`.
pub fn read(root: &str, architecture: &str, sources: &Sources) -> Result<Symbols, ReadError> {
    let mut reader =
        Reader { sources, architecture, symbols: Symbols::default(), blocks: Vec::new(), entry: None, files: 0 };
    let start = Place { file: root.into(), line: 1 };
    reader.file(root, &start, 0)?;
    reader.close_entry(&start)?;
    Ok(reader.symbols)
}

struct Reader<'a> {
    sources: &'a Sources<'a>,
    architecture: &'a str,
    symbols: Symbols,
    blocks: Vec<Block>,
    /// The option whose properties are being read.
    entry: Option<Entry>,
    files: usize,
}

/// A `menu`, `if` or `choice` that is open.
struct Block {
    closed_by: &'static str,
    dependencies: Vec<Arc<Dependency>>,
    choice: Option<usize>,
    /// Properties such as `depends on` still belong to the block itself.
    heading: bool,
}

struct Entry {
    name: String,
    place: Place,
    prompt: bool,
    prompt_condition: Option<Arc<Dependency>>,
    dependencies: Vec<Arc<Dependency>>,
    /// `comment "..."` has properties, but is no option.
    is_option: bool,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, from: &Place, depth: usize) -> Result<(), ReadError> {
        let too_many = |what, limit| ReadError::TooMany { place: from.clone(), what, limit };
        self.files += 1;
        if depth == DEPTH_LIMIT {
            return Err(too_many("nested Kconfig files", DEPTH_LIMIT));
        }
        if self.files > FILE_LIMIT {
            return Err(too_many("Kconfig files", FILE_LIMIT));
        }
        let Some(text) = (self.sources)(path) else {
            return Err(ReadError::Missing { place: from.clone(), path: path.to_owned() });
        };
        let file: Arc<str> = path.into();
        for line in lines(&text) {
            let place = Place { file: file.clone(), line: line.number };
            self.line(&line, place, depth)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line, place: Place, depth: usize) -> Result<(), ReadError> {
        let (keyword, rest) = line.keyword();
        match keyword {
            "config" | "menuconfig" => self.open_entry(rest, place, true),
            "comment" => self.open_entry("", place, false),
            "menu" => self.open_block("endmenu", None, place, |_| Ok(Vec::new())),
            "if" => self.open_block("endif", None, place, |place| Ok(vec![dependency(rest, place)?])),
            "choice" => {
                let index = self.symbols.choices.len();
                self.symbols.choices.push(Choice { members: Vec::new(), place: place.clone() });
                self.open_block("endchoice", Some(index), place, |_| Ok(Vec::new()))
            }
            "endmenu" | "endif" | "endchoice" => self.close_block(keyword, place),
            "source" | "rsource" | "osource" | "orsource" => self.source(keyword, rest, place, depth),
            "depends" => self.depends(rest.strip_prefix("on").unwrap_or(rest), place),
            "visible" => self.depends(rest.strip_prefix("if").unwrap_or(rest), place),
            "bool" | "boolean" | "tristate" | "int" | "hex" | "string" | "prompt" => self.prompt(rest, place),
            "select" => self.select(rest, place),
            // Defaults, ranges, macros, and what later versions may add: the kernel's own tool knows them.
            _ => Ok(()),
        }
    }

    fn open_entry(&mut self, name: &str, place: Place, is_option: bool) -> Result<(), ReadError> {
        self.close_entry(&place)?;
        self.close_heading();
        let name = name.split_whitespace().next().unwrap_or("").to_owned();
        self.entry =
            Some(Entry { name, place, prompt: false, prompt_condition: None, dependencies: Vec::new(), is_option });
        Ok(())
    }

    fn close_entry(&mut self, place: &Place) -> Result<(), ReadError> {
        let Some(entry) = self.entry.take().filter(|entry| entry.is_option && !entry.name.is_empty()) else {
            return Ok(());
        };
        if self.symbols.len() == SYMBOL_LIMIT {
            return Err(ReadError::TooMany { place: place.clone(), what: "options", limit: SYMBOL_LIMIT });
        }
        // Members may stand in an `if` of their choice.
        let choice = self.blocks.iter().rev().find_map(|block| block.choice);
        if let Some(choice) = choice {
            self.symbols.choices[choice].members.push(entry.name.clone());
        }
        let mut dependencies = entry.dependencies;
        dependencies.extend(entry.prompt_condition);
        dependencies.extend(self.blocks.iter().flat_map(|block| block.dependencies.iter().cloned()));
        let definition = Definition { place: entry.place, prompt: entry.prompt, dependencies, choice };
        self.symbols.by_name.entry(entry.name).or_default().definitions.push(definition);
        Ok(())
    }

    fn open_block(
        &mut self,
        closed_by: &'static str,
        choice: Option<usize>,
        place: Place,
        dependencies: impl FnOnce(Place) -> Result<Vec<Arc<Dependency>>, ReadError>,
    ) -> Result<(), ReadError> {
        self.close_entry(&place)?;
        self.close_heading();
        if self.blocks.len() == BLOCK_LIMIT {
            return Err(ReadError::TooMany { place, what: "nested blocks", limit: BLOCK_LIMIT });
        }
        let dependencies = dependencies(place)?;
        self.blocks.push(Block { closed_by, dependencies, choice, heading: closed_by != "endif" });
        Ok(())
    }

    fn close_block(&mut self, keyword: &str, place: Place) -> Result<(), ReadError> {
        self.close_entry(&place)?;
        match self.blocks.pop() {
            Some(block) if block.closed_by == keyword => Ok(()),
            _ => Err(ReadError::Unopened { place, keyword: keyword.to_owned() }),
        }
    }

    fn close_heading(&mut self) {
        if let Some(block) = self.blocks.last_mut() {
            block.heading = false;
        }
    }

    fn source(&mut self, keyword: &str, rest: &str, place: Place, depth: usize) -> Result<(), ReadError> {
        self.close_entry(&place)?;
        self.close_heading();
        let path = rest.trim_matches(['"', '\'']).replace("$(SRCARCH)", self.architecture);
        let path = path.replace("$SRCARCH", self.architecture).replace("$(srctree)/", "");
        let path = match (keyword.contains("rsource"), place.file.rsplit_once('/')) {
            (true, Some((folder, _))) => format!("{folder}/{path}"),
            _ => path,
        };
        // A leading `o` means optional.
        if keyword.starts_with('o') && (self.sources)(&path).is_none() {
            return Ok(());
        }
        self.file(&path, &place, depth + 1)
    }

    fn depends(&mut self, text: &str, place: Place) -> Result<(), ReadError> {
        let dependency = dependency(text, place)?;
        match (&mut self.entry, self.blocks.last_mut()) {
            (Some(entry), _) => entry.dependencies.push(dependency),
            (None, Some(block)) if block.heading => block.dependencies.push(dependency),
            (None, _) => {}
        }
        Ok(())
    }

    /// The rest of a type line: nothing, or a prompt and perhaps its condition.
    fn prompt(&mut self, rest: &str, place: Place) -> Result<(), ReadError> {
        let Some(quote @ ('"' | '\'')) = rest.chars().next() else { return Ok(()) };
        let after = end_of_string(&rest[1..], quote).trim_start();
        let condition = after.strip_prefix("if").filter(|c| c.starts_with([' ', '\t', '(', '!']));
        let condition = condition.map(|condition| dependency(condition, place)).transpose()?;
        match (&mut self.entry, self.blocks.last_mut()) {
            (Some(entry), _) => {
                entry.prompt = true;
                entry.prompt_condition = condition.or(entry.prompt_condition.take());
            }
            // Nobody can choose in a choice that is not shown.
            (None, Some(block)) if block.heading && block.choice.is_some() => block.dependencies.extend(condition),
            (None, _) => {}
        }
        Ok(())
    }

    fn select(&mut self, rest: &str, place: Place) -> Result<(), ReadError> {
        let Some(by) = self.entry.as_ref().filter(|entry| entry.is_option).map(|entry| entry.name.clone()) else {
            return Ok(());
        };
        let (name, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let condition = match after.trim_start().strip_prefix("if") {
            Some(condition) => Some(expression(condition, &place)?),
            None => None,
        };
        // An option that is only ever selected is defined elsewhere, or nowhere: then it stays without definitions.
        self.symbols.by_name.entry(name.to_owned()).or_default().selected_by.push(Selection { by, condition, place });
        Ok(())
    }
}

/// What follows the closing quote; a backslash keeps the next character.
fn end_of_string(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return &text[index + 1..],
            _ => {}
        }
    }
    ""
}

fn expression(text: &str, place: &Place) -> Result<Expression, ReadError> {
    Expression::parse(text).ok_or_else(|| ReadError::Expression { place: place.clone(), text: text.trim().to_owned() })
}

fn dependency(text: &str, place: Place) -> Result<Arc<Dependency>, ReadError> {
    Ok(Arc::new(Dependency { expression: expression(text, &place)?, place }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn enclosing_blocks_become_dependencies() {
        let main = "menu \"m\"\n\tdepends on NET\nif PCI\nsource \"arch/$(SRCARCH)/Kconfig\"\nendif\nosource \"absent\"\nendmenu\n";
        let arch = "choice\n\tprompt \"c\" if DEBUG\n\tdepends on SMP\nconfig ONE\n\tbool \"one\" if EXPERT\n\tselect TWO if NET\nif NET\nconfig TWO\n\tbool\nendif\nendchoice\n";
        let sources = |path: &str| match path {
            "Kconfig" => Some(main.to_owned()),
            "arch/x86/Kconfig" => Some(arch.to_owned()),
            _ => None,
        };
        let symbols = read("Kconfig", "x86", &sources).expect("the files are valid");
        let one = &symbols.by_name["ONE"].definitions[0];
        let needs: Vec<String> = one.dependencies.iter().map(|d| format!("{} {}", d.place, d.expression)).collect();
        let own = ["arch/x86/Kconfig:5 EXPERT", "Kconfig:2 NET", "Kconfig:3 PCI"];
        let of_the_choice = ["arch/x86/Kconfig:2 DEBUG", "arch/x86/Kconfig:3 SMP"];
        let expected: Vec<&str> = own.into_iter().chain(of_the_choice).collect();
        assert_eq!(needs, expected);
        assert!(one.prompt && !symbols.by_name["TWO"].definitions[0].prompt);
        assert_eq!(symbols.by_name["TWO"].selected_by[0].by, "ONE");
        assert_eq!(symbols.choices[0].members, ["ONE", "TWO"]);
    }

    #[test]
    fn faults_name_the_line() {
        for (text, message) in [
            ("config A\n\tdepends on (\n", "Kconfig:2: cannot read the expression `(`"),
            ("source \"x\"\n", "Kconfig:1: the Kconfig file `x` does not exist"),
            ("menu \"m\"\nendif\n", "Kconfig:2: `endif` closes nothing"),
            ("source \"Kconfig\"\n", "Kconfig:1: more nested Kconfig files than the limit: 32"),
        ] {
            let sources = |path: &str| (path == "Kconfig").then(|| text.to_owned());
            let error = read("Kconfig", "x86", &sources).map(|_| ()).expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "(config A\n|bool \"x\" if|depends on |select B|if A\n|endif\n|choice\n|endchoice\n|source \"Kconfig\"\n|\\PC|\n){0,60}",
        ) {
            let _ = read("Kconfig", "x86", &|_| Some(text.clone())).map(|symbols| symbols.len());
        }
    }
}
