//! Rust text in; the same text with comments and the content of literals blanked out, so that words in it are code.
//!
//! Invariant: every line feed stays where it was, so lines keep their numbers.

/// Blanks line comments, nested block comments, strings, raw strings and characters; lifetimes stay.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = literal(&chars, at).unwrap_or(0);
        if length == 0 {
            kept.push(chars[at]);
            at += 1;
        } else {
            kept.extend(chars[at..at + length].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at += length;
        }
    }
    kept
}

/// The length of what starts at `at` when that is a comment or a literal.
fn literal(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    let follows_a_word = at > 0 && is_word(chars[at - 1]);
    match rest {
        ['/', '/', ..] => Some(rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(block_comment(rest)),
        ['"', ..] => Some(string(rest)),
        ['\'', '\\', ..] => Some(rest[3.min(rest.len())..].iter().position(|c| *c == '\'')? + 4),
        ['\'', _, '\'', ..] => Some(3),
        ['r', '"' | '#', ..] if !follows_a_word => raw_string(rest),
        ['b' | 'c', 'r', '"' | '#', ..] if !follows_a_word => Some(raw_string(&rest[1..])? + 1),
        _ => None,
    }
}

pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// None for a raw name such as `r#type`.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    let start = 1 + hashes;
    (rest.get(start) == Some(&'"')).then_some(())?;
    let ends =
        |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    Some((start + 1..rest.len()).find(ends).map_or(rest.len(), |end| end + 1 + hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        for (text, expected) in [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */\nz */ b", "a             \n     b"),
            ("f(\"un\\\"safe\", 'x', '\\'', '\\u{7f}')", "f(          ,    ,     ,         )"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("r#\"a\"b\"# + br\"c\" + r#type + for", "         +       + r#type + for"),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }
}
