//! Words of a command line in, trusted metadata and targets in folders out.
//!
//! Invariant: it does what [`osbuild_tuf`] does and nothing more, so that what judges it judges the device's client.

mod arguments;
mod cache;
mod fetcher;

use arguments::{Arguments, Command};
use cache::Cache;
use fetcher::HttpFetcher;
use osbuild_http::{Client, HttpError, Settings};
use osbuild_tuf::{FolderStore, Limits, Store, Time, UpdateError, Updater};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error(transparent)]
    Arguments(#[from] arguments::ArgumentsError),
    #[error(transparent)]
    Update(#[from] UpdateError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("no role of the repository knows the target `{0}`")]
    NoTarget(String),
    #[error("cannot use `{path}`")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let done = Arguments::parse(words).map_err(ClientError::from).and_then(|arguments| run(&arguments));
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprint!("error: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

fn run(arguments: &Arguments) -> Result<(), ClientError> {
    let mut store = FolderStore::new(&arguments.metadata_dir);
    if let Command::Init { root } = &arguments.command {
        let failed = |source| ClientError::File { path: root.display().to_string(), source };
        let bytes = cache::read(root, Limits::default().root_length).map_err(failed)?;
        return store.save("root.json", &bytes).map_err(failed);
    }
    let client = Client::new(&Settings::default())?;
    let fetcher = HttpFetcher::new(client, arguments.url("--metadata-url")?, arguments.target_base_url.clone());
    let mut updater = Updater::from_store(store, fetcher, Limits::default())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    updater.refresh(Time::from_seconds(now))?;
    if let Command::Download { targets, folder } = &arguments.command {
        let cache = Cache::new(folder);
        for path in targets {
            let target = updater.target(path)?.ok_or_else(|| ClientError::NoTarget(path.clone()))?;
            cache.provide(path, &target, |sink| Ok(updater.download(path, &target, sink)?))?;
        }
    }
    Ok(())
}
