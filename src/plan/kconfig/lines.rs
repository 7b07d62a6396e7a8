//! The text of a Kconfig file in, its logical lines out: continued lines joined, comments and help texts gone.
//!
//! Invariant: every byte is looked at a bounded number of times.

/// A line that says something, without its indentation, and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub number: u32,
}

impl Line {
    /// The first word and the rest.
    pub fn keyword(&self) -> (&str, &str) {
        match self.text.split_once([' ', '\t']) {
            Some((word, rest)) => (word, rest.trim_start()),
            None => (&self.text, ""),
        }
    }
}

pub fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut raw = text.lines().zip(1..).peekable();
    while let Some((first, number)) = raw.next() {
        let mut joined = first.trim().to_owned();
        while joined.ends_with('\\') {
            joined.pop();
            let Some((next, _)) = raw.next() else { break };
            joined.push_str(next.trim());
        }
        if joined.is_empty() || joined.starts_with('#') {
            continue;
        }
        if matches!(joined.as_str(), "help" | "---help---") {
            skip_help(&mut raw);
            continue;
        }
        lines.push(Line { text: joined, number });
    }
    lines
}

/// A help text ends before the first line that is indented less than its first line.
fn skip_help<'a>(raw: &mut std::iter::Peekable<impl Iterator<Item = (&'a str, u32)>>) {
    let mut first = None;
    while let Some((line, _)) = raw.peek() {
        if !line.trim().is_empty() {
            let here = indentation(line);
            if here == 0 || here < *first.get_or_insert(here) {
                return;
            }
        }
        raw.next();
    }
}

/// Columns, with a tab stop every 8.
fn indentation(line: &str) -> usize {
    let mut column = 0;
    for byte in line.bytes() {
        match byte {
            b' ' => column += 1,
            b'\t' => column = (column / 8 + 1) * 8,
            _ => break,
        }
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn help_texts_and_comments_are_not_statements() {
        let text = "config A\n\tbool \"a\"\n\thelp\n\t  config B\n\n\t   more\n# c\n\tdepends on X && \\\n\t\tY\nconfig C\n\t---help---\nend\n";
        let found: Vec<(String, u32)> = lines(text).into_iter().map(|line| (line.text, line.number)).collect();
        let expected = [("config A", 1), ("bool \"a\"", 2), ("depends on X && Y", 8), ("config C", 10), ("end", 12)];
        assert_eq!(found, expected.map(|(text, number)| (text.to_owned(), number)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n|\t|help\n|\\\\){0,200}") {
            lines(&text);
        }
    }
}
