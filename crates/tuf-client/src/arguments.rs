//! The words of the conformance suite's protocol to what has to be done.
//!
//! Invariant: options stand in any order before and after the command, and each command has the options that it needs.

use std::path::PathBuf;

#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    pub metadata_dir: PathBuf,
    pub metadata_url: Option<String>,
    pub target_base_url: Option<String>,
    pub command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Init { root: PathBuf },
    Refresh,
    Download { targets: Vec<String>, folder: PathBuf },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    #[error("`{0}` needs a value after it")]
    NoValue(String),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is not known here: use `init ROOT`, `refresh` or `download`")]
    Unknown(String),
}

impl Arguments {
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, ArgumentsError> {
        let (mut words, mut plain, mut targets) = (words, Vec::new(), Vec::new());
        let (mut metadata_dir, mut metadata_url, mut target_base_url, mut target_dir) = (None, None, None, None);
        while let Some(word) = words.next() {
            let place = match word.as_str() {
                "--metadata-dir" => &mut metadata_dir,
                "--metadata-url" => &mut metadata_url,
                "--target-base-url" => &mut target_base_url,
                "--target-dir" => &mut target_dir,
                "--target-name" => {
                    targets.push(words.next().ok_or(ArgumentsError::NoValue(word))?);
                    continue;
                }
                option if option.starts_with("--") => return Err(ArgumentsError::Unknown(word)),
                _ => {
                    plain.push(word);
                    continue;
                }
            };
            *place = Some(words.next().ok_or(ArgumentsError::NoValue(word))?);
        }
        let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
        let command = match plain[..] {
            ["init", root] => Command::Init { root: root.into() },
            ["init"] => return Err(ArgumentsError::Missing("ROOT")),
            ["refresh"] => Command::Refresh,
            ["download"] if targets.is_empty() => return Err(ArgumentsError::Missing("--target-name")),
            ["download"] if target_base_url.is_none() => return Err(ArgumentsError::Missing("--target-base-url")),
            ["download"] => {
                let folder = target_dir.ok_or(ArgumentsError::Missing("--target-dir"))?.into();
                Command::Download { targets, folder }
            }
            _ => return Err(ArgumentsError::Unknown(plain.join(" "))),
        };
        let metadata_dir = metadata_dir.ok_or(ArgumentsError::Missing("--metadata-dir"))?.into();
        Ok(Arguments { metadata_dir, metadata_url, target_base_url, command })
    }

    /// The URL of the repository, which `init` does without.
    pub fn url(&self, option: &'static str) -> Result<String, ArgumentsError> {
        self.metadata_url.clone().ok_or(ArgumentsError::Missing(option))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, ArgumentsError> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_lines_of_the_protocol_are_understood() {
        let init = parse("--metadata-dir m init r.json").expect("understood");
        assert_eq!(init.command, Command::Init { root: "r.json".into() });
        let refresh = parse("--metadata-url u --metadata-dir m refresh").expect("understood");
        assert_eq!((refresh.url("--metadata-url"), refresh.command), (Ok("u".to_owned()), Command::Refresh));
        let line =
            "--metadata-dir m --metadata-url u --target-name a --target-name b --target-dir d --target-base-url t";
        let download = parse(&format!("{line} download")).expect("understood");
        let targets = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(download.command, Command::Download { targets, folder: "d".into() });
    }

    #[test]
    fn what_is_missing_is_named() {
        let cases = [
            ("refresh", ArgumentsError::Missing("--metadata-dir")),
            ("--metadata-dir m init", ArgumentsError::Missing("ROOT")),
            ("--metadata-dir m --target-dir d download", ArgumentsError::Missing("--target-name")),
            ("--metadata-dir", ArgumentsError::NoValue("--metadata-dir".to_owned())),
            ("--metadata-dir m --force refresh", ArgumentsError::Unknown("--force".to_owned())),
            ("--metadata-dir m sing", ArgumentsError::Unknown("sing".to_owned())),
        ];
        for (line, wanted) in cases {
            assert_eq!(parse(line), Err(wanted), "{line}");
        }
    }
}
