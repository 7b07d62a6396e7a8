//! The patterns with which packages claim paths: `*`, `?` and `**` over absolute paths.
//!
//! Invariant: `*` and `?` stay inside one component, `**` is a whole component and stands for any number of
//! them (at least one at the end of a pattern); matching takes time in proportion to pattern times path.

use crate::model::RelPath;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern for paths: {reason}")]
pub struct InvalidGlob {
    pub pattern: String,
    pub reason: &'static str,
}

const LIMIT_BYTES: usize = 4096;

impl Glob {
    pub fn new(pattern: &str) -> Result<Glob, InvalidGlob> {
        let invalid = |reason| Err(InvalidGlob { pattern: pattern.chars().take(200).collect(), reason });
        let Some(rest) = pattern.strip_prefix('/') else {
            return invalid("it must start with `/`");
        };
        if pattern.len() > LIMIT_BYTES {
            return invalid("it is longer than 4096 bytes");
        }
        for component in rest.split('/') {
            if component.is_empty() || component == "." || component == ".." {
                return invalid("it has an empty, `.` or `..` component");
            }
            if component != "**" && component.contains("**") {
                return invalid("`**` must be a component of its own");
            }
        }
        Ok(Glob { text: rest.to_owned() })
    }

    pub fn matches(&self, path: &RelPath) -> bool {
        let components: Vec<&str> = path.components().collect();
        // reachable[n]: the pattern so far can match the first n components.
        let mut reachable = vec![false; components.len() + 1];
        reachable[0] = true;
        let pattern: Vec<&str> = self.text.split('/').collect();
        for (index, part) in pattern.iter().enumerate() {
            let mut next = vec![false; components.len() + 1];
            if *part == "**" {
                let at_least = usize::from(index + 1 == pattern.len());
                if let Some(first) = reachable.iter().position(|reached| *reached) {
                    next.iter_mut().skip(first + at_least).for_each(|reached| *reached = true);
                }
            } else {
                for (n, component) in components.iter().enumerate() {
                    next[n + 1] = reachable[n] && component_matches(part.as_bytes(), component.as_bytes());
                }
            }
            reachable = next;
        }
        reachable[components.len()]
    }
}

/// Greedy with one point to return to, which is enough because `*` accepts anything. `?` is one character.
fn component_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                t += 1;
                while text.get(t).is_some_and(|byte| byte & 0xc0 == 0x80) {
                    t += 1;
                }
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_p, star_t)) = star else { return false };
                star = Some((star_p, star_t + 1));
                p = star_p + 1;
                t = star_t + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_what_they_say() {
        let cases = [
            ("/usr/lib/*.so*", "usr/lib/libz.so.1", true),
            ("/usr/lib/*.so*", "usr/lib/x/libz.so", false),
            ("/usr/lib/*.so*", "usr/lib/libz.a", false),
            ("/**", "a", true),
            ("/**", "a/b/c", true),
            ("/boot/**", "boot/vmlinuz", true),
            ("/boot/**", "boot", false),
            ("/boot/**", "boots/x", false),
            ("/usr/**/x.h", "usr/x.h", true),
            ("/usr/**/x.h", "usr/include/linux/x.h", true),
            ("/usr/**/x.h", "usr/include/linux/y.h", false),
            ("/**/a/**/b", "x/a/b", true),
            ("/**/a/**/b", "a/x/y/b", true),
            ("/**/a/**/b", "b/a", false),
            ("/usr/bin/?", "usr/bin/[", true),
            ("/usr/bin/?", "usr/bin/é", true),
            ("/usr/bin/?", "usr/bin/ab", false),
            ("/etc/a*b*c", "etc/aXbYbZc", true),
            ("/etc/a*b*c", "etc/aXbYbZ", false),
            ("/etc/passwd", "etc/passwd", true),
            ("/etc", "etc/passwd", false),
        ];
        for (pattern, path, expected) in cases {
            let path = RelPath::new(path).expect("a path");
            assert_eq!(Glob::new(pattern).expect("a pattern").matches(&path), expected, "{pattern} {path}");
        }
        for bad in ["", "usr/lib", "/", "/usr//lib", "/usr/lib/", "/a**", "/../x"] {
            assert!(Glob::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_path_matches_itself_with_any_part_starred(path in "[a-c]{1,4}(/[a-c]{1,4}){0,4}", at: prop::sample::Index) {
            let path = RelPath::new(&path).expect("a path");
            let parts: Vec<&str> = path.components().collect();
            let mut starred = parts.clone();
            starred[at.index(parts.len())] = "*";
            for pattern in [parts.join("/"), starred.join("/")] {
                let glob = Glob::new(&format!("/{pattern}")).expect("a pattern");
                prop_assert!(glob.matches(&path));
            }
        }

        #[test]
        fn no_pattern_panics_or_takes_long(pattern in "/[a*?/]{0,200}", path in "[a/]{1,200}") {
            if let (Ok(glob), Ok(path)) = (Glob::new(&pattern), RelPath::new(&path)) {
                glob.matches(&path);
            }
        }
    }
}
