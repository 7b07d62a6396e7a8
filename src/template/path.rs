//! How a template names a value in, the steps to it out: `users["root"].uid` has the steps of `users.root.uid`.
//!
//! Invariant: text in quotes between brackets is one step, whatever dots it holds.

/// One step down from a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Field(&'a str),
    /// What stands in brackets without quotes is a name itself, known only at run time.
    Computed(&'a str),
}

/// The steps of `text`, which the parser has found to be the name of a value.
pub(super) fn steps(text: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (step, after) = match rest.strip_prefix('[') {
            Some(inside) => bracketed(inside),
            None => {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                (Step::Field(&rest[..end]), &rest[end..])
            }
        };
        steps.push(step);
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    steps
}

/// The step that `inside` begins with, and what follows its bracket.
fn bracketed(inside: &str) -> (Step<'_>, &str) {
    if let Some((open, content)) = inside.chars().next().zip(inside.get(1..)) {
        if let Some((word, after)) = content.split_once(open).filter(|_| matches!(open, '"' | '\'' | '`')) {
            return (Step::Field(word), after.strip_prefix(']').unwrap_or(after));
        }
    }
    let end = closing(inside);
    let (word, after) = (&inside[..end], inside.get(end + 1..).unwrap_or_default());
    let is_index = word.bytes().all(|b| b.is_ascii_digit());
    (if is_index { Step::Field(word) } else { Step::Computed(word) }, after)
}

/// The offset of the bracket that closes the one before `inside`.
fn closing(inside: &str) -> usize {
    let mut open = 1usize;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'[' => open += 1,
            b']' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at;
        }
    }
    inside.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Computed, Field};

    #[test]
    fn brackets_and_dots_are_steps_alike() {
        for (text, expected) in [
            ("a", vec![Field("a")]),
            ("a.b.0", vec![Field("a"), Field("b"), Field("0")]),
            ("a['b.c'].d", vec![Field("a"), Field("b.c"), Field("d")]),
            ("a[\"b\"][1]", vec![Field("a"), Field("b"), Field("1")]),
            ("a[b[c].d].e", vec![Field("a"), Computed("b[c].d"), Field("e")]),
        ] {
            assert_eq!(steps(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a-z.\\[\\]'\"`é0-9]{0,20}") {
            let _ = steps(&text);
        }
    }
}
