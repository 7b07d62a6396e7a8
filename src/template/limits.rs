//! A template's text in, a problem out when it would take an engine too deep.
//!
//! Tera's parser and its evaluation go one call deeper for each bracket, operator and block, so a
//! hostile template could exhaust the stack, which no error message survives. Tags are told apart as Tera
//! does it: a close inside a string closes nothing, and in comments and raw text nothing opens.
//! Invariant: what passes here nests at most as deep as the constants below.

/// Bytes of one `{{ ... }}` or `{% ... %}`.
const TAG_BYTES: usize = 1024;
/// Brackets open at once in one tag.
const BRACKETS: usize = 16;
/// Blocks (`if`, `for`, ...) open at once.
const BLOCKS: usize = 32;
/// Of the whole text.
const SIZE_BYTES: usize = 1 << 20;

/// Byte offset of what goes too far, and what it is.
pub(super) fn exceeded(text: &str) -> Option<(usize, String)> {
    if text.len() > SIZE_BYTES {
        return Some((0, format!("the template is longer than {SIZE_BYTES} bytes")));
    }
    let bytes = text.as_bytes();
    let mut blocks = 0usize;
    let mut at = 0;
    while let Some(start) = next_opening(bytes, at) {
        if bytes[start + 1] == b'#' {
            at = after(bytes, start + 2, b"#}");
            continue;
        }
        let tag = Tag::at(bytes, start);
        if tag.content.len() > TAG_BYTES {
            return Some((start, format!("this tag is longer than {TAG_BYTES} bytes")));
        }
        if tag.brackets > BRACKETS {
            return Some((start, format!("more than {BRACKETS} brackets are open at once")));
        }
        blocks = tag.blocks_after(blocks);
        if blocks > BLOCKS {
            return Some((start, format!("more than {BLOCKS} blocks are open at once")));
        }
        at = if tag.is_just(b"raw") { raw_end(bytes, tag.end) } else { tag.end };
    }
    None
}

/// The next `{{`, `{%` or `{#`.
fn next_opening(bytes: &[u8], from: usize) -> Option<usize> {
    let opens = |pair: &[u8]| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#');
    bytes.get(from..)?.windows(2).position(opens).map(|offset| from + offset)
}

/// The offset behind the next `close`; the end of the text when there is none.
fn after(bytes: &[u8], from: usize, close: &[u8]) -> usize {
    let found = bytes[from..].windows(close.len()).position(|part| part == close);
    found.map_or(bytes.len(), |offset| from + offset + close.len())
}

/// Raw text ends at the first `{% endraw %}`; this is where that begins.
fn raw_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(offset) = bytes[at..].windows(2).position(|pair| pair == b"{%") {
        let start = at + offset;
        if Tag::at(bytes, start).is_just(b"endraw") {
            return start;
        }
        at = start + 2;
    }
    bytes.len()
}

struct Tag<'a> {
    is_block: bool,
    content: &'a [u8],
    /// Most brackets open at once, outside of strings.
    brackets: usize,
    /// Offset behind its close; the end of the text when it has none, as then nothing else is parsed.
    end: usize,
}

impl<'a> Tag<'a> {
    /// The tag that opens at `start`.
    fn at(bytes: &'a [u8], start: usize) -> Tag<'a> {
        let is_block = bytes[start + 1] == b'%';
        let close: &[u8] = if is_block { b"%}" } else { b"}}" };
        let (mut open, mut brackets) = (0usize, 0);
        let mut at = start + 2;
        while at < bytes.len() && !bytes[at..].starts_with(close) && at - start <= TAG_BYTES + 2 {
            match bytes[at] {
                // A string ends at the next mark of its kind: there are no escapes.
                quote @ (b'"' | b'\'' | b'`') => at = after(bytes, at + 1, &[quote]),
                b'(' | b'[' => (open, at) = (open + 1, at + 1),
                b')' | b']' => (open, at) = (open.saturating_sub(1), at + 1),
                _ => at += 1,
            }
            brackets = brackets.max(open);
        }
        let end = bytes.len().min(at + close.len());
        Tag { is_block, content: &bytes[start + 2..at], brackets, end }
    }

    /// What the tag does: `if`, `endif`, `raw`; nothing for `{{ ... }}`.
    fn word(&self) -> &'a [u8] {
        let start = self.content.iter().position(|b| b.is_ascii_alphabetic() && self.is_block);
        let rest = &self.content[start.unwrap_or(self.content.len())..];
        &rest[..rest.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(rest.len())]
    }

    /// Whether the tag is `word` and nothing else, as those around raw text are.
    fn is_just(&self, word: &[u8]) -> bool {
        let content = self.content.strip_prefix(b"-").unwrap_or(self.content);
        let mut content = content.strip_suffix(b"-").unwrap_or(content);
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] | [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = content {
            content = rest;
        }
        self.is_block && content == word
    }

    fn blocks_after(&self, open: usize) -> usize {
        match self.word() {
            b"if" | b"for" | b"filter" | b"block" | b"macro" => open + 1,
            word if word.starts_with(b"end") => open.saturating_sub(1),
            _ => open,
        }
    }
}
