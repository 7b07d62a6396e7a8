//! The thread that answers apps' questions, and hears of the packets that the rules denied.
//!
//! Invariant: it waits only in its poll: a slow name server keeps nobody but who asked it waiting.

use super::super::denials::Denials;
use super::super::packets::Packets;
use super::clients::{Client, Clients, Step};
use super::pending::{Heard, Pending};
use super::question::Code;
use crate::error::{AgentError, Doing};
use crate::log::Log;
use crate::network::Network;
use crate::{thread, time};
use osbuild_format::app::Capabilities;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// RFC 1035 section 4.2.1.
const LIMIT_BYTES: usize = 512;
/// Questions of one app in one turn; more than that and it rests.
const LIMIT_TURN: usize = 16;
const REST: Duration = Duration::from_millis(100);
const LIMIT_PENDING: usize = 64;
const LIMIT_PENDING_OF_ONE: usize = 8;
const NOT_ALLOWED: &str = "its capabilities do not allow it";

/// What the agent tells the thread.
#[derive(Clone)]
pub struct Resolver {
    clients: Arc<Mutex<Clients>>,
    bell: Arc<UnixStream>,
}

struct Thread {
    clients: Arc<Mutex<Clients>>,
    bell: UnixStream,
    packets: Option<Packets>,
    /// With the stay of who asked.
    pending: Vec<(u64, Pending)>,
    /// Asked rather than those of the leases.
    servers: Vec<Ipv4Addr>,
    upstream: Network,
    denials: Denials,
}

/// What the poll found.
struct Ready {
    bell: bool,
    packets: bool,
    apps: Vec<String>,
    pending: Vec<bool>,
}

fn lock(clients: &Mutex<Clients>) -> MutexGuard<'_, Clients> {
    // Changes are single insertions and removals.
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolver {
    /// `servers` are asked rather than those of the leases, if there are any.
    pub fn start(servers: Vec<Ipv4Addr>, upstream: &Network, denials: &Denials, log: &Log) -> Result<Self, AgentError> {
        let clients = Arc::<Mutex<Clients>>::default();
        let (ours, bell) = UnixStream::pair().doing(|| "make a pair of sockets".to_owned())?;
        for end in [&ours, &bell] {
            end.set_nonblocking(true).doing(|| "make a pair of sockets".to_owned())?;
        }
        let packets = Packets::listen().map_err(|error| log.warn(&format!("denied packets are not told: {error}")));
        let (clients_too, upstream, denials) = (clients.clone(), upstream.clone(), denials.clone());
        let packets = packets.ok();
        let thread = Thread { clients: clients_too, bell, packets, pending: Vec::new(), servers, upstream, denials };
        thread::start("resolver", move || thread.run())?;
        Ok(Resolver { clients, bell: Arc::new(ours) })
    }

    pub fn watch(&self, id: &str, index: u32, address: Ipv4Addr, socket: UdpSocket, capabilities: &Capabilities) {
        let mut clients = lock(&self.clients);
        clients.stays += 1;
        let client = Client {
            index,
            address,
            socket: Arc::new(socket),
            capabilities: capabilities.clone(),
            stay: clients.stays,
            rests_until: Duration::ZERO,
            known: BTreeMap::new(),
            opened: BTreeMap::new(),
        };
        clients.by_id.insert(id.to_owned(), client);
        drop(clients);
        self.ring();
    }

    fn ring(&self) {
        // One that has been rung and not heard yet needs no second time.
        let _ = (&*self.bell).write(&[1]);
    }

    /// Nothing opens for it any more once this is back.
    pub fn forget(&self, id: &str) {
        lock(&self.clients).by_id.remove(id);
        // The thread may hold the socket, and with it the app's namespace.
        self.ring();
    }
}

impl Thread {
    fn run(mut self) {
        loop {
            let ready = self.wait();
            if ready.bell {
                // How often does not matter; nor does an end, which there is none of.
                let _ = self.bell.read(&mut [0; 64]);
            }
            if ready.packets {
                for denied in self.packets.iter().flat_map(Packets::take) {
                    self.denials.note(&denied.id, &denied.what, NOT_ALLOWED);
                }
            }
            self.hear_servers(&ready.pending);
            for id in &ready.apps {
                self.hear_app(id);
            }
        }
    }

