//! Interface addresses and routes through the old ioctls, and sockets tied to one interface.
//!
//! Invariant: interface names are at most 15 bytes and never cut short.
#![allow(unsafe_code)]

use crate::answer::check;
use rustix::net::{ipproto, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};
use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, flags, Some(ipproto::UDP))?)
}

/// A UDP socket that sends and receives, broadcasts included, through `interface` only.
pub fn udp_on(interface: &str, local: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = socket()?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_broadcast(&socket, true)?;
    let name = name(interface)?;
    let length = libc::socklen_t::try_from(name.len()).expect("16 bytes");
    // SAFETY: the kernel reads `length` bytes of `name`.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_ptr().cast(), length)
    })?;
    rustix::net::bind(&socket, &local)?;
    Ok(UdpSocket::from(socket))
}

/// Has the kernel say on a netlink socket what it dislikes, without sending the message back.
pub fn explain_errors(netlink: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).expect("4 bytes");
    for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
        // SAFETY: the kernel reads `length` bytes of `on`.
        check(unsafe {
            libc::setsockopt(netlink.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), length)
        })?;
    }
    Ok(())
}

/// Gives the calling thread a new, empty network namespace.
pub fn leave_network() -> io::Result<()> {
    // SAFETY: it changes nothing that memory or open files depend on.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// Brings an interface up.
pub fn bring_up(interface: &str) -> io::Result<()> {
    let socket = socket()?;
    let mut request = request(interface)?;
    ioctl(&socket, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the call before filled this member of the union in.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP).expect("a small constant");
    request.ifr_ifru.ifru_flags = flags | up;
    ioctl(&socket, libc::SIOCSIFFLAGS, &mut request)
}

/// Gives an interface its only IPv4 address; the kernel adds the route to the network.
pub fn set_address(interface: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let socket = socket()?;
    let mask = mask(prefix);
    // Setting the address gives the mask of the address's old class, so the mask comes second.
    for (number, value) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, mask)] {
        let mut request = request(interface)?;
        request.ifr_ifru.ifru_addr = socket_address(value);
        ioctl(&socket, number, &mut request)?;
    }
    if prefix < 31 {
        let mut request = request(interface)?;
        request.ifr_ifru.ifru_addr = socket_address(Ipv4Addr::from(u32::from(address) | !u32::from(mask)));
        ioctl(&socket, libc::SIOCSIFBRDADDR, &mut request)?;
    }
    Ok(())
}

/// Takes the IPv4 address and its routes away.
pub fn clear_address(interface: &str) -> io::Result<()> {
    let mut request = request(interface)?;
    request.ifr_ifru.ifru_addr = socket_address(Ipv4Addr::UNSPECIFIED);
    ioctl(&socket()?, libc::SIOCSIFADDR, &mut request)
}

/// Routes everything that is not local through `gateway`.
pub fn add_default_route(interface: &str, gateway: Ipv4Addr) -> io::Result<()> {
    let mut name = name(interface)?;
    // SAFETY: all-zero is a valid rtentry; the name outlives the call.
    let (answer, error) = unsafe {
        let mut route: libc::rtentry = zeroed();
        route.rt_dst = socket_address(Ipv4Addr::UNSPECIFIED);
        route.rt_genmask = socket_address(Ipv4Addr::UNSPECIFIED);
        route.rt_gateway = socket_address(gateway);
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        route.rt_dev = name.as_mut_ptr().cast();
        let socket = socket()?;
        (libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT, &route), io::Error::last_os_error())
    };
    if answer < 0 && error.raw_os_error() != Some(libc::EEXIST) {
        return Err(error);
    }
    Ok(())
}

/// Mask of a prefix of 0 to 32 bits.
pub fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

fn name(interface: &str) -> io::Result<[u8; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    if interface.is_empty() || interface.len() >= name.len() || interface.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface's name has 1 to 15 bytes"));
    }
    name[..interface.len()].copy_from_slice(interface.as_bytes());
    Ok(name)
}

fn request(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name(interface)?) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data: [libc::c_char; 14] = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let family = libc::sa_family_t::try_from(libc::AF_INET).expect("a small constant");
    libc::sockaddr { sa_family: family, sa_data: data }
}

fn ioctl(socket: &OwnedFd, number: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the request is a whole ifreq that outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), number, request) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_all_lengths() {
        for (prefix, wanted) in [(0, "0.0.0.0"), (1, "128.0.0.0"), (24, "255.255.255.0"), (32, "255.255.255.255")] {
            assert_eq!(mask(prefix).to_string(), wanted);
        }
    }

    #[test]
    fn names_that_would_be_cut_are_refused() {
        assert!(name("abcdefghijklmno").is_ok());
        assert!(name("abcdefghijklmnop").is_err());
        assert!(name("").is_err());
    }
}
