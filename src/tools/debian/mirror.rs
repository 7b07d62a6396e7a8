//! The host's apt configuration in, the URLs of what may be mirrors of Debian's archive out. sources.list(5).
//!
//! No mirror is named in this program: the host's owner has chosen one, or names one in
//! `OSBUILD_DEBIAN_MIRROR`. Other people's archives have suites of the same names, and even a folder of the same
//! name, so what is found are candidates. Invariant: nothing here is trusted; a signature or a SHA-256 tells
//! whether a candidate has what is wanted, and if not, the next one is asked.

use super::stanza::stanzas;
use crate::io::file;
use crate::io::http::without_password;
use std::fmt;
use std::path::{Path, PathBuf};

pub const VARIABLE: &str = "OSBUILD_DEBIAN_MIRROR";
/// Suites that Debian alone names so. Any mirror of them has the older ones, too.
const CODENAMES: [&str; 6] = ["bookworm", "bookworm-backports", "bookworm-updates", "trixie", "forky", "sid"];
/// Suites whose names everybody uses.
const ALIASES: [&str; 5] = ["oldoldstable", "oldstable", "stable", "testing", "unstable"];

/// Where Debian's archive is: a URL without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    base: String,
}

/// At least one mirror, the likeliest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    pub likeliest: Mirror,
    pub others: Vec<Mirror>,
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

    /// `mirror+file:` names a file that lists mirrors.
    fn from_uri(uri: &str) -> Vec<Mirror> {
        let Some(list) = uri.strip_prefix("mirror+file:") else { return Mirror::new(uri).into_iter().collect() };
        let path = format!("/{}", list.trim_start_matches('/'));
        let Ok(text) = file::read_text(Path::new(&path)) else { return Vec::new() };
        text.lines().filter_map(|line| line.split_whitespace().next()).filter_map(|url| Mirror::new(url).ok()).collect()
    }

    /// How unlikely it is that this is Debian's archive, as apt is told to get `suites` there; none: it is not.
    fn unlikelihood(&self, suites: &[String]) -> Option<u8> {
        let any = |names: &[&str]| suites.iter().any(|suite| names.contains(&suite.as_str()));
        let path = self.base.splitn(4, '/').nth(3).unwrap_or_default();
        let is_debian = path == "debian" || path.ends_with("/debian");
        match (path, any(&CODENAMES)) {
            (_, false) if !any(&ALIASES) => None,
            ("debian", true) => Some(0),
            ("debian", false) => Some(1),
            _ if is_debian => Some(2),
            _ => any(&CODENAMES).then_some(3),
        }
    }

    /// The URL of a file by its path below the archive's root.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

impl Mirrors {
    /// The mirror that the environment names, else those that the host's apt may use.
    pub fn of_host() -> Result<Mirrors, MirrorError> {
        let named = std::env::var(VARIABLE).ok().filter(|url| !url.trim().is_empty());
        Mirrors::discover(named.as_deref(), Path::new("/etc/apt"))
    }

    /// [`Mirrors::of_host`] with what it looks at given.
    pub fn discover(named: Option<&str>, apt: &Path) -> Result<Mirrors, MirrorError> {
        if let Some(url) = named {
            return Mirror::new(url).map(Mirrors::from);
        }
        let mut found: Vec<(u8, Mirror)> = Vec::new();
        for source in read_sources(apt).iter().filter(|source| source.components.iter().any(|c| c == "main")) {
            let mirrors = source.uris.iter().flat_map(|uri| Mirror::from_uri(uri));
            found.extend(mirrors.filter_map(|mirror| Some((mirror.unlikelihood(&source.suites)?, mirror))));
        }
        // Stable: otherwise in the order of apt's own files.
        found.sort_by_key(|(unlikelihood, _)| *unlikelihood);
        let mut mirrors: Vec<Mirror> = Vec::new();
        for (_, mirror) in found {
            if !mirrors.contains(&mirror) {
                mirrors.push(mirror);
            }
        }
        let mut mirrors = mirrors.into_iter();
        let likeliest = mirrors.next().ok_or_else(|| MirrorError::NotFound { apt: apt.to_owned() })?;
        Ok(Mirrors { likeliest, others: mirrors.collect() })
    }

    /// The likeliest first.
    pub fn iter(&self) -> impl Iterator<Item = &Mirror> {
        std::iter::once(&self.likeliest).chain(&self.others)
    }
}

impl From<Mirror> for Mirrors {
    fn from(likeliest: Mirror) -> Self {
        Mirrors { likeliest, others: Vec::new() }
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.base))
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

    fn discover(files: &[(&str, &str)]) -> Result<Mirrors, MirrorError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        file::create_dir_all(&folder.path().join("sources.list.d")).expect("a folder");
        for (name, text) in files {
            let text = text.replace("APT", &folder.path().to_string_lossy());
            file::write_atomic(&folder.path().join(name), text.as_bytes(), 0o644).expect("written");
        }
        Mirrors::discover(None, folder.path())
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
            let mirrors = discover(files).expect("found");
            assert_eq!(mirrors.likeliest.url("pool/x.deb"), "http://m.example/debian/pool/x.deb");
        }
    }

    #[test]
    fn archives_of_other_people_come_after_debians_or_not_at_all() {
        let lines =
            "deb https://packages.example/tool stable main\ndeb https://wine.example/builds/debian bookworm main\n\
            deb http://odd.example/mirror/ bookworm main\ndeb http://m.example/debian stable main\n\
            deb http://m.example/debian/ trixie main\ndeb https://editor.example/debian stable contrib\n";
        let shown = |text: &str| -> Vec<String> {
            discover(&[("sources.list", text)]).expect("found").iter().map(Mirror::to_string).collect()
        };
        let expected = ["http://m.example/debian", "https://wine.example/builds/debian", "http://odd.example/mirror"];
        assert_eq!(shown(lines), expected);
        let error = discover(&[("sources.list", "deb https://packages.example/tool stable main\n")]).expect_err("none");
        assert!(matches!(error, MirrorError::NotFound { .. }), "{error}");
    }

    #[test]
    fn a_host_that_is_not_debian_is_told_how_to_name_a_mirror() {
        let ubuntu = "deb http://archive.example/ubuntu noble main\n";
        let disabled = "Enabled: no\nTypes: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\n";
        for files in [&[][..], &[("sources.list", ubuntu)], &[("sources.list.d/d.sources", disabled)]] {
            let error = discover(files).expect_err("no mirror");
            assert!(error.to_string().contains("Set OSBUILD_DEBIAN_MIRROR to the URL"), "{error}");
        }
        assert!(matches!(Mirrors::discover(Some("ftp://x"), Path::new("/none")), Err(MirrorError::Invalid(_))));
        let named = Mirrors::discover(Some("http://x.example/debian/"), Path::new("/none")).expect("named");
        assert_eq!(named.likeliest.url("p"), "http://x.example/debian/p");
    }

    proptest::proptest! {
        #[test]
        fn no_configuration_makes_it_panic(text in "([A-Za-z:# \\[\\]/+.]|deb |URIs:|\n){0,60}") {
            let _ = (one_line(&text), deb822(&text));
        }
    }
}