    fn wait(&self) -> Ready {
        let now = time::now();
        let (mut ids, mut sockets, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for (id, client) in &lock(&self.clients).by_id {
            match client.rests_until > now {
                true => due.push(client.rests_until),
                false => {
                    ids.push(id.clone());
                    sockets.push(client.socket.clone());
                }
            }
        }
        due.extend(self.pending.iter().map(|(_, pending)| pending.deadline));
        let timeout = due.into_iter().min().map(|at| at.saturating_sub(now)).map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut polled = vec![PollFd::new(&self.bell, PollFlags::IN)];
        polled.extend(self.packets.as_ref().map(|packets| PollFd::from_borrowed_fd(packets.as_fd(), PollFlags::IN)));
        polled.extend(self.pending.iter().map(|(_, pending)| PollFd::new(&pending.socket, PollFlags::IN)));
        polled.extend(sockets.iter().map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)));
        if poll(&mut polled, timeout.as_ref()).is_err() {
            // Interrupted, or out of memory for a moment.
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut found = polled.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || found.next().unwrap_or(false);
        Ready {
            bell: next(),
            packets: self.packets.is_some() && next(),
            pending: self.pending.iter().map(|_| next()).collect(),
            apps: ids.into_iter().filter(|_| next()).collect(),
        }
    }

    fn hear_app(&mut self, id: &str) {
        let Some((socket, stay)) = lock(&self.clients).by_id.get(id).map(|c| (c.socket.clone(), c.stay)) else {
            return;
        };
        for _ in 0..LIMIT_TURN {
            let mut bytes = [0; LIMIT_BYTES];
            let Ok((count, from)) = socket.recv_from(&mut bytes) else { return };
            let now = time::now();
            let step = lock(&self.clients).question(id, &bytes[..count], &self.denials, now);
            match step {
                // Who does not listen to the answer asks again.
                Step::Reply(reply) => drop(socket.send_to(&reply, from)),
                Step::Nothing => {}
                Step::Ask(question) => {
                    let failed = question.answer(Code::Failed, &[], 0);
                    let sent = self.has_room(stay).then(|| Pending::send(id, question, from, self.servers(), now));
                    match sent.flatten() {
                        Some(pending) => self.pending.push((stay, pending)),
                        None => drop(socket.send_to(&failed, from)),
                    }
                }
            }
        }
        if let Some(client) = lock(&self.clients).by_id.get_mut(id) {
            client.rests_until = time::now() + REST;
        }
    }

    fn has_room(&self, stay: u64) -> bool {
        let own = self.pending.iter().filter(|(theirs, _)| *theirs == stay).count();
        own < LIMIT_PENDING_OF_ONE && self.pending.len() < LIMIT_PENDING
    }

    fn servers(&self) -> Vec<Ipv4Addr> {
        if self.servers.is_empty() {
            self.upstream.name_servers()
        } else {
            self.servers.clone()
        }
    }

    fn hear_servers(&mut self, ready: &[bool]) {
        let now = time::now();
        let mut ready = ready.iter().copied();
        for (stay, mut pending) in std::mem::take(&mut self.pending) {
            let heard = if ready.next().unwrap_or(false) { pending.hear() } else { Heard::Nothing };
            let mut clients = lock(&self.clients);
            let client = clients.by_id.get(&pending.app).filter(|client| client.stay == stay);
            let Some(socket) = client.map(|client| client.socket.clone()) else { continue };
            let reply = match heard {
                Heard::Answer(answer) => {
                    let own: Vec<Ipv4Addr> = self.upstream.leases().values().map(|lease| lease.address).collect();
                    clients.answer(&pending.app, &pending.question, &answer, &own, &self.denials, now)
                }
                Heard::Nothing if now < pending.deadline => {
                    self.pending.push((stay, pending));
                    continue;
                }
                Heard::Nothing | Heard::Refusal => {
                    if pending.go_on(now) {
                        self.pending.push((stay, pending));
                        continue;
                    }
                    pending.question.answer(Code::Failed, &[], 0)
                }
            };
            // Who does not listen to the answer asks again.
            drop(socket.send_to(&reply, pending.from));
        }
    }
}
