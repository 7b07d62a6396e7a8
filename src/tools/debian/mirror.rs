//! The host's apt configuration in, the URL of a mirror of Debian's archive out. sources.list(5).
//!
//! No mirror is named in this program: the host's owner has chosen one, or names one in
//! `OSBUILD_DEBIAN_MIRROR`. Invariant: what is found carries a Debian suite, so another
//! distribution's archive is never taken for Debian's.

use super::stanza::stanzas;
use crate::io::file;
use std::path::{Path, PathBuf};

pub const VARIABLE: &str = "OSBUILD_DEBIAN_MIRROR";
/// Names of Debian suites that are not security or partial suites. Any mirror of them has the older ones, too.
const SUITES: [&str; 11] = [
    "bookworm",
    "bookworm-backports",
    "bookworm-updates",
    "trixie",
    "forky",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// Where Debian's archive is: a URL without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    base: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    #[error(
        "no mirror of Debian's archive is known: `{}` names none. Set {VARIABLE} to the URL of one, such as \
         `http://mirror.example/debian`: the folder that holds `dists` and `pool`", apt.display()
    )]
    NotFound { apt: PathBuf },
    #[error("{VARIABLE} is not the URL of a mirror: `{0}`; it must start with http:// or https://")]
    Invalid(String),
}

/// One entry of apt's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
}

impl Mirror {
    /// From a URL that somebody gave.
    pub fn new(url: &str) -> Result<Mirror, MirrorError> {
        let base = url.trim().trim_end_matches('/');
        let is_http =
            ["http://", "https://"].iter().any(|scheme| base.len() > scheme.len() && base.starts_with(scheme));
        match is_http {
            true => Ok(Mirror { base: base.to_owned() }),
            false => Err(MirrorError::Invalid(url.to_owned())),
        }
    }

    /// The mirror that the environment names, else the one that the host's apt uses.
    pub fn of_host() -> Result<Mirror, MirrorError> {
        let named = std::env::var(VARIABLE).ok().filter(|url| !url.trim().is_empty());
        Mirror::discover(named.as_deref(), Path::new("/etc/apt"))
    }

    /// [`Mirror::of_host`] with what it looks at given.
    pub fn discover(named: Option<&str>, apt: &Path) -> Result<Mirror, MirrorError> {
        if let Some(url) = named {
            return Mirror::new(url);
        }
        let sources = read_sources(apt);
        let of_suite = |wanted: &dyn Fn(&str) -> bool| {
            let is_main = |source: &&Source| source.components.iter().any(|component| component == "main");
            let fitting = sources.iter().filter(is_main).filter(|source| source.suites.iter().any(|s| wanted(s)));
            fitting.flat_map(|source| &source.uris).find_map(|uri| Mirror::from_uri(uri))
        };
        of_suite(&|suite| suite == super::DEFAULT_SUITE)
            .or_else(|| of_suite(&|suite| SUITES.contains(&suite)))
            .ok_or_else(|| MirrorError::NotFound { apt: apt.to_owned() })
    }

    /// `mirror+file:` names a file that lists mirrors.
    fn from_uri(uri: &str) -> Option<Mirror> {
        let Some(list) = uri.strip_prefix("mirror+file:") else { return Mirror::new(uri).ok() };
        let path = format!("/{}", list.trim_start_matches('/'));
        let text = file::read_text(Path::new(&path)).ok()?;
        text.lines().filter_map(|line| line.split_whitespace().next()).find_map(|url| Mirror::new(url).ok())
    }

