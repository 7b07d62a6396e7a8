//! What is wrong with a tree, all of it, as text for the person who has to mend it.
//!
//! Invariant: problems are sorted and each is reported once, whatever order the checks ran in.

use crate::io::store::StoreError;
use crate::model::path::InvalidPath;
use std::fmt;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub message: String,
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Collects problems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn add(&mut self, message: String) {
        self.0.push(Problem { message, help: None });
    }

    pub fn add_with_help(&mut self, message: String, help: impl Into<String>) {
        self.0.push(Problem { message, help: Some(help.into()) });
    }

    pub fn add_with_hint(&mut self, message: String, help: Option<String>) {
        self.0.push(Problem { message, help });
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// An error when there is any.
    pub fn into_result(mut self) -> Result<(), TreeError> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort();
        self.0.dedup();
        Err(TreeError::Problems(self))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            all => {
                write!(f, "{} problems", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("{0}")]
    Problems(Problems),
    #[error("the step's parameters are not valid")]
    Parameters(#[source] serde_json::Error),
    #[error("the step's input has no `{0}`")]
    MissingInput(String),
    #[error(transparent)]
    Path(#[from] InvalidPath),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the archive of the root file system")]
    Archive(#[source] std::io::Error),
}

/// A line that names what was probably meant, if anything is close.
pub(super) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = 1 + word.chars().count() / 4;
    known
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| format!("did you mean `{name}`?"))
}
