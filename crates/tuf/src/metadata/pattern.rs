//! A path pattern of a delegation and the path of a target in; whether they match out.
//!
//! Source: The Update Framework 1.0.34, section 4.5: as a shell matches file names, and no wildcard matches a `/`.
//! Invariant: it takes no longer than the product of both lengths, whatever the pattern.

/// `*`, `?` and `[abc]`, `[a-z]`, `[!abc]`.
pub fn matches_pattern(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if matches_part(pattern, part) => {}
            _ => return false,
        }
    }
}

/// Of one folder or file. It goes back to the last `*` only: an earlier one cannot match better.
fn matches_part(pattern: &str, part: &str) -> bool {
    let (pattern, part): (Vec<char>, Vec<char>) = (pattern.chars().collect(), part.chars().collect());
    let (mut at, mut next) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while next < part.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, next));
            at += 1;
        } else if let Some(length) = matches_one(&pattern[at..], part[next]) {
            at += length;
            next += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (at, next) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// How much of the pattern matched `c`.
fn matches_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] => match class(rest) {
            Some((negated, members, length)) => (contains(members, c) != negated).then_some(length + 1),
            // Without an end it is a bracket like any other character.
            None => (c == '[').then_some(1),
        },
        [first, ..] => (*first == c).then_some(1),
        [] => None,
    }
}

/// What follows a `[`: whether it is negated, its members, and how long it is with its end. A `]` at its start is a member.
fn class(rest: &[char]) -> Option<(bool, &[char], usize)> {
    let negated = rest.first() == Some(&'!');
    let from = usize::from(negated);
    let end = from + 1 + rest.get(from + 1..)?.iter().position(|c| *c == ']')?;
    Some((negated, &rest[from..end], end + 1))
}

fn contains(members: &[char], c: char) -> bool {
    match members {
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&c) || contains(rest, c),
        [one, rest @ ..] => *one == c || contains(rest, c),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let matching = [
            ("*", "a"),
            ("*", ""),
            ("*.tgz", "foo.tgz"),
            ("foo-?.tgz", "foo-1.tgz"),
            ("releases/*/*", "releases/x/y"),
            ("a*b*c", "axxbxbyc"),
            ("[ab]*", "b1"),
            ("[!a]", "b"),
            ("[a-c]x", "bx"),
            ("[]]", "]"),
            ("[", "["),
            ("é?", "éß"),
        ];
        for (pattern, path) in matching {
            assert!(matches_pattern(pattern, path), "{pattern} {path}");
        }
        let different = [
            ("*", "a/b"),
            ("releases/*", "releases/x/y"),
            ("foo-?.tgz", "foo-alpha.tgz"),
            ("*.md", "A.MD"),
            ("?", "/"),
            ("[!a]", "a"),
            ("[a-c]", "d"),
            ("a*b", "a"),
            ("", "a"),
            ("a/", "a"),
            ("[/]", "/"),
        ];
        for (pattern, path) in different {
            assert!(!matches_pattern(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn many_stars_take_no_longer() {
        let pattern = "*a".repeat(1000) + "b";
        assert!(!matches_pattern(&pattern, &"a".repeat(5000)));
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic(pattern in "[-a-c*?!\\[\\]/]{0,12}", path in "[-a-c\\[\\]/!]{0,12}") {
            let _ = matches_pattern(&pattern, &path);
        }

        #[test]
        fn a_path_matches_itself_and_stars_in_place_of_its_parts(path in "[a-z./]{0,24}") {
            prop_assert!(matches_pattern(&path, &path));
            let stars: Vec<_> = path.split('/').map(|_| "*").collect();
            prop_assert!(matches_pattern(&stars.join("/"), &path));
        }
    }
}
