//! A repository that its owner, or whoever stole a key, can make say anything, and clients of it.
//!
//! Invariant: nothing is served that was not published by a test; every request is written down.

#![allow(dead_code)] // Each test binary uses its part.

use osbuild_tuf::metadata::{
    DelegatedRole, Delegations, Key, MetaFile, Metadata, RoleKeys, Root, Signed, Snapshot, TargetFile, Targets,
    Timestamp, TopLevel,
};
use osbuild_tuf::{file_name, FetchError, Fetcher, Limits, MemoryStore, Time, UpdateError, Updater};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;

pub const NOW: &str = "2026-06-01T00:00:00Z";
pub const LATER: &str = "2090-01-01T00:00:00Z";

pub fn time(text: &str) -> Time {
    text.parse().expect("a time")
}

/// The key that comes from this number.
pub fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes")
}

pub fn public(seed: u8) -> Key {
    Key::ed25519(pair(seed).public_key().as_ref().try_into().expect("32 bytes"))
}

pub fn id(seed: u8) -> String {
    public(seed).id().expect("canonical")
}

/// Signed by these keys, as it is served.
pub fn sign<T: Metadata + Clone>(value: &T, seeds: &[u8]) -> Vec<u8> {
    let mut signed = Signed::new(value.clone()).expect("valid");
    for seed in seeds {
        let signature = pair(*seed).sign(signed.message());
        signed.attach(&id(*seed), signature.as_ref());
    }
    signed.to_json().expect("written")
}

/// What the repository says at the moment, and who signs for it.
pub struct Repository {
    pub root: Root,
    pub timestamp: Timestamp,
    pub snapshot: Snapshot,
    pub targets: Targets,
    pub signers: BTreeMap<&'static str, Vec<u8>>,
    pub served: Rc<RefCell<Served>>,
    /// Outlives its clients.
    pub store: MemoryStore,
}

#[derive(Default)]
pub struct Served {
    pub metadata: BTreeMap<String, Vec<u8>>,
    pub targets: BTreeMap<String, Vec<u8>>,
    pub requests: Vec<String>,
    /// What a broken server answers to everything.
    pub broken: Option<&'static str>,
}

impl Repository {
    /// Version 1 of everything; key 1 signs root, 2 timestamp, 3 snapshot, 4 targets.
    pub fn new() -> Repository {
        let mut root = Root::new(1, time(LATER));
        let mut signers = BTreeMap::new();
        for (seed, role) in (1..).zip(TopLevel::ALL) {
            root.allow(role, id(seed), public(seed));
            signers.insert(role.name(), vec![seed]);
        }
        let mut repository = Repository {
            root,
            timestamp: Timestamp::new(1, time(LATER), MetaFile::version(1)),
            snapshot: Snapshot::new(1, time(LATER), BTreeMap::new()),
            targets: Targets::new(1, time(LATER)),
            signers,
            served: Rc::default(),
            store: MemoryStore::default(),
        };
        repository.publish_root();
        let first = repository.served.borrow().metadata["1.root.json"].clone();
        repository.store.insert("root.json", first);
        repository.publish_all();
        repository
    }

    pub fn serve(&self, name: &str, bytes: Vec<u8>) {
        self.served.borrow_mut().metadata.insert(name.to_owned(), bytes);
    }

    pub fn publish_root(&self) {
        self.serve(&format!("{}.root.json", self.root.version), sign(&self.root, &self.signers["root"]));
    }

    /// Serves targets, snapshot and timestamp as they are, each naming the one before it.
    pub fn publish_all(&mut self) {
        self.publish_targets();
        self.publish_snapshot();
        self.publish_timestamp();
    }

    /// The same, a version later each.
    pub fn release(&mut self) {
        self.targets.version += 1;
        self.snapshot.version += 1;
        self.timestamp.version += 1;
        self.publish_all();
    }

    pub fn publish_targets(&mut self) {
        let bytes = sign(&self.targets, &self.signers["targets"]);
        self.snapshot.meta.insert("targets.json".to_owned(), described(self.targets.version, &bytes));
        self.serve(&format!("{}.targets.json", self.targets.version), bytes);
    }

    pub fn publish_snapshot(&mut self) {
        let bytes = sign(&self.snapshot, &self.signers["snapshot"]);
        self.timestamp.meta.insert("snapshot.json".to_owned(), described(self.snapshot.version, &bytes));
        self.serve(&format!("{}.snapshot.json", self.snapshot.version), bytes);
    }

    pub fn publish_timestamp(&self) {
        self.serve("timestamp.json", sign(&self.timestamp, &self.signers["timestamp"]));
    }

