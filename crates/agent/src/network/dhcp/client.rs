//! The DHCP client as a state machine: time and answers in, messages and leases out (RFC 2131 section 4.4).
//!
//! Invariant: pure but for the random numbers it is given; a lease it hands out has sane addresses and times.

use super::packet::{usable, Answer, Kind, Mac, Question};
use std::net::Ipv4Addr;
use std::time::Duration;

const FIRST_TRY: Duration = Duration::from_secs(2);
const LAST_TRY: Duration = Duration::from_secs(64);
const TRIES_OF_A_REQUEST: u32 = 4;
/// A shorter lease would keep us asking all day.
const SHORTEST_LEASE_SECONDS: u32 = 60;
/// RFC 2131 section 4.4.5: do not renew more often than once a minute.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub ntp: Vec<Ipv4Addr>,
    pub server: Ipv4Addr,
    renewal: Duration,
    rebinding: Duration,
    length: Duration,
}

/// What the caller must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send to port 67 of this address.
    Send {
        bytes: Vec<u8>,
        to: Ipv4Addr,
    },
    Configure(Lease),
    /// The lease is over.
    Deconfigure,
}

#[derive(Clone, Debug)]
enum State {
    Selecting {
        tries: u32,
    },
    Requesting {
        offer: Lease,
        tries: u32,
    },
    Bound {
        lease: Lease,
        since: Duration,
    },
    /// Asks its server until `rebinding`, then any server.
    Renewing {
        lease: Lease,
        since: Duration,
    },
}

pub struct Client {
    mac: Mac,
    hostname: String,
    random: Box<dyn FnMut() -> u32 + Send>,
    transaction: u32,
    state: State,
    began: Duration,
    wake_at: Duration,
}

impl Client {
    pub fn new(mac: Mac, hostname: &str, now: Duration, mut random: Box<dyn FnMut() -> u32 + Send>) -> Self {
        let transaction = random();
        let state = State::Selecting { tries: 0 };
        Client { mac, hostname: hostname.to_owned(), random, transaction, state, began: now, wake_at: now }
    }

    /// When [`Client::wake`] wants to be called next.
    pub fn wake_at(&self) -> Duration {
        self.wake_at
    }

    /// Does what is due at `now`.
    pub fn wake(&mut self, now: Duration) -> Vec<Output> {
        if now < self.wake_at {
            return Vec::new();
        }
        match self.state.clone() {
            State::Selecting { tries } => {
                self.state = State::Selecting { tries: tries.saturating_add(1) };
                self.wake_at = now + self.patience(tries);
                vec![self.broadcast(Kind::Discover, None, None, now)]
            }
            State::Requesting { tries, .. } if tries >= TRIES_OF_A_REQUEST => self.restart(now),
            State::Requesting { offer, tries } => {
                let question = self.broadcast(Kind::Request, Some(offer.address), Some(offer.server), now);
                self.state = State::Requesting { offer, tries: tries + 1 };
                self.wake_at = now + self.patience(tries);
                vec![question]
            }
            State::Bound { lease, since } | State::Renewing { lease, since } => self.renew(lease, since, now),
        }
    }

