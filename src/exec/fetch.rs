//! A task's missing blobs from outside in, downloads that bring them out.
//!
//! Invariant: a blob that the store has is never fetched; all crates of a task are one download.

use super::error::ExecError;
use super::progress::Event;
use super::schedule::Environment;
use crate::io::store::Store;
use crate::model::Digest;
use crate::plan::task::{Fetch, FetchPlace, Input, Plan, Task};
use crate::tools::fetch::{FetchError, Wanted, WantedCrate};

/// Blobs that are fetched together.
#[derive(Clone, Debug)]
pub struct Job {
    pub digests: Vec<Digest>,
}

/// The downloads that `task` needs.
pub fn jobs(plan: &Plan, store: &Store, task: &Task) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut crates = Vec::new();
    for input in &task.inputs {
        let Input::File { digest, .. } = &input.source else { continue };
        let Some(fetch) = plan.fetches.get(digest).filter(|_| !store.has(digest)) else { continue };
        match wanted_crate(digest, fetch) {
            Some(_) => crates.push(*digest),
            None => jobs.push(Job { digests: vec![*digest] }),
        }
    }
    jobs.extend((!crates.is_empty()).then_some(Job { digests: crates }));
    jobs.iter_mut().for_each(|job| {
        job.digests.sort_by_key(|digest| digest.sha256);
        job.digests.dedup();
    });
    jobs
}

fn wanted_crate(digest: &Digest, fetch: &Fetch) -> Option<WantedCrate> {
    let [FetchPlace::Crate { name, version }] = &fetch.places[..] else { return None };
    let wanted = Wanted { sha256: digest.sha256, size_bytes: Some(digest.size_bytes) };
    Some(WantedCrate { name: name.clone(), version: version.clone(), wanted })
}

pub fn fetch(plan: &Plan, env: &Environment, job: &Job) -> Result<(), ExecError> {
    let failed = |digest: &Digest| {
        let origin = plan.fetches[digest].origin.clone();
        move |cause: FetchError| ExecError::Fetch { origin, cause: Box::new(cause) }
    };
    let crates: Vec<WantedCrate> =
        job.digests.iter().filter_map(|digest| wanted_crate(digest, &plan.fetches[digest])).collect();
    if crates.len() == job.digests.len() {
        let name = format!("{} crates", crates.len());
        env.observer.event(&Event::FetchStarted { name: &name, digest: &job.digests[0] });
        env.fetcher.fetch_crates(env.store, &crates).map_err(failed(&job.digests[0]))?;
        env.observer.event(&Event::Fetched { name: &name, digest: &job.digests[0] });
        return Ok(());
    }
    for digest in &job.digests {
        let fetch = &plan.fetches[digest];
        let name = fetch.name.as_str();
        env.observer.event(&Event::FetchStarted { name, digest });
        let progress = |bytes| env.observer.event(&Event::Fetching { name, digest, bytes });
        env.fetcher.fetch(env.store, digest, fetch, &progress).map_err(failed(digest))?;
        env.observer.event(&Event::Fetched { name, digest });
    }
    Ok(())
}