    /// A target, in the repository and in the top-level metadata.
    pub fn add(&mut self, path: &str, content: &[u8]) -> TargetFile {
        let target = TargetFile::of(content, None);
        self.targets.targets.insert(path.to_owned(), target.clone());
        self.serve_target(path, &target, content);
        target
    }

    pub fn serve_target(&self, path: &str, target: &TargetFile, content: &[u8]) {
        let digest = &target.hashes["sha256"];
        let path = match path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/{digest}.{name}"),
            None => format!("{digest}.{path}"),
        };
        self.served.borrow_mut().targets.insert(path, content.to_vec());
    }

    /// Lets another role, whose key is `seed`, speak for `paths`.
    pub fn delegate(&mut self, name: &str, seed: u8, paths: &[&str]) {
        let delegations = self.targets.delegations.get_or_insert_with(Delegations::default);
        delegations.keys.insert(id(seed), public(seed));
        delegations.roles.push(DelegatedRole {
            name: name.to_owned(),
            keys: RoleKeys::new(vec![id(seed)], 1),
            terminating: false,
            paths: Some(paths.iter().map(|path| (*path).to_owned()).collect()),
            path_hash_prefixes: None,
        });
    }

    pub fn publish_role(&mut self, name: &str, targets: &Targets, seeds: &[u8]) {
        let bytes = sign(targets, seeds);
        self.snapshot.meta.insert(format!("{name}.json"), described(targets.version, &bytes));
        self.serve(&format!("{}.{}.json", targets.version, file_name(name)), bytes);
    }

    /// Puts another key in the place of those of `role`, in the next root.
    pub fn rotate(&mut self, role: TopLevel, seed: u8) {
        self.root.roles.insert(role.name().to_owned(), RoleKeys::new(Vec::new(), 1));
        self.root.allow(role, id(seed), public(seed));
        self.signers.insert(role.name(), vec![seed]);
    }

    /// The version of `role` that the store trusts; 0: none.
    pub fn trusted(&self, role: &str) -> u64 {
        let files = self.store.files();
        let Some(bytes) = files.get(&format!("{role}.json")) else { return 0 };
        let value: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        value["signed"]["version"].as_u64().expect("a version")
    }

    pub fn client(&self) -> Updater<Line, MemoryStore> {
        let line = Line(Rc::clone(&self.served));
        Updater::from_store(self.store.clone(), line, Limits::default()).expect("a trusted root")
    }

    pub fn refresh(&self) -> Result<Updater<Line, MemoryStore>, UpdateError> {
        self.refresh_at(NOW)
    }

    pub fn refresh_at(&self, now: &str) -> Result<Updater<Line, MemoryStore>, UpdateError> {
        self.served.borrow_mut().requests.clear();
        let mut client = self.client();
        client.refresh(time(now))?;
        Ok(client)
    }

    /// Refreshes, searches and downloads.
    pub fn install(&self, path: &str) -> Result<Option<Vec<u8>>, UpdateError> {
        let mut client = self.refresh()?;
        let Some(target) = client.target(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        client.download(path, &target, &mut bytes)?;
        Ok(Some(bytes))
    }

    pub fn requests(&self) -> Vec<String> {
        self.served.borrow().requests.clone()
    }
}

/// What one file says of another: version, length and digest.
pub fn described(version: u64, bytes: &[u8]) -> MetaFile {
    let target = TargetFile::of(bytes, None);
    let mut file = MetaFile::version(version);
    (file.length, file.hashes) = (Some(target.length), Some(target.hashes));
    file
}

/// Brings what is served, as it is: a client has to have limits of its own.
#[derive(Clone)]
pub struct Line(pub Rc<RefCell<Served>>);

impl Line {
    fn answer(&self, name: &str, found: impl Fn(&Served) -> Option<Vec<u8>>) -> Result<Vec<u8>, FetchError> {
        let mut served = self.0.borrow_mut();
        served.requests.push(name.to_owned());
        match served.broken {
            Some(reason) => Err(FetchError::failed(reason)),
            None => found(&served).ok_or(FetchError::Missing),
        }
    }
}

impl Fetcher for Line {
    fn metadata(&mut self, name: &str, _limit_bytes: u64) -> Result<Vec<u8>, FetchError> {
        self.answer(name, |served| served.metadata.get(name).cloned())
    }

    fn target(&mut self, path: &str, _length_bytes: u64, sink: &mut dyn Write) -> Result<(), FetchError> {
        let bytes = self.answer(path, |served| served.targets.get(path).cloned())?;
        bytes.chunks(1000).try_for_each(|part| sink.write_all(part)).map_err(FetchError::failed)
    }
}
