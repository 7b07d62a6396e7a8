//! The networks of apps: a namespace for each, what joins it to the device, and the rules between.
//!
//! Invariant: an app has no power over its network: the namespace belongs to the agent's user namespace. One app reaches
//! another only where both manifests say so.

mod denials;
mod inside;
mod joined;
pub mod link;
pub mod namespace;
pub mod netlink;
mod nft;
pub mod packets;
pub mod resolver;
pub mod rules;

#[cfg(test)]
mod tests;

use crate::error::{AgentError, Doing};
use crate::file;
use crate::log::Log;
use crate::network::Network;
use denials::{Denials, Record};
use joined::Joined;
use osbuild_format::app::Manifest;
use osbuild_format::device::DeviceConfig;
use resolver::Resolver;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// All of them. Nothing is made before the first app needs it.
#[derive(Clone)]
pub struct Networks {
    shared: Arc<Shared>,
}

struct Shared {
    /// Logical names of interfaces to the kernel's.
    interfaces: BTreeMap<String, String>,
    name_servers: Vec<Ipv4Addr>,
    upstream: Network,
    denials: Denials,
    log: Arc<Log>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None: there are no rules yet either.
    resolver: Option<Resolver>,
    apps: BTreeMap<String, Joined>,
}

/// An app's network, which goes with this.
pub struct Attachment {
    pub namespace: OwnedFd,
    pub address: Ipv4Addr,
    id: String,
    networks: Networks,
}

impl Networks {
    pub fn new(config: &DeviceConfig, upstream: &Network, log: &Arc<Log>) -> Self {
        let shared = Shared {
            interfaces: config.interfaces.clone(),
            name_servers: config.dns_servers.clone(),
            upstream: upstream.clone(),
            denials: Denials::default(),
            log: log.clone(),
            state: Mutex::default(),
        };
        Networks { shared: Arc::new(shared) }
    }

    /// Makes the network of the app with this number, which no other app ever has. Takes seconds at most; an error
    /// leaves nothing behind.
    pub fn add(&self, index: u32, manifest: &Manifest) -> Result<Attachment, AgentError> {
        let id = manifest.id.clone();
        let doing = || format!("make the network of the app `{id}`");
        let mut state = self.lock();
        let resolver = self.begin(&mut state)?;
        if state.apps.contains_key(&id) {
            return Err(AgentError::Wrong(format!("the app `{id}` has a network already")));
        }
        let mut joined = Joined::make(index, manifest, &self.shared.interfaces, &self.shared.log)?;
        let handle = joined.namespace.try_clone().doing(doing)?;
        let address = joined.rules.address;
        let opened = rules::add(&joined.rules(state.apps.values()), &joined.opens_to(state.apps.values()));
        if let Err(error) = opened.doing(doing) {
            joined.undo(&self.shared.log);
            return Err(error);
        }
        self.shared.denials.begin(&id);
        if let Some(socket) = joined.resolver.take() {
            resolver.watch(&id, index, address, socket, &manifest.capabilities);
        }
        state.apps.insert(id.clone(), joined);
        Ok(Attachment { namespace: handle, address, id, networks: self.clone() })
    }

    /// For the first app: the rules before anything can be forwarded.
    fn begin(&self, state: &mut State) -> Result<Resolver, AgentError> {
        if let Some(resolver) = &state.resolver {
            return Ok(resolver.clone());
        }
        let shared = &self.shared;
        rules::install().doing(|| "make the rules for the networks of apps".to_owned())?;
        file::set(FORWARDING, "1").doing(|| format!("set `{FORWARDING}`"))?;
        let resolver = Resolver::start(shared.name_servers.clone(), &shared.upstream, &shared.denials, &shared.log)?;
        state.resolver = Some(resolver.clone());
        Ok(resolver)
    }

    fn remove(&self, id: &str) {
        let mut state = self.lock();
        let Some(joined) = state.apps.remove(id) else { return };
        if let Some(resolver) = &state.resolver {
            resolver.forget(id);
        }
        self.shared.denials.forget(id);
        if let Err(error) = rules::remove(&joined.rules, &joined.opens_to(state.apps.values())) {
            self.shared.log.error(&format!("the rules of the app `{id}` are left behind: {error}"));
        }
        joined.undo(&self.shared.log);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that died here was adding one app, which then has no rules and so no way out.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attachment {
    /// What the app tried in vain.
    pub fn denials(&self) -> Record {
        self.networks.shared.denials.of(&self.id)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.networks.remove(&self.id);
    }
}

/// Addresses that no host outside has: this one's own, those of apps and of nobody.
pub fn is_reserved(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first == 0 || first >= 224 || address.is_loopback() || address.is_link_local() || link::is_an_apps(address)
}
