//! A template's text in, a problem out when it would take an engine too deep.
//!
//! Tera's parser and its evaluation go one call deeper for each bracket, operator and block, so a
//! hostile template could exhaust the stack, which no error message survives.
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
    while let Some(start) = next_tag(bytes, at) {
        let is_block = bytes[start + 1] == b'%';
        let close: &[u8] = if is_block { b"%}" } else { b"}}" };
        let end = bytes[start + 2..].windows(2).position(|pair| pair == close);
        let tag = &bytes[start + 2..end.map_or(bytes.len(), |end| start + 2 + end)];
        if tag.len() > TAG_BYTES {
            return Some((start, format!("this tag is longer than {TAG_BYTES} bytes")));
        }
        if deepest(tag) > BRACKETS {
            return Some((start, format!("more than {BRACKETS} brackets are open at once")));
        }
        if is_block {
            match first_word(tag) {
                b"if" | b"for" | b"filter" | b"block" | b"macro" => blocks += 1,
                word if word.starts_with(b"end") => blocks = blocks.saturating_sub(1),
                _ => {}
            }
            if blocks > BLOCKS {
                return Some((start, format!("more than {BLOCKS} blocks are open at once")));
            }
        }
        // A close may stand inside a string, and what follows it may be another tag.
        at = start + 2;
    }
    None
}

fn next_tag(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..].windows(2).position(|pair| pair == b"{{" || pair == b"{%").map(|offset| from + offset)
}

fn deepest(tag: &[u8]) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for byte in tag {
        match byte {
            b'(' | b'[' => open += 1,
            b')' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

fn first_word(tag: &[u8]) -> &[u8] {
    let start = tag.iter().position(|b| b.is_ascii_alphabetic()).unwrap_or(tag.len());
    let rest = &tag[start..];
    &rest[..rest.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(rest.len())]
}