    /// Takes what came in at port 68, whatever it is.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) -> Vec<Output> {
        let Some(answer) = Answer::parse(bytes) else { return Vec::new() };
        if answer.transaction != self.transaction || answer.mac != self.mac {
            return Vec::new();
        }
        match (self.state.clone(), answer.kind) {
            (State::Selecting { .. }, Kind::Offer) => {
                let Some(offer) = lease(&answer) else { return Vec::new() };
                self.state = State::Requesting { offer, tries: 0 };
                self.wake_at = now;
                self.wake(now)
            }
            (State::Requesting { offer, .. }, Kind::Acknowledge) if answer.server == Some(offer.server) => {
                self.bind(&answer, now)
            }
            (State::Requesting { offer, .. }, Kind::Refuse) if answer.server == Some(offer.server) => self.restart(now),
            (State::Renewing { .. }, Kind::Acknowledge) => self.bind(&answer, now),
            (State::Renewing { .. }, Kind::Refuse) => {
                let mut outputs = vec![Output::Deconfigure];
                outputs.extend(self.restart(now));
                outputs
            }
            _ => Vec::new(),
        }
    }

    fn bind(&mut self, answer: &Answer, now: Duration) -> Vec<Output> {
        let Some(lease) = lease(answer) else { return Vec::new() };
        self.wake_at = now + lease.renewal;
        self.state = State::Bound { lease: lease.clone(), since: now };
        vec![Output::Configure(lease)]
    }

    fn renew(&mut self, lease: Lease, since: Duration, now: Duration) -> Vec<Output> {
        let ends = since + lease.length;
        if now >= ends {
            let mut outputs = vec![Output::Deconfigure];
            outputs.extend(self.restart(now));
            return outputs;
        }
        if matches!(self.state, State::Bound { .. }) {
            self.transaction = (self.random)();
            self.began = now;
        }
        let rebinding = since + lease.rebinding;
        let (to, next) = if now < rebinding { (lease.server, rebinding) } else { (Ipv4Addr::BROADCAST, ends) };
        let pause = next.saturating_sub(now) / 2;
        self.wake_at = now + pause.max(BETWEEN_RENEWALS).min(ends.saturating_sub(now));
        let bytes = self.question(Kind::Request, lease.address, None, None, now);
        self.state = State::Renewing { lease, since };
        vec![Output::Send { bytes, to }]
    }

    fn restart(&mut self, now: Duration) -> Vec<Output> {
        self.transaction = (self.random)();
        self.state = State::Selecting { tries: 0 };
        // A server that offers and then refuses must not make us a flood.
        self.began = now;
        self.wake_at = now + FIRST_TRY;
        Vec::new()
    }

    /// Doubles with each try, and up to a second more so that devices do not ask in step.
    fn patience(&mut self, tries: u32) -> Duration {
        let base = FIRST_TRY.saturating_mul(1 << tries.min(10)).min(LAST_TRY);
        base + Duration::from_millis(u64::from((self.random)() % 1000))
    }

    fn broadcast(&self, kind: Kind, wanted: Option<Ipv4Addr>, server: Option<Ipv4Addr>, now: Duration) -> Output {
        let bytes = self.question(kind, Ipv4Addr::UNSPECIFIED, wanted, server, now);
        Output::Send { bytes, to: Ipv4Addr::BROADCAST }
    }

    fn question(
        &self,
        kind: Kind,
        client: Ipv4Addr,
        wanted: Option<Ipv4Addr>,
        server: Option<Ipv4Addr>,
        now: Duration,
    ) -> Vec<u8> {
        let seconds = u16::try_from(now.saturating_sub(self.began).as_secs()).unwrap_or(u16::MAX);
        let (transaction, mac, hostname) = (self.transaction, self.mac, self.hostname.as_str());
        Question { kind, transaction, mac, hostname, client, wanted, server, seconds }.to_bytes()
    }
}

/// None: an answer nobody should configure.
fn lease(answer: &Answer) -> Option<Lease> {
    let server = answer.server.filter(usable)?;
    let address = Some(answer.address).filter(usable)?;
    let prefix = prefix(answer.mask?)?;
    let mask = u32::from(osbuild_sys::network::mask(prefix));
    let host = u32::from(address) & !mask;
    if prefix < 31 && (host == 0 || host == !mask) {
        return None;
    }
    let near = |gateway: &&Ipv4Addr| u32::from(**gateway) & mask == u32::from(address) & mask && **gateway != address;
    let gateway = answer.routers.iter().find(near).copied();
    let length = answer.lease?.max(SHORTEST_LEASE_SECONDS);
    let rebinding = answer.rebinding.filter(|t| *t < length).unwrap_or(length / 8 * 7);
    let renewal = answer.renewal.filter(|t| *t < rebinding && *t > 0).unwrap_or(rebinding.min(length / 2));
    let seconds = |n: u32| Duration::from_secs(u64::from(n));
    Some(Lease {
        address,
        prefix,
        gateway,
        dns: answer.dns.clone(),
        ntp: answer.ntp.clone(),
        server,
        renewal: seconds(renewal),
        rebinding: seconds(rebinding),
        length: seconds(length),
    })
}