    /// The URL of a file by its path below the archive's root.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

/// A file that cannot be read is passed over: the error that no mirror is known says where it was looked for.
fn read_sources(apt: &Path) -> Vec<Source> {
    let mut files = vec![apt.join("sources.list")];
    if let Ok(listing) = std::fs::read_dir(apt.join("sources.list.d")) {
        files.extend(listing.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut sources = Vec::new();
    for path in files {
        let Ok(text) = file::read_text(&path) else { continue };
        match path.extension().and_then(|e| e.to_str()) {
            Some("list") => sources.extend(one_line(&text)),
            Some("sources") => sources.extend(deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// `deb [option=value] uri suite component...`
fn one_line(text: &str) -> Vec<Source> {
    let entry = |line: &str| {
        let line = line.split('#').next()?.trim().strip_prefix("deb")?;
        let line = line.strip_prefix([' ', '\t'])?.trim_start();
        let line = match line.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => line,
        };
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Source { uris: vec![words.next()?], suites: vec![words.next()?], components: words.collect() })
    };
    text.lines().filter_map(entry).collect()
}

fn deb822(text: &str) -> Vec<Source> {
    let words = |value: Option<&str>| -> Vec<String> {
        let lines = value.unwrap_or_default().lines().filter(|line| !line.starts_with('#'));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    let enabled = |value: Option<&str>| !value.is_some_and(|v| ["no", "false", "off", "0"].contains(&v));
    stanzas(text)
        .flatten()
        .filter(|stanza| enabled(stanza.get("Enabled")) && words(stanza.get("Types")).iter().any(|t| t == "deb"))
        .map(|stanza| Source {
            uris: words(stanza.get("URIs")),
            suites: words(stanza.get("Suites")),
            components: words(stanza.get("Components")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discover(files: &[(&str, &str)]) -> Result<Mirror, MirrorError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        file::create_dir_all(&folder.path().join("sources.list.d")).expect("a folder");
        for (name, text) in files {
            let text = text.replace("APT", &folder.path().to_string_lossy());
            file::write_atomic(&folder.path().join(name), text.as_bytes(), 0o644).expect("written");
        }
        Mirror::discover(None, folder.path())
    }

    #[test]
    fn the_entry_of_the_archive_is_found_in_either_format() {
        let deb822 = "Types: deb deb-src\n# old: http://no.example\nURIs: http://security.example/debian-security\n\
            Suites: bookworm-security\nComponents: main\n\nTypes: deb\nURIs: http://m.example/debian/\n\
            Suites: bookworm bookworm-updates\nComponents: main\n";
        let lines = "# deb http://no.example/debian bookworm main\ndeb-src http://src.example/debian bookworm main\n\
            deb http://other.example/x stable contrib\ndeb [arch=amd64 signed-by=/k] http://m.example/debian trixie main\n";
        let list = [
            ("sources.list.d/d.sources", "Types: deb\nURIs: mirror+file:APT/m.list2\nSuites: sid\nComponents: main\n"),
            ("m.list2", "# mirrors\nhttp://m.example/debian\tpriority:1\n"),
        ];
        for files in [&[("sources.list.d/debian.sources", deb822)][..], &[("sources.list", lines)], &list] {
            let mirror = discover(files).expect("found");
            assert_eq!(mirror.url("pool/x.deb"), "http://m.example/debian/pool/x.deb");
        }
    }

    #[test]
    fn a_host_that_is_not_debian_is_told_how_to_name_a_mirror() {
        let ubuntu = "deb http://archive.example/ubuntu noble main\n";
        let disabled = "Enabled: no\nTypes: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\n";
        for files in [&[][..], &[("sources.list", ubuntu)], &[("sources.list.d/d.sources", disabled)]] {
            let error = discover(files).expect_err("no mirror");
            assert!(error.to_string().contains("Set OSBUILD_DEBIAN_MIRROR to the URL"), "{error}");
        }
        assert!(matches!(Mirror::discover(Some("ftp://x"), Path::new("/none")), Err(MirrorError::Invalid(_))));
        let named = Mirror::discover(Some("http://x.example/debian/"), Path::new("/none")).expect("named");
        assert_eq!(named.url("p"), "http://x.example/debian/p");
    }

    proptest::proptest! {
        #[test]
        fn no_configuration_makes_it_panic(text in "([A-Za-z:# \\[\\]/+.]|deb |URIs:|\n){0,60}") {
            let _ = (one_line(&text), deb822(&text));
        }
    }
}