/// None: a mask with a hole, or one that leaves no network.
fn prefix(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (ones > 0 && bits.count_ones() == ones).then(|| u8::try_from(ones).expect("at most 32"))
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::{answer_bytes, example};
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    fn client() -> Client {
        Client::new(MAC, "gateway", Duration::ZERO, Box::new(|| 7))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn from_server(kind: Kind) -> Vec<u8> {
        answer_bytes(&example(kind))
    }

    fn sent_to(outputs: &[Output]) -> Vec<Ipv4Addr> {
        outputs.iter().filter_map(|o| if let Output::Send { to, .. } = o { Some(*to) } else { None }).collect()
    }

    fn bound() -> Client {
        let mut client = client();
        assert_eq!(sent_to(&client.wake(at(0))), [Ipv4Addr::BROADCAST]);
        assert_eq!(sent_to(&client.receive(&from_server(Kind::Offer), at(0))), [Ipv4Addr::BROADCAST]);
        let outputs = client.receive(&from_server(Kind::Acknowledge), at(1));
        assert!(matches!(&outputs[..], [Output::Configure(lease)] if lease.prefix == 24), "{outputs:?}");
        client
    }

    #[test]
    fn a_lease_in_four_messages_then_renewed_at_half_its_time() {
        let mut client = bound();
        assert_eq!(client.wake_at(), at(1 + 43200));
        assert_eq!(client.wake(at(100)), []);
        assert_eq!(sent_to(&client.wake(at(43201))), [Ipv4Addr::new(10, 0, 2, 2)]);
        let outputs = client.receive(&from_server(Kind::Acknowledge), at(43202));
        assert!(matches!(&outputs[..], [Output::Configure(_)]));
        assert_eq!(client.wake_at(), at(43202 + 43200));
    }

    #[test]
    fn without_answers_it_asks_everybody_and_then_gives_the_address_up() {
        let mut client = bound();
        let mut asked_all = false;
        loop {
            let now = client.wake_at();
            let outputs = client.wake(now);
            asked_all |= sent_to(&outputs) == [Ipv4Addr::BROADCAST];
            if outputs.contains(&Output::Deconfigure) {
                assert_eq!(now, at(1 + 86400));
                break;
            }
        }
        assert!(asked_all);
    }

    #[test]
    fn a_refusal_starts_over() {
        let mut client = bound();
        client.wake(at(43201));
        assert_eq!(client.receive(&from_server(Kind::Refuse), at(43202)), [Output::Deconfigure]);
        assert_eq!(sent_to(&client.wake(at(43204))), [Ipv4Addr::BROADCAST]);
    }

    #[test]
    fn a_silent_net_is_asked_ever_more_seldom() {
        let mut client = client();
        let mut gaps = Vec::new();
        for _ in 0..8 {
            let now = client.wake_at();
            assert_eq!(client.wake(now).len(), 1);
            gaps.push((client.wake_at() - now).as_secs());
        }
        assert_eq!(gaps, [2, 4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn answers_for_others_or_out_of_turn_are_ignored() {
        let mut client = client();
        client.wake(at(0));
        assert_eq!(client.receive(&from_server(Kind::Acknowledge), at(0)), []);
        let mut other = example(Kind::Offer);
        other.mac[5] = 9;
        assert_eq!(client.receive(&answer_bytes(&other), at(0)), []);
        other = example(Kind::Offer);
        other.transaction = 8;
        assert_eq!(client.receive(&answer_bytes(&other), at(0)), []);
    }

    #[test]
    fn leases_nobody_should_configure_are_refused() {
        let ip = |text: &str| text.parse::<Ipv4Addr>().expect("an address");
        for (address, mask) in [
            ("0.0.0.0", "255.255.255.0"),
            ("127.0.0.1", "255.0.0.0"),
            ("224.0.0.5", "255.0.0.0"),
            ("10.0.2.0", "255.255.255.0"),
            ("10.0.2.255", "255.255.255.0"),
            ("10.0.2.15", "255.0.255.0"),
            ("10.0.2.15", "0.0.0.0"),
        ] {
            let answer = Answer { address: ip(address), mask: Some(ip(mask)), ..example(Kind::Offer) };
            assert_eq!(lease(&answer), None, "{address}/{mask}");
        }
        let far = Answer { routers: vec![ip("192.168.1.1")], lease: Some(1), ..example(Kind::Offer) };
        let lease = lease(&far).expect("a lease without a gateway");
        assert_eq!((lease.gateway, lease.length), (None, at(60)));
    }

    proptest! {
        /// Times stay in order and are never in the past, whatever a server says.
        #[test]
        fn any_lease_has_sane_times(length: u32, renewal: Option<u32>, rebinding: Option<u32>) {
            let answer = Answer { lease: Some(length), renewal, rebinding, ..example(Kind::Offer) };
            let lease = lease(&answer).expect("the addresses are good");
            prop_assert!(lease.renewal <= lease.rebinding && lease.rebinding < lease.length);
        }

        #[test]
        fn any_packets_in_any_order_leave_it_working(packets in proptest::collection::vec((0..3usize, 0..100_000u64, any::<u32>()), 0..30)) {
            let mut client = client();
            let mut now = Duration::ZERO;
            for (kind, gap, length) in packets {
                now += at(gap);
                client.wake(now);
                prop_assert!(client.wake_at() > now);
                let kind = [Kind::Offer, Kind::Acknowledge, Kind::Refuse][kind];
                client.receive(&answer_bytes(&Answer { lease: Some(length), ..example(kind) }), now);
            }
        }
    }
}
